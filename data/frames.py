"""Single frames for V: a split of a store as one flat uint8 array on disk, and batches as a function of the step.

The array lies in `cache/` beside the shards, is made once and belongs to one fingerprint of the dataset: when the
dataset changes it is made again. Of a dataset with more frames than asked for, every k-th frame is taken: frames that
follow each other differ little.
"""

from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.episodes import EpisodeStore
from data.seal import append_seal, check_seal
from utils import seeding
from utils.files import atomic_write, sweep_temp
from utils.progress import bar
from utils.seeding import Split

MAX_FRAMES = 400_000
"""5 GB at 64x64: more than V can learn from, and still within a laptop's disk and page cache."""


class FrameSet:
    """The frames of one split, (N, H, W, 3) uint8, read through a memory map.

    Args:
        store: the dataset.
        split: which episodes.
        max_frames: about the most that N may be; every k-th frame of each episode is taken, with the least such k.

    Raises:
        UserError: the split has no episode.
    """

    def __init__(self, store: EpisodeStore, split: Split, max_frames: int = MAX_FRAMES) -> None:
        ids = store.ids(split, minimum=1)
        lengths = [store.lengths[i] + 1 for i in ids]
        self.stride = max(1, ceil(sum(lengths) / max_frames))
        count = sum(len(range(_offset(i, self.stride), n, self.stride)) for i, n in zip(ids, lengths))
        shape = (count, *store.obs_shape)
        folder = store.rootdir / "cache"
        path = folder / f"frames-{split}-{store.fingerprint()}-{self.stride}.npy"
        if not _fits(path, shape):
            _sweep(folder, split)
            atomic_write(path, lambda temp: _build(temp, store, ids, self.stride, shape, split))
        self._frames: NDArray[np.uint8] = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._frames)

    def batch(self, indices: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Frames (B, H, W, 3) at these places."""
        return np.asarray(self._frames[indices])

    def batch_at(self, step: int, batch_size: int, seed: int) -> Tensor:
        """The batch of a training step, float (B, 3, H, W) in [0, 1]: a pure function of its arguments.

        Every frame comes once in each pass over the data, in an order drawn anew for each pass.
        """
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        passes, ranks = places // len(self), places % len(self)
        orders = {p: _order(seed, int(p), len(self)) for p in np.unique(passes)}
        return to_float(self.batch(np.array([orders[p][r] for p, r in zip(passes, ranks)])))

    def spread(self, count: int) -> Tensor:
        """At most `count` frames, evenly spread over the split: float (count, 3, H, W) in [0, 1]."""
        return to_float(self.batch(np.unique(np.linspace(0, len(self) - 1, count).astype(np.intp))))


def to_float(frames: NDArray[np.uint8]) -> Tensor:
    """Frames (B, H, W, 3) uint8 to (B, 3, H, W) in [0, 1], as V takes them."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def to_uint8(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures (B, 3, H, W) in [0, 1] to (B, H, W, 3) uint8, rounded."""
    levels = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.intp]:
    return seeding.rng(seed, "frames", epoch).permutation(count)


def _offset(episode_id: int, stride: int) -> int:
    """Where an episode's first frame is taken, so that not every episode gives the same moments."""
    return episode_id % stride


def _fits(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a finished array of this shape stands there, its seal whole (about a second a gigabyte)."""
    try:
        check_seal(path)
        frames = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return frames.shape == shape and frames.dtype == np.uint8


def _sweep(folder: Path, split: Split) -> None:
    """Remove the split's arrays of other fingerprints, and what a killed run left half written."""
    if folder.is_dir():
        sweep_temp(folder)
        for old in folder.glob(f"frames-{split}-*.npy"):
            old.unlink(missing_ok=True)


def _build(
    path: Path, store: EpisodeStore, ids: list[int], stride: int, shape: tuple[int, ...], split: Split
) -> None:
    """Write header and frames as a plain stream: unlike a mapped write, a full disk is then an error, not a crash."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file, bar(shape[0], f"read {split} frames", "frames") as progress:
        np.lib.format.write_array_header_1_0(file, header)
        for i in ids:
            frames = store.episode(i).obs[_offset(i, stride) :: stride]
            file.write(np.ascontiguousarray(frames).tobytes())
            progress.update(len(frames))
    append_seal(path)
