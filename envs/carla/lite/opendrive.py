"""OpenDRIVE text to dataclasses, in CARLA's axes: y, headings, curvatures and lateral offsets are negated here.

After this file nothing knows OpenDRIVE's axes any more: y and lateral offsets grow to the right.
What driving does not need is skipped: superelevation, objects, railroads, lane heights, speeds.
"""

import re
from collections.abc import Callable
from xml.etree import ElementTree

from envs.carla.lite.geometry import Geometry
from envs.carla.lite.network import (
    Connection,
    Cubic,
    Junction,
    LaneSection,
    LaneSpec,
    Mark,
    Network,
    Road,
    RoadLink,
    SignalSpec,
)
from utils.errors import UserError

Element = ElementTree.Element

_MAX_CHARACTERS = 100_000_000
_MAX_VALUE = 1e7
_MAX_LANES_M = 1e6
_MAX_GEOMETRY_M = 20_000.0
_MAX_SWING_RAD = 30.0
_MAX_PIECES = 1_000_000
_DEFAULT_ORIGIN_DEG = (42.0, 2.0)


class MapError(UserError):
    """A map that cannot be read or driven on; the message is one sentence."""


def read(text: str) -> Network:
    """The road network of an OpenDRIVE document.

    Raises:
        MapError: it is no OpenDRIVE, or something in it makes no sense.
    """
    root = _xml(text)
    roads = [_road(element) for element in root.findall("road")]
    if not roads:
        raise MapError("The OpenDRIVE map has no road; give it at least one.")
    if len({road.road_id for road in roads}) < len(roads):
        raise MapError("The OpenDRIVE map has two roads of the same id; ids must be unique.")
    if sum(map(_lanes_m, roads)) > _MAX_LANES_M:
        raise MapError(f"The OpenDRIVE map has more than {_MAX_LANES_M / 1000:.0f} km of lanes; cut it.")
    junctions = [_junction(element) for element in root.findall("junction")]
    controllers = {
        _text(element, "id"): tuple(_text(control, "signalId") for control in element.findall("control"))
        for element in root.findall("controller")
    }
    return Network(
        roads={road.road_id: road for road in roads},
        junctions={junction.junction_id: junction for junction in junctions},
        controllers=controllers,
        geo_origin=_geo_origin(root.findtext("header/geoReference") or ""),
    )


def _xml(text: str) -> Element:
    """The root element. Documents with a DTD are refused: entities can grow without bounds."""
    if len(text) > _MAX_CHARACTERS:
        raise MapError(
            f"The OpenDRIVE map is longer than {_MAX_CHARACTERS // 10**6} million characters; cut it."
        )
    if "<!DOCTYPE" in text:
        raise MapError("The OpenDRIVE map contains a document type definition; remove it, maps need none.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise MapError(f"The map is not well-formed XML ({error}); give the text of an .xodr file.") from None
    if root.tag != "OpenDRIVE":
        raise MapError(f"The map's root element is {root.tag[:40]!r}; an .xodr file has 'OpenDRIVE'.")
    return root


def _road(element: Element) -> Road:
    road_id = _integer(element, "id")
    geometries = sorted(map(_geometry, element.findall("planView/geometry")), key=lambda piece: piece.s)
    if not geometries:
        raise MapError(f"Road {road_id} of the OpenDRIVE map has no geometry.")
    sections = sorted(map(_section, element.findall("lanes/laneSection")), key=lambda section: section.s)
    if not sections:
        raise MapError(f"Road {road_id} of the OpenDRIVE map has no lane section.")
    if len(sections) * len(geometries) > _MAX_PIECES:
        raise MapError(
            f"Road {road_id} of the OpenDRIVE map has too many geometries and lane sections; divide it."
        )
    signals = element.find("signals")
    return Road(
        road_id=road_id,
        length=geometries[-1].s + geometries[-1].length,
        junction=_integer(element, "junction", -1),
        geometries=tuple(geometries),
        elevation=_cubics(element.findall("elevationProfile/elevation")),
        lane_offset=_cubics(element.findall("lanes/laneOffset"), sign=-1.0),
        sections=tuple(sections),
        predecessor=_road_link(element.find("link/predecessor")),
        successor=_road_link(element.find("link/successor")),
        signals=tuple(_signal(child) for child in ([] if signals is None else signals) if _is_signal(child)),
    )


def _lanes_m(road: Road) -> float:
    """Length of all lanes, the reference line being one, m."""
    ends = road.section_ends()
    return (
        sum((end - section.s) * len(section.lanes) for section, end in zip(road.sections, ends)) + road.length
    )


def _geometry(element: Element) -> Geometry:
    shape = next(iter(element), None)
    readers: dict[str, Callable[[Element], tuple[float, ...]]] = {
        "line": lambda _: (0.0, 0.0),
        "arc": lambda shape: (-_number(shape, "curvature"),) * 2,
        "spiral": lambda shape: (-_number(shape, "curvStart"), -_number(shape, "curvEnd")),
        "poly3": _poly3,
        "paramPoly3": _param_poly3,
    }
    if shape is None or shape.tag not in readers:
        kind = "nothing" if shape is None else repr(shape.tag[:40])
        raise MapError(f"A geometry of the OpenDRIVE map holds {kind}; known are {', '.join(readers)}.")
    length, params = _number(element, "length"), readers[shape.tag](shape)
    if not 0 <= length <= _MAX_GEOMETRY_M:
        limit = f"from 0 to {_MAX_GEOMETRY_M:.0f} m"
        raise MapError(f"A geometry of the OpenDRIVE map has the length {length:g}; it must be {limit}.")
    if shape.tag == "spiral" and max(map(abs, params)) * length > _MAX_SWING_RAD:
        raise MapError(
            "A spiral of the OpenDRIVE map winds around itself; its curvature or length is too large."
        )
    return Geometry(
        s=_number(element, "s"),
        x=_number(element, "x"),
        y=-_number(element, "y"),
        yaw=-_number(element, "hdg"),
        length=length,
        kind="cubic" if "oly3" in shape.tag else "curve",
        params=params,
    )


def _poly3(shape: Element) -> tuple[float, ...]:
    """One coordinate as a cubic of the other; it ends where the arc length does."""
    return (0.0, 1.0, 0.0, 0.0, *(-_number(shape, name) for name in "abcd"), float("inf"))


def _param_poly3(shape: Element) -> tuple[float, ...]:
    """Both coordinates as cubics of a parameter: the arc length, or from 0 to 1."""
    u = (_number(shape, name) for name in ("aU", "bU", "cU", "dU"))
    v = (-_number(shape, name) for name in ("aV", "bV", "cV", "dV"))
    return (*u, *v, float("inf") if shape.get("pRange") == "arcLength" else 1.0)


def _section(element: Element) -> LaneSection:
    lanes = [_lane(lane) for side in ("left", "center", "right") for lane in element.findall(f"{side}/lane")]
    return LaneSection(_number(element, "s"), {lane.lane_id: lane for lane in lanes})


def _lane(element: Element) -> LaneSpec:
    return LaneSpec(
        lane_id=_integer(element, "id"),
        kind=element.get("type", "none"),
        widths=_cubics(element.findall("width"), start="sOffset"),
        marks=tuple(sorted(_mark(mark) for mark in element.findall("roadMark"))),
        predecessor=_lane_link(element.find("link/predecessor")),
        successor=_lane_link(element.find("link/successor")),
    )


def _mark(element: Element) -> Mark:
    return Mark(
        s=max(_number(element, "sOffset", 0.0), 0.0),
        kind=element.get("type", "none"),
        colour=element.get("color", "standard"),
        width=min(max(_number(element, "width", 0.15), 0.0), 1.0),
    )


def _lane_link(element: Element | None) -> int | None:
    return None if element is None else _integer(element, "id")


def _road_link(element: Element | None) -> RoadLink | None:
    if element is None:
        return None
    is_junction = element.get("elementType") == "junction"
    return RoadLink(is_junction, _integer(element, "elementId"), element.get("contactPoint") == "end")


def _is_signal(element: Element) -> bool:
    return element.tag in ("signal", "signalReference")


def _signal(element: Element) -> SignalSpec:
    lanes = [(_integer(part, "fromLane"), _integer(part, "toLane")) for part in element.findall("validity")]
    return SignalSpec(
        signal_id=_text(element, "id"),
        is_reference=element.tag == "signalReference",
        kind=element.get("type", ""),
        is_dynamic=element.get("dynamic") == "yes",
        s=_number(element, "s"),
        t=-_number(element, "t"),
        z_offset=_number(element, "zOffset", 0.0),
        orientation=element.get("orientation", "none"),
        lanes=tuple((min(pair), max(pair)) for pair in lanes),
    )


def _junction(element: Element) -> Junction:
    return Junction(
        junction_id=_integer(element, "id"),
        connections=tuple(
            Connection(
                incoming=_integer(connection, "incomingRoad"),
                connecting=_integer(connection, "connectingRoad"),
                is_at_end=connection.get("contactPoint") == "end",
                lanes=tuple(
                    (_integer(link, "from"), _integer(link, "to")) for link in connection.findall("laneLink")
                ),
            )
            for connection in element.findall("connection")
        ),
        controllers=tuple(_text(controller, "id") for controller in element.findall("controller")),
    )


def _cubics(elements: list[Element], start: str = "s", sign: float = 1.0) -> tuple[Cubic, ...]:
    cubics = [
        Cubic(_number(element, start), *(sign * _number(element, name) for name in "abcd"))
        for element in elements
    ]
    return tuple(sorted(cubics, key=lambda cubic: cubic.s))


def _geo_origin(projection: str) -> tuple[float, float]:
    """Latitude and longitude of the map's origin, degrees."""
    found = [re.search(rf"\+{name}=(-?\d+\.?\d*)", projection) for name in ("lat_0", "lon_0")]
    latitude, longitude = (
        default if match is None else float(match[1]) for match, default in zip(found, _DEFAULT_ORIGIN_DEG)
    )
    return latitude, longitude


def _text(element: Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise MapError(f"A <{element.tag[:40]}> of the OpenDRIVE map lacks its attribute {name!r}.")
    return value


def _number(element: Element, name: str, default: float | None = None) -> float:
    """A finite attribute of sane size."""
    if default is not None and element.get(name) in (None, ""):
        return default
    text = _text(element, name)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _MAX_VALUE:
        raise MapError(
            f"{name}={text[:40]!r} of a <{element.tag[:40]}> in the OpenDRIVE map is no number that a map can hold."
        )
    return value


def _integer(element: Element, name: str, default: int | None = None) -> int:
    value = _number(element, name, None if default is None else float(default))
    if value != int(value):
        raise MapError(
            f"{name}={value:g} of a <{element.tag[:40]}> in the OpenDRIVE map must be a whole number."
        )
    return int(value)
