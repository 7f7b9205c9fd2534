"""Paths on a carla.Map: once round a closed road, or from A to B with a drawn choice at every junction."""

from typing import Any

import numpy as np

from envs.carla.path import Path
from utils.errors import UserError

STEP_M = 1.0
LONGEST_LAP_M = 3000.0


def circuit(start: Any) -> Path:
    """Follow the road from a waypoint until it comes back to it.

    Raises:
        UserError: the road does not.
    """
    waypoints, here = [start], start
    for _ in range(int(LONGEST_LAP_M / STEP_M)):
        ahead = here.next(STEP_M)
        if not ahead:
            break
        here = _straightest(here, ahead)
        is_near = here.transform.location.distance(start.transform.location) < 2 * STEP_M
        if is_near and len(waypoints) > 10 and _is_same_lane(here, start) and _metres_past(here, start) >= 0:
            if _metres_past(waypoints[-1], start) > -STEP_M / 2:
                waypoints.pop()  # the last step would be too short to have a direction
            return _path(waypoints, is_closed=True)
        waypoints.append(here)
    raise UserError(
        "the circuit task needs a closed road, and this map's road does not come back to its start within "
        f"{LONGEST_LAP_M:g} m; take the route task, or the map circuit or loop."
    )


def route(start: Any, length_m: float, rng: np.random.Generator) -> Path:
    """From a waypoint on for so many metres, turning where chance will at junctions.

    Raises:
        UserError: the road ends after a few metres.
    """
    waypoints, here = [start], start
    for _ in range(round(length_m / STEP_M)):
        ahead = here.next(STEP_M)
        if not ahead:
            break
        here = ahead[int(rng.integers(len(ahead)))]
        waypoints.append(here)
    if len(waypoints) < 20:
        raise UserError(
            f"the map's road ends {len(waypoints)} m after the start; a route needs at least 20 m."
        )
    return _path(waypoints, is_closed=False)


def _straightest(here: Any, ahead: list[Any]) -> Any:
    """Where a road branches, a circuit goes straight on."""
    if len(ahead) == 1:
        return ahead[0]
    forward = here.transform.get_forward_vector()
    return max(ahead, key=lambda waypoint: forward.dot(waypoint.transform.get_forward_vector()))


def _is_same_lane(a: Any, b: Any) -> bool:
    return (a.road_id, a.section_id, a.lane_id) == (b.road_id, b.section_id, b.lane_id)


def _metres_past(here: Any, start: Any) -> float:
    """How far a waypoint is beyond another along the other's direction."""
    way = here.transform.location - start.transform.location
    return way.dot(start.transform.get_forward_vector())


def _path(waypoints: list[Any], is_closed: bool) -> Path:
    poses = [waypoint.transform.location for waypoint in waypoints]
    points = np.array([(pose.x, pose.y, pose.z) for pose in poses])
    lane_m = np.array([waypoint.lane_width for waypoint in waypoints])
    room = np.array([_room(waypoint) for waypoint in waypoints])
    return Path(points, room[:, 0], room[:, 1], lane_m, is_closed)


def _room(waypoint: Any) -> tuple[float, float]:
    """Metres from the middle of a lane to the left and right edge of the road that cars may use."""
    half = waypoint.lane_width / 2
    return half + _beside(waypoint, "left"), half + _beside(waypoint, "right")


def _beside(waypoint: Any, side: str) -> float:
    """Width of the driving lanes on one side. Beyond the middle, a lane's left is on its other side."""
    width, here, towards = 0.0, waypoint, side
    for _ in range(8):
        beside = here.get_left_lane() if towards == "left" else here.get_right_lane()
        if beside is None or not _is_driving(beside):
            break
        if beside.lane_id * here.lane_id < 0:
            towards = "right" if towards == "left" else "left"
        width += beside.lane_width
        here = beside
    return width


def _is_driving(waypoint: Any) -> bool:
    return waypoint.lane_type.name == "Driving"
