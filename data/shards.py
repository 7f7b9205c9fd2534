"""HDF5 shards: a few whole episodes a file, written at once or not at all.

A shard is a group `episodes/<id>` for each episode with the datasets of `Episode`; `obs` is cut into chunks of 16
frames, gzip-compressed (any HDF5 tool reads them). The file is built in memory, already compressed, and reaches the
disk as one atomic write: a full disk or a kill leaves no broken shard. Behind HDF5's own bytes stands a seal.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from data.episode import Episode
from data.seal import SEAL, append_seal, check_seal
from utils.errors import UserError
from utils.files import atomic_write

FORMAT = "world-models-shard-1"
PATTERN = "episodes-*.h5"
CHUNK = 16
"""Frames a chunk: 10 : 1 smaller than raw on CarRacing, and a window of 32 costs two or three chunks."""
GZIP = 1
"""ISA-L's level; its level 2 is 1 % smaller."""
ARRAYS = ("actions", "rewards", "terminated", "truncated")
MEND = "delete it and run the generation command again"


@dataclass(frozen=True)
class DatasetHeader:
    """What all episodes of a dataset share; kept in the index and in every shard."""

    env: dict[str, Any]
    """The env spec: {"name": ..., "options": {...}}."""
    obs_shape: tuple[int, int, int]
    """(H, W, 3)."""
    action_size: int
    seed: int
    """The dataset's seed: tracks, policies' noise and the split follow from it."""
    seq_len: int
    """The longest recording, in env steps."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "obs_shape": list(self.obs_shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "DatasetHeader":
        """The inverse of `to_json`; KeyError or TypeError when it is something else."""
        shape = tuple(int(n) for n in value["obs_shape"])
        if len(shape) != 3:
            raise TypeError(f"obs_shape {shape}")
        return cls(value["env"], shape, int(value["action_size"]), int(value["seed"]), int(value["seq_len"]))


@dataclass(frozen=True)
class EpisodeInfo:
    """What the index knows of an episode without opening its frames."""

    id: int
    length: int
    policy: str
    seed: int
    return_: float
    crc: int
    """CRC-32 of everything in the episode (frames, actions, rewards, ends), but not of how it is compressed: ISA-L's
    output may depend on the processor."""


class ShardWriter:
    """Collects the episodes of one shard, compressing frames as they come.

    Usage: `add(slot, frame)` for every obs of an episode in order, then `close_episode(slot, ...)`; at last
    `save(path)`. Memory is the compressed frames and at most 16 raw ones a slot.
    """

    def __init__(self, header: DatasetHeader) -> None:
        self.header = header
        self._file = h5py.File("shard", "w", driver="core", backing_store=False, libver=("v110", "v110"))
        self._file.attrs["format"] = FORMAT
        self._file.attrs["header"] = json.dumps(header.to_json())
        self._open: dict[int, _FrameWriter] = {}

    def add(self, episode_id: int, frame: NDArray[np.uint8]) -> None:
        """Append the next obs (H, W, 3) of an episode."""
        if episode_id not in self._open:
            group = self._file.create_group(f"episodes/{episode_id:06d}")
            self._open[episode_id] = _FrameWriter(group, self.header.obs_shape)
        self._open[episode_id].add(frame)

    def close_episode(
        self,
        episode_id: int,
        actions: NDArray[np.float32],
        rewards: NDArray[np.float32],
        terminated: bool,
        truncated: bool,
        seed: int,
        policy: str,
    ) -> EpisodeInfo:
        """Finish an episode of T steps: actions (T, A), rewards (T,), and how its last step ended."""
        frames = self._open.pop(episode_id)
        crc = frames.close()
        t = len(actions)
        if frames.count != t + 1:
            raise ValueError(f"{t} actions need {t + 1} obs, not {frames.count}")
        ends = {"terminated": np.zeros(t, np.bool_), "truncated": np.zeros(t, np.bool_)}
        ends["terminated"][-1], ends["truncated"][-1] = terminated, truncated
        for name, values in {"actions": actions, "rewards": rewards, **ends}.items():
            frames.group.create_dataset(name, data=values)
            crc = zlib.crc32(values.tobytes(), crc)
        info = EpisodeInfo(episode_id, t, policy, seed, float(rewards.sum(dtype=np.float64)), crc)
        frames.group.attrs.update(asdict(info))
        return info

    def save(self, path: Path) -> int:
        """Write the shard to disk whole and return its bytes; the writer is spent.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        if self._open:
            raise ValueError(f"episodes {sorted(self._open)} are not closed")
        self._file.flush()
        image = self._file.id.get_file_image()
        self.discard()

        def write(temp: Path) -> None:
            temp.write_bytes(image)
            append_seal(temp)

        atomic_write(path, write)
        return len(image) + SEAL.size

    def discard(self) -> None:
        """Free the memory."""
        self._file.close()


class _FrameWriter:
    """Frames of one episode: a buffer of one chunk before the compressed dataset."""

    def __init__(self, group: h5py.Group, shape: tuple[int, int, int]) -> None:
        self.group = group
        self.count = 0
        self._crc = 0
        self._buffer = np.zeros((CHUNK, *shape), np.uint8)
        self._obs = group.create_dataset(
            "obs",
            shape=(CHUNK, *shape),
            maxshape=(None, *shape),
            chunks=(CHUNK, *shape),
            dtype=np.uint8,
            compression="gzip",
            compression_opts=GZIP,
        )

    def add(self, frame: NDArray[np.uint8]) -> None:
        self._buffer[self.count % CHUNK] = frame
        self._crc = isal_zlib.crc32(self._buffer[self.count % CHUNK].data, self._crc)
        self.count += 1
        if self.count % CHUNK == 0:
            self._flush(self.count - CHUNK)

    def close(self) -> int:
        """Write what is left and return the CRC of all frames."""
        left = self.count % CHUNK
        if left:
            self._buffer[left:] = self._buffer[left - 1]
            self._flush(self.count - left)
        self._obs.resize(self.count, axis=0)
        return self._crc

    def _flush(self, start: int) -> None:
        # HDF5's gzip filter reads any zlib stream; ISA-L's is smaller than zlib's and written four times faster.
        if self._obs.shape[0] < start + CHUNK:
            self._obs.resize(max(start + CHUNK, 2 * start), axis=0)
        packed = isal_zlib.compress(self._buffer.data, GZIP)
        self._obs.id.write_direct_chunk((start, 0, 0, 0), packed)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever a broken file makes HDF5 raise into one sentence that names it."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            f"{path} is listed in the index but gone; run the generation command again."
        ) from None
    except PermissionError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged, truncated or no shard of ours ({first}); {MEND}.") from None


def open_shard(path: Path) -> h5py.File:
    """Open a shard for reading once its seal is found whole (about a millisecond per megabyte).

    Raises:
        OSError, ValueError: the file is truncated, damaged or foreign; wrap the call in `naming`.
    """
    check_seal(path)
    return h5py.File(path, "r")


def read_header(path: Path) -> tuple[DatasetHeader, list[EpisodeInfo]]:
    """Header and episodes of a shard, without reading frames.

    Raises:
        UserError: the file is truncated, damaged or foreign; the message names it.
    """
    with naming(path), open_shard(path) as file:
        return _header(file), [_info(group) for group in _groups(file)]


def read_episode(file: h5py.File, episode_id: int) -> Episode:
    """One episode of an open shard; its alignment is checked.

    Raises:
        OSError, KeyError, ValueError: the shard is damaged; wrap the call in `naming`.
    """
    group = file[f"episodes/{episode_id:06d}"]
    if not isinstance(group, h5py.Group):
        raise ValueError(f"episode {episode_id} is no group")
    info = _info(group)
    arrays = {name: _dataset(group, name)[...] for name in ("obs", *ARRAYS)}
    return Episode(**arrays, seed=info.seed, policy=info.policy, id=info.id).validate()


def _header(file: h5py.File) -> DatasetHeader:
    if file.attrs.get("format") != FORMAT:
        raise ValueError("another format")
    return DatasetHeader.from_json(json.loads(str(file.attrs["header"])))


def _groups(file: h5py.File) -> list[h5py.Group]:
    episodes = file["episodes"]
    if not isinstance(episodes, h5py.Group):
        raise ValueError("no episodes")
    groups = [episodes[name] for name in episodes]
    return [group for group in groups if isinstance(group, h5py.Group)]


def _info(group: h5py.Group) -> EpisodeInfo:
    at: Any = group.attrs
    numbers = (int(at["id"]), int(at["length"]), str(at["policy"]), int(at["seed"]), float(at["return_"]))
    return EpisodeInfo(*numbers, int(at["crc"]))


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    values = group[name]
    if not isinstance(values, h5py.Dataset):
        raise ValueError(f"{name} is no dataset")
    return values
