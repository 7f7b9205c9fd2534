"""OpenDRIVE text of roads made of lines, arcs and spirals (in OpenDRIVE's axes: y and headings to the left).

Only what our own maps need; the real simulator and its client read it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from envs.carla.lite.geometry import Geometry

LAT_DEG, LON_DEG = 49.0, 8.0
LANE_M = 4.0


@dataclass(frozen=True)
class Bend:
    """A piece of a reference line: curvature (1/m, positive to the left) from `start` to `end` over a length (m)."""

    length: float
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class LaneText:
    """One lane: id, type, width (m), the line on its outer border and the lanes that it is linked to."""

    lane_id: int
    kind: str = "driving"
    width: float = LANE_M
    mark: str = "none"
    predecessor: int | None = None
    successor: int | None = None


@dataclass
class RoadText:
    """One road of one lane section."""

    road_id: int
    start: tuple[float, float, float]
    """x (m), y (m), heading (rad)"""
    bends: Sequence[Bend]
    lanes: Sequence[LaneText]
    centre_mark: str = "none"
    predecessor: str = ""
    """attributes of the road's link, such as 'elementType="junction" elementId="3"'; empty: none"""
    successor: str = ""
    junction: int = -1
    signals: list[str] = field(default_factory=list)


def follow(start: tuple[float, float, float], bends: Sequence[Bend]) -> list[Geometry]:
    """The pieces of a reference line, one after the other."""
    pieces, s, (x, y, heading) = [], 0.0, start
    for bend in bends:
        piece = Geometry(s, x, y, heading, bend.length, "curve", (bend.start, bend.end))
        pieces.append(piece)
        (x,), (y,), (heading,) = piece.trace(np.array([bend.length]))
        s += bend.length
    return pieces


def end_of(start: tuple[float, float, float], bends: Sequence[Bend]) -> tuple[float, float, float]:
    """Where a reference line ends: x (m), y (m), heading (rad)."""
    last = follow(start, bends)[-1]
    (x,), (y,), (heading,) = last.trace(np.array([last.length]))
    return float(x), float(y), float(heading)


def document(
    name: str, roads: Sequence[RoadText], controllers: Sequence[str] = (), junctions: Sequence[str] = ()
) -> str:
    """A whole OpenDRIVE document."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<OpenDRIVE>\n'
        f'<header revMajor="1" revMinor="4" name="{name}" version="1" north="0" south="0" east="0" west="0">\n'
        f"<geoReference><![CDATA[+proj=tmerc +lat_0={LAT_DEG} +lon_0={LON_DEG} +k=1 +x_0=0 +y_0=0 +datum=WGS84 "
        "+units=m +no_defs]]></geoReference>\n</header>",
        *map(_road, roads),
        *controllers,
        *junctions,
        "</OpenDRIVE>\n",
    ]
    return "\n".join(parts)


def _road(road: RoadText) -> str:
    pieces = follow(road.start, road.bends)
    length = sum(bend.length for bend in road.bends)
    links = [f"<{end} {what}/>" for end in ("predecessor", "successor") if (what := getattr(road, end))]
    sides = {"left": lambda lane: lane.lane_id > 0, "right": lambda lane: lane.lane_id < 0}
    lanes = {
        side: "".join(map(_lane, sorted(filter(is_on, road.lanes), key=lambda lane: -lane.lane_id)))
        for side, is_on in sides.items()
    }
    left, right = (f"<{side}>{text}</{side}>" if text else "" for side, text in lanes.items())
    return (
        f'<road name="road {road.road_id}" length="{length:.9f}" id="{road.road_id}" junction="{road.junction}">\n'
        f"<link>{''.join(links)}</link>\n"
        '<type s="0" type="town"><speed max="50" unit="km/h"/></type>\n'
        f"<planView>\n{''.join(map(_geometry, pieces))}</planView>\n"
        '<elevationProfile><elevation s="0" a="0" b="0" c="0" d="0"/></elevationProfile>\n<lateralProfile/>\n'
        f'<lanes>\n<laneOffset s="0" a="0" b="0" c="0" d="0"/>\n<laneSection s="0">\n{left}'
        f'<center><lane id="0" type="none" level="false">{_mark(road.centre_mark, "yellow")}</lane></center>\n'
        f"{right}</laneSection>\n</lanes>\n<objects/>\n<signals>{''.join(road.signals)}</signals>\n</road>"
    )


def _geometry(piece: Geometry) -> str:
    start, end = piece.params
    if start != end:
        shape = f'<spiral curvStart="{start:.12f}" curvEnd="{end:.12f}"/>'
    else:
        shape = f'<arc curvature="{start:.12f}"/>' if start else "<line/>"
    return (
        f'<geometry s="{piece.s:.9f}" x="{piece.x:.9f}" y="{piece.y:.9f}" hdg="{piece.yaw:.12f}" '
        f'length="{piece.length:.9f}">{shape}</geometry>\n'
    )


def _lane(lane: LaneText) -> str:
    links = [
        f'<{end} id="{target}"/>'
        for end in ("predecessor", "successor")
        if (target := getattr(lane, end)) is not None
    ]
    return (
        f'<lane id="{lane.lane_id}" type="{lane.kind}" level="false"><link>{"".join(links)}</link>'
        f'<width sOffset="0" a="{lane.width}" b="0" c="0" d="0"/>{_mark(lane.mark, "white")}</lane>\n'
    )


def _mark(kind: str, colour: str) -> str:
    return f'<roadMark sOffset="0" type="{kind}" weight="standard" color="{colour}" width="0.15" laneChange="none"/>'
