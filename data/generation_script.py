"""Fills a dataset folder with rollouts. Run it again with more --rollouts and it adds what is missing.

Ten rollouts make a file. A kill loses those in flight, ten a worker at most, and leaves no broken file.
"""

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a script, Python puts data/ on the path, not the repository
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from data.collect import SLICE, CollectorMaker, PolicyName, Slice, make_env, plan, total_frames
from data.episodes import Index, load_index
from data.policies import NoiseConfig
from data.shards import DatasetHeader
from data.trained import driver_files, folder_name
from envs import specs
from envs.specs import CarlaFlags, CarRacingFlags
from utils import cli
from utils.device import DeviceName
from utils.errors import check, check_not_negative, check_positive
from utils.files import LOCK, check_writable, only_writer, sweep_temp
from utils.parallel import available_cores, open_backend
from utils.progress import bar

INDEX_EVERY_S = 5.0
"""The index is written this often; what it lacks after a kill is read from the shards."""


@dataclass(frozen=True)
class GenerationConfig:
    """What to record."""

    rollouts: int = 100
    """episodes that the dataset shall hold in the end"""
    rootdir: Path | None = None
    """the dataset's folder; datasets/carracing by default, or datasets/carla"""
    threads: int | None = None
    """worker processes; one a core by default; the data do not depend on it"""
    policy: PolicyName = "brown"
    """who drives; lane: the env's own lane follower, who knows the road, with noise; dreamer: where the evolution in
    the dream has got to, which may exploit M, so that M learns better; mixed: of ten episodes 7 lane,
    2 brown, 1 white, or, once --logs has a controller, 5 controller, 4 lane, 1 brown; in an env that has no lane
    follower 8 brown, 2 white, or 6 controller, 3 brown, 1 white"""
    env: str = "CarRacing-v2"
    """environment: CarRacing-v2, WorldModels/CarRacing-v3, carla, CarlaRoute-v0, dream, or module:function of your
    own"""
    seq_len: int = 1000
    """longest rollout, in env steps"""
    patience: int | None = None
    """give a rollout up after this many steps in a row without a positive reward; never by default"""
    size: int = 64
    """height and width of a frame, in pixels"""
    action_repeat: int | None = None
    """simulator steps an action; 1 by default, 2 in CARLA"""
    carracing: CarRacingFlags = field(default_factory=CarRacingFlags)
    carla_env: CarlaFlags = field(default_factory=CarlaFlags)
    carla: specs.CarlaArg = None
    """CARLA's server, HOST:PORT, or several with commas between; without it CARLA_ROOT's simulator is started, or our
    lite server"""
    logs: cli.LogsArg = Path("exp_dir")
    """run directory of the controller (the one evolved for real, if it has one, else the dream's), or of the dream"""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    seed: int = 0
    """of tracks, noise and split; fixed for a dataset"""
    device: DeviceName = "cpu"
    """where V and M run when a controller drives"""
    dry_run: bool = False
    """print the resolved config and stop"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "rollouts", "seq_len", "patience", "size", "action_repeat", "threads")
        check_not_negative(self, "seed")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the flags and bring the dataset up to --rollouts episodes."""
    config = cli.parse(GenerationConfig, argv, prog="data/generation_script.py", description=__doc__)
    if config.dry_run:
        print(cli.describe(config))
        return
    rootdir = config.rootdir or specs.default_dataset(config.env)
    spec = env_spec(config)
    here = specs.at_simulator(spec, config.carla)
    check_writable(rootdir)
    with only_writer(rootdir / LOCK, f"another generation command is filling {rootdir}"):
        index, has_guide = _open_dataset(config, rootdir, spec, here)
        has_controller = driver_files(config.logs) is not None
        slices = plan(index, config.rollouts, config.policy, has_controller, has_guide)
        slots, threads = specs.capacity(here, None, config.threads or available_cores())
        maker = CollectorMaker(
            rootdir,
            index.header,
            config.logs,
            config.noise,
            config.device,
            here,
            slots or SLICE,
            config.patience,
        )
        asked = {policy for task in slices for policy in task.policies}
        for policy in asked & {"controller", "dreamer", "lane"}:
            with contextlib.closing(maker()) as collector:
                collector.prepare(policy)  # a missing model or guide is told before any worker starts
                for note in collector.notes:
                    print(note)
        index = _collect(rootdir, index, slices, maker, threads)
    infos = [info for shard in index.shards for info in shard.episodes]
    megabytes = sum(shard.size for shard in index.shards) / 1e6
    print(
        f"{rootdir} holds {len(infos)} rollouts, {total_frames(infos):,} frames, {megabytes:,.1f} MB; "
        "a larger --rollouts adds more."
    )


def env_spec(config: GenerationConfig) -> dict[str, Any]:
    """The env as datasets describe it."""
    spec = specs.make_spec(config.env, config.size, config.action_repeat, config.carracing, config.carla_env)
    if specs.kind(config.env) == "dream":
        return {
            "name": spec["name"],
            "options": {"logs": folder_name(config.logs), "max_steps": config.seq_len},
        }
    return spec


def _open_dataset(
    config: GenerationConfig, rootdir: Path, spec: dict[str, Any], here: dict[str, Any]
) -> tuple[Index, bool]:
    """The index of what is there, left-overs swept and nothing contradicting; whether the env has a guide."""
    env = make_env(here, 1)
    _, height, width, channels = env.observation_space.shape or (0, 0, 0, 0)
    _, action_size = env.action_space.shape or (0, 0)
    has_guide = env.has_guide
    env.reset(seed=[0])  # what does not work is told before anything is written
    env.close()
    header = DatasetHeader(spec, (height, width, channels), action_size, config.seed, config.seq_len)
    for folder in (rootdir, rootdir / "shards"):
        sweep_temp(folder)
    if not (rootdir / "index.json").exists() and not any(rootdir.glob("shards/*.h5")):
        return Index(header), has_guide
    index = load_index(rootdir, mending=True)
    if not index.shards:  # stopped before there was anything to contradict
        return Index(header), has_guide
    for name, new in header.to_json().items():
        old = index.header.to_json()[name]
        check(
            old == new,
            f"{rootdir} was recorded with {name} = {old}, now it is {new}; use the same flags to extend it, "
            "or another --rootdir.",
        )
    return index, has_guide


def _collect(rootdir: Path, index: Index, slices: list[Slice], maker: CollectorMaker, threads: int) -> Index:
    """Run the slices and keep the index."""
    index.save(rootdir)
    if not slices:
        return index
    threads = min(threads, len(slices))
    total = sum(len(task.ids) for task in slices)
    backend = open_backend("process" if threads > 1 else "serial", maker, threads)
    frames, size, started = 0, 0, time.monotonic()
    saved = started
    try:
        with backend, bar(total, "rollouts", "rollouts") as progress:
            for _, shard in backend.imap(slices):
                index = index.with_shard(shard)
                frames, size = frames + total_frames(shard.episodes), size + shard.size
                now = time.monotonic()
                rate = frames / (now - started)
                progress.set_postfix_str(f"{rate:,.0f} frames/s, {size / 1e6:,.1f} MB", refresh=False)
                progress.update(len(shard.episodes))
                if now - saved > INDEX_EVERY_S:
                    index.save(rootdir)
                    saved = now
    finally:
        index.save(rootdir)
    return index


if __name__ == "__main__":
    cli.run(main)
