import math

import numpy as np
import pytest

from envs.carla.guide import Car, Guide, GuideConfig, speed_profile
from envs.carla.path import Path
from tests.envs.carla.roads import ring, straight, wavy

CAR = Car(wheelbase_m=2.9, max_steer_rad=math.radians(70))


def drive(path: Path, ticks: int, x: float, y: float, yaw: float) -> tuple[np.ndarray, np.ndarray, float]:
    """A car without inertia, steered by the guide: lateral errors, speeds, arc length reached."""
    guide, place, speed, dt = Guide(path, CAR), path.locate(x, y, 0), 0.0, 0.05
    lateral, speeds = [], []
    for _ in range(ticks):
        place = path.locate(x, y, place.segment)
        steer, gas, brake = guide.act(x, y, yaw, speed, place)
        speed = max(speed + dt * (4 * gas - 8 * brake), 0.0)
        yaw += dt * speed * math.tan(steer * CAR.max_steer_rad) / CAR.wheelbase_m
        x, y = x + dt * speed * math.cos(yaw), y + dt * speed * math.sin(yaw)
        lateral.append(place.lat_m)
        speeds.append(speed)
    return np.array(lateral), np.array(speeds), place.s_m


def test_it_laps_a_road_with_bends_to_both_sides_in_its_lane() -> None:
    path = wavy()
    lateral, speeds, s_m = drive(path, 1000, 60.0, 0.0, math.pi / 2)
    assert s_m > path.length_m
    assert np.abs(lateral).max() < 0.6
    assert speeds.max() <= GuideConfig().top_mps + 0.5


def test_it_comes_back_from_beside_the_road() -> None:
    lateral, _, _ = drive(straight(300), 300, 0.0, 3.0, 0.5)
    assert lateral[0] == pytest.approx(3.0)
    assert np.abs(lateral[-100:]).max() < 0.05


def test_the_profile_slows_before_bends_and_never_above_what_they_bear() -> None:
    config = GuideConfig()
    path = wavy()
    speeds = speed_profile(path, config)
    assert (speeds**2 * np.abs(path.curvature()) <= config.lateral_mps2 * 1.001).all()
    ahead = np.roll(speeds, -1)
    falls = (speeds**2 - ahead**2) / (2 * np.diff(path.s_m))
    assert falls.max() <= config.braking_mps2 * 1.001
    assert speed_profile(straight(), config) == pytest.approx(np.full(101, config.top_mps))
    assert speed_profile(ring(20.0, 126), config) == pytest.approx(
        np.full(126, math.sqrt(20 * config.lateral_mps2)), rel=0.01
    )


def test_it_stands_behind_a_car_and_steers_towards_the_road() -> None:
    guide, path = Guide(straight(), CAR), straight()
    place = path.locate(20.0, 0.0, 20)
    assert guide.act(20.0, 0.0, 0.0, 5.0, place, gap_m=8.0)[1:] == (0.0, 1.0)
    assert guide.act(20.0, 0.0, 0.0, 5.0, place)[1:] == (1.0, 0.0)
    assert guide.act(20.0, 0.0, 0.0, 0.0, place, gap_m=9.0)[1] == pytest.approx(0.5 / 1.2)
    assert guide.act(20.0, 2.0, 0.0, 5.0, path.locate(20.0, 2.0, 20))[0] < -0.05
    assert guide.act(20.0, -2.0, 0.0, 5.0, path.locate(20.0, -2.0, 20))[0] > 0.05
