"""The commands that a run of the whole pipeline consists of."""

from typing import NamedTuple

from data import trained
from data.pipeline import PipelineConfig
from envs import specs
from utils import cli

SAME_TIME = "{minutes that V took}"
"""Stands in the plan for a number that is known when V has been trained."""
FAILURES_NOISE = "0.1"
"""Noise on the actions of drivers whose failures M shall see: with more of it, it would see the noise's."""

ALL_OF_H = "None"
"""Searched around a good driver: 32 components of h, which take C further from zeros, did no better there."""


class Step(NamedTuple):
    """One command of the pipeline."""

    name: str
    command: list[str]


def plan(config: PipelineConfig) -> list[Step]:
    """The commands of a run, in order: script and flags."""
    steps = []
    for number in range(1, config.rounds + 1):
        steps += [Step(f"round {number}: {name}", command) for name, command in _round(config, number)]
    return steps + _finish(config)


def _round(config: PipelineConfig, number: int) -> list[tuple[str, list[str]]]:
    logs, dataset = ["--logs", str(config.logs)], str(config.dataset or config.logs / "dataset")
    seed = ["--seed", str(config.seed)]
    collect = ["data/generation_script.py", "--rootdir", dataset, *seed, "--env", config.env]
    collect += ["--seq-len", str(config.seq_len), *_workers(config, "--threads")]
    if config.dream_of is not None:
        collect += ["--logs", str(config.dream_of)]
    else:
        collect += _flags(action_repeat=None if specs.kind(config.env) == "other" else config.action_repeat)
        collect += [*logs, *_server(config)]
    collect += _flags(patience=config.rollout_patience, lapses=config.lapses or None)
    for name, value in cli.to_json(config.carla_env).items() if config.is_carla else ():
        collect += [] if value is None else [f"--{name}", str(value)]
    rollouts = config.rollouts + (number - 1) * (config.rollouts_per_round + config.failures_per_round)
    policy = config.first_policy if number == 1 else "mixed"
    steps = []
    if number > 1 and config.failures_per_round:
        known = ["--policy", "dreamer", "--rollouts", str(rollouts - config.rollouts_per_round)]
        known += ["--noise", FAILURES_NOISE]
        steps.append(("collect what the dream got wrong", collect + known))
    steps.append(("collect", [*collect, "--policy", policy, "--rollouts", str(rollouts)]))
    data = ["--dataset", dataset, *logs, *seed]
    vae = ["trainvae.py", "--preset", config.vae_preset, "--max-steps", str(number * config.vae_steps)]
    mdrnn = ["trainmdrnn.py", "--preset", config.mdrnn_preset]
    mdrnn += _flags(max_steps=number * config.mdrnn_steps, hidden_size=config.mdrnn_hidden)
    mdrnn += _flags(first_starts=config.first_starts or None, driver_starts=config.driver_starts or None)
    evolve = ["traincontroller.py", "--display", *_workers(config), *seed, *logs, *_server(config)]
    evolve += _flags(strain_penalty=config.strain_penalty)
    coarse = _flags(validation_episodes=config.validation_episodes)
    fine = _flags(validation_episodes=config.fine_validation_episodes)
    goes_on = number > 1 and config.dream_fine_sigma is not None
    generations = config.last_generations if number == config.rounds else config.generations
    real = _flags(
        env="real",
        pop_size=config.pop_size,
        start="best" if config.dream_generations else "zero",
        h_components=ALL_OF_H if config.dream_generations else None,
        sigma0=config.polish_sigma,
        patience=config.patience,
    )
    if number <= (config.vae_rounds or number):
        steps.append(("V", vae + data))
    if config.yardstick and number == min(config.vae_rounds or config.rounds, config.rounds):
        plain = ["--arch", "vae", "--stage", "vae-plain", "--max-minutes", SAME_TIME]
        plain += ["--learning-rate", "0.01"]  # measured: better for it than the 0.02 of the quick NVAE
        plain += ["--max-steps", str(10**7), "--epochs", str(10**5)]
        steps.append(
            ("plain VAE, as long as V", ["trainvae.py", "--preset", config.vae_preset, *plain, *data])
        )
    steps.append(("M", mdrnn + data))
    if config.dream_generations:
        steps.append(("C in the dream", evolve + coarse + dream_flags(config, goes_on)))
    if generations:
        size = _flags(generations=generations, n_samples=config.n_samples)
        steps.append(("C in the real environment", evolve + coarse + real + size))
    if config.fine_generations and number == config.rounds:
        generations += config.fine_generations
        hard = config.fine_hard_tracks or None
        size = _flags(generations=generations, n_samples=config.fine_samples, hard_tracks=hard)
        steps.append(("C on more tracks", evolve + fine + real + size))
    return steps


def dream_flags(config: PipelineConfig, goes_on: bool = False) -> list[str]:
    """How C is evolved in the dream, at zeros or on from the best."""
    return _flags(
        env="dream",
        start="best" if goes_on else None,
        h_components=ALL_OF_H if goes_on else None,
        generations=config.dream_generations,
        pop_size=config.dream_pop_size or config.pop_size,
        n_samples=config.dream_samples,
        horizon=config.horizon,
        temperature=config.dream_temperature,
        pace=config.dream_pace,
        due=config.dream_due,
        patience=config.dream_patience,
        lost_penalty=config.lost_penalty or None,
        sigma0=config.dream_fine_sigma if goes_on else config.dream_sigma,
        validate_every=config.dream_validate_every,
    )


def _finish(config: PipelineConfig) -> list[Step]:
    """Score the controllers on held-out tracks, record a drive of the last one."""
    score = ["test_controller.py", "--logs", str(config.logs), *_workers(config), *_server(config)]
    score += ["--episodes", str(config.episodes)]
    score += [] if config.is_carla else ["--renderer", config.renderer]
    video = ["--record", str(config.logs / "drive.mp4")]
    dreamer = ["--stage", "controller-dream"]
    inside = [*_json(config, "dreamt"), *dreamer, "--env", "dream"]
    inside += _flags(horizon=config.horizon, temperature=config.dream_temperature)
    steps, name = [], "real" if config.dream_generations else "real-only"
    if config.dream_generations:
        steps += [
            Step("score: C evolved in the dream, there", [*score, *inside]),
            Step("score: C evolved in the dream", [*score, *_json(config, "dream"), *dreamer]),
        ]
    if config.ends_for_real:
        real = [*score, *_json(config, name), "--stage", "controller"]
        steps.append(Step("score: C evolved for real", real))
    steps[-1].command.extend(video)
    if config.ends_for_real and config.dream_of is not None:
        awake = ["--env", trained.dreamt_spec(config.dream_of)["name"]]
        steps.append(Step("score: C evolved for real, awake", [*score, *_json(config, "awake"), *awake]))
    if config.has_guide:
        pursuit = [*score, *_json(config, "pursuit"), "--driver", "pursuit"]
        steps.append(Step("score: pure pursuit, which knows the road", pursuit))
    return steps


def _flags(**values: str | float | None) -> list[str]:
    """Flags for the values that are there."""
    pairs = (
        (f"--{name.replace('_', '-')}", str(value)) for name, value in values.items() if value is not None
    )
    return [part for pair in pairs for part in pair]


def _json(config: PipelineConfig, name: str) -> list[str]:
    return ["--json", str(config.logs / f"test-{name}.json")]


def _server(config: PipelineConfig) -> list[str]:
    return ["--carla", config.carla] if config.carla else []


def _workers(config: PipelineConfig, flag: str = "--max-workers") -> list[str]:
    return [flag, str(config.max_workers)] if config.max_workers else []
