import math

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.carla.lite.lidar import LidarSpec, RadarSpec, lidar, obstacle, radar, semantic_lidar
from envs.carla.lite.pose import Pose, axes
from envs.carla.lite.rays import cast
from envs.carla.lite.scene import Box
from tests.envs.carla.lite.viewing import CAR, GRADE, bare, car, loop, slope

TILTED = Pose(0.0, 1.75, 2.4, math.radians(4), math.radians(70), math.radians(-6))
BOXES = [car(9, 3, 20, 1), car(-7, -4, 130, 2), Box((3.0, 12.0, 5.0), 0.3, (4.0, 2.0, 5.0), 3, (0, 0, 0), 3)]
LOSSLESS = LidarSpec(
    channels=16, range_m=40, points_per_second=80000, dropoff_general_rate=0, dropoff_intensity_limit=0
)


def inside(boxes: list[Box], places: NDArray, slack: float = 0.0) -> NDArray[np.bool_]:
    """Which places (n, 3) lie in which boxes, (n, boxes)."""
    found = []
    for box in boxes:
        x, y, z = (places - np.array(box.centre)).T
        cos, sin = math.cos(box.yaw), math.sin(box.yaw)
        local = np.abs(np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=1))
        found.append(np.all(local <= np.array(box.extent) + slack, axis=1))
    return np.stack(found, axis=1)


def test_a_ray_ends_where_it_first_enters_something() -> None:
    rng = np.random.default_rng(0)
    start = np.array([1.0, 2.0, 1.7])
    ways = rng.normal(size=(400, 3)) * (3, 3, 0.5)
    hits = cast(bare(), start, ways, 60, BOXES)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    assert {0, 1, 2, 3} == set(hits.actor_id.tolist())
    for way, reach, label, actor in zip(ways, hits.distance_m, hits.label, hits.actor_id):
        end = min(reach, 60.0)
        path = start + way * np.linspace(0, end - 1e-6, 3000)[:, None]
        assert not inside(BOXES, path).any()
        assert path[:, 2].min() > 0
        if reach == np.inf:
            assert (label, actor) == (0, 0)
            continue
        stop = start + way * (reach + 1e-6)
        if actor:
            assert inside([BOXES[actor - 1]], stop[None]).all()
            assert label == BOXES[actor - 1].label
        else:
            assert abs(stop[2]) < 1e-5
            assert label == bare().roadmap.ground.label_at(stop[0], stop[1])


def test_rays_along_the_axes_are_exact() -> None:
    box = car(10, 0)
    ways = [[1, 0, 0], [0, 0, -2], [-1, 0, 0], [0, 0, 3]]
    hits = cast(bare(), (0, 0, 0.5), ways, 100, [box])
    assert hits.distance_m.tolist() == pytest.approx([7.6, 0.5, np.inf, np.inf])
    assert hits.actor_id.tolist() == [7, 0, 0, 0]
    assert hits.cos_incidence.tolist() == pytest.approx([1, 1, 0, 0])
    assert cast(bare(), (0, 0, 0.5), ways, 7.5, [box]).distance_m[0] == np.inf


def test_a_ray_that_begins_in_a_box_leaves_it_unseen() -> None:
    hits = cast(bare(), (10, 0, 0.5), [[1, 0, 0]], 100, [car(10, 0), car(20, 0, actor_id=8)])
    assert hits.actor_id.tolist() == [8]
    assert hits.distance_m[0] == pytest.approx(7.6)


def test_no_rays_and_no_boxes() -> None:
    assert len(cast(bare(), (0, 0, 1), np.empty((0, 3)), 10, []).distance_m) == 0
    assert cast(bare(), (0, 0, 1), [[1, 0, 0]], 10, []).distance_m[0] == np.inf


def test_props_of_the_map_are_met() -> None:
    for prop in loop().roadmap.props[:5]:
        x, y, z = prop.centre
        hits = cast(loop(), (x, y, z + prop.extent[2] + 3), [[0, 0, -1]], 50, [])
        assert hits.distance_m[0] == pytest.approx(3)
        assert (hits.label[0], hits.actor_id[0]) == (prop.label, 0)


def test_on_a_slope_rays_meet_the_road() -> None:
    height = 200 * GRADE
    hits = cast(slope(), (0, 1.75, height + 2), [[0, 0, -1], [1, 0, 0]], 100, [])
    assert hits.distance_m.tolist() == pytest.approx([2, 2 / GRADE], rel=1e-3)


def test_lidar_points_lie_on_what_they_met() -> None:
    scan = semantic_lidar(bare(), TILTED, LOSSLESS, BOXES, 0.0, 0.05)
    assert scan.counts.sum() == len(scan.points) > 500
    places = scan.points[:, :3] @ axes(*TILTED[3:]).T + TILTED[:3]
    on_box = inside(BOXES, places, 1e-3)
    assert np.array_equal(np.where(on_box.any(axis=1), on_box.argmax(axis=1) + 1, 0), scan.actor_id)
    assert np.abs(places[scan.actor_id == 0, 2]).max() < 1e-3
    assert set(scan.label.tolist()) > {CAR, 1}
    assert np.all((scan.points[:, 3] > 0) & (scan.points[:, 3] <= 1))


def test_lidar_channels_go_from_the_upper_to_the_lower_field_of_view() -> None:
    scan = semantic_lidar(bare(), Pose(0, 1.75, 2.4), LOSSLESS, BOXES, 0.0, 0.1)
    x, y, z, _ = scan.points.astype(float).T
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    expected = np.repeat(np.linspace(10, -30, 16), scan.counts)
    assert elevation == pytest.approx(expected, abs=1e-3)


def test_lidar_turns_on_from_tick_to_tick() -> None:
    spec = LidarSpec(channels=1, upper_fov_deg=-20, lower_fov_deg=-20, range_m=50, points_per_second=4000)
    azimuths, angle = [], 0.0
    for _ in range(4):  # a quarter turn each
        scan = semantic_lidar(bare(), Pose(0, 1.75, 2.4), spec, [], angle, 0.025)
        angle = scan.angle_rad
        azimuths.extend(np.arctan2(scan.points[:, 1], scan.points[:, 0]) % math.tau)
    assert azimuths == pytest.approx(np.arange(400) * math.tau / 400, abs=1e-4)
    assert min(angle, math.tau - angle) < 1e-9


def test_a_lidar_with_a_narrow_field_looks_forward_only() -> None:
    spec = LidarSpec(horizontal_fov_deg=60, range_m=50)
    angle = 0.0
    for _ in range(5):
        scan = semantic_lidar(bare(), TILTED, spec, [], angle, 0.1)
        angle = scan.angle_rad
        azimuth = np.degrees(np.arctan2(scan.points[:, 1], scan.points[:, 0]))
        assert np.abs(azimuth).max() <= 30.001
        assert azimuth.min() < -25
        assert azimuth.max() > 25


def test_lidar_loses_points_and_fades_as_it_is_told() -> None:
    def scan(spec: LidarSpec, seed: int = 0) -> NDArray:
        return lidar(bare(), TILTED, spec, BOXES, 0.0, 0.05, np.random.default_rng(seed)).points

    everything = scan(LOSSLESS)
    assert np.array_equal(
        everything[:, :3], semantic_lidar(bare(), TILTED, LOSSLESS, BOXES, 0, 0.05).points[:, :3]
    )
    distance = np.linalg.norm(everything[:, :3], axis=1)
    assert everything[:, 3] == pytest.approx(np.exp(-0.004 * distance), abs=1e-5)
    half = scan(LidarSpec(**{**vars(LOSSLESS), "dropoff_general_rate": 0.5}))
    assert 0.4 < len(half) / len(everything) < 0.6
    noisy = scan(LidarSpec(**{**vars(LOSSLESS), "noise_stddev_m": 0.2}))
    error = np.linalg.norm(noisy[:, :3], axis=1) - distance
    assert np.std(error) == pytest.approx(0.2, rel=0.2)
    assert np.array_equal(scan(LidarSpec(range_m=50), 3), scan(LidarSpec(range_m=50), 3))


def test_radar_measures_how_fast_things_come_nearer() -> None:
    spec, pose = RadarSpec(horizontal_fov_deg=8, vertical_fov_deg=2), Pose(0, 1.75, 0.7)
    ahead = car(30, 1.75, actor_id=5)
    found = radar(
        bare(), pose, spec, [ahead], 0.1, np.random.default_rng(0), (20.0, 0.0, 0.0), {5: (15.0, 0.0, 0.0)}
    )
    on_car = found[np.abs(found[:, 3] - 27.6) < 0.3]
    assert len(on_car) > 20
    assert on_car[:, 0] == pytest.approx(np.full(len(on_car), -5.0), abs=0.05)
    assert np.abs(np.degrees(found[:, 1])).max() <= 4
    assert np.abs(np.degrees(found[:, 2])).max() <= 1
    still = radar(bare(), pose, spec, [ahead], 0.1, np.random.default_rng(0), (20.0, 0.0, 0.0))
    assert still[:, 0] == pytest.approx(-20 * np.cos(still[:, 1]) * np.cos(still[:, 2]), abs=0.01)


def test_obstacle_is_the_first_thing_ahead() -> None:
    pose = Pose(0, 1.75, 0.7)
    assert obstacle(bare(), pose, [car(10, 1.75)], 5, 0.0, False) is None
    found = obstacle(bare(), pose, [car(20, 1.75, actor_id=2), car(10, 1.75)], 50, 0.0, False)
    assert found == (7, CAR, pytest.approx(7.6))
    beside = [car(10, 3.0)]
    assert obstacle(bare(), pose, beside, 50, 0.1, False) is None
    assert obstacle(bare(), pose, beside, 50, 0.5, False) is not None
    prop = loop().roadmap.props[0]
    x, y, z = prop.centre
    towards = Pose(x - 20 * math.cos(0.3), y - 20 * math.sin(0.3), z, 0, 0.3)
    assert obstacle(loop(), towards, [], 50, 0.1, False) is not None
    assert obstacle(loop(), towards, [], 50, 0.1, True) is None
