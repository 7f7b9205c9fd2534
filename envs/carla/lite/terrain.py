"""The ground under the wheels, as functions of x and y in plain floats: they are called many times a tick."""

import math

from envs.carla.lite.roadmap import RoadMap
from envs.carla.lite.vehicle import Field, flat

_HARD = frozenset((1, 2, 24, 25, 26))
"""Labels with full grip: roads, sidewalks, road lines, paved ground, bridges."""
_SOFT_GRIP = 0.6


def grip_of(roadmap: RoadMap) -> Field:
    """Share of a dry road's friction."""
    ground = roadmap.ground
    (x0, y0), per_m = ground.origin, 1 / ground.resolution
    rows, columns = ground.labels.shape
    pixel = ground.labels.item

    def grip(x: float, y: float) -> float:
        row, column = math.floor((y - y0) * per_m), math.floor((x - x0) * per_m)
        if 0 <= row < rows and 0 <= column < columns and pixel(row, column) in _HARD:
            return 1.0
        return _SOFT_GRIP

    return grip


def height_of(roadmap: RoadMap) -> Field:
    """Elevation, m."""
    if roadmap.is_flat:
        return flat
    return roadmap.heights.at_point
