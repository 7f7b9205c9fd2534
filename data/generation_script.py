"""Fills a dataset folder with rollouts. Run it again with more --rollouts and it adds what is missing."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

if not __package__:  # run as a script, Python puts data/ on the path, not the repository
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from data.collect import CollectorMaker, PolicyName, Slice, make_env, only_writer, plan, total_frames
from data.episodes import Index, load_index
from data.policies import NoiseConfig
from data.shards import DatasetHeader
from data.trained import run_files
from utils import cli
from utils.device import DeviceName
from utils.errors import check, check_not_negative, check_positive
from utils.files import check_writable, sweep_temp
from utils.parallel import available_cores, open_backend
from utils.progress import bar

INDEX_EVERY_S = 5.0
"""The index is written this often; what it lacks after a kill is read from the shards."""


@dataclass(frozen=True)
class GenerationConfig:
    """What to record."""

    rollouts: int = 100
    """episodes that the dataset shall hold in the end"""
    rootdir: Path = Path("datasets/carracing")
    """the dataset's folder"""
    threads: int | None = None
    """worker processes; one a core by default; the data do not depend on it"""
    policy: PolicyName = "brown"
    """who drives; mixed: of ten episodes 8 brown, 2 white, or 6 controller, 3 brown, 1 white once --logs has one"""
    env: str = "CarRacing-v2"
    """environment: CarRacing-v2, WorldModels/CarRacing-v3, dream, or module:function of your own"""
    seq_len: int = 1000
    """longest rollout, in env steps"""
    size: int = 64
    """height and width of a frame, in pixels"""
    renderer: Literal["fast", "gymnasium"] = "fast"
    """who draws CarRacing: ours, or gymnasium's own (slow)"""
    action_repeat: int = 1
    """simulator steps an action, in CarRacing"""
    logs: cli.LogsArg = Path("exp_dir")
    """run directory of the controller, or of the dream"""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    seed: int = 0
    """of tracks, noise and split; fixed for a dataset"""
    device: DeviceName = "cpu"
    """where V and M run when a controller drives"""
    dry_run: bool = False
    """print the resolved config and stop"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "rollouts", "seq_len", "size", "action_repeat", "threads")
        check_not_negative(self, "seed")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the flags and bring the dataset up to --rollouts episodes."""
    config = cli.parse(GenerationConfig, argv, prog="data/generation_script.py", description=__doc__)
    if config.dry_run:
        print(cli.describe(config))
        return
    check_writable(config.rootdir)
    with only_writer(config.rootdir):
        index = _open_dataset(config)
        has_controller = run_files(config.logs).controller.is_file()
        slices = plan(index, config.rollouts, config.policy, has_controller)
        maker = CollectorMaker(config.rootdir, index.header, config.logs, config.noise, config.device)
        if any("controller" in task.policies for task in slices):
            maker().prepare("controller")  # a missing model is told before any worker starts
        index = _collect(config, index, slices, maker)
    infos = [info for shard in index.shards for info in shard.episodes]
    megabytes = sum(shard.size for shard in index.shards) / 1e6
    print(
        f"{config.rootdir} holds {len(infos)} rollouts, {total_frames(infos):,} frames, {megabytes:,.1f} MB; "
        "a larger --rollouts adds more."
    )


def env_spec(config: GenerationConfig) -> dict[str, Any]:
    """The env as datasets describe it."""
    if config.env in ("dream", "DreamCarRacing-v2"):
        return {"name": config.env, "options": {"logs": str(config.logs)}}
    options: dict[str, Any] = {"size": config.size}
    if "CarRacing" in config.env or config.env == "carracing":
        options |= {"renderer": config.renderer, "action_repeat": config.action_repeat}
    return {"name": config.env, "options": options}


def _open_dataset(config: GenerationConfig) -> Index:
    """The index of what is there, once left-overs are swept and nothing contradicts the flags."""
    spec = env_spec(config)
    env = make_env(spec, 1)
    _, height, width, channels = env.observation_space.shape or (0, 0, 0, 0)
    _, action_size = env.action_space.shape or (0, 0)
    env.close()
    header = DatasetHeader(spec, (height, width, channels), action_size, config.seed, config.seq_len)
    for folder in (config.rootdir, config.rootdir / "shards"):
        sweep_temp(folder)
    if not (config.rootdir / "index.json").exists() and not any(config.rootdir.glob("shards/*.h5")):
        return Index(header)
    index = load_index(config.rootdir, mending=True)
    for name, new in header.to_json().items():
        old = index.header.to_json()[name]
        check(
            old == new,
            f"{config.rootdir} was recorded with {name} = {old}, now it is {new}; use the same flags to extend it, "
            "or another --rootdir.",
        )
    return index


def _collect(config: GenerationConfig, index: Index, slices: list[Slice], maker: CollectorMaker) -> Index:
    """Run the slices and keep the index."""
    index.save(config.rootdir)
    if not slices:
        return index
    threads = min(config.threads or available_cores(), len(slices))
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
                    index.save(config.rootdir)
                    saved = now
    finally:
        index.save(config.rootdir)
    return index


if __name__ == "__main__":
    cli.run(main)
