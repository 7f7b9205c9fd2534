"""Small OpenDRIVE maps written by hand, and the comparison of any map with CARLA's own reading of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.carla.lite.lanes import build_lanes, sample
from envs.carla.lite.opendrive import read

LANES = """<laneSection s="0">
<left><lane id="1" type="driving"><link/><width sOffset="0" a="3" b="0" c="0" d="0"/></lane></left>
<center><lane id="0" type="none"><link/></lane></center>
<right><lane id="-1" type="driving"><link/><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>
<lane id="-2" type="shoulder"><link/><width sOffset="0" a="1.5" b="0" c="0" d="0"/></lane></right>
</laneSection>"""


def geometry(
    shape: str, length: float, s: float = 0.0, x: float = 3.0, y: float = -7.0, hdg: float = 0.7
) -> str:
    """A piece of a plan view."""
    return f'<geometry s="{s}" x="{x}" y="{y}" hdg="{hdg}" length="{length}">{shape}</geometry>'


def document(
    plan: str, length: float, lanes: str = LANES, elevation: str = "", offset: str = "", more: str = ""
) -> str:
    """A map of one road."""
    return f"""<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4" name="" version="1"/>
<road name="" length="{length}" id="7" junction="-1"><link/><planView>{plan}</planView>
<elevationProfile>{elevation}</elevationProfile><lateralProfile/><lanes>{offset}{lanes}</lanes>{more}</road>
</OpenDRIVE>"""


@dataclass
class Difference:
    """The largest differences from CARLA's own reading, m and rad."""

    position: float = 0.0
    yaw: float = 0.0
    width: float = 0.0
    num_points: int = 0


def difference(xodr: str, every: int = 1) -> Difference:
    """Compare every n-th inner point of all our lanes with CARLA's waypoint at the same road, lane and s."""
    import carla

    theirs, network, worst = carla.Map("map", xodr), read(xodr), Difference()
    sections = sample(network)
    s_of = {(section.road.road_id, section.index): section.s for section in sections}
    for lane in build_lanes(network, sections):
        s = s_of[lane.road_id, lane.section][:: 1 if lane.lane_id < 0 else -1]
        for i in range(1, len(s) - 1, every):
            waypoint = theirs.get_waypoint_xodr(lane.road_id, lane.lane_id, float(s[i]))
            assert waypoint is not None, (lane.road_id, lane.lane_id, s[i])
            _compare(worst, waypoint, lane.points[i], float(lane.yaw[i]), float(lane.width[i]))
    return worst


def _compare(worst: Difference, waypoint: Any, point: np.ndarray, yaw: float, width: float) -> None:
    place = waypoint.transform.location
    turn = np.radians(waypoint.transform.rotation.yaw) - yaw
    gap = float(np.linalg.norm(point - (place.x, place.y, place.z)))
    worst.position = max(worst.position, gap)
    worst.yaw = max(worst.yaw, abs(float((turn + np.pi) % (2 * np.pi) - np.pi)))
    worst.width = max(worst.width, abs(waypoint.lane_width - width))
    worst.num_points += 1


def neighbours(xodr: str) -> tuple[dict, dict]:
    """Lanes before and after each driving lane: as we link them, and where CARLA's waypoints go on to."""
    import carla

    theirs, network = carla.Map("map", xodr), read(xodr)
    lanes = build_lanes(network, sample(network))
    keys = [(lane.road_id, lane.section, lane.lane_id) for lane in lanes]
    ours, found = {}, {}
    for lane, key in zip(lanes, keys):
        if lane.kind != "driving":
            continue
        road = network.roads[lane.road_id]
        ends = road.sections[lane.section].s + 0.1, road.section_ends()[lane.section] - 0.1
        first, last = (
            theirs.get_waypoint_xodr(lane.road_id, lane.lane_id, s)
            for s in ends[:: 1 if lane.lane_id < 0 else -1]
        )
        assert first is not None
        assert last is not None
        ours[key] = {keys[i] for i in lane.predecessors}, {keys[i] for i in lane.successors}
        found[key] = tuple(
            {(way.road_id, way.section_id, way.lane_id) for way in ways}
            for ways in (first.previous(0.3), last.next(0.3))
        )
    return ours, found
