"""A small dataset of drawn frames, for tests of what reads datasets."""

from pathlib import Path
from typing import Any

import numpy as np

from data.episodes import EpisodeStore
from data.shards import DatasetHeader, ShardWriter

ENV_SPEC: dict[str, Any] = {"name": "CarRacing-v2", "options": {"size": 16}}


def make_store(
    root: Path,
    episodes: int = 10,
    length: int = 7,
    size: int = 16,
    first: int = 0,
    env_spec: dict[str, Any] = ENV_SPEC,
) -> EpisodeStore:
    """Write one shard of episodes [first, episodes); pixel (0, 0) of each frame is (episode, t, 0)."""
    writer = ShardWriter(DatasetHeader(env_spec, (size, size, 3), 3, 0, length))
    for i in range(first, episodes):
        rng = np.random.default_rng(i)
        for t in range(length + 1):
            writer.add(i, frame(i, t, size))
        actions = rng.uniform(-1, 1, (length, 3)).astype(np.float32)
        rewards = np.zeros(length, np.float32)
        writer.close_episode(i, actions, rewards, False, True, i, "brown")
    writer.save(root / "shards" / f"episodes-{first:06d}-{episodes - 1:06d}.h5")
    return EpisodeStore(root)


def frame(episode: int, t: int, size: int) -> np.ndarray:
    """A green field with a grey road that moves with t."""
    picture = np.full((size, size, 3), (100, 200, 100), np.uint8)
    left = (3 * episode + t) % (size // 2)
    picture[:, left : left + size // 4] = 105
    picture[0, 0] = (episode, t, 0)
    return picture
