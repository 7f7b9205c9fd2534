"""CarRacing: steps per second of one core, ours beside gymnasium's and, where it is installed, EnvPool's.

All play the same whole episodes (tracks, actions), resets included, in turns in one process; EnvPool alone, whose
reset takes no seed, drives tracks of its own.

    python -m benchmarks.carracing [--json]
"""

import importlib
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import gymnasium
import numpy as np

import envs
from benchmarks import timing
from utils import cli

SEEDS = (0, 1, 2)
"""Tracks, one a run in turn."""


@dataclass(frozen=True)
class CarRacingBenchmark(timing.BenchConfig):
    """What is measured."""

    steps: int = 1000
    """steps of an episode"""


def actions_of(seed: int, steps: int) -> np.ndarray:
    """Gentle driving, float32 (steps, 3): steering, gas and brake that each hold for a while."""
    rng = np.random.default_rng(seed)
    held = rng.uniform([-0.3, 0.0, 0.0], [0.3, 0.4, 0.1], (steps // 10 + 1, 3))
    return held.repeat(10, axis=0)[:steps].astype(np.float32)


def playing(env: Any, steps: int, batch: bool) -> timing.Work:
    """Work that plays one episode of at most so many steps, the next track at each call."""
    turn = iter(SEEDS * 1000)

    def play() -> int:
        seed = next(turn)
        actions = actions_of(seed, steps)
        env.reset(seed=seed)
        for t, action in enumerate(actions):
            _, _, terminated, truncated, _ = env.step(action[None] if batch else action)
            if np.any(terminated) or np.any(truncated):
                return t + 1
        return steps

    return play


def envpool_work(steps: int) -> timing.Work | None:
    """EnvPool's CarRacing-v3 in one thread, or None where it is not installed."""
    try:
        envpool = importlib.import_module("envpool")
    except ImportError:
        return None
    env = envpool.make_gymnasium("CarRacing-v3", num_envs=1, num_threads=1, seed=0, max_episode_steps=steps)

    def play() -> int:
        env.reset()
        for t, action in enumerate(actions_of(0, steps)):
            _, _, terminated, truncated, _ = env.step(action[None])
            if terminated[0] or truncated[0]:
                return t + 1
        return steps

    return play


def measure(steps: int, runs: int) -> dict[str, float]:
    """Median steps/s of everybody."""
    works: dict[str, Callable[[], int]] = {
        "gymnasium CarRacing-v3, 96x96": playing(
            gymnasium.make("CarRacing-v3").unwrapped, steps, batch=False
        ),
        "ours, 96x96": playing(envs.make("CarRacing-v2", 1, size=96, max_steps=steps), steps, batch=True),
        "ours, 64x64": playing(envs.make("CarRacing-v2", 1, size=64, max_steps=steps), steps, batch=True),
    }
    pool = envpool_work(steps)
    if pool is not None:
        works["EnvPool, 96x96"] = pool
    return timing.compare_all(works, runs)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    config = cli.parse(CarRacingBenchmark, argv, prog="python -m benchmarks.carracing", description=__doc__)
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    cv2.setNumThreads(1)
    rates = measure(config.steps, config.runs)
    peer = rates.pop("gymnasium CarRacing-v3, 96x96")
    rows = [timing.row(name, ours, peer) for name, ours in rates.items()]
    timing.report(rows, config.json, peer="gymnasium CarRacing-v3", python=platform.python_version())


if __name__ == "__main__":
    cli.run(main)
