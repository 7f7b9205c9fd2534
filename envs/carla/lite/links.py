"""Which lane leads to which: the links of an OpenDRIVE network as edges in driving direction."""

from collections.abc import Iterator

import numpy as np

from envs.carla.lite.network import Connection, Network, Road, RoadLink

LaneKey = tuple[int, int, int]
"""road id, index of the section, lane id"""
LaneEnd = tuple[LaneKey, bool]
"""a lane, and which of its ends: True is where s is largest"""


def edges(network: Network) -> set[tuple[LaneKey, LaneKey]]:
    """All pairs of lanes where a driver can go on from the first to the second."""
    found: set[tuple[LaneKey, LaneKey]] = set()
    for one, other in _touching(network):
        for (source, leaves_at), (target, enters_at) in ((one, other), (other, one)):
            is_known = _exists(network, source) and _exists(network, target)
            if is_known and is_forward(source[2]) == leaves_at and is_forward(target[2]) != enters_at:
                found.add((source, target))
    return found


def is_forward(lane_id: int) -> bool:
    """Whether a lane is driven in the direction of its road."""
    return lane_id < 0


def _exists(network: Network, key: LaneKey) -> bool:
    road = network.roads.get(key[0])
    return road is not None and key[2] != 0 and key[2] in road.sections[key[1]].lanes


def _touching(network: Network) -> Iterator[tuple[LaneEnd, LaneEnd]]:
    """Pairs of lane ends that the document links to each other."""
    for road in network.roads.values():
        yield from _between_sections(road)
        for link, is_end in ((road.predecessor, False), (road.successor, True)):
            if link is not None and not link.is_junction and link.element_id in network.roads:
                yield from _between_roads(network, road, is_end, link)
    for junction in network.junctions.values():
        for connection in junction.connections:
            yield from _through_junction(network, junction.junction_id, connection)


def _between_sections(road: Road) -> Iterator[tuple[LaneEnd, LaneEnd]]:
    for i in range(len(road.sections) - 1):
        for lane in road.sections[i].lanes.values():
            if lane.successor is not None:
                yield ((road.road_id, i, lane.lane_id), True), ((road.road_id, i + 1, lane.successor), False)
        for lane in road.sections[i + 1].lanes.values():
            if lane.predecessor is not None:
                yield (
                    ((road.road_id, i, lane.predecessor), True),
                    ((road.road_id, i + 1, lane.lane_id), False),
                )


def _between_roads(
    network: Network, road: Road, is_end: bool, link: RoadLink
) -> Iterator[tuple[LaneEnd, LaneEnd]]:
    other = network.roads[link.element_id]
    section = _last_section(road, is_end)
    for lane in road.sections[section].lanes.values():
        lane_id = lane.successor if is_end else lane.predecessor
        if lane_id is not None:
            target = (other.road_id, _last_section(other, link.is_at_end), lane_id)
            yield ((road.road_id, section, lane.lane_id), is_end), (target, link.is_at_end)


def _through_junction(
    network: Network, junction_id: int, connection: Connection
) -> Iterator[tuple[LaneEnd, LaneEnd]]:
    incoming, connecting = (network.roads.get(i) for i in (connection.incoming, connection.connecting))
    if incoming is None or connecting is None:
        return
    ends = [
        is_end
        for link, is_end in ((incoming.predecessor, False), (incoming.successor, True))
        if link is not None and link.is_junction and link.element_id == junction_id
    ]
    if not ends:
        return
    is_end = min(ends, key=lambda end: _gap(incoming, end, connecting, connection.is_at_end))
    for lane, next_lane in connection.lanes:
        source = (incoming.road_id, _last_section(incoming, is_end), lane)
        target = (connecting.road_id, _last_section(connecting, connection.is_at_end), next_lane)
        yield (source, is_end), (target, connection.is_at_end)


def _last_section(road: Road, is_end: bool) -> int:
    return len(road.sections) - 1 if is_end else 0


def _gap(road: Road, is_end: bool, other: Road, is_other_end: bool) -> float:
    """Distance between two roads' ends, m."""
    (x, y, _), (u, v, _) = (
        piece.trace(np.array([piece.length if end else 0.0]))
        for piece, end in (
            (road.geometries[-1 if is_end else 0], is_end),
            (other.geometries[-1 if is_other_end else 0], is_other_end),
        )
    )
    return float(np.hypot(x - u, y - v)[0])
