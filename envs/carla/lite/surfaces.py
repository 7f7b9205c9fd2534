"""Flat polygons to paint: lanes and the lines on them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.lanes import Lane, SectionSamples
from envs.carla.lite.network import Mark

Colour = tuple[int, int, int]

ROADS, SIDEWALKS, TERRAIN, ROAD_LINES, GROUND = 1, 2, 10, 24, 25
TERRAIN_COLOUR: Colour = (86, 118, 60)

_ASPHALT: Colour = (72, 72, 76)
_LOOKS: dict[str, tuple[int, Colour]] = {
    "sidewalk": (SIDEWALKS, (150, 147, 140)),
    "curb": (SIDEWALKS, (165, 162, 155)),
    "median": (TERRAIN, (96, 122, 70)),
    "shoulder": (GROUND, (128, 116, 96)),
    "border": (GROUND, (128, 116, 96)),
}
_MARK_COLOURS: dict[str, Colour] = {"yellow": (214, 170, 40), "orange": (214, 140, 40)}
_WHITE: Colour = (225, 225, 222)

_CHUNK = 25
_DASH_M, _DASH_PERIOD_M = 3.0, 9.0
_DOUBLE_GAP_M = 0.3
_STOP_NEAR_M, _STOP_FAR_M = 0.8, 1.3


@dataclass(frozen=True, eq=False)
class Surface:
    """A flat polygon; later ones lie on top of earlier ones."""

    points: NDArray
    """(n, 2), m"""
    label: int
    """CARLA's CityObjectLabel"""
    colour: Colour
    """RGB by day"""


def paint_order(sections: list[SectionSamples]) -> list[Surface]:
    """All surfaces of a map: what lies beside the roads, then the roads, then the lines."""
    lanes = [surface for section in sections for surface in _lanes(section)]
    lines = [surface for section in sections for surface in _lines(section)]
    return sorted(lanes, key=lambda surface: surface.label == ROADS) + lines


def stop_lines(lanes: list[Lane], stop_lanes: set[int]) -> list[Surface]:
    """A white bar across the end of each of these lanes, where drivers wait for the light."""
    surfaces = []
    for lane in (lanes[i] for i in sorted(stop_lanes)):
        (x, y), yaw, half = lane.points[-1, :2], lane.yaw[-1], lane.width[-1] / 2
        forward, right = np.array((np.cos(yaw), np.sin(yaw))), np.array((-np.sin(yaw), np.cos(yaw)))
        bar = ((-_STOP_FAR_M, -half), (-_STOP_NEAR_M, -half), (-_STOP_NEAR_M, half), (-_STOP_FAR_M, half))
        points = np.array([(x, y) + ahead * forward + beside * right for ahead, beside in bar])
        surfaces.append(Surface(points, ROAD_LINES, _WHITE))
    return surfaces


def _lanes(section: SectionSamples) -> Iterator[Surface]:
    for inner, lane in section.road.sections[section.index].outward():
        if lane.kind != "none":
            label, colour = _LOOKS.get(lane.kind, (ROADS, _ASPHALT))
            near, far = (section.shifted(section.borders[i][0]) for i in (inner, lane.lane_id))
            yield from (Surface(points, label, colour) for points in _ribbon(near, far))


def _lines(section: SectionSamples) -> Iterator[Surface]:
    along = section.s - section.s[0]
    for lane in section.road.sections[section.index].lanes.values():
        ends = [mark.s for mark in lane.marks[1:]] + [np.inf]
        for mark, end in zip(lane.marks, ends):
            colour = _MARK_COLOURS.get(mark.colour, _WHITE)
            for style, shift in _strokes(mark):
                middle = section.borders[lane.lane_id][0] + shift
                left, right = (section.shifted(middle + side * mark.width / 2) for side in (-1, 1))
                for low, high in _intervals(style, mark.s, min(end, float(along[-1]))):
                    places = [low, *along[(along > low) & (along < high)], high]
                    for points in _ribbon(_at(places, along, left), _at(places, along, right)):
                        yield Surface(points, ROAD_LINES, colour)


def _at(places: list[float], along: NDArray, line: NDArray) -> NDArray:
    """(n, 2): points of a line at these places along it."""
    return np.column_stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)])


def _strokes(mark: Mark) -> list[tuple[str, float]]:
    """The styles of a mark's lines, and how far each is shifted to the right, m."""
    styles = [style for style in mark.kind.split() if style in ("solid", "broken")]
    if len(styles) == 2:  # named from the left to the right
        return [(styles[0], -_DOUBLE_GAP_M / 2), (styles[1], _DOUBLE_GAP_M / 2)]
    return [(style, 0.0) for style in styles]


def _intervals(style: str, start: float, end: float) -> Iterator[tuple[float, float]]:
    if style == "solid" and end > start:
        yield start, end
    elif style == "broken":
        for low in np.arange(start, end, _DASH_PERIOD_M):
            yield float(low), min(float(low) + _DASH_M, end)


def _ribbon(left: NDArray, right: NDArray) -> Iterator[NDArray]:
    """Polygons between two lines, in pieces: a long one would wind around itself, and fill wrongly."""
    for start in range(0, len(left) - 1, _CHUNK):
        rows = slice(start, start + _CHUNK + 1)
        yield np.concatenate((left[rows], right[rows][::-1]))
