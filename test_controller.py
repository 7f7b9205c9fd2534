"""Scores a controller on held-out tracks, and records a drive.

Without flags it drives the controller in exp_dir, or, where none has been trained yet, the best one that this
repository ships.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import envs
from data import trained
from data.trained import DEFAULT_LOGS, SHIPPED, SHIPPED_CARLA, STAGES
from envs import specs
from envs.dream import DreamConfig
from envs.evaluation import Driver, Place, PlayerMaker, Scores, dream_slots, play
from envs.measures import Measure
from envs.recording import Scene, film, picture
from utils import cli, seeding
from utils.device import DeviceName, num_threads, pick
from utils.errors import check, check_not_negative, check_positive
from utils.files import check_writable, write_json
from utils.parallel import BackendName, available_cores, open_backend
from utils.progress import bar
from utils.video import write_gif, write_video

FPS = 50
DRIVERS: dict[str, Driver] = {"controller": "controller", "pursuit": "guide"}
GIF_FPS, GIF_FRAMES = 10.0, 60


@dataclass(frozen=True)
class TestConfig:
    """What is tested, and how."""

    logs: Annotated[Path | None, tyro.conf.arg(aliases=["--logdir"])] = None
    """run directory; by default exp_dir, or pretrained/carracing if that holds no controller"""
    stage: Literal["controller", "controller-dream"] | None = None
    """which controller of the run; by default the one evolved in the real environment, if there is one"""
    episodes: int = 100
    """held-out tracks to drive"""
    seed: int = 0
    """number of the first held-out track"""
    env: str = "real"
    """where: real, which the real env's name (carracing, carla) means too, or dream"""
    driver: Literal["controller", "pursuit"] = "controller"
    """who drives: the controller, or the env's own pure-pursuit driver, who knows the road, as a yardstick"""
    renderer: Literal["gymnasium", "fast"] = "gymnasium"
    """who draws CarRacing; final scores are taken with gymnasium's own"""
    perturbation: Literal["none", "color", "bars"] = "none"
    """CarRacing only: road and grass in shifted colours, or black bars at both sides, which V has never seen"""
    carla: specs.CarlaArg = None
    """CARLA's server, as in generation_script.py; of several each worker takes one"""
    dream: DreamConfig = field(default_factory=DreamConfig)
    """how dreams run"""
    record: Annotated[tuple[()] | tuple[Path] | None, tyro.conf.arg(metavar="[FILE]")] = None
    """write a video of the first track: real frame, V's reconstruction, M's dream; to drive.mp4 in the run
    directory, or to the FILE given; a FILE.gif gets a small excerpt"""
    resync: int = 50
    """steps after which the dream in the video starts anew from the real drive"""
    json: Path | None = None
    """write the scores to this file"""
    max_workers: int | None = None
    """worker processes, one a core by default; results do not depend on it"""
    backend: BackendName = "process"
    """worker processes, Ray's actors (an extra; the cluster at RAY_ADDRESS, or here), or all in this process"""
    slots: int | None = None
    """episodes that a worker plays side by side; chosen by their number by default, 4 at most in CARLA"""
    device: DeviceName = "cpu"
    """where V and M run"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "episodes", "resync", "max_workers", "slots")
        check_not_negative(self, "seed")
        for path in self.record or ():
            check(path.suffix in (".mp4", ".gif"), f"--record writes .mp4 or .gif files, not {path}.")
        known = "the dream has no road to be known"
        check(
            self.env != "dream" or self.driver == "controller", f"--driver pursuit: {known}; take --env real."
        )

    @property
    def place(self) -> Place:
        """Where the drives take place."""
        return "dream" if self.env == "dream" else "real"


def main(argv: Sequence[str] | None = None) -> None:
    """Score, and record if asked."""
    config = cli.parse(TestConfig, argv, prog="test_controller.py", description=__doc__)
    root, files = find_controller(config)
    world = trained.load_world_model(files, pick(config.device))
    starts = trained.load_starts(files) if config.place == "dream" else None
    controller, params, info = trained.load_controller(files.controller, world.world_model.feature_sizes)
    warn_of_other_models(info, world)
    real = specs.at_simulator(trained.real_env(config.env, world, root), config.carla)
    spec = as_drawn(real, config)
    seeds = seeding.track_seeds("test", config.seed, config.episodes)
    maker = PlayerMaker(world.world_model, spec, starts, config.dream)
    maker().check(config.place, DRIVERS[config.driver])  # a misfit is told before any worker starts
    film_path = None if config.record is None else config.record[0] if config.record else root / "drive.mp4"
    for path in (film_path, config.json):
        check_file_to_write(path)
    workers = config.max_workers or available_cores()
    if config.place == "dream":
        slots = dream_slots(config.slots, world.world_model)
    else:
        slots, workers = specs.capacity(spec, config.slots, workers)
    with (
        open_backend(config.backend, maker, workers) as backend,
        bar(config.episodes, "test", "episodes") as progress,
    ):
        scores = play(
            backend,
            config.place,
            controller,
            params[None],
            seeds,
            slots,
            driver=DRIVERS[config.driver],
            on_episodes=progress.update,
        )
    repeat = int(spec["options"].get("action_repeat", 1))
    result = summarise(scores, seeds, measures_of(spec) if config.place == "real" else {}, repeat)
    print(describe(result, config, spec))
    if config.json is not None:
        where = {"env": spec, "place": config.place, "driver": config.driver}
        write_json(config.json, result | where | {"controller": str(files.controller), "info": info})
    if film_path is not None:
        driver = None if config.driver == "pursuit" else controller
        # one thread, as the backends have: the drive filmed is the one scored, but for last bits (a batch of one)
        with contextlib.closing(envs.make_from(spec, 1)) as env, num_threads(1):
            scenes = film(env, world.world_model, driver, params, seeds[0], config.resync)
            count = write_film(film_path, scenes, config.resync, env.metadata.get("render_fps", FPS) / repeat)
        print(f"{count} frames of track {seeds[0]} in {film_path}")


def measures_of(spec: dict[str, Any]) -> Mapping[str, Measure]:
    """What the env of a spec measures of an episode."""
    with contextlib.closing(envs.make_from(spec, 1)) as env:
        return env.measures


def write_film(path: Path, scenes: Iterator[Scene], resync: int, fps: float) -> int:
    """Write the whole drive as mp4, or a small excerpt of its first part as GIF; return the number of pictures."""
    if path.suffix != ".gif":
        return write_video(path, (picture(scene, resync) for scene in scenes), fps)
    stride = max(1, round(fps / GIF_FPS))
    excerpt = itertools.islice(scenes, 0, stride * GIF_FRAMES, stride)
    return write_gif(path, (picture(scene, resync, height=192) for scene in excerpt), fps / stride)


def check_file_to_write(path: Path | None) -> None:
    """Hear before the long drive that its result cannot be written."""
    if path is not None:
        check(not path.is_dir(), f"{path} is a folder; give the name of a file.")
        check_writable(path)


def find_controller(config: TestConfig) -> tuple[Path, trained.TrainedFiles]:
    """The run directory, and its files; the shipped ones if nothing else is there or asked for."""
    root = config.logs or DEFAULT_LOGS
    files = trained.driver_files(root, STAGES if config.stage is None else (config.stage,))
    if files is not None:
        print(f"testing {files.controller}")
        return root, files
    if config.logs is not None and (root / "controller.safetensors").is_file():
        files = trained.shipped_files(root, config.stage)
        check(files.controller.is_file(), f"{root} holds no {files.controller.name}; leave --stage out.")
        return DEFAULT_LOGS, files
    check(
        config.logs is None and config.stage is None,
        f"there is no trained controller in {root}; run traincontroller.py --logs {root} first.",
    )
    shipped = SHIPPED_CARLA if specs.kind(config.env) == "carla" else SHIPPED
    files = trained.shipped_files(shipped)
    check(
        files.controller.is_file(),
        f"there is no trained controller in {root} and none in {shipped}; run traincontroller.py first.",
    )
    print(f"{root} holds no trained controller yet: testing the one shipped in {shipped}")
    return root, files


def warn_of_other_models(info: dict[str, Any], world: trained.Trained) -> None:
    """Say so when the controller was evolved on other weights of V or M."""
    for name, mark in world.fingerprints.items():
        if info.get(name, mark) != mark:
            print(f"note: this controller was evolved with another {name} model than the one it drives with")


def as_drawn(spec: dict[str, Any], config: TestConfig) -> dict[str, Any]:
    """The env spec with the config's renderer and perturbation, if it is a CarRacing.

    Raises:
        UserError: a perturbation is asked for, but it is no CarRacing.
    """
    perturbed = {} if config.perturbation == "none" else {"perturbation": config.perturbation}
    if specs.kind(spec["name"]) == "carracing":
        return specs.with_options(spec, renderer=config.renderer, **perturbed)
    check(not perturbed, f"--perturbation is for CarRacing, but the env is {spec['name']}.")
    return spec


def summarise(
    scores: Scores, seeds: Sequence[int], measures: Mapping[str, Measure], action_repeat: int = 1
) -> dict[str, Any]:
    """Statistics of the returns of one controller.

    Lengths are counted in steps of the simulator, the last action as if it had been held to its end.
    """
    returns, lengths, finished = scores.returns[0], scores.lengths[0] * action_repeat, scores.lap_finished[0]
    means = {name: float(scores.measures[name][0].mean()) for name in measures}
    return {
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "median": float(np.median(returns)),
        "min": float(returns.min()),
        "max": float(returns.max()),
        "episodes": len(returns),
        "laps_finished": int(finished.sum()),
        "steps_per_lap": float(lengths[finished].mean()) if finished.any() else None,
        "measures": means,
        "in_words": [measures[name].text.format(mean) for name, mean in means.items() if measures[name].text],
        "returns": returns.tolist(),
        "lengths": lengths.tolist(),
        "each": {name: scores.measures[name][0].tolist() for name in measures},
        "seeds": list(seeds),
    }


def describe(result: dict[str, Any], config: TestConfig, spec: dict[str, Any]) -> str:
    """The scores in words."""
    where = "in the dream" if config.place == "dream" else f"held-out tracks, {spec['name']}"
    if config.place == "real" and specs.kind(spec["name"]) == "carracing":
        where = f"held-out tracks, {config.renderer} renderer"
        where += "" if config.perturbation == "none" else f", perturbation {config.perturbation}"
    if config.driver == "pursuit":
        where += "; the pure-pursuit driver, which knows the road"
    lap = result["steps_per_lap"]
    return (
        f"return {result['mean']:.1f} +- {result['std']:.1f} over {result['episodes']} episodes ({where})\n"
        f"median {result['median']:.1f}, minimum {result['min']:.1f}, maximum {result['max']:.1f}\n"
        f"{result['laps_finished']} of {result['episodes']} laps finished"
        + (f", {lap:.0f} steps per lap" if lap is not None else "")
        + "".join(f"\n{words}" for words in result["in_words"])
    )


if __name__ == "__main__":
    cli.run(main)
