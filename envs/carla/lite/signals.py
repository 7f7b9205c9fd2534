"""The traffic lights of a map: where they stand, who obeys them, which of them show the same."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from envs.carla.lite.lanes import Lane
from envs.carla.lite.links import is_forward
from envs.carla.lite.network import Network, Road, SignalSpec, evaluate

TRAFFIC_LIGHT = "1000001"
"""OpenDRIVE's type of a traffic light with three lamps"""


@dataclass(frozen=True)
class Signal:
    """A traffic light."""

    signal_id: str
    x: float
    """foot of its pole, m"""
    y: float
    z: float
    yaw: float
    """the direction that it faces: towards the drivers whom it governs, rad"""
    group: int
    """lights of one group (OpenDRIVE's controller) show the same"""
    stop_lanes: tuple[int, ...]
    """driving lanes that it governs, outside junctions; drivers stop at their ends"""
    junction: int = -1
    """groups of one junction take turns; -1 if it stands alone"""


def build_signals(network: Network, lanes: list[Lane]) -> list[Signal]:
    """The traffic lights of a network."""
    places: dict[str, tuple[Road, SignalSpec]] = {}
    governed: dict[str, set[int]] = defaultdict(set)
    lanes_of: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, lane in enumerate(lanes):
        lanes_of[lane.road_id, lane.section].append(i)
    for road in network.roads.values():
        starts = [section.s for section in road.sections]
        for spec in road.signals:
            section = max(bisect_right(starts, spec.s) - 1, 0)
            here = [i for i in lanes_of[road.road_id, section] if _is_for(spec, lanes[i])]
            for i in here:  # inside a junction, drivers stop before it
                governed[spec.signal_id].update([i] if lanes[i].junction == -1 else lanes[i].predecessors)
            if spec.kind == TRAFFIC_LIGHT and not spec.is_reference:
                places[spec.signal_id] = road, spec
    groups = {light: i for i, lights in enumerate(network.controllers.values()) for light in lights}
    junctions = {
        controller: junction.junction_id
        for junction in network.junctions.values()
        for controller in junction.controllers
    }
    junction_of = {
        light: junctions.get(name, -1) for name, lights in network.controllers.items() for light in lights
    }
    signals = []
    for i, (signal_id, (road, spec)) in enumerate(sorted(places.items())):
        x, y, z, yaw = _pose(road, spec)
        group = groups.get(signal_id, len(network.controllers) + i)
        stop_lanes = tuple(sorted(governed[signal_id]))
        signals.append(Signal(signal_id, x, y, z, yaw, group, stop_lanes, junction_of.get(signal_id, -1)))
    return signals


def _is_for(spec: SignalSpec, lane: Lane) -> bool:
    """Whether a signal, or a reference to it, holds for a lane beside it."""
    is_valid = not spec.lanes or any(low <= lane.lane_id <= high for low, high in spec.lanes)
    is_facing = spec.orientation == "none" or (spec.orientation == "+") == is_forward(lane.lane_id)
    return lane.kind == "driving" and is_valid and is_facing


def _pose(road: Road, spec: SignalSpec) -> tuple[float, float, float, float]:
    s = np.array([spec.s])
    (x,), (y,), (yaw,) = road.trace(s)
    z = evaluate(road.elevation, s)[0][0] + spec.z_offset
    facing = yaw if spec.orientation == "-" else yaw + np.pi
    return float(x - spec.t * np.sin(yaw)), float(y + spec.t * np.cos(yaw)), float(z), float(facing)
