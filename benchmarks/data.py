"""Does the env wait for the recording? Rollouts all in (policy, frames, compression, disk) against the env alone.

The peer steps the same env with the same seeds through the same actions and drops what it sees; both reset as often.

    python -m benchmarks.data [--json]
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import envs
from benchmarks.timing import BenchConfig, compare_all, report, row
from data.collect import SLICE, Collector, CollectorMaker, Slice
from data.episodes import EpisodeStore
from data.policies import NoiseConfig
from data.shards import DatasetHeader
from utils import cli

SPEC = {"name": "CarRacing-v2", "options": {"size": 64}}
PAPER_EPISODES = 10_000


@dataclass(frozen=True)
class DataBenchmark(BenchConfig):
    """Recording against raw stepping, on one core."""

    steps: int = 300
    """steps an episode"""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    config = cli.parse(DataBenchmark, argv, prog="python -m benchmarks.data", description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        _measure(config, Path(folder))


def _measure(config: DataBenchmark, rootdir: Path) -> None:
    header = DatasetHeader(SPEC, (64, 64, 3), 3, 0, config.steps)
    collector = Collector(CollectorMaker(rootdir, header, rootdir, NoiseConfig(), "cpu", SPEC))
    task = Slice(tuple(range(SLICE)), ("brown",) * SLICE)

    def record() -> int:
        return sum(info.length for info in collector(task).episodes)

    record()
    store = EpisodeStore(rootdir)
    episodes = [store.episode(i) for i in task.ids]
    raw_bytes = sum(episode.obs.nbytes for episode in episodes)
    disk_bytes = sum(path.stat().st_size for path in (rootdir / "shards").iterdir())
    actions = np.zeros((config.steps, SLICE, 3), np.float32)
    for slot, episode in enumerate(episodes):
        actions[: episode.length, slot] = episode.actions
    env = envs.make(SPEC["name"], SLICE, **SPEC["options"])

    def step_only() -> int:
        env.reset(seed=[episode.seed for episode in episodes])
        num = 0
        for action in actions:
            num += int(env.live.sum())
            env.step(action)
        return num

    def read() -> int:
        return sum(len(store.episode(i).obs) for i in task.ids)

    works = {"record": record, "step": step_only, "read": read}
    rates = compare_all(works, config.runs)
    rows = [
        row("recording against the env alone, steps", rates["record"], rates["step"]),
        row("reading whole episodes against recording, frames", rates["read"], rates["record"]),
    ]
    compression = round(raw_bytes / disk_bytes, 2)
    report(
        rows, config.json, compression=compression, bytes_per_frame=round(disk_bytes / (raw_bytes / 12288))
    )
    if not config.json:
        gigabytes = PAPER_EPISODES * 1000 * 12288 / compression / 1e9
        print(
            f"\nframes on disk: 1/{compression} of raw; 10,000 episodes of 1,000 steps take {gigabytes:.0f} GB"
        )


if __name__ == "__main__":
    cli.run(main)
