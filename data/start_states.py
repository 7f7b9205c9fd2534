"""Start states of dreams, drawn from encoded real episodes."""

from collections.abc import Collection

import numpy as np
import torch

from data.latents import LatentStore
from envs.starts import StartStates, warm_up
from models.world_model import WorldModel
from utils import seeding

WARMUP = 64
"""Real steps that M watches before a dream, or all there are since the episode's start."""
BEHIND = 3
"""Steps within which reality must have paid something before a start, unless the episode had only begun."""
NUM_LENGTHS = 40
"""Lengths for which the best stretch is looked up; in between it is interpolated."""


def draw_starts(
    latents: LatentStore,
    world_model: WorldModel,
    bounds: tuple[np.ndarray, np.ndarray],
    count: int,
    seed: int,
    warmup: int = WARMUP,
    first_share: float = 0.0,
    drives: Collection[int] = (),
    drives_share: float = 0.0,
) -> StartStates:
    """Moments of training episodes that paid, each as likely as any other, and some chosen ones.

    A dream that begins off the road teaches nothing: after random driving most moments are such. And a driver who is
    evolved in dreams that begin as others drive, who brake before a bend that no picture shows yet, is never too fast
    in one.

    Args:
        latents: the encoded dataset.
        world_model: V and M.
        bounds: low and high of the real env's actions, each (A,).
        count: how many.
        seed: of the draw.
        warmup: steps that M watches before each.
        first_share: share of the draws that are moved to the beginning of their episode: in CARLA cars stand there.
        drives: ids of the episodes of evolved drivers, and
        drives_share: the share of the draws that come from them, if there are any.

    Returns:
        The states, on the CPU.
    """
    rng = seeding.rng(seed, "starts")
    rows = paid_rows(latents)
    chosen = rows[rng.integers(len(rows), size=count)]
    own = rows[np.isin(latents.ids[_episode(latents, rows)], list(drives))]
    if len(own) and (num := round(drives_share * count)):
        chosen[-num:] = own[rng.integers(len(own), size=num)]
    episode = _episode(latents, chosen)
    first = latents.offsets[episode]
    phase = chosen - first
    phase[: round(first_share * count)] = 0
    lengths = np.minimum(phase, warmup)
    place = np.maximum(np.arange(-warmup, 0) + phase[:, None], 0) + first[:, None]  # rows before each start

    device = world_model.device
    z, action = (torch.from_numpy(array[place]).to(device) for array in (latents.mu, latents.actions))
    h, c = warm_up(world_model, z, action, torch.from_numpy(lengths).to(device))
    low, high = (np.asarray(bound, np.float32) for bound in bounds)
    z = torch.from_numpy(latents.mu[first + phase])
    return StartStates(z, h.cpu(), c.cpu(), low, high, best_stretches(latents))


def _episode(latents: LatentStore, rows: np.ndarray) -> np.ndarray:
    """Which episodes the rows belong to."""
    return np.searchsorted(latents.offsets, rows, side="right") - 1


def paid_rows(latents: LatentStore) -> np.ndarray:
    """The rows of the training episodes up to BEHIND steps after a reward or the beginning, (N,)."""
    episodes = latents.episodes("train")
    phase = np.concatenate([np.arange(int(latents.lengths[e])) for e in episodes])
    rows = np.repeat(latents.offsets[episodes], latents.lengths[episodes]) + phase
    paid = np.concatenate([[0], np.cumsum(latents.rewards > 0)])
    return rows[(phase < BEHIND) | (paid[rows] > paid[rows - np.minimum(phase, BEHIND)])]


def best_stretches(latents: LatentStore) -> np.ndarray:
    """What stretches of the best real episode paid on average, for some lengths from one step to the longest.

    Returns:
        Steps and rewards, (2, K); the best episode of one length need not be that of another.
    """
    longest = int(latents.lengths[latents.episodes("train")].max())
    steps = np.unique(np.geomspace(1, longest, NUM_LENGTHS).round().astype(int))
    most = np.full(len(steps), -np.inf)
    for e in latents.episodes("train"):
        first, length = latents.offsets[e], latents.lengths[e]
        total = np.concatenate([[0.0], np.cumsum(latents.rewards[first : first + length], dtype=np.float64)])
        for i, count in enumerate(steps[steps <= length]):
            most[i] = max(most[i], (total[count:] - total[:-count]).mean())
    return np.stack([steps, most])
