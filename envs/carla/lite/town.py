"""A small town as OpenDRIVE text: four blocks, one crossing, four T junctions, traffic lights at three of them.

Two streets cross in the middle; a ring road with rounded corners joins their four ends. Directions are numbered
0 east, 1 north, 2 west, 3 south; the arms of a junction bear the number of the direction in which they leave it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from envs.carla.lite.signals import TRAFFIC_LIGHT
from envs.carla.lite.writer import Bend, LaneText, RoadText, document

_LANE_M, _SIDEWALK_M = 3.5, 2.0
_REACH_M = 14.0
"""from a junction's middle to its arms; the radius of turns"""
_CORNER_RADIUS_M = 20.0
_MIDDLE = 5
_JUNCTION_IDS = 900
"""the client takes a road's link for one to a road where there is a road of that id, so these are not roads' ids"""
_REACHES_M = (130.0, 75.0, 110.0, 90.0)
"""from the middle to the T junctions"""
_LIT = (_MIDDLE, 1, 3)
"""junctions with traffic lights: the middle and both ends of the street from west to east"""
_POLE_M = 1.5
"""from a lane's border to the pole of its light"""
_STOP_M = 1.0
"""from a traffic light to its junction"""


@dataclass(frozen=True)
class Crossing:
    """A junction: its number, its middle (m) and, by direction, its arms: the road and whether its end is here."""

    number: int
    x: float
    y: float
    arms: dict[int, tuple[int, bool]]


def town() -> str:
    """The town's OpenDRIVE text."""
    crossings = _crossings()
    streets = [*_streets(), *_ring()]
    roads = {road.road_id: road for road in streets}
    connecting: list[RoadText] = []
    junctions: list[str] = []
    controllers: list[str] = []
    for crossing in crossings:
        ways = list(_ways(crossing))
        connecting += [road for road, _ in ways]
        lit = crossing.number in _LIT
        junctions.append(_junction(crossing, [text for _, text in ways], lit))
        if lit:
            controllers += _add_lights(crossing, roads)
    return document("town", [*streets, *connecting], controllers, junctions)


def _unit(direction: int) -> tuple[float, float]:
    return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[direction % 4]


def _crossings() -> list[Crossing]:
    """The middle, then the T junctions by direction."""
    middle = Crossing(_MIDDLE, 0.0, 0.0, {k: (1 + k, False) for k in range(4)})
    ends = []
    for k, reach in enumerate(_REACHES_M):
        street, to_ring, from_ring = (1 + k, True), (5 + k, False), (5 + (k + 3) % 4, True)
        arms = {(k + 2) % 4: street, (k + 1) % 4: to_ring, (k + 3) % 4: from_ring}
        x, y = _unit(k)
        ends.append(Crossing(1 + k, reach * x, reach * y, arms))
    return [middle, *ends]


def _streets() -> Iterator[RoadText]:
    """Roads 1 to 4: from the middle to the T junctions."""
    for k, reach in enumerate(_REACHES_M):
        x, y = (_REACH_M * part for part in _unit(k))
        yield _street(1 + k, (x, y, k * math.pi / 2), [Bend(reach - 2 * _REACH_M)], (_MIDDLE, 1 + k))


def _ring() -> Iterator[RoadText]:
    """Roads 5 to 8: from each T junction to the next, around a corner to the left."""
    for k, reach in enumerate(_REACHES_M):
        (along_x, along_y), (x, y) = _unit(k), _unit(k + 1)
        start = along_x * reach + x * _REACH_M, along_y * reach + y * _REACH_M, (k + 1) * math.pi / 2
        first = _REACHES_M[(k + 1) % 4] - _REACH_M - _CORNER_RADIUS_M
        corner = Bend(_CORNER_RADIUS_M * math.pi / 2, 1 / _CORNER_RADIUS_M, 1 / _CORNER_RADIUS_M)
        bends = [Bend(first), corner, Bend(reach - _REACH_M - _CORNER_RADIUS_M)]
        yield _street(5 + k, start, bends, (1 + k, 1 + (k + 1) % 4))


def _street(
    road_id: int, start: tuple[float, float, float], bends: list[Bend], junctions: tuple[int, int]
) -> RoadText:
    """A road with a lane and a sidewalk each way, between two junctions."""
    lanes = [
        lane
        for side in (1, -1)
        for lane in (
            LaneText(side, "driving", _LANE_M, "solid"),
            LaneText(2 * side, "sidewalk", _SIDEWALK_M),
        )
    ]
    ends = [f'elementType="junction" elementId="{_JUNCTION_IDS + junction}"' for junction in junctions]
    return RoadText(road_id, start, bends, lanes, "broken", ends[0], ends[1])


def _ways(crossing: Crossing) -> Iterator[tuple[RoadText, str]]:
    """Each way through a junction: a road, and the connection that names it."""
    pairs = [(source, target) for source in crossing.arms for target in crossing.arms if source != target]
    for number, (source, target) in enumerate(pairs):
        road_id = 100 * crossing.number + number
        turn = (target - source) % 4  # 1 right, 2 straight on, 3 left
        curvature = {1: -1 / _REACH_M, 2: 0.0, 3: 1 / _REACH_M}[turn]
        bend = Bend(2 * _REACH_M if turn == 2 else _REACH_M * math.pi / 2, curvature, curvature)
        (x, y), ends = _unit(source), (crossing.arms[source], crossing.arms[target])
        (before, is_end), (_, is_after_end) = ends
        side_in, side_out = (-1 if is_end else 1), (1 if is_after_end else -1)
        has_sidewalk = turn == 1 or (turn == 2 and (source + 1) % 4 not in crossing.arms)
        kinds = [("driving", _LANE_M), ("sidewalk", _SIDEWALK_M)][: 1 + has_sidewalk]
        lanes = [
            LaneText(-i, kind, width, "none", predecessor=i * side_in, successor=i * side_out)
            for i, (kind, width) in enumerate(kinds, start=1)
        ]
        touches = [
            f'elementType="road" elementId="{other}" contactPoint="{"end" if at_end else "start"}"'
            for other, at_end in ends
        ]
        start = crossing.x + _REACH_M * x, crossing.y + _REACH_M * y, (source + 2) * math.pi / 2
        links = "".join(f'<laneLink from="{lane.predecessor}" to="{lane.lane_id}"/>' for lane in lanes)
        yield (
            RoadText(
                road_id,
                start,
                [bend],
                lanes,
                "none",
                touches[0],
                touches[1],
                junction=_JUNCTION_IDS + crossing.number,
            ),
            f'<connection id="{number}" incomingRoad="{before}" connectingRoad="{road_id}" '
            f'contactPoint="start">{links}</connection>\n',
        )


def _junction(crossing: Crossing, connections: list[str], lit: bool) -> str:
    number = crossing.number
    controllers = [f'<controller id="{2 * number + axis}" type="0"/>' for axis in (0, 1) if lit]
    content = "".join(connections + controllers)
    return f'<junction id="{_JUNCTION_IDS + number}" name="junction {number}">\n{content}</junction>'


def _add_lights(crossing: Crossing, roads: dict[int, RoadText]) -> list[str]:
    """Stand a traffic light at each arm; returns the controllers, one for each of the two axes."""
    controls = ["", ""]
    for direction, (road_id, is_end) in crossing.arms.items():
        road, lane = roads[road_id], -1 if is_end else 1
        signal_id = 10 * crossing.number + direction + 1
        length = sum(bend.length for bend in road.bends)
        road.signals.append(
            f'<signal id="{signal_id}" name="light {signal_id}" s="{length - _STOP_M if is_end else _STOP_M}" '
            f't="{lane * (_LANE_M + _POLE_M)}" zOffset="0" hOffset="0" pitch="0" roll="0" dynamic="yes" '
            f'orientation="{"+" if is_end else "-"}" country="OpenDRIVE" type="{TRAFFIC_LIGHT}" subtype="-1" '
            f'value="-1" height="0.8" width="0.3"><validity fromLane="{lane}" toLane="{lane}"/></signal>'
        )
        controls[direction % 2] += f'<control signalId="{signal_id}" type="0"/>'
    return [
        f'<controller id="{2 * crossing.number + axis}" name="axis {axis}" sequence="{axis}">{text}</controller>'
        for axis, text in enumerate(controls)
    ]
