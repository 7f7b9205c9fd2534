"""What an OpenDRIVE document says, as dataclasses in CARLA's axes (y and lateral offsets grow to the right)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.geometry import Geometry


class Cubic(NamedTuple):
    """a + b t + c t^2 + d t^3, with t measured from s, m."""

    s: float
    a: float
    b: float
    c: float
    d: float


class RoadLink(NamedTuple):
    """What follows a road at one of its ends: a road (and which end of it), or a junction."""

    is_junction: bool
    element_id: int
    is_at_end: bool


class Mark(NamedTuple):
    """The line painted on the outer border of a lane, from s (m, within its section) on."""

    s: float
    kind: str
    colour: str
    width: float


@dataclass(frozen=True)
class LaneSpec:
    """One lane of a section; ids are negative to the right of the reference line."""

    lane_id: int
    kind: str
    widths: tuple[Cubic, ...]
    marks: tuple[Mark, ...]
    predecessor: int | None
    successor: int | None


@dataclass(frozen=True)
class LaneSection:
    """Lanes from s (m) to the next section."""

    s: float
    lanes: dict[int, LaneSpec]

    def outward(self) -> Iterator[tuple[int, LaneSpec]]:
        """Lanes of the right side, then of the left, from the middle outward, each with its inner neighbour's id."""
        for side in (-1, 1):
            inner = 0
            for lane_id in sorted((lane_id for lane_id in self.lanes if lane_id * side > 0), key=abs):
                yield inner, self.lanes[lane_id]
                inner = lane_id


@dataclass(frozen=True)
class SignalSpec:
    """A signal, or the reference to one that stands at another road."""

    signal_id: str
    is_reference: bool
    kind: str
    is_dynamic: bool
    s: float
    t: float
    z_offset: float
    orientation: str
    lanes: tuple[tuple[int, int], ...]
    """ranges of lane ids that it holds for, ends included; none given: all"""


@dataclass(frozen=True)
class Road:
    """One road: a reference line and the lanes along it."""

    road_id: int
    length: float
    junction: int
    geometries: tuple[Geometry, ...]
    elevation: tuple[Cubic, ...]
    lane_offset: tuple[Cubic, ...]
    sections: tuple[LaneSection, ...]
    predecessor: RoadLink | None
    successor: RoadLink | None
    signals: tuple[SignalSpec, ...]

    def trace(self, s: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """x, y (m) and yaw (rad) of the reference line at s (m)."""
        pieces = np.clip(np.searchsorted([piece.s for piece in self.geometries], s, "right") - 1, 0, None)
        x, y, yaw = np.empty((3, len(s)))
        for i in np.unique(pieces):
            rows, piece = pieces == i, self.geometries[i]
            x[rows], y[rows], yaw[rows] = piece.trace(np.clip(s[rows] - piece.s, 0.0, piece.length))
        return x, y, yaw

    def section_ends(self) -> list[float]:
        """Where each section ends, m."""
        return [section.s for section in self.sections[1:]] + [self.length]


@dataclass(frozen=True)
class Connection:
    """One way through a junction."""

    incoming: int
    connecting: int
    is_at_end: bool
    """whether the connecting road's end, not its start, touches the incoming road"""
    lanes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Junction:
    """A junction: how roads are connected, and the controllers of its traffic lights."""

    junction_id: int
    connections: tuple[Connection, ...]
    controllers: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """All of an OpenDRIVE map that is read."""

    roads: dict[int, Road]
    junctions: dict[int, Junction]
    controllers: dict[str, tuple[str, ...]]
    geo_origin: tuple[float, float]


def evaluate(cubics: Sequence[Cubic], s: NDArray) -> tuple[NDArray, NDArray]:
    """Value and slope of a chain of cubics at s; 0 where there is none."""
    if not cubics:
        return np.zeros_like(s), np.zeros_like(s)
    table = np.array(cubics)
    rows = table[np.clip(np.searchsorted(table[:, 0], s, "right") - 1, 0, None)]
    start, a, b, c, d = rows.T
    t = s - start
    return a + t * (b + t * (c + t * d)), b + t * (2 * c + t * 3 * d)
