import numpy as np
import pytest

from envs.carla.lite.circuit import MAX_LENGTH_M, MIN_LENGTH_M, MIN_RADIUS_M, RING, ROAD_WIDTH_M, circuit
from envs.carla.lite.maps import load_map, map_names
from envs.carla.lite.opendrive import MapError, read
from envs.carla.lite.roadmap import RoadMap, parse
from envs.carla.lite.surfaces import GROUND, ROAD_LINES, ROADS, SIDEWALKS, TERRAIN
from tests.envs.carla.lite.handmade import difference, neighbours

SEEDS = range(25)


@pytest.fixture(scope="module")
def town() -> RoadMap:
    return load_map("town")


@pytest.mark.parametrize("name", ["loop", "circuit", "town"])
def test_carla_reads_our_maps_as_we_do(name):
    carla = pytest.importorskip("carla")
    xodr = load_map(name).xodr
    worst = difference(xodr, every=3)
    assert worst.num_points > 300
    assert worst.position < 0.001
    assert worst.yaw < 1e-4
    assert worst.width < 1e-5
    ours, theirs = neighbours(xodr)
    assert ours == theirs
    assert all(before and after for before, after in ours.values())
    edges = sum(len(after) for _, after in ours.values())
    assert len(carla.Map(name, xodr).get_topology()) == edges


@pytest.mark.parametrize("name", ["loop", "circuit", "town"])
def test_carla_finds_the_lane_that_we_are_on(name):
    carla = pytest.importorskip("carla")
    roadmap = load_map(name, seed=5)
    theirs = carla.Map(name, roadmap.xodr)
    for x, y, z, yaw in roadmap.spawn_points:
        waypoint = theirs.get_waypoint(carla.Location(x, y, z))
        place, heading = waypoint.transform.location, np.radians(waypoint.transform.rotation.yaw)
        ahead, aside = np.cos(yaw), np.sin(yaw)
        assert abs((place.y - y) * ahead - (place.x - x) * aside) < 0.05
        assert np.cos(heading - yaw) > 0.999
        assert not waypoint.is_junction
    in_junctions = {way.road_id for way in theirs.generate_waypoints(3.0) if way.is_junction}
    assert in_junctions == {lane.road_id for lane in roadmap.lanes if lane.junction >= 0}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lap_of_a_circuit_is_closed_for_carla(seed):
    carla = pytest.importorskip("carla")
    xodr = circuit(seed)
    assert difference(xodr, every=10).position < 0.001
    theirs = carla.Map("circuit", xodr)
    assert len(theirs.get_topology()) == 2 * RING
    length = sum(road.length for road in read(xodr).roads.values())
    for lane_id in (-1, 1):
        start = waypoint = theirs.get_waypoint_xodr(1, lane_id, 5.0)
        num_steps = round(length)
        for _ in range(num_steps):
            (waypoint,) = waypoint.next(length / num_steps)
        assert (
            waypoint.transform.location.distance(start.transform.location) < 1.0
        )  # of its own rounding at seams


@pytest.mark.parametrize("seed", SEEDS)
def test_circuits_keep_their_promises(seed):
    network = read(circuit(seed))
    pieces = [piece for road in network.roads.values() for piece in road.geometries]
    length = sum(piece.length for piece in pieces)
    assert MIN_LENGTH_M <= length <= MAX_LENGTH_M
    curvatures = np.array([piece.params for piece in pieces])
    assert np.abs(curvatures).max() <= 1 / MIN_RADIUS_M + 1e-9
    assert MIN_RADIUS_M - 4 / 2 >= 10
    np.testing.assert_allclose(curvatures[:-1, 1], curvatures[1:, 0], atol=1e-9)  # no kink
    turns = np.array([piece.length for piece in pieces]) * curvatures.mean(axis=1)
    assert turns[turns > 0].sum() > 0.8
    assert turns[turns < 0].sum() < -0.8
    assert abs(abs(turns.sum()) - 2 * np.pi) < 1e-6

    roads = list(network.roads.values())
    places = [np.arange(0, road.length, 2.0) for road in roads]
    points = np.concatenate([np.column_stack(road.trace(s)[:2]) for road, s in zip(roads, places)])
    starts = np.cumsum([0] + [road.length for road in roads])
    along = np.concatenate([start + s for start, s in zip(starts, places)])
    apart = np.abs(along[:, None] - along)
    is_far = np.minimum(apart, length - apart) > 60
    assert np.linalg.norm(points[:, None] - points, axis=2)[is_far].min() > 2 * ROAD_WIDTH_M


def test_circuits_differ_by_seed_and_by_nothing_else():
    assert circuit(3) == circuit(3)
    assert len({circuit(seed) for seed in SEEDS}) == len(SEEDS)
    maps = [parse(circuit(3), seed=seed) for seed in (1, 1, 2)]
    assert maps[0].props == maps[1].props
    assert maps[0].props != maps[2].props
    np.testing.assert_array_equal(maps[0].ground.colours, maps[1].ground.colours)


def test_the_ground_is_what_the_map_says(town):
    label = town.ground.label_at
    assert label(10.0, 20.0) == TERRAIN
    assert label(0.0, 0.0) == ROADS
    assert label(20.0, 1.75) == ROADS
    assert label(20.0, -3.5) == ROAD_LINES
    assert label(20.0, 4.5) == SIDEWALKS
    assert label(20.0, 6.0) == TERRAIN
    assert label(1e9, -1e9) == TERRAIN
    np.testing.assert_array_equal(label(np.array([20.0, 0.0]), np.array([6.0, 0.0])), [TERRAIN, ROADS])
    assert town.ground.colours.shape == (*town.ground.labels.shape, 3)
    assert town.is_flat
    assert town.height_at(1.0, np.zeros(3)).tolist() == [0, 0, 0]

    loop = load_map("loop")
    assert loop.ground.label_at(0.0, 35.0 + 4.6) == GROUND
    for lane in loop.lanes:
        expected = ROADS if lane.kind == "driving" else GROUND
        assert (loop.ground.label_at(*lane.points[:, :2].T) == expected).all()


@pytest.mark.parametrize("name", ["loop", "circuit", "town"])
def test_scenery_leaves_the_roads_free(name):
    roadmap = load_map(name, seed=4)
    corners = np.array([(i, j) for i in np.linspace(-1, 1, 9) for j in np.linspace(-1, 1, 9)])
    assert len(roadmap.props) > 20
    for prop in roadmap.props:
        cos, sin = np.cos(prop.yaw), np.sin(prop.yaw)
        places = corners * prop.extent[:2] @ np.array(((cos, sin), (-sin, cos))) + prop.centre[:2]
        labels = set(roadmap.ground.label_at(*places.T).tolist())
        assert labels <= ({TERRAIN} if prop.extent[0] > 0.5 else {TERRAIN, SIDEWALKS})
        assert prop.centre[2] >= prop.extent[2]


@pytest.mark.parametrize("name", ["loop", "circuit", "town"])
def test_spawn_points_are_on_lanes_and_apart(name):
    roadmap = load_map(name, seed=2)
    x, y, z, yaw = roadmap.spawn_points.T
    assert len(x) >= 20
    assert (roadmap.ground.label_at(x, y) != TERRAIN).all()
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 100 * np.eye(len(x))
    same_way = np.cos(yaw[:, None] - yaw) > 0.7
    assert apart[same_way].min() > 9
    assert (z == 0).all()
    inside = [lane for lane in roadmap.lanes if lane.junction >= 0]
    for lane in inside:
        gaps = np.linalg.norm(lane.points[:, None, :2] - roadmap.spawn_points[:, :2], axis=2)
        assert gaps.min() > 5


def test_the_town_has_lights_that_take_turns(town):
    assert len(town.signals) == 10
    governed = [lane for signal in town.signals for lane in signal.stop_lanes]
    assert len(set(governed)) == len(governed) == 10
    for signal in town.signals:
        (index,) = signal.stop_lanes
        lane = town.lanes[index]
        after = {town.lanes[i].junction for i in lane.successors}
        assert after == {signal.junction}
        away = np.hypot(signal.x - lane.points[-1, 0], signal.y - lane.points[-1, 1])
        assert away < 5
        assert np.cos(signal.yaw - lane.yaw[-1]) < -0.999
        assert town.ground.label_at(signal.x, signal.y) == SIDEWALKS
        others = [other for other in town.signals if other.group == signal.group]
        assert {other.junction for other in others} == {signal.junction}
        assert all(abs(np.cos(other.yaw - signal.yaw)) > 0.999 for other in others)
    assert len({signal.group for signal in town.signals}) == 6


def test_carla_knows_the_towns_lights(town):
    carla = pytest.importorskip("carla")
    theirs = {mark.id: mark for mark in carla.Map("town", town.xodr).get_all_landmarks_of_type("1000001")}
    assert set(theirs) == {signal.signal_id for signal in town.signals}
    for signal in town.signals:
        place = theirs[signal.signal_id].transform.location
        assert place.distance(carla.Location(signal.x, signal.y, signal.z)) < 0.3  # it moves them a little


def test_maps_have_the_place_on_earth_that_carla_gives_them(town):
    carla = pytest.importorskip("carla")
    origin = carla.Map("town", town.xodr).transform_to_geolocation(carla.Location(0, 0, 0))
    np.testing.assert_allclose(town.geo_origin, (origin.latitude, origin.longitude), atol=1e-9)


def test_maps_are_found_by_name_or_file(tmp_path):
    assert map_names() == ["loop", "circuit", "town"]
    path = tmp_path / "mine.xodr"
    path.write_text(circuit(1))
    roadmap = load_map(str(path))
    assert roadmap.name == "mine"
    assert roadmap.xodr == circuit(1)
    with pytest.raises(MapError, match="no map 'Town01'; take one of loop, circuit, town"):
        load_map("Town01")
    with pytest.raises(MapError, match="cannot be read"):
        load_map(str(tmp_path / "none.xodr"))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MapError, match="cannot be read"):
        load_map(str(path))
