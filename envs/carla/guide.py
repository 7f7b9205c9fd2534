"""The yardstick driver: pure pursuit along the path, at a speed that the bends ahead allow.

It sees what no controller sees (the path, the pose, the gap to the car ahead) and is a pure function of them. Its
scores tell how far a controller that has only pictures falls behind a plain one that knows the road.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.carla.path import Path, Place, wrap


@dataclass(frozen=True)
class GuideConfig:
    """How the guide drives."""

    top_mps: float = 15.0
    """speed on a straight"""
    lateral_mps2: float = 5.0
    """acceleration towards the inside that it allows itself in bends"""
    braking_mps2: float = 4.0
    """deceleration that it plans with before bends"""
    look_s: float = 0.2
    """it aims at the point so far ahead, in time"""
    look_m: float = 3.0
    """plus so many metres"""
    gain: float = 0.5
    """gas or brake for each m/s too slow or too fast"""
    gap_m: float = 8.0
    """distance from middle to middle at which it stands behind another car"""
    headway_s: float = 1.2
    """further distance to it, in time"""


@dataclass(frozen=True)
class Car:
    """What the guide must know of the car."""

    wheelbase_m: float = 2.9
    max_steer_rad: float = math.radians(70)
    """angle of the front wheels at steer = 1"""


class Guide:
    """Pure pursuit along one path.

    Args:
        path: the way.
        car: the vehicle.
        config: how to drive.
    """

    def __init__(self, path: Path, car: Car, config: GuideConfig = GuideConfig()) -> None:
        self.path, self.car, self.config = path, car, config
        self.speeds_mps = speed_profile(path, config).tolist()

    def act(
        self, x: float, y: float, yaw_rad: float, speed_mps: float, place: Place, gap_m: float = math.inf
    ) -> tuple[float, float, float]:
        """Steer in [-1, 1] (positive to the right), gas and brake in [0, 1].

        Args:
            x: of the car's middle, as y.
            y: see x.
            yaw_rad: of the car.
            speed_mps: of the car.
            place: where (x, y) lies on the path.
            gap_m: distance along the path to the car ahead.
        """
        config, car = self.config, self.car
        look_m = config.look_m + config.look_s * speed_mps
        target_x, target_y = self.path.at(place.s_m + look_m)
        rear_x = x - car.wheelbase_m / 2 * math.cos(yaw_rad)
        rear_y = y - car.wheelbase_m / 2 * math.sin(yaw_rad)
        away_x, away_y = target_x - rear_x, target_y - rear_y
        angle = wrap(math.atan2(away_y, away_x) - yaw_rad)
        wheels = math.atan2(2 * car.wheelbase_m * math.sin(angle), math.hypot(away_x, away_y))
        steer = min(max(wheels / car.max_steer_rad, -1.0), 1.0)
        wanted = self._speed_at(place.segment + 1 + round(0.2 * speed_mps))
        wanted = min(wanted, max(gap_m - config.gap_m, 0.0) / config.headway_s)
        push = config.gain * (wanted - speed_mps)
        return steer, min(max(push, 0.0), 1.0), min(max(-push, 0.0), 1.0)

    def _speed_at(self, point: int) -> float:
        num = len(self.speeds_mps)
        return self.speeds_mps[point % num if self.path.is_closed else min(point, num - 1)]


def speed_profile(path: Path, config: GuideConfig) -> NDArray[np.float64]:
    """The highest speed at each point (n,) from which all bends ahead can be taken, m/s."""
    bend = np.maximum(np.abs(path.curvature()), 1e-6)
    squared = np.minimum(config.lateral_mps2 / bend, config.top_mps**2)
    lengths = np.diff(path.s_m)
    laps = 2 if path.is_closed else 1  # twice round, so that the start brakes for bends before and behind it
    num = len(squared)
    for i in reversed(range(laps * num - 1)):
        here, ahead = i % num, (i + 1) % num
        squared[here] = min(squared[here], squared[ahead] + 2 * config.braking_mps2 * lengths[here])
    return np.sqrt(squared)
