import contextlib

import numpy as np
import pytest

from envs.carla.lite.opendrive import MapError, read
from envs.carla.lite.roadmap import parse
from tests.envs.carla.lite.handmade import LANES, difference, document, geometry, neighbours


def param_poly3(p_range: str, **given: float) -> str:
    names = ("aU", "bU", "cU", "dU", "aV", "bV", "cV", "dV")
    return (
        "<paramPoly3 "
        + " ".join(f'{name}="{given.get(name, 0)}"' for name in names)
        + f' pRange="{p_range}"/>'
    )


def arc_length(u: tuple[float, ...], v: tuple[float, ...], last: float) -> float:
    """Of a parametric cubic, from its coefficients, lowest first."""
    p = np.linspace(0, last, 20_001)
    x, y = (np.polynomial.Polynomial(coefficients)(p) for coefficients in (u, v))
    return float(np.hypot(np.diff(x), np.diff(y)).sum())


CURVES = {
    "line": ("<line/>", 50.0),
    "arc to the left": ('<arc curvature="0.05"/>', 50.0),
    "arc to the right": ('<arc curvature="-0.04"/>', 50.0),
    "spiral from a line": ('<spiral curvStart="0" curvEnd="0.05"/>', 50.0),
    "spiral to a line": ('<spiral curvStart="-0.05" curvEnd="0"/>', 50.0),
    "spiral through its turning point": ('<spiral curvStart="-0.04" curvEnd="0.06"/>', 50.0),
    "poly3": ('<poly3 a="0" b="0" c="0.01" d="-0.0001"/>', arc_length((0, 1), (0, 0, 0.01, -0.0001), 40)),
    "paramPoly3, normalised": (
        param_poly3("normalized", bU=45, dU=-6, cV=14, dV=-5),
        arc_length((0, 45, 0, -6), (0, 0, 14, -5), 1),
    ),
    "paramPoly3, by arc length": (param_poly3("arcLength", bU=1, cV=0.005, dU=-1.7e-5, dV=1e-5), 45.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_each_curve_is_where_carla_has_it(name):
    pytest.importorskip("carla")
    shape, length = CURVES[name]
    worst = difference(document(geometry(shape, length), length))
    assert worst.num_points > 100
    assert worst.position < 0.002
    assert worst.yaw < 1e-4
    assert worst.width < 1e-5


def test_pieces_follow_each_other():
    pytest.importorskip("carla")
    plan = geometry("<line/>", 30, 0, 0, 0, 0) + geometry('<arc curvature="0.05"/>', 31.4159265, 30, 30, 0, 0)
    plan += geometry("<line/>", 20, 61.4159265, 50, 20, np.pi / 2)
    worst = difference(document(plan, 81.4159265))
    assert worst.position < 0.001
    lane = parse(document(plan, 81.4159265)).lanes[0]
    assert np.linalg.norm(np.diff(lane.points, axis=0), axis=1).max() < 1.001
    assert np.abs(np.diff(lane.yaw)).max() < 0.03
    np.testing.assert_allclose(lane.points[-1], (50 + 1.75, -40, 0), atol=1e-3)
    np.testing.assert_allclose(lane.yaw[-1], -np.pi / 2, atol=1e-6)


TWO_SECTIONS = """<laneSection s="0">
<center><lane id="0" type="none"><link/></lane></center>
<right><lane id="-1" type="driving"><link><successor id="-2"/></link>
<width sOffset="0" a="3" b="0" c="0.002" d="-0.00002"/></lane></right></laneSection>
<laneSection s="25">
<left><lane id="1" type="driving"><link/><width sOffset="0" a="3" b="0" c="0" d="0"/>
<width sOffset="10" a="3" b="0.02" c="0" d="0"/></lane></left>
<center><lane id="0" type="none"><link/></lane></center>
<right><lane id="-1" type="driving"><link/><width sOffset="0" a="0" b="0.1" c="0" d="0"/></lane>
<lane id="-2" type="driving"><link><predecessor id="-1"/></link><width sOffset="0" a="3.5" b="0" c="0" d="0"/>
</lane></right></laneSection>"""


def test_sections_widths_offset_and_elevation_are_carlas():
    pytest.importorskip("carla")
    xodr = document(
        geometry("<line/>", 60),
        60,
        lanes=TWO_SECTIONS,
        elevation='<elevation s="0" a="2" b="0.05" c="0" d="0"/>'
        '<elevation s="30" a="3.5" b="0.05" c="-0.002" d="0"/>',
        offset='<laneOffset s="0" a="0.5" b="0.02" c="0" d="0"/><laneOffset s="25" a="1" b="0" c="0.001" d="0"/>',
    )
    worst = difference(xodr)
    assert worst.num_points > 100
    assert worst.position < 0.001
    assert worst.width < 1e-5
    assert worst.yaw < 0.001
    ours, theirs = neighbours(xodr)
    assert ours == theirs
    assert ours[7, 0, -1] == (set(), {(7, 1, -2)})


def test_height_follows_the_road_and_needs_no_road_nearby():
    lanes = LANES
    roadmap = parse(
        document(
            geometry("<line/>", 60, x=0, y=0, hdg=0),
            60,
            lanes=lanes,
            elevation='<elevation s="0" a="2" b="0.1" c="0" d="0"/>',
        )
    )
    assert not roadmap.is_flat
    x = np.array([5.25, 30.6, 58.0])
    np.testing.assert_allclose(roadmap.height_at(x, np.array([1.0, -2.0, 0.3])), 2 + 0.1 * x, atol=0.01)
    assert roadmap.height_at(30.6, 0.0).shape == ()
    assert 2 < float(roadmap.height_at(30.0, 25.0)) < 8
    assert np.isfinite(roadmap.height_at(1e5, -1e5))


def test_left_lanes_are_driven_against_the_road():
    roadmap = parse(document(geometry("<line/>", 40, x=0, y=0, hdg=0), 40))
    right, _, left = roadmap.lanes
    assert (right.lane_id, left.lane_id) == (-1, 1)
    np.testing.assert_allclose(right.points[[0, -1]], [(0, 1.75, 0), (40, 1.75, 0)], atol=1e-9)
    np.testing.assert_allclose(left.points[[0, -1]], [(40, -1.5, 0), (0, -1.5, 0)], atol=1e-9)
    assert abs(abs(left.yaw[0]) - np.pi) < 1e-9


GOOD = document(geometry("<line/>", 40), 40)
BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><OpenDRIVE>&c;</OpenDRIVE>'

REFUSED = {
    "nothing": ("", "not well-formed"),
    "no XML": ("road; road", "not well-formed"),
    "a null byte": ("<OpenDRIVE>\0</OpenDRIVE>", "not well-formed"),
    "half a surrogate": ("<OpenDRIVE>\ud800</OpenDRIVE>", "not well-formed"),
    "half a map": (GOOD[: len(GOOD) // 2], "not well-formed"),
    "another format": ("<svg/>", "'svg'"),
    "entities that grow": (BOMB, "document type"),
    "no road": ("<OpenDRIVE/>", "no road"),
    "the same road twice": (GOOD.replace("</OpenDRIVE>", GOOD[GOOD.index("<road") :]), "same id"),
    "no geometry": (document("", 40), "no geometry"),
    "an unknown geometry": (document(geometry("<circle/>", 40), 40), "'circle'"),
    "an empty geometry": (document(geometry("", 40), 40), "nothing"),
    "a negative length": (document(geometry("<line/>", -40), 40), "length -40"),
    "no lanes": (document(geometry("<line/>", 40), 40, lanes=""), "no lane section"),
    "nowhere to drive": (GOOD.replace("driving", "sidewalk"), "driving"),
    "a missing number": (GOOD.replace('hdg="0.7"', ""), "hdg"),
    "a word for a number": (GOOD.replace('x="3.0"', 'x="east"'), "x='east'"),
    "no finite number": (GOOD.replace('x="3.0"', 'x="nan"'), "x='nan'"),
    "an endless number": (GOOD.replace('x="3.0"', 'x="1e999"'), "x='1e999'"),
    "a broken id": (GOOD.replace('id="7"', 'id="7.5"'), "whole number"),
    "an endless geometry": (document(geometry("<line/>", 9e6), 9e6), "length 9e\\+06"),
    "a maze of lanes": (document(geometry("<line/>", 100, s=900_000), 9e5), "km of lanes"),
    "a road across the country": (document(geometry("<line/>", 20_000, hdg=0), 2e4), "wide"),
    "a spiral without end": (document(geometry('<spiral curvStart="0" curvEnd="9"/>', 40), 40), "spiral"),
    "lanes as wide as a country": (GOOD.replace('a="3.5"', 'a="99999"'), "wide"),
    "a road to the moon": (
        document(geometry("<line/>", 40), 40, elevation='<elevation s="0" a="0" b="999" c="9" d="9"/>'),
        "high",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_map_is_refused_in_one_sentence(name):
    text, reason = REFUSED[name]
    with pytest.raises(MapError, match=reason) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300


def test_deep_nesting_and_dangling_links_do_no_harm():
    with pytest.raises(MapError, match="no road"):
        read("<OpenDRIVE>" + "<a>" * 100_000 + "</a>" * 100_000 + "</OpenDRIVE>")
    links = '<link><predecessor elementType="road" elementId="99"/>'
    links += '<successor elementType="junction" elementId="5"/></link>'
    junction = (
        '<junction id="5"><connection id="0" incomingRoad="7" connectingRoad="98" contactPoint="start"/>'
    )
    junction += '<connection id="1" incomingRoad="97" connectingRoad="7" contactPoint="end">'
    junction += '<laneLink from="-1" to="-9"/></connection></junction>'
    xodr = GOOD.replace("<link/>", links, 1).replace("</OpenDRIVE>", junction + "</OpenDRIVE>")
    assert all(lane.successors == lane.predecessors == () for lane in parse(xodr).lanes)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_maps_are_read_or_refused(seed):
    rng = np.random.default_rng(seed)
    text = list(GOOD)
    for i in rng.integers(0, len(text), 3):
        text[i] = str(rng.choice(list('<>"0159-e. /\0')))
    with contextlib.suppress(MapError):
        assert parse("".join(text)).lanes


def test_a_light_referred_to_inside_a_junction_stops_those_before_it():
    """As in CARLA's own towns: the light stands on one way through the junction, others refer to it."""
    light = '<signal id="5" s="2" t="-6" zOffset="1" orientation="+" dynamic="yes" type="1000001">'
    light += '<validity fromLane="-1" toLane="-1"/></signal><signal id="6" s="2" t="1" type="206"/>'
    reference = '<signalReference id="5" s="1" t="-6" orientation="+"/>'
    end = '<link><successor elementType="junction" elementId="90"/></link>'
    start = '<link><predecessor elementType="road" elementId="7" contactPoint="end"/></link>'
    before = document(geometry("<line/>", 40, x=0, y=0, hdg=0), 40).replace("<link/>", end, 1)
    ways = [
        document(geometry(shape, 20, x=40, y=0, hdg=0), 20, more=f"<signals>{signals}</signals>")
        .replace('id="7" junction="-1"', f'id="{road}" junction="90"')
        .replace("<link/>", start, 1)
        .replace(
            '<lane id="-1" type="driving"><link/>',
            '<lane id="-1" type="driving"><link><predecessor id="-1"/></link>',
        )
        for road, shape, signals in ((8, "<line/>", light), (9, '<arc curvature="0.05"/>', reference))
    ]
    roads = [way[way.index("<road") : way.index("</OpenDRIVE>")] for way in ways]
    junction = '<junction id="90"><controller id="3"/></junction>'
    controllers = '<controller id="2"/><controller id="3"><control signalId="5"/></controller>'
    (signal,) = parse(
        before.replace("</OpenDRIVE>", "".join(roads) + controllers + junction + "</OpenDRIVE>")
    ).signals
    assert (signal.signal_id, signal.group, signal.junction, signal.stop_lanes) == ("5", 1, 90, (0,))
    np.testing.assert_allclose((signal.x, signal.y, signal.z), (42, 6, 1))
    assert abs(abs(signal.yaw) - np.pi) < 1e-9
