"""Lanes of a road network, sampled into arrays and linked into a graph."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.links import LaneKey, edges, is_forward
from envs.carla.lite.network import LaneSpec, Network, Road, evaluate

_STEP_M = 1.0
_CURVE_STEP_M = 0.5
_SEAM_M = 1e-3


@dataclass(frozen=True, eq=False)
class Lane:
    """One lane of one lane section, sampled every metre at most (half of it in curves), in its driving direction."""

    road_id: int
    section: int
    lane_id: int
    kind: str
    """OpenDRIVE's type: "driving", "shoulder", "sidewalk", ..."""
    points: NDArray
    """(n, 3): x, y, z of the centre line, m"""
    yaw: NDArray
    """(n,): driving direction, rad"""
    width: NDArray
    """(n,): m"""
    junction: int
    """-1 outside junctions"""
    successors: tuple[int, ...] = ()
    """indices of lanes"""
    predecessors: tuple[int, ...] = ()
    """indices of lanes"""

    def distances(self) -> NDArray:
        """(n,): distance driven from the first point, m."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return np.concatenate(([0.0], np.cumsum(steps)))


@dataclass(frozen=True, eq=False)
class SectionSamples:
    """A lane section's reference line and lane borders at n places along it, in the road's direction."""

    road: Road
    index: int
    s: NDArray
    x: NDArray
    y: NDArray
    z: NDArray
    yaw: NDArray
    borders: dict[int, NDArray]
    """outer border of each lane, 0 the middle: (2, n), offset to the right (m) and its slope"""

    def shifted(self, offset: NDArray) -> NDArray:
        """(n, 2): the points this far to the right of the reference line, m."""
        return np.column_stack((self.x - offset * np.sin(self.yaw), self.y + offset * np.cos(self.yaw)))


def sample(network: Network) -> list[SectionSamples]:
    """All lane sections of a network, sampled."""
    return [_sample(road, index) for road in network.roads.values() for index in range(len(road.sections))]


def build_lanes(network: Network, sections: list[SectionSamples]) -> list[Lane]:
    """The lanes of sampled sections, with their successors and predecessors."""
    lanes = [
        _lane(section, inner, lane)
        for section in sections
        for inner, lane in section.road.sections[section.index].outward()
    ]
    index: dict[LaneKey, int] = {
        (lane.road_id, lane.section, lane.lane_id): i for i, lane in enumerate(lanes)
    }
    successors: list[list[int]] = [[] for _ in lanes]
    predecessors: list[list[int]] = [[] for _ in lanes]
    for source, target in sorted(edges(network)):
        successors[index[source]].append(index[target])
        predecessors[index[target]].append(index[source])
    return [
        replace(lane, successors=tuple(after), predecessors=tuple(before))
        for lane, after, before in zip(lanes, successors, predecessors)
    ]


def _sample(road: Road, index: int) -> SectionSamples:
    section = road.sections[index]
    s = _places(road, section.s, max(road.section_ends()[index], section.s))
    x, y, yaw = road.trace(s)
    middle = np.array(evaluate(road.lane_offset, s))
    borders = {0: middle}
    for inner, lane in section.outward():
        width, slope = evaluate(lane.widths, s - section.s)
        side = -1 if lane.lane_id > 0 else 1
        borders[lane.lane_id] = borders[inner] + side * np.array((width.clip(0.0), slope))
    return SectionSamples(road, index, s, x, y, evaluate(road.elevation, s)[0], yaw, borders)


def _places(road: Road, start: float, end: float) -> NDArray:
    """Where to sample a section: at every seam of its geometry, and between them as densely as it bends."""
    parts = []
    piece_ends = [piece.s for piece in road.geometries[1:]] + [road.length]
    for piece, piece_end in zip(road.geometries, piece_ends):
        low, high = max(start, piece.s), min(end, piece_end)
        if high - low > _SEAM_M:
            step = _STEP_M if piece.is_straight() else _CURVE_STEP_M
            parts.append(np.linspace(low, high, math.ceil((high - low) / step - 1e-6) + 1)[:-1])
    return np.concatenate((*(parts or [[start]]), [end]))


def _lane(section: SectionSamples, inner: int, lane: LaneSpec) -> Lane:
    near, far = section.borders[inner], section.borders[lane.lane_id]
    offset, slope = (near + far) / 2
    points = np.column_stack((section.shifted(offset), section.z))
    yaw, width = section.yaw + np.arctan(slope), np.abs(far[0] - near[0])
    if not is_forward(lane.lane_id):
        points, yaw, width = points[::-1], yaw[::-1] + np.pi, width[::-1]
    return Lane(
        road_id=section.road.road_id,
        section=section.index,
        lane_id=lane.lane_id,
        kind=lane.kind,
        points=np.ascontiguousarray(points),
        yaw=np.ascontiguousarray(yaw),
        width=np.ascontiguousarray(width),
        junction=section.road.junction,
    )
