import math
import random
import statistics

import pytest

from envs.carla.lite.blueprints import find
from envs.carla.lite.inertial import GeoReference, Gnss, Imu, compass, into_body
from envs.carla.lite.vehicle import Control, VehicleState, step
from envs.carla.lite.vehicle_spec import SPECS

SPEC = SPECS["vehicle.tesla.model3"]
G = 9.81

XODR = """<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4" name="" north="0" south="0" east="0"
west="0"><geoReference><![CDATA[+proj=tmerc +lat_0={} +lon_0={} +k=1 +x_0=0 +y_0=0 +datum=WGS84]]></geoReference>
</header><road name="" length="100" id="1" junction="-1"><planView><geometry s="0" x="0" y="0" hdg="0" length="100">
<line/></geometry></planView><lanes><laneSection s="0"><center><lane id="0" type="none" level="false"/></center>
<right><lane id="-1" type="driving" level="false"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>
</laneSection></lanes></road></OpenDRIVE>"""


def imu(**attributes: str) -> Imu:
    return Imu(find("sensor.other.imu").values(attributes))


def gnss(latitude: float = 0.0, longitude: float = 0.0, **attributes: str) -> Gnss:
    return Gnss(find("sensor.other.gnss").values(attributes), GeoReference(latitude, longitude))


@pytest.mark.parametrize("origin", [(0.0, 0.0), (49.5, 8.25), (-33.9, 151.2), (42.0, 2.0), (71.0, -156.5)])
def test_gnss_says_what_the_client_says(origin: tuple[float, float]) -> None:
    carla = pytest.importorskip("carla")
    world_map = carla.Map("m", XODR.format(*origin))
    for x, y, z in [(0, 0, 0), (1000, 0, 5), (0, -1000, 0), (-3000, 2500, 1), (12.5, -80.25, -3)]:
        theirs = world_map.transform_to_geolocation(carla.Location(float(x), float(y), float(z)))
        ours = gnss(*origin).read(x, y, z)
        assert ours == pytest.approx((theirs.latitude, theirs.longitude, theirs.altitude), abs=1e-11)


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (0.3, 1.1, -0.4), (-1.2, -2.9, 2.0)])
def test_body_axes_are_the_clients(rotation: tuple[float, float, float]) -> None:
    carla = pytest.importorskip("carla")
    pitch, yaw, roll = map(math.degrees, rotation)
    inverse = carla.Transform(carla.Location(), carla.Rotation(pitch, yaw, roll)).get_inverse_matrix()
    vector = (1.0, -2.0, 3.0)
    theirs = [sum(a * b for a, b in zip(row, vector)) for row in inverse[:3]]
    assert into_body(vector, rotation) == pytest.approx(theirs, abs=1e-5)


def test_at_rest_the_accelerometer_feels_gravity_alone() -> None:
    felt, turning, _ = imu().read((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.3, 0.0))
    assert felt == pytest.approx((0, 0, G))
    assert turning == (0, 0, 0)
    # on a climb it pulls the nose's way: part of the push up points forward
    felt, _, _ = imu().read((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.2, 1.3, 0.0))
    assert felt == pytest.approx((G * math.sin(0.2), 0, G * math.cos(0.2)))


def test_a_right_turn_is_felt_to_the_right_and_turns_positive() -> None:
    state = VehicleState(vx=10.0)
    for _ in range(40):
        step(state, SPEC, Control(0.2, 0.2), 0.05)
    felt, turning, _ = imu().read(
        (state.ax, state.ay, state.az), (0.0, 0.0, state.yaw_rate), (state.pitch, state.yaw, state.roll)
    )
    speed = math.hypot(state.vx, state.vy)
    assert turning == pytest.approx((0, 0, state.yaw_rate))
    assert felt[1] == pytest.approx(state.yaw_rate * speed, rel=0.1)
    assert felt[1] > 1


@pytest.mark.parametrize(
    ("yaw", "direction"), [(-math.pi / 2, 0), (0, 0.5), (math.pi / 2, 1), (math.pi, 1.5)]
)
def test_the_compass_counts_from_north_over_east(yaw: float, direction: float) -> None:
    assert compass(yaw) == pytest.approx(direction * math.pi)
    assert 0 <= compass(yaw + 7) < 2 * math.pi


def test_noise_has_the_asked_spread_and_bias_and_repeats_by_its_seed() -> None:
    attributes = {"noise_gyro_stddev_z": "0.2", "noise_gyro_bias_z": "1.5", "noise_accel_stddev_x": "0.5"}

    def read(seed: int) -> list[tuple[float, ...]]:
        sensor = imu(noise_seed=str(seed), **attributes)
        zero = (0.0, 0.0, 0.0)
        return [sum(sensor.read(zero, zero, zero)[:2], ()) for _ in range(2000)]

    readings = read(3)
    ax, ay, _, gx, _, gz = zip(*readings)
    assert statistics.mean(gz) == pytest.approx(1.5, abs=0.02)
    assert statistics.stdev(gz) == pytest.approx(0.2, rel=0.1)
    assert statistics.stdev(ax) == pytest.approx(0.5, rel=0.1)
    assert set(ay) == {0.0} == set(gx)
    assert read(3) == readings
    assert read(4) != readings


def test_gnss_noise_is_in_degrees_and_metres() -> None:
    sensor = gnss(noise_lat_stddev="0.001", noise_alt_bias="5", noise_lon_bias="-1")
    latitudes, longitudes, altitudes = zip(*(sensor.read(0.0, 0.0, 1.0) for _ in range(1000)))
    assert statistics.stdev(latitudes) == pytest.approx(0.001, rel=0.15)
    assert set(longitudes) == {-1.0}
    assert set(altitudes) == {6.0}


def test_one_sensors_noise_does_not_touch_the_worlds_generators() -> None:
    state = random.getstate()
    gnss(noise_lat_stddev="1").read(0.0, 0.0, 0.0)
    assert random.getstate() == state
