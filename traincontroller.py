"""Stage C: evolves a linear controller on what V and M see, in the real environment or in the dream.

CMA-ES proposes candidates; every candidate of a generation drives the same tracks. Every few generations the
distribution's mean, the best candidate and the average of the last means drive fixed validation tracks in the real
environment: the best of those is what is kept, and what --target-return is tested against. All is saved each
generation: the same command goes on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data import trained
from data.search import VALIDATED, ControllerSearch
from data.search_config import SearchConfig
from envs import specs
from envs.dream import DreamConfig
from envs.evaluation import Place, PlayerMaker
from models.controller import LinearController
from utils import cli, plots
from utils.checkpoint import fingerprint, load_state
from utils.device import DeviceName, pick
from utils.errors import check, check_positive
from utils.files import check_writable
from utils.logger import Logger, read_metrics
from utils.parallel import BackendName, available_cores, open_backend
from utils.run_dir import RunDir

STAGES: dict[Place, str] = {"real": "controller", "dream": "controller-dream"}


@dataclass(frozen=True)
class ControllerConfig(SearchConfig):
    """Everything that stage C can be told."""

    logs: cli.LogsArg = Path("exp_dir")
    """run directory; V and M are read from it, C goes to its controller/ or controller-dream/"""
    carla: specs.CarlaArg = None
    """CARLA's server, as in generation_script.py; of several each worker takes one"""
    start: Literal["zero", "best"] = "zero"
    """first mean: zeros, or the best on validation of the controllers that the run directory holds, in the dream of
    those evolved there: on an M that was trained on they still drive"""
    dream: DreamConfig = field(default_factory=DreamConfig)
    """how dreams run"""
    max_workers: int | None = None
    """worker processes, one a core by default; results do not depend on it"""
    backend: BackendName = "process"
    """worker processes, Ray's actors (an extra; the cluster at RAY_ADDRESS, or here), or all in this process"""
    device: DeviceName = "cpu"
    """where V and M run; a GPU pays off for large dreams with --backend serial"""
    fresh: bool = False
    """start over: remove what an earlier evolution left"""
    dry_run: bool = False
    """print the resolved config and sizes, and stop"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        super().__post_init__()
        check_positive(self, "max_workers")


PRESETS = {
    "carracing": ControllerConfig(pop_size=64, n_samples=4, max_hours=3.0),
    "quick": ControllerConfig(pop_size=16, n_samples=2, generations=40, validation_episodes=8),
    "tiny": ControllerConfig(pop_size=4, n_samples=1, generations=2, validation_episodes=2, max_workers=2),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Evolve C, or go on with it."""
    config = cli.parse(
        ControllerConfig, argv, prog="traincontroller.py", description=__doc__, presets=PRESETS
    )
    files = trained.run_files(config.logs)
    world = trained.load_world_model(files, pick(config.device))
    world = world._replace(env_spec=trained.real_env(config.env, world, config.logs))
    here = specs.at_simulator(world.env_spec, config.carla)
    starts = trained.load_starts(files)
    dreams = None
    if config.place == "dream":  # other start states are other dreams
        dreams = starts
        world = world._replace(fingerprints=world.fingerprints | {"starts": fingerprint(files.starts)})
    maker = PlayerMaker(world.world_model, here, dreams, config.dream)
    controller = maker().controller(config.place, config.features == "zh", config.expo)
    workers = config.max_workers or available_cores()
    slots, drivers = specs.capacity(here, config.slots, workers)
    if config.place == "real":
        workers = drivers
    if config.dry_run:
        print(f"{cli.describe(config)}\n{controller.num_params:,} parameters")
        return
    run = RunDir(config.logs, STAGES[config.place])
    check_writable(run.path)
    with run.lock():
        state = saved_state(config, run, world)
        means = [] if state else first_means(config, controller, world.world_model.feature_sizes)
        with open_backend(config.backend, maker, workers) as backend:
            search = ControllerSearch(config, run, world, here, controller, starts, backend, slots, drivers)
            print(
                f"{controller.num_params:,} parameters; {config.pop_size} candidates x {config.n_samples} tracks a "
                f"generation, on {workers} workers" + ("" if config.display else "; --display shows each"),
                flush=True,
            )
            first_row = search.begin(means) if state is None else {}
            # only now, for with --fresh it removes what was there: the workers have worked
            prepare(config, run, goes_on=state is not None)
            if state is not None:
                search.restore(state)
            run.write_config(cli.to_json(config))
            with Logger(run, resume_step=None if state is None else search.evolution.generation) as logger:
                if state is None:
                    logger.log(0, first_row)
                    search.save_first()
                try:
                    reason = search.evolve(logger)
                finally:
                    draw_curves(run)
        print(
            f"{run.path}: {reason}, or start over with --fresh.\n"
            f"best validation return {search.best_score:.1f} (mean of {config.validation_episodes} tracks), kept in "
            f"{run.best}"
        )


def saved_state(config: ControllerConfig, run: RunDir, world: trained.Trained) -> dict[str, Any] | None:
    """What an earlier call saved, if it is to go on: not with --fresh, nor when V or M are others now."""
    if config.fresh or not run.state.exists():
        return None
    needed = ("fingerprints", "evolution", "best_score", "best_params", "validation_episodes")
    state = load_state(run.state, *needed)
    return state if state["fingerprints"] == world.fingerprints else None


def first_means(config: ControllerConfig, controller: LinearController, sizes: set[int]) -> list[np.ndarray]:
    """Where an evolution may begin."""
    if config.start == "zero":
        return [np.zeros(controller.num_params)]
    stages = [STAGES["dream"]] if config.place == "dream" else STAGES.values()
    paths = [path for stage in stages for path in kept(config.logs, stage)]
    check(paths, f"--start best: {config.logs} holds no controller yet; pass --start zero.")
    found = [trained.load_controller(path, sizes) for path in paths]
    for path, (other, _, _) in zip(paths, found, strict=True):
        check(
            (other.feature_size, other.expo) == (controller.feature_size, controller.expo),
            f"--start best: {path} was evolved with --expo {other.expo:g} and sees {other.feature_size} features, "
            f"not {controller.feature_size}; pass the same --expo and --features, or --start zero.",
        )
    return [driver.params.astype(np.float64) for driver in found]


def asides(logs: Path, stage: str) -> list[str]:
    """Names of the evolutions of a stage that were set aside, in order."""
    names = (f"{stage}-old{number}" for number in itertools.count(1))
    return list(itertools.takewhile(lambda name: (logs / name).exists(), names))


def kept(logs: Path, stage: str) -> list[Path]:
    """The best controller of a stage, if there is one.

    Where a new evolution was stopped before it had one, that of the evolution set aside for it.
    """
    bests = [RunDir(logs, name).best for name in (stage, *reversed(asides(logs, stage)))]
    return [best for best in bests if best.exists()][:1]


def prepare(config: ControllerConfig, run: RunDir, goes_on: bool) -> None:
    """Make the folder; an evolution on another V or M is set aside, never written over."""
    if run.state.exists() and not goes_on and not config.fresh:
        aside = run.path.with_name(f"{run.stage}-old{len(asides(config.logs, run.stage)) + 1}")
        run.path.rename(aside)
        print(
            f"V, M or the dreams' start states have changed since {run.path} was evolved: it is now {aside}, and C "
            "starts over."
        )
    run.prepare(config.fresh)


def draw_curves(run: RunDir) -> None:
    """Best, mean and validation against the generation; of a dream, real return against dream return besides."""
    rows = read_metrics(run.metrics)
    series = {}
    for name in ("best", "mean", *(f"validation_{who}" for who in VALIDATED)):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            series[name] = tuple(zip(*points, strict=True))
    if series:
        plots.curve(run.pictures / "learning_curve.png", series, "generation", "return", f"C ({run.stage})")
    pairs = np.array(
        [
            (row[f"dream_{which}"], row[f"validation_{which}"])
            for row in rows
            for which in VALIDATED
            if row.get(f"dream_{which}") is not None
        ]
    )
    if len(pairs):
        plots.scatter(run.pictures / "gap.png", pairs[:, 0], pairs[:, 1], "dream return", "real return")


if __name__ == "__main__":
    cli.run(main)
