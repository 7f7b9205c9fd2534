"""One episode without any client: hills, pushes beyond reason, attachments, sensors' clocks."""

import math
import struct

import pytest

from envs.carla.lite import roadmap, world
from envs.carla.lite.actors import Vehicle
from envs.carla.lite.maps import load_map
from envs.carla.lite.pose import Pose
from envs.carla.lite.rpc import CallError
from envs.carla.lite.sensors import Sensors
from envs.carla.lite.settings import Settings
from tests.envs.carla.lite.handmade import document, geometry

MODEL3 = [0, "vehicle.tesla.model3", []]
GNSS = [0, "sensor.other.gnss", []]
STEP = Settings(is_synchronous=True, fixed_delta_s=0.05)


@pytest.fixture(scope="module")
def loop():
    return load_map("loop")


@pytest.fixture
def here(loop):
    return world.World(loop, 2001)


def place(of, index=0):
    x, y, z, yaw = of.roadmap.spawn_points[index].tolist()
    return Pose(x, y, z + 0.1, 0.0, yaw, 0.0)


def steps(of, count):
    for _ in range(count):
        of.step(0.05, STEP)


def test_a_car_follows_the_hill():
    text = document(geometry("<line/>", 200), 200, elevation='<elevation s="0" a="3" b="0.1" c="0" d="0"/>')
    hill = world.World(roadmap.parse(text), 2001)
    car = hill.spawn(MODEL3, place(hill))
    assert isinstance(car, Vehicle)
    car.control.throttle = 0.6
    steps(hill, 60)
    x, y, z, pitch = car.pose[:4]
    assert z == pytest.approx(float(hill.roadmap.height_at(x, y)), abs=0.05)
    assert z == pytest.approx(hill.roadmap.heights.at_point(x, y), abs=0.05)
    assert abs(pitch) == pytest.approx(math.atan(0.1), abs=0.01)


def test_heights_at_a_point_are_the_arrays_own():
    text = document(
        geometry("<line/>", 200), 200, elevation='<elevation s="0" a="3" b="0.1" c="0.001" d="0"/>'
    )
    heights = roadmap.parse(text).heights
    for x, y in ((-500.0, 3.0), (0.2, -0.3), (50.7, 2.0), (99.9, -30.0), (1e6, 1e6)):
        assert heights.at_point(x, y) == pytest.approx(float(heights.at(x, y)), abs=1e-9)


@pytest.mark.parametrize("name", ["vx", "vy", "vz", "yaw_rate", "x", "yaw"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_what_leaves_all_bounds_is_put_back(here, name, value):
    car = here.spawn(MODEL3, place(here))
    steps(here, 10)
    before = car.pose
    setattr(car.state, name, value)
    steps(here, 3)
    assert math.dist(car.pose[:3], before[:3]) < 0.5
    assert all(math.isfinite(each) for each in (*car.pose, *car.motion()))
    assert len(here.state(False)) == 84 + 119 * len(here.actors)


def test_a_vehicle_on_a_vehicle_is_carried(here):
    carrier = here.spawn(MODEL3, place(here))
    carried = here.spawn(MODEL3, Pose(0.0, 0.0, 3.0), carrier)
    carrier.control.throttle = carried.control.throttle = 1.0
    steps(here, 40)
    assert carried.pose[:2] == pytest.approx(carrier.pose[:2], abs=1e-9)


def test_what_was_attached_stays_when_its_parent_goes(here):
    car = here.spawn(MODEL3, place(here))
    sensor = here.spawn(GNSS, Pose(1.0, 0.0, 2.0), car)
    steps(here, 20)
    there = sensor.pose
    assert here.destroy(car.id)
    steps(here, 3)
    assert sensor.pose == there
    assert here.destroy(sensor.id)
    assert not here.destroy(sensor.id)
    assert not here.destroy(here.spectator.id)


def test_ids_are_never_used_again(here):
    car = here.spawn(MODEL3, place(here))
    here.destroy(car.id)
    assert here.spawn(MODEL3, place(here)).id > car.id


def test_there_is_a_limit_to_actors(here, monkeypatch):
    monkeypatch.setattr(world, "MAX_ACTORS", len(here.actors) + 1)
    here.spawn(GNSS, place(here))
    with pytest.raises(CallError, match="actors already"):
        here.spawn(GNSS, place(here))


@pytest.mark.parametrize(
    ("every_s", "ticks"),
    [
        (0.0, [1, 2, 3, 4, 5, 6, 7]),
        (0.05, [1, 2, 3, 4, 5, 6, 7]),
        (0.1, [1, 3, 5, 7]),
        (0.125, [1, 4, 6]),
        (1.0, [1]),
    ],
)
def test_sensor_tick(here, every_s, ticks):
    description = [0, "sensor.other.gnss", [["sensor_tick", 3, str(every_s)]]]
    sensor = here.spawn(description, place(here))
    sensors = Sensors(here)
    start = here.frame
    frames = []
    for _ in range(7):
        steps(here, 1)
        messages = sensors.measure(lambda stream_id: stream_id == sensor.stream_id, STEP)
        frames += [struct.unpack_from("<QQ", message)[1] - start for _, message in messages]
    assert frames == ticks


def test_nobody_listens_nothing_is_measured(here):
    here.spawn(GNSS, place(here))
    steps(here, 1)
    assert list(Sensors(here).measure(lambda _: False, STEP)) == []


def test_a_sensor_that_fails_says_so_and_stops_nobody(here, capsys, monkeypatch):
    broken, good = here.spawn(GNSS, place(here)), here.spawn(GNSS, place(here))
    monkeypatch.setattr(broken, "measure", lambda around: 1 / 0)
    sensors = Sensors(here)
    for _ in range(3):
        steps(here, 1)
        assert [stream for stream, _ in sensors.measure(lambda _: True, STEP)] == [good.stream_id]
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1
