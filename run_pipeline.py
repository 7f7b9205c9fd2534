"""All stages in order, several rounds, resumable: collect, train V, train M, evolve C in the dream, then for real.

Random driving never shows V and M the far side of a track, so every further round collects with the current
controller, trains V and M on with all the data, and evolves on. Each stage is one of the root scripts, run as you
would run it by hand; the commands are printed. Writes RUN/pipeline.json (what is done), RUN/test-*.json (scores),
 RUN/drive.mp4 and RUN/report.html.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from envs import specs
from envs.specs import CarlaFlags, CarRacingFlags
from utils import cli
from utils.errors import check, check_not_negative, check_positive
from utils.files import check_writable, read_json, write_json
from utils.report import score_line, score_title, write_report

HERE = Path(__file__).resolve().parent
Preset = Literal["carracing", "quick", "tiny"]
SAME_TIME = "{minutes that V took}"
"""Stands in the plan for a number that is known when V has been trained."""
NOTE_EVERY_S = 10.0
"""The time that a step has taken is noted this often."""
STOP_S = 30.0
"""So long a command may take to stop after Ctrl-C."""


@dataclass(frozen=True)
class PipelineConfig:
    """The whole run."""

    logs: cli.LogsArg = Path("exp_dir")
    """run directory"""
    dataset: Path | None = None
    """dataset folder; RUN/dataset by default"""
    env: str = "CarRacing-v2"
    """real environment"""
    carla: specs.CarlaArg = None
    """CARLA's server, as in generation_script.py; of several each worker takes one"""
    carla_env: CarlaFlags = field(default_factory=CarlaFlags)
    rounds: int = 2
    """collect-train-evolve cycles; a finished run with a larger number goes on"""
    rollouts: int = 150
    """rollouts of the first round"""
    first_policy: Literal["brown", "white", "lane", "mixed"] = "brown"
    """who drives in them; CARLA's presets say mixed: mostly its noisy lane follower"""
    rollouts_per_round: int = 100
    """rollouts that each further round adds: the current controller with noise, and some others"""
    seq_len: int = 334
    """longest rollout, in decisions"""
    rollout_patience: int | None = None
    """a rollout is given up after this many decisions without a reward; after random driving most would be grass"""
    action_repeat: int = 3
    """simulator steps for which an action is held: more of the track for each frame that V and M must see"""
    vae_preset: Preset = "quick"
    """preset of trainvae.py"""
    mdrnn_preset: Preset = "quick"
    """preset of trainmdrnn.py"""
    vae_steps: int = 1500
    """updates of V in a round"""
    mdrnn_steps: int = 1500
    """updates of M in a round"""
    first_starts: float = 0.0
    """share of dreams that begin where episodes begin, rather than anywhere in them"""
    dream_generations: int = 30
    """generations in the dream, in each round"""
    dream_pop_size: int | None = None
    """candidates in a generation of the dream; as many as in the real environment by default"""
    dream_samples: int = 16
    """dreams for each candidate"""
    horizon: int = 150
    """decisions in a dream: the longer it is, the more M errs and the more there is to exploit"""
    generations: int = 10
    """generations in the real environment, in each round but the last; with 0 the rounds are dream only"""
    last_generations: int = 200
    """generations in the real environment in the last round; a finished run with a larger number goes on"""
    pop_size: int = 32
    """candidates in a generation"""
    n_samples: int = 4
    """real tracks for each candidate"""
    patience: int = 40
    """a training episode is given up after this many decisions without a new tile"""
    polish_sigma: float = 0.05
    """first standard deviation in the real environment, around the best controller so far"""
    validation_episodes: int = 16
    """fixed tracks on which controllers are compared"""
    episodes: int = 100
    """held-out tracks of the final score"""
    renderer: Literal["gymnasium", "fast"] = "gymnasium"
    """renderer of the final score"""
    yardstick: bool = True
    """train the plain VAE for as long as the NVAE, to compare them in the report"""
    max_workers: int | None = None
    """worker processes; one a core by default"""
    seed: int = 0
    """seed of everything"""
    fresh: bool = False
    """start over: remove what an earlier run left in RUN"""
    dry_run: bool = False
    """print the commands and stop"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "rounds", "rollouts", "seq_len", "action_repeat", "vae_steps", "mdrnn_steps")
        check_positive(
            self, "rollout_patience", "dream_generations", "dream_samples", "horizon", "last_generations"
        )
        check_positive(self, "n_samples", "patience", "polish_sigma", "validation_episodes", "episodes")
        check_positive(self, "max_workers")
        check_not_negative(self, "rollouts_per_round", "generations", "seed")
        check(
            specs.kind(self.env) != "dream",
            f"--env {self.env}: rounds and scores need a real env; record in the dream with "
            "data/generation_script.py --env dream, then run the stages one by one (see README).",
        )
        self.spec()
        check(0 <= self.first_starts <= 1, f"--first-starts must lie in [0, 1]; got {self.first_starts}.")
        for flag, size in (("--pop-size", self.pop_size), ("--dream-pop-size", self.dream_pop_size or 2)):
            check(size >= 2, f"{flag} must be at least 2; got {size}: candidates are ranked.")

    def spec(self) -> dict[str, Any]:
        """The real env, as its datasets will describe it."""
        spec = specs.make_spec(self.env, 64, None, CarRacingFlags(), self.carla_env)
        return specs.at_simulator(spec, self.carla)

    @property
    def is_carla(self) -> bool:
        """Whether the real env is one of CARLA's."""
        return specs.kind(self.env) == "carla"


CARLA: dict[str, Any] = {
    "env": "carla",
    "first_policy": "mixed",
    "action_repeat": 4,
    "seq_len": 375,
    "horizon": 60,
    "first_starts": 0.3,
}
"""What CARLA asks for: a decision lasts 0.2 s, and a lap takes the guide about 200 of them."""
TINY = PipelineConfig(
    logs=Path("exp_dir/tiny"),
    rollouts=12,
    rollouts_per_round=10,
    seq_len=40,
    vae_preset="tiny",
    mdrnn_preset="tiny",
    vae_steps=6,
    mdrnn_steps=6,
    dream_generations=2,
    generations=1,
    last_generations=2,
    pop_size=4,
    n_samples=1,
    dream_samples=2,
    horizon=20,
    validation_episodes=2,
    episodes=2,
    renderer="fast",
)
PRESETS = {
    "carracing": PipelineConfig(logs=Path("exp_dir/carracing"), rounds=3, validation_episodes=64),
    "quick": PipelineConfig(
        logs=Path("exp_dir/quick"),
        rollouts_per_round=60,
        vae_steps=1000,
        mdrnn_steps=1000,
        generations=6,
        last_generations=20,
        n_samples=3,
        validation_episodes=8,
        episodes=20,
    ),
    "carla": PipelineConfig(logs=Path("exp_dir/carla"), **CARLA, rounds=3, rollouts=300, last_generations=60),
    "carla-quick": PipelineConfig(
        logs=Path("exp_dir/carla-quick"),
        **CARLA,
        rollouts=800,
        rollouts_per_round=200,
        mdrnn_steps=3000,
        last_generations=80,
        n_samples=3,
        validation_episodes=32,
        yardstick=False,
    ),
    "tiny": TINY,
    "carla-tiny": replace(TINY, logs=Path("exp_dir/carla-tiny"), **{**CARLA, "seq_len": 12, "horizon": 20}),
}


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
    rollouts = config.rollouts + (number - 1) * config.rollouts_per_round
    collect = ["data/generation_script.py", "--rollouts", str(rollouts), "--rootdir", dataset, *seed]
    collect += ["--env", config.env, "--action-repeat", str(config.action_repeat)]
    collect += ["--seq-len", str(config.seq_len), *_workers(config, "--threads")]
    collect += ["--policy", "mixed" if number > 1 else config.first_policy, *logs, *_server(config)]
    collect += ["--patience", str(config.rollout_patience)] if config.rollout_patience else []
    for name, value in cli.to_json(config.carla_env).items() if config.is_carla else ():
        collect += [] if value is None else [f"--{name}", str(value)]
    data = ["--dataset", dataset, *logs, *seed]
    vae = ["trainvae.py", "--preset", config.vae_preset, "--max-steps", str(number * config.vae_steps)]
    mdrnn = [
        "trainmdrnn.py",
        "--preset",
        config.mdrnn_preset,
        "--max-steps",
        str(number * config.mdrnn_steps),
    ]
    mdrnn += ["--first-starts", str(config.first_starts)] if config.first_starts else []
    evolve = ["traincontroller.py", "--display", *_workers(config), *seed, *logs, *_server(config)]
    evolve += ["--validation-episodes", str(config.validation_episodes)]
    dream = ["--env", "dream", "--generations", str(config.dream_generations)]
    dream += ["--pop-size", str(config.dream_pop_size or config.pop_size)]
    dream += ["--n-samples", str(config.dream_samples), "--horizon", str(config.horizon)]
    generations = config.last_generations if number == config.rounds else config.generations
    real = ["--env", "real", "--generations", str(generations), "--pop-size", str(config.pop_size)]
    real += ["--n-samples", str(config.n_samples)]
    real += ["--start", "best", "--sigma0", str(config.polish_sigma), "--patience", str(config.patience)]
    steps = [("collect", collect), ("V", vae + data), ("M", mdrnn + data), ("C in the dream", evolve + dream)]
    return [*steps, ("C in the real environment", evolve + real)] if generations else steps


def _finish(config: PipelineConfig) -> list[Step]:
    """Score both controllers on held-out tracks, record a drive, train the yardstick."""
    logs, dataset = ["--logs", str(config.logs)], str(config.dataset or config.logs / "dataset")
    score = ["test_controller.py", *logs, *_workers(config), *_server(config)]
    score += ["--episodes", str(config.episodes)]
    score += [] if config.is_carla else ["--renderer", config.renderer]
    video = ["--record", str(config.logs / "drive.mp4")]
    dreamer = ["--stage", "controller-dream"]
    inside = [*_json(config, "dreamt"), *dreamer, "--env", "dream", "--horizon", str(config.horizon)]
    steps = [
        Step("score: C evolved in the dream, there", [*score, *inside]),
        Step("score: C evolved in the dream", [*score, *_json(config, "dream"), *dreamer]),
        Step("score: C polished for real", [*score, *_json(config, "real"), "--stage", "controller", *video]),
    ]
    if config.is_carla:
        pursuit = [*score, *_json(config, "pursuit"), "--driver", "pursuit"]
        steps.append(Step("score: pure pursuit, which knows the road", pursuit))
    if config.yardstick:
        vae = ["trainvae.py", "--preset", config.vae_preset, "--arch", "vae", "--stage", "vae-plain"]
        vae += ["--learning-rate", "0.01"]  # measured: better for it than the 0.02 of the quick NVAE
        vae += ["--max-minutes", SAME_TIME, "--max-steps", str(10**7), "--epochs", str(10**5)]
        vae += ["--dataset", dataset, *logs, "--seed", str(config.seed)]
        steps.append(Step("yardstick: plain VAE for the same time", vae))
    return steps


def _json(config: PipelineConfig, name: str) -> list[str]:
    return ["--json", str(config.logs / f"test-{name}.json")]


def _server(config: PipelineConfig) -> list[str]:
    return ["--carla", config.carla] if config.carla else []


def _workers(config: PipelineConfig, flag: str = "--max-workers") -> list[str]:
    return [flag, str(config.max_workers)] if config.max_workers else []


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not done yet."""
    config = cli.parse(PipelineConfig, argv, prog="run_pipeline.py", description=__doc__, presets=PRESETS)
    steps = plan(config)
    if config.dry_run:
        print(cli.describe(config))
        print("\n".join(f"# {step.name}\npython {shlex.join(step.command)}" for step in steps))
        return
    check_writable(config.logs / "pipeline.json")
    record = open_record(config)
    left = [step for step in steps if step.name not in record["done"]]
    if not left:
        print(
            f"{config.logs} is finished; start over with --fresh (make demo ARGS=--fresh), or go on with a larger "
            "--rounds."
        )
    for step in left:
        run_step(config, step, record)
    show_result(config)


def open_record(config: PipelineConfig) -> dict[str, Any]:
    """What is done already, from RUN/pipeline.json.

    Raises:
        UserError: the run directory was made with other settings.
    """
    path = config.logs / "pipeline.json"
    if config.fresh and config.logs.exists():
        check(path.exists(), f"{config.logs} holds no pipeline run; --fresh will not remove it.")
        shutil.rmtree(config.logs)
    settings = cli.to_json(replace(config, fresh=False, dry_run=False))
    record = read_json(path) if path.exists() else {}
    if not path.exists() or (_is_record(record) and not record["done"]):  # nothing to contradict yet
        record = {"config": settings, "cores": os.cpu_count(), "done": {}, "spent": record.get("spent", {})}
    check(_is_record(record), f"{path} is no record of a pipeline; move it away, or pass another --logs.")
    before = {**cli.to_json(PipelineConfig()), **record["config"]}  # an older run lacks newer settings
    changed = [name for name in settings if settings[name] != before[name]]
    free = {"rounds", "last_generations", "validation_episodes", "max_workers", "logs", "carla"}
    check(
        set(changed) <= free,
        f"{config.logs} was made with other settings ({', '.join(changed)}); use those again (see {path}), "
        "another --logs, or --fresh to start over.",
    )
    if any(settings[name] > before[name] for name in ("rounds", "last_generations")):
        last = f"round {before['rounds']}: C in the real environment"
        record["done"] = {name: step for name, step in record["done"].items() if name.startswith("round")}
        record["done"].pop(last, None)
    record["config"] = settings
    write_json(path, record)
    return record


def _is_record(value: Any) -> bool:
    parts = (value.get("config"), value.get("done")) if isinstance(value, dict) else (None,)
    return all(isinstance(part, dict) for part in parts) and "rounds" in value["config"]


def run_step(config: PipelineConfig, step: Step, record: dict[str, Any]) -> None:
    """Run one command; note it as done.

    Raises:
        UserError: it failed; its own message stands above.
    """
    minutes = (
        read_json(config.logs / "vae" / "quality.json")["train_seconds"] / 60
        if SAME_TIME in step.command
        else 0
    )
    command = [f"{minutes:.2f}" if part == SAME_TIME else part for part in step.command]
    print(f"\n== {step.name}\n   python {shlex.join(command)}", flush=True)
    spent = record.setdefault("spent", {})
    before, began = spent.get(step.name, 0.0), time.monotonic()

    def note_time() -> None:
        """What a step that is killed and run again has cost."""
        spent[step.name] = round(before + time.monotonic() - began, 1)
        write_json(config.logs / "pipeline.json", record)

    code = call([sys.executable, str(HERE / command[0]), *command[1:]], note_time)
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    check(code == 0, f"'{step.name}' failed (see above); run the same command again to go on from there.")
    seconds = spent.pop(step.name)
    record["done"][step.name] = {"seconds": seconds, "command": shlex.join(["python", *command])}
    write_json(config.logs / "pipeline.json", record)
    write_report(config.logs)


def call(command: list[str], note_time: Callable[[], None]) -> int:
    """Run a command, with a note of the time now and then and at its end; its exit status."""
    # torch's waiting threads else spin on busy cores: 4 x slower
    process = subprocess.Popen(command, env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ)
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=NOTE_EVERY_S)
            note_time()
    except KeyboardInterrupt:  # the command has got it, too, and saves what it has
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    return process.returncode


def show_result(config: PipelineConfig) -> None:
    """Print the score and where the report is."""
    report = write_report(config.logs)
    print()
    for name in ("dream", "real", *(["pursuit"] if config.is_carla else [])):
        print(f"{score_title(name)}: {score_line(read_json(config.logs / f'test-{name}.json'))}")
    print(f"report: {report.resolve()}")


if __name__ == "__main__":
    cli.run(main)
