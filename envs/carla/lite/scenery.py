"""Simple boxes beside the roads: buildings, trees and the poles of traffic lights."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.lanes import Lane
from envs.carla.lite.raster import Ground
from envs.carla.lite.signals import Signal
from envs.carla.lite.surfaces import TERRAIN, Colour

BUILDINGS, POLES, TRAFFIC_LIGHTS, VEGETATION = 3, 6, 7, 9

_SPACING_M = 14.0
_MAX_PROPS = 2000
_CLEARANCE_M = 2.0
_CELL_M = 1.0
_BUILDINGS_IN_TOWN, _BUILDINGS_OUTSIDE = 0.75, 0.35
"""share of what is placed, the rest being trees"""
_WALLS: tuple[Colour, ...] = (
    (168, 152, 132),
    (142, 98, 80),
    (150, 154, 160),
    (186, 176, 158),
    (120, 112, 108),
)
_LEAVES: tuple[Colour, ...] = ((46, 84, 38), (60, 98, 44), (74, 104, 52), (38, 72, 44))
_POLE: Colour = (90, 92, 94)
_HEAD: Colour = (34, 34, 30)
_POLE_HEIGHT_M = 5.0


@dataclass(frozen=True)
class Prop:
    """An upright box that stands still."""

    centre: tuple[float, float, float]
    """m"""
    yaw: float
    """rad"""
    extent: tuple[float, float, float]
    """half sizes along its own axes, m"""
    label: int
    """CARLA's CityObjectLabel"""
    colour: Colour
    """RGB by day"""


def place(lanes: list[Lane], ground: Ground, seed: int) -> Iterator[Prop]:
    """Buildings and trees on free ground beside the roads; where there is no room, nothing stands.

    Large maps get a limited number, which the first roads use up; where the raster is too coarse to show every road,
    nothing stands at all.
    """
    if ground.resolution > _CELL_M:
        return
    rng = np.random.default_rng(seed)
    step = max(round(_CELL_M / ground.resolution), 1)
    cell_m = step * ground.resolution
    free_m = _free_distance(ground, step)
    taken = np.empty((0, 3))
    share = _BUILDINGS_IN_TOWN if any(lane.kind == "sidewalk" for lane in lanes) else _BUILDINGS_OUTSIDE
    for lane in lanes:
        if lane.kind != "driving":
            continue
        along = lane.distances()
        for distance in np.arange(rng.uniform(0, _SPACING_M), along[-1], _SPACING_M):
            i = int(np.searchsorted(along, distance))
            prop, radius = _beside(lane, min(i, len(along) - 1), rng, share)
            x, y, _ = prop.centre
            row, column = (int((value - start) / cell_m) for value, start in zip((y, x), ground.origin[::-1]))
            is_on_map = 0 <= row < free_m.shape[0] and 0 <= column < free_m.shape[1]
            gaps = np.hypot(taken[:, 0] - x, taken[:, 1] - y) - taken[:, 2]
            if is_on_map and free_m[row, column] > radius + _CLEARANCE_M and np.all(gaps > radius):
                taken = np.vstack((taken, (x, y, radius)))
                yield prop
            if len(taken) == _MAX_PROPS:
                return


def lights(signals: list[Signal]) -> Iterator[Prop]:
    """A pole and a head for each traffic light."""
    for signal in signals:
        half, (x, y, z) = _POLE_HEIGHT_M / 2, (signal.x, signal.y, signal.z)
        yield Prop((x, y, z + half), signal.yaw, (0.1, 0.1, half), POLES, _POLE)
        yield Prop((x, y, z + _POLE_HEIGHT_M), signal.yaw, (0.2, 0.25, 0.55), TRAFFIC_LIGHTS, _HEAD)


def _beside(lane: Lane, i: int, rng: np.random.Generator, share: float) -> tuple[Prop, float]:
    """A building or a tree to the right of a lane's i-th point, and the radius of the circle around it, m.

    The share of buildings is from 0 to 1.
    """
    is_building = rng.random() < share
    if is_building:
        half = rng.uniform((4.0, 4.0, 2.5), (7.0, 9.0, 6.0))
        label, colour = BUILDINGS, _WALLS[rng.integers(len(_WALLS))]
    else:
        half = rng.uniform((0.8, 0.8, 2.0), (1.6, 1.6, 3.5))
        label, colour = VEGETATION, _LEAVES[rng.integers(len(_LEAVES))]
    radius = float(np.hypot(half[0], half[1]))
    distance = lane.width[i] / 2 + radius + _CLEARANCE_M + rng.uniform(1.0, 9.0)
    yaw = float(lane.yaw[i])
    x, y, z = lane.points[i] + distance * np.array((-np.sin(yaw), np.cos(yaw), 0.0))
    centre = float(x), float(y), float(z + half[2])
    return Prop(centre, yaw, (float(half[0]), float(half[1]), float(half[2])), label, colour), radius


def _free_distance(ground: Ground, step: int) -> NDArray:
    """Distance to the nearest ground that is no terrain or off the raster, m; one value every `step` pixels."""
    free = (ground.labels[::step, ::step] == TERRAIN).astype(np.uint8)
    free = cv2.copyMakeBorder(free, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1] * step * ground.resolution
