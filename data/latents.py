"""Every frame of a dataset as V sees it: the posterior's mean and log sigma, computed once, never sampled.

The file is HDF5 with plain contiguous arrays, read through memory maps. All arrays have one row a frame, so that one
offset finds everything of an episode of T steps, rows o .. o + T:

    row         o        o + 1     ...    o + T - 1    o + T
    mu          mu_0     mu_1      ...    mu_{T-1}     mu_T
    actions     a_0      a_1       ...    a_{T-1}      0        (no action follows the last frame)
    rewards     r_0      r_1       ...    r_{T-1}      0
    terminated  d_0      d_1       ...    d_{T-1}      False

The file names the weights of V and the dataset it was made from; when either changes it is made again, and when its
seal tells that it is damaged.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.episode import Episode
from data.episodes import SPLITS, EpisodeStore
from data.seal import append_seal, check_seal
from models.vision import VisionModel
from utils.errors import UserError, check
from utils.files import atomic_write, check_space, sweep_temp
from utils.progress import bar
from utils.seeding import Split

FORMAT = "world-models-latents-1"
BATCH = 128
"""Frames that V encodes at once."""
SOURCE = ("vision", "dataset")
COLUMNS = ("mu", "log_sigma", "actions", "rewards", "terminated")


@dataclass(frozen=True, eq=False)
class LatentStore:
    """The latents of a dataset; arrays are read-only memory maps of N rows (see the module's diagram)."""

    mu: NDArray[np.float32]
    """(N, Z)."""
    log_sigma: NDArray[np.float32]
    """(N, Z)."""
    actions: NDArray[np.float32]
    """(N, A)."""
    rewards: NDArray[np.float32]
    """(N,)."""
    terminated: NDArray[np.bool_]
    """(N,)."""
    offsets: NDArray[np.int64]
    """(E + 1,): episode e has the rows offsets[e] .. offsets[e + 1] - 1, one more than steps."""
    ids: NDArray[np.int64]
    """(E,): the episodes' ids in the dataset."""
    splits: tuple[Split, ...]
    """(E,)."""
    info: dict[str, Any]
    """"vision" and "dataset": fingerprints; "env": the env spec."""

    @property
    def latent_size(self) -> int:
        """Z."""
        return self.mu.shape[1]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps T of each episode, (E,)."""
        return np.diff(self.offsets) - 1

    def episodes(self, split: Split) -> NDArray[np.int64]:
        """Positions e (not ids) of a split's episodes.

        Raises:
            UserError: there is none.
        """
        found = [e for e, name in enumerate(self.splits) if name == split]
        check(
            found, f"too few rollouts: no episode is for {split}; make more with data/generation_script.py."
        )
        return np.asarray(found, np.int64)

    def moments(self, split: Split = "train") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of z itself, posterior's spread included, each (Z,)."""
        total, squares, count = np.zeros(self.latent_size), np.zeros(self.latent_size), 0
        for e in self.episodes(split):
            rows = slice(self.offsets[e], self.offsets[e + 1])
            mu = self.mu[rows].astype(np.float64)
            total += mu.sum(0)
            squares += (mu**2 + np.exp(2.0 * self.log_sigma[rows])).sum(0)
            count += len(mu)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
        return mean.astype(np.float32), std.astype(np.float32)

    def reward_std(self, split: Split = "train") -> float:
        """Standard deviation of the rewards of a split's steps, 1 where there are none.

        Terminated steps are left out: the fall off the map (-100) would drown all others.
        """
        parts = [slice(self.offsets[e], self.offsets[e + 1] - 1) for e in self.episodes(split)]
        rewards = np.concatenate([self.rewards[part][~self.terminated[part]] for part in parts])
        return float(rewards.std(dtype=np.float64)) if len(rewards) else 1.0


def load_or_encode(
    store: EpisodeStore, vision: VisionModel, vision_fingerprint: str, path: Path, device: torch.device
) -> LatentStore:
    """The latents at `path`, made if they are not there, and made again, saying so, if V or the dataset changed.

    If episodes were only added, those that are there are kept.
    """
    known = None
    if path.exists():
        try:
            latents = load_latents(path)
        except UserError as error:
            _say(f"{error} Encoding the dataset again.")
        else:
            now = {"vision": vision_fingerprint, "dataset": store.fingerprint()}
            changed = [name for name in SOURCE if latents.info.get(name) != now[name]]
            if not changed:
                return latents
            if changed == ["dataset"] and store.fingerprint(latents.ids.tolist()) == latents.info["dataset"]:
                known = latents
                _say(f"the dataset has grown since {path} was made; encoding what is new.")
            else:
                what = {"vision": "V", "dataset": "the dataset"}
                _say(
                    f"{' and '.join(what[n] for n in changed)} changed since {path} was made; encoding again."
                )
    return encode_store(store, vision, vision_fingerprint, path, device, known)


def encode_store(
    store: EpisodeStore,
    vision: VisionModel,
    vision_fingerprint: str,
    path: Path,
    device: torch.device,
    known: LatentStore | None = None,
) -> LatentStore:
    """Encode every frame of a store, one episode at a time, and write the file atomically.

    Args:
        store: the dataset.
        vision: V.
        vision_fingerprint: which weights V has.
        path: the file to write.
        device: where V runs.
        known: what this V has made of some of the episodes already.

    Raises:
        UserError: V was made for another frame size.
        OSError: the disk has no room for the file.
    """
    check_frames(store, vision)
    info = {"vision": vision_fingerprint, "dataset": store.fingerprint(), "env": store.env_spec}
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_temp(path.parent)
    check_space(path, _num_bytes(store, vision))  # libhdf5 does not take a full disk well: it may crash
    was_training = vision.training
    vision.to(device).eval()
    try:
        atomic_write(path, partial(_write, store=store, vision=vision, info=info, device=device, known=known))
    finally:
        vision.train(was_training)
    return load_latents(path)


def check_frames(store: EpisodeStore, vision: VisionModel) -> None:
    """Refuse frames that V does not take.

    Raises:
        UserError: they have another size.
    """
    size, (height, width, _) = vision.image_size, store.obs_shape
    check(
        (height, width) == (size, size),
        f"V was trained on {size}x{size} frames but {store.rootdir} holds {height}x{width} ones; train V on this "
        "dataset, or pass the --dataset that V was trained on.",
    )


def load_latents(path: Path) -> LatentStore:
    """Open a file of latents.

    Raises:
        UserError: it is missing, truncated or foreign.
    """
    check(path.is_file(), f"{path} does not exist; run trainmdrnn.py, which makes it.")
    try:
        check_seal(path)
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ValueError("another format")
            arrays = {name: _map(path, file[name]) for name in COLUMNS}
            splits = tuple(SPLITS[i] for i in np.asarray(file["splits"]))
            info = json.loads(str(file.attrs["info"]))
            offsets, ids = np.asarray(file["offsets"]), np.asarray(file["ids"])
        return LatentStore(**arrays, offsets=offsets, ids=ids, splits=splits, info=info)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or no file of latents ({first}).") from None


def _num_bytes(store: EpisodeStore, vision: VisionModel) -> int:
    """At most so long is the file of latents."""
    rows = sum(store.lengths[i] + 1 for i in store.ids())
    return 2**16 + 32 * len(store) + rows * (4 * (2 * vision.latent_size + store.action_size + 1) + 1)


def _write(
    temp: Path,
    store: EpisodeStore,
    vision: VisionModel,
    info: dict[str, Any],
    device: torch.device,
    known: LatentStore | None,
) -> None:
    ids = store.ids()
    offsets = np.concatenate([[0], np.cumsum([store.lengths[i] + 1 for i in ids])]).astype(np.int64)
    num, z, a = int(offsets[-1]), vision.latent_size, store.action_size
    kept: dict[int, dict[str, NDArray[Any]]] = {}
    if known is not None:
        bounds = zip(known.ids.tolist(), known.offsets[:-1], known.offsets[1:], strict=True)
        kept = {i: {name: getattr(known, name)[a:b] for name in COLUMNS} for i, a, b in bounds}
    with h5py.File(temp, "w") as file, bar(num, "encoding frames", "frames") as progress:
        file.attrs["format"], file.attrs["info"] = FORMAT, json.dumps(info)
        file["offsets"], file["ids"] = offsets, np.asarray(ids, np.int64)
        file["splits"] = np.asarray([SPLITS.index(store.split(i)) for i in ids], np.int8)
        for name in ("mu", "log_sigma"):
            file.create_dataset(name, (num, z), np.float32)
        for name, shape, dtype in (("actions", (num, a), "f4"), ("rewards", (num,), "f4")):
            file.create_dataset(name, shape, dtype, fillvalue=0)
        file.create_dataset("terminated", (num,), np.uint8, fillvalue=0)
        for i, start in zip(ids, offsets):
            columns = kept[i] if i in kept else _columns(store.episode(i), vision, device)
            for name, rows in columns.items():
                dataset: Any = file[name]
                dataset[start : start + len(rows)] = rows.astype(dataset.dtype)
            progress.update(len(columns["mu"]))
    append_seal(temp)


def _columns(episode: Episode, vision: VisionModel, device: torch.device) -> dict[str, NDArray[Any]]:
    """An episode as rows, one a frame; the last frame has no action, no reward and no end."""
    mu, log_sigma = _encode(vision, episode.obs, device)
    last = np.zeros_like(episode.actions[:1])
    return {
        "mu": mu,
        "log_sigma": log_sigma,
        "actions": np.concatenate([episode.actions, last]),
        "rewards": np.append(episode.rewards, np.float32(0)),
        "terminated": np.append(episode.terminated, False),
    }


@torch.inference_mode()
def _encode(
    vision: VisionModel, obs: NDArray[np.uint8], device: torch.device
) -> Sequence[NDArray[np.float32]]:
    parts: list[tuple[Tensor, Tensor]] = []
    for i in range(0, len(obs), BATCH):
        frames = torch.from_numpy(obs[i : i + BATCH]).to(device).permute(0, 3, 1, 2)
        parts.append(vision.encode(frames.float().mul_(1 / 255)))
    return [torch.cat(part).float().cpu().numpy() for part in zip(*parts)]


def _map(path: Path, dataset: Any) -> Any:
    """A contiguous dataset as a memory map."""
    offset = dataset.id.get_offset()
    if offset is None:
        raise ValueError(f"{dataset.name} is empty")
    dtype = np.bool_ if dataset.dtype == np.uint8 else dataset.dtype
    return np.memmap(path, dtype, "r", offset, dataset.shape)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
