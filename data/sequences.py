"""Windows of L steps for M, cut from the latents of one episode each.

    position     0        1        2       ...    L - 1      L
    z            z_s      z_{s+1}  z_{s+2} ...    z_{s+L-1}  z_{s+L}      L + 1 latents
    action       a_s      a_{s+1}  a_{s+2} ...    a_{s+L-1}               L
    reward       r_s      ...                     r_{s+L-1}
    terminated   d_s      ...                     d_{s+L-1}
    mask         True while s + position < T; padding after the episode's end is zero

M reads (z_t, a_t) and learns z_{t+1}, r_t and terminated_t, so the target of position i is z at position i + 1.
`truncated` is nowhere: that somebody stopped watching is nothing to learn.

Each epoch lays the windows anew: every episode is tiled from a random phase, and windows that stick out at either
end are pushed inside, so that each step is in one at least. (Of an episode of L + 1 steps most are in three, and the
end of a long one is always the end of a window.) The windows are shuffled; those that do not fill a last batch are
left out. z is drawn afresh from N(mu, sigma) for every batch, each number on its own: how an NVAE's groups depend on
each other is not kept. A batch is a pure function of (seed, step).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.latents import LatentStore
from utils import seeding
from utils.errors import check
from utils.seeding import Split


class Batch(NamedTuple):
    """A batch of windows; what MDNRNN.loss takes."""

    z: Tensor
    """float32 (B, L + 1, Z)."""
    action: Tensor
    """float32 (B, L, A)."""
    reward: Tensor
    """float32 (B, L)."""
    terminated: Tensor
    """bool (B, L)."""
    mask: Tensor
    """bool (B, L): the step is real."""


class SequenceSet:
    """The windows of one split.

    Args:
        latents: the encoded dataset.
        split: which episodes.
        length: L, steps a window.
        batch_size: windows a batch.
        seed: of phases, order and latent noise.
        device: where batches are put.

    Raises:
        UserError: the split is empty, or a number is not positive.
    """

    def __init__(
        self,
        latents: LatentStore,
        split: Split,
        length: int,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        check(length >= 1, f"--seq-len must be at least 1; got {length}.")
        check(batch_size >= 1, f"--batch-size must be at least 1; got {batch_size}.")
        episodes = latents.episodes(split)
        self.latents, self.length, self.batch_size, self.seed = latents, length, batch_size, seed
        self.device = torch.device(device)
        self._first = latents.offsets[episodes]
        self._steps = latents.lengths[episodes]
        self._order = lru_cache(maxsize=2)(self._shuffled)

    @property
    def num_windows(self) -> int:
        """Windows an epoch of training."""
        return int(self._counts().sum())

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch of training; what does not fill a last one is left to chance in the next epoch."""
        return max(1, self.num_windows // self.batch_size)

    def batch_at(self, step: int) -> Batch:
        """The training batch of a step: a pure function of (seed, step)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        windows = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        return self._cut(windows, seeding.derive(self.seed, "z", step))

    def num_batches(self) -> int:
        """Batches of `ordered_batch`."""
        return -(-int((-(-self._steps // self.length)).sum()) // self.batch_size)

    def ordered_batch(self, index: int) -> Batch:
        """For validation: the index-th batch of windows that hold every step of the split exactly once."""
        episode, nth = _tiles(-(-self._steps // self.length))
        windows = np.stack([episode, nth * self.length], 1)[index * self.batch_size :][: self.batch_size]
        return self._cut(windows, seeding.derive(self.seed, "ordered z", index))

    def _counts(self) -> NDArray[np.int64]:
        """Windows of each episode: one for short ones, else tiles and one more for the phase."""
        return np.where(self._steps <= self.length, 1, -(-self._steps // self.length) + 1)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        """The windows of an epoch, (W, 2): position of the episode in the split, first step."""
        rng = seeding.rng(self.seed, "windows", epoch)
        phase = rng.integers(self.length, size=len(self._steps))
        episode, nth = _tiles(self._counts())
        last = np.maximum(self._steps - self.length, 0)[episode]
        start = np.clip(nth * self.length - phase[episode], 0, last)
        return np.stack([episode, start], 1)[rng.permutation(len(episode))]

    def _cut(self, windows: NDArray[np.int64], noise_seed: int) -> Batch:
        """Gather windows (B, 2) and draw their z."""
        episode, start = windows.T
        left = self._steps[episode] - start
        place = np.arange(self.length + 1)
        real = place <= left[:, None]
        rows = self._first[episode][:, None] + start[:, None] + np.minimum(place, left[:, None])
        source, steps = self.latents, rows[:, :-1]
        mu, log_sigma = torch.from_numpy(source.mu[rows]), torch.from_numpy(source.log_sigma[rows])
        generator = torch.Generator().manual_seed(noise_seed)
        z = mu + log_sigma.exp() * torch.randn(mu.shape, generator=generator)
        mask = torch.from_numpy(place[:-1] < left[:, None])
        batch = Batch(
            z * torch.from_numpy(real).unsqueeze(2),
            torch.from_numpy(source.actions[steps]) * mask.unsqueeze(2),
            torch.from_numpy(source.rewards[steps]) * mask,
            torch.from_numpy(source.terminated[steps]) & mask,
            mask,
        )
        return Batch(*(tensor.to(self.device) for tensor in batch))


def _tiles(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For so many windows of each episode: the episode of each window, and which of the episode's it is."""
    episode = np.repeat(np.arange(len(counts)), counts)
    return episode, np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
