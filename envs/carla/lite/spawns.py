"""Where vehicles may appear."""

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.lanes import Lane

_SPACING_M = 12.0
_END_M = 6.0
"""distance to a lane's ends: half a spacing, so that points of lanes that follow each other keep it too"""


def spawn_points(lanes: list[Lane]) -> NDArray:
    """(n, 4): x, y, z (of the road's surface, m) and yaw (rad).

    On driving lanes outside junctions, in driving direction: first those of right lanes (negative ids), road by
    road, then those of left lanes, where one drives the road the other way.
    """
    driving = [lane for lane in lanes if lane.kind == "driving" and lane.junction == -1]
    found = [_along(lane) for lane in sorted(driving, key=lambda lane: lane.lane_id > 0)]
    return np.concatenate(found) if found else np.empty((0, 4))


def _along(lane: Lane) -> NDArray:
    distance = lane.distances()
    places = np.arange(_END_M, distance[-1] - _END_M + 1e-6, _SPACING_M)
    columns = [*lane.points.T, lane.yaw]
    return np.column_stack([np.interp(places, distance, column) for column in columns])
