"""Seeds: every random draw is a function of the user's seed and of what it is for."""

import zlib
from typing import Literal

import numpy as np

from utils.errors import check

Split = Literal["train", "validation", "test"]

SPAN = 2**30
"""Tracks in each of the three disjoint ranges of track seeds."""
FIRST_SEED: dict[Split, int] = {"train": 0, "validation": SPAN, "test": 2 * SPAN}


def _words(keys: tuple[int | str, ...]) -> list[int]:
    return [zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys]


def derive(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(seed, "noise", episode)`. Numbers must not be negative."""
    state = np.random.SeedSequence([seed, *_words(keys)]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def rng(seed: int, *keys: int | str) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *_words(keys)])))


def track_seeds(split: Split, start: int, count: int) -> list[int]:
    """Seeds of `count` tracks of a split, from its `start`-th on.

    Training tracks are [0, 2^30), validation tracks [2^30, 2 * 2^30), test tracks [2 * 2^30, 3 * 2^30).

    Raises:
        UserError: the seeds would leave the split's range.
    """
    check(
        start >= 0 and start + count <= SPAN,
        f"a {split} seed must lie between 0 and {SPAN - count}; got {start}.",
    )
    first = FIRST_SEED[split] + start
    return list(range(first, first + count))
