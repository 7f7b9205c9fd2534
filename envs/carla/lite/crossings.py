"""The traffic lights of a map as actors, and which of them a vehicle stands at."""

import math
from collections.abc import Callable

import numpy as np

from envs.carla.lite.actors import REACH_M, TrafficLight, Vehicle
from envs.carla.lite.blueprints import Blueprint
from envs.carla.lite.lights import TrafficLights
from envs.carla.lite.pose import Pose
from envs.carla.lite.roadmap import RoadMap
from envs.carla.lite.signals import Signal

_CELL_M = 0.5
_BLUEPRINT = Blueprint("traffic.traffic_light", "traffic,traffic_light", (), 0, label=7)


class Crossings:
    """All traffic lights of a map.

    Args:
        roadmap: the map.
        take_id: gives the next free actor id.
    """

    def __init__(self, roadmap: RoadMap, take_id: Callable[[], int]) -> None:
        signals = {take_id(): signal for signal in roadmap.signals}
        self.lights = TrafficLights({i: (signal.junction, signal.group) for i, signal in signals.items()})
        self.actors = [self._actor(i, signal, roadmap) for i, signal in signals.items()]
        self._at: dict[tuple[int, int], TrafficLight] = {}
        for actor, signal in zip(self.actors, signals.values()):
            for cell in _cells(signal, roadmap):
                self._at.setdefault(cell, actor)

    def step(self, delta_s: float) -> None:
        """Let time pass."""
        self.lights.step(delta_s)

    def light_at(self, vehicle: Vehicle) -> TrafficLight | None:
        """The light that governs where a vehicle is."""
        if not self._at:
            return None
        return self._at.get((math.floor(vehicle.pose.x / _CELL_M), math.floor(vehicle.pose.y / _CELL_M)))

    def _actor(self, actor_id: int, signal: Signal, roadmap: RoadMap) -> TrafficLight:
        pose = Pose(signal.x, signal.y, signal.z, 0.0, signal.yaw, 0.0)
        return TrafficLight(
            actor_id,
            _BLUEPRINT,
            {},
            pose,
            signal=signal,
            lights=self.lights,
            trigger=_trigger(signal, roadmap),
        )


def _cells(signal: Signal, roadmap: RoadMap) -> set[tuple[int, int]]:
    """Cells of the plane in which a vehicle obeys a signal."""
    found: set[tuple[int, int]] = set()
    for lane in (roadmap.lanes[index] for index in signal.stop_lanes):
        driven = lane.distances()
        at = np.arange(max(driven[-1] - REACH_M, 0.0), driven[-1], _CELL_M / 2)
        x, y, half, cos, sin = (
            np.interp(at, driven, values)[:, None]
            for values in (*lane.points[:, :2].T, lane.width / 2, np.cos(lane.yaw), np.sin(lane.yaw))
        )
        side = half * np.linspace(-1, 1, 2 * math.ceil(lane.width.max() / _CELL_M) + 1)
        columns, rows = (
            np.floor(each / _CELL_M).astype(int).ravel() for each in (x - sin * side, y + cos * side)
        )
        found.update(zip(columns.tolist(), rows.tolist()))
    return found


def _trigger(signal: Signal, roadmap: RoadMap) -> Pose:
    """Middle of the stretch before the first governed lane's end; the signal's own place if it governs none."""
    if not signal.stop_lanes:
        return Pose(signal.x, signal.y, signal.z, 0.0, signal.yaw, 0.0)
    lane = roadmap.lanes[signal.stop_lanes[0]]
    (x, y, z), yaw = lane.points[-1].tolist(), float(lane.yaw[-1])
    return Pose(x - math.cos(yaw) * REACH_M / 2, y - math.sin(yaw) * REACH_M / 2, z, 0.0, yaw, 0.0)
