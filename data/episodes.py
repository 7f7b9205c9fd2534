"""The store of episodes: an index, a split that never moves, and shards that are opened when they are read.

    datasets/carracing/
      index.json                      what is there; rebuilt from the shards when missing or behind
      shards/episodes-000000-000009.h5
      cache/                          frames as trainvae.py reads them; may be deleted

The split is by episode: of each ten successive ids one, drawn with the dataset's seed, is for validation, one for
testing and eight for training. An episode therefore keeps its split however the dataset grows.
"""

import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py

from data.episode import Episode
from data.shards import (
    MEND,
    PATTERN,
    DatasetHeader,
    EpisodeInfo,
    naming,
    open_shard,
    read_episode,
    read_header,
)
from utils import seeding
from utils.errors import UserError, check
from utils.files import read_json, write_json
from utils.seeding import Split

__all__ = ["Episode", "EpisodeStore", "Index", "split_of"]

FORMAT = "world-models-dataset-1"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
BLOCK = 10
OPEN_SHARDS = 4


def split_of(seed: int, episode_id: int) -> Split:
    """The split of an episode: eight of ten ids train, one validates, one tests."""
    order = seeding.rng(seed, "split", episode_id // BLOCK).permutation(BLOCK)
    place = int(order[episode_id % BLOCK])
    held_out: dict[int, Split] = {0: "validation", 1: "test"}
    return held_out.get(place, "train")


def judging_split(splits: Iterable[Split]) -> Split:
    """Whose episodes a finished model is scored on: the test ones, by which nothing was chosen, if there are any."""
    return "test" if "test" in splits else "validation"


@dataclass(frozen=True)
class ShardInfo:
    """One shard as the index knows it."""

    name: str
    size: int
    """Bytes on disk; another size means another file."""
    episodes: tuple[EpisodeInfo, ...]


@dataclass(frozen=True)
class Index:
    """index.json: the header of a dataset and its shards, in the order of their episodes."""

    header: DatasetHeader
    shards: tuple[ShardInfo, ...] = ()

    @property
    def ids(self) -> list[int]:
        """All episode ids, sorted."""
        return sorted(info.id for shard in self.shards for info in shard.episodes)

    def with_shard(self, shard: ShardInfo) -> "Index":
        """A new index with one more shard."""
        shards = [other for other in self.shards if other.name != shard.name] + [shard]
        return Index(self.header, tuple(sorted(shards, key=lambda s: s.name)))

    def save(self, rootdir: Path) -> None:
        """Write index.json, atomically."""
        write_json(rootdir / "index.json", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; episodes carry their split."""
        episodes = []
        for shard in self.shards:
            for info in shard.episodes:
                row = {"id": info.id, "shard": shard.name, "split": split_of(self.header.seed, info.id)}
                values = {k.rstrip("_"): v for k, v in asdict(info).items()}
                episodes.append({**row, **values})
        sizes = {shard.name: shard.size for shard in self.shards}
        return {"format": FORMAT, **self.header.to_json(), "shards": sizes, "episodes": episodes}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Index":
        """The inverse of `to_json`; KeyError, TypeError or ValueError when it is something else."""
        if value["format"] != FORMAT:
            raise ValueError("another format")
        rows: dict[str, list[EpisodeInfo]] = {name: [] for name in value["shards"]}
        for e in value["episodes"]:
            info = EpisodeInfo(e["id"], e["length"], e["policy"], e["seed"], e["return"], e["crc"])
            rows[e["shard"]].append(info)
        shards = [ShardInfo(name, value["shards"][name], tuple(infos)) for name, infos in rows.items()]
        return cls(DatasetHeader.from_json(dict(value)), tuple(shards))


def load_index(rootdir: Path, *, mending: bool = False) -> Index:
    """The index of a dataset folder, brought up to date with the shards that lie there.

    Args:
        rootdir: the dataset's folder.
        mending: how the generation command reads it. A listed shard that is gone is forgotten, so that its episodes
            are made again; a broken file is refused even if the index does not list it.

    Raises:
        UserError: no dataset there, or a listed shard is gone, truncated, damaged or foreign. A broken file that the
            index does not list is named on stderr and skipped.
    """
    index = _read_index(rootdir)
    found = {path.name: path for path in sorted((rootdir / "shards").glob(PATTERN))}
    if index and mending:
        index = replace(index, shards=tuple(shard for shard in index.shards if shard.name in found))
    for shard in index.shards if index else ():
        _check_listed(rootdir / "shards" / shard.name, shard.size)
        del found[shard.name]
    for path in found.values():
        try:
            index = _adopt(index, path)
        except UserError as error:
            if mending:
                raise
            print(f"skipped: {error}", file=sys.stderr, flush=True)
    if index is None:
        raise UserError(f"{rootdir} holds no dataset; make one with: {_command(rootdir)}.")
    return index


def _read_index(rootdir: Path) -> Index | None:
    path = rootdir / "index.json"
    if not path.exists():
        return None
    try:
        return Index.from_json(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is no index of ours ({error!r}); {MEND}.") from None


def _check_listed(path: Path, size: int) -> None:
    with naming(path):
        actual = path.stat().st_size
        if actual != size:
            raise ValueError(f"{actual} bytes, the index says {size}")


def _adopt(index: Index | None, path: Path) -> Index:
    header, infos = read_header(path)
    index = index or Index(header)
    check(header == index.header, f"{path} belongs to another dataset; move it away.")
    taken = set(index.ids) & {info.id for info in infos}
    check(not taken, f"{path} repeats episode {min(taken, default=0)}; move it away.")
    return index.with_shard(ShardInfo(path.name, path.stat().st_size, tuple(infos)))


def _command(rootdir: Path) -> str:
    return f"python data/generation_script.py --rootdir {rootdir}"


class EpisodeStore:
    """The episodes of a dataset folder, read only; it does not change after construction and pickles small.

    Raises:
        UserError: there is no dataset, or a file of it is broken (the message names the file).
    """

    def __init__(self, rootdir: Path | str) -> None:
        self.rootdir = Path(rootdir)
        index = load_index(self.rootdir)
        self.header = index.header
        pairs = [(info, shard.name) for shard in index.shards for info in shard.episodes]
        pairs.sort(key=lambda pair: pair[0].id)
        check(pairs, f"{self.rootdir} holds no episode yet; make some with: {_command(self.rootdir)}.")
        self._infos = {info.id: info for info, _ in pairs}
        self._shards = {info.id: name for info, name in pairs}
        self._open: OrderedDict[str, h5py.File] = OrderedDict()

    @property
    def env_spec(self) -> dict[str, Any]:
        """{"name": ..., "options": {...}}, for `envs.make`."""
        return json.loads(json.dumps(self.header.env))

    @property
    def obs_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self.header.obs_shape

    @property
    def action_size(self) -> int:
        """Numbers an action."""
        return self.header.action_size

    @property
    def lengths(self) -> Mapping[int, int]:
        """Steps T of each episode, by id; an episode has T + 1 obs."""
        return MappingProxyType({i: info.length for i, info in self._infos.items()})

    @property
    def infos(self) -> Mapping[int, EpisodeInfo]:
        """What the index knows of each episode, by id."""
        return MappingProxyType(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def split(self, episode_id: int) -> Split:
        """The split of an episode."""
        return split_of(self.header.seed, episode_id)

    def ids(self, split: Split | None = None, minimum: int = 1) -> list[int]:
        """Sorted ids of a split, of all episodes by default.

        Raises:
            UserError: there are fewer than `minimum`.
        """
        ids = [i for i in self._infos if split is None or self.split(i) == split]
        if len(ids) < minimum:
            raise UserError(
                f"too few rollouts in {self.rootdir}: {len(ids)} of {len(self)} are for {split or 'use'}, {minimum} "
                f"needed; make more with: {_command(self.rootdir)} --rollouts {max(BLOCK * minimum, 2 * len(self))}."
            )
        return ids

    def episode(self, episode_id: int) -> Episode:
        """Read one episode, checked.

        Raises:
            KeyError: no such episode.
            UserError: its shard is damaged; the message names the file.
        """
        name = self._shards[episode_id]
        path = self.rootdir / "shards" / name
        with naming(path):
            episode = read_episode(self._shard(name, path), episode_id)
            self._check(episode)
            return episode

    def episodes(self, ids: Iterable[int]) -> Iterable[Episode]:
        """Read episodes one after the other."""
        return (self.episode(i) for i in ids)

    def fingerprint(self, ids: Iterable[int] | None = None) -> str:
        """16 hex digits that change when any episode, or any of these, is added, removed or different."""
        infos = self._infos.values() if ids is None else [self._infos[i] for i in ids if i in self._infos]
        rows = [asdict(info) for info in infos]
        text = json.dumps([self.header.to_json(), rows], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def close(self) -> None:
        """Close the shards that are open; the store stays usable."""
        while self._open:
            self._open.popitem()[1].close()

    def _check(self, episode: Episode) -> None:
        info = self._infos[episode.id]
        same = episode.obs.shape[1:] == self.obs_shape and episode.actions.shape[1] == self.action_size
        if not same or episode.length != info.length or episode.seed != info.seed:
            raise ValueError(f"episode {episode.id} is not the one in the index")

    def _shard(self, name: str, path: Path) -> h5py.File:
        if name not in self._open:
            self._open[name] = open_shard(path)
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(name)
        return self._open[name]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}
