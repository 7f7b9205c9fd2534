"""CarRacing's guide: a driver who knows the road, for data that show it and as the yardstick beside the controllers.

Pure pursuit: it aims at a point ahead on a line that cuts the bends a little, at a speed that all bends ahead allow.
It steers against the yaw, and takes its foot off the gas while it steers, because the car spins easily. Its numbers
come from a random search on six tracks; with a wider cut it misses tiles, and only an episode that visits them all
ends before its time.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GuideConfig:
    """How the guide drives; lengths and times are those of the simulator."""

    cut: float = 1.6
    """so far it leaves the middle of the road, which is 13 wide"""
    lateral: float = 250.0
    """acceleration towards the inside that it allows itself in bends"""
    braking: float = 26.0
    """deceleration that it plans with before bends"""
    look: float = 9.5
    """it aims at the point so far ahead"""
    look_time: float = 0.29
    """plus as far as it gets in this time"""
    gain: float = 0.76
    """steering for each radian that the point lies aside"""
    damping: float = 0.048
    """steering against each radian/s of yaw"""
    gas: float = 0.7
    """most gas, which steering takes away"""
    brake: float = 0.34
    """most brake"""


class Guide:
    """The driver of one track.

    Args:
        middle: the road's middle, a closed line of points (n, 2).
        config: how to drive.
    """

    def __init__(self, middle: NDArray[np.float64], config: GuideConfig = GuideConfig()) -> None:
        self.config = config
        self.line = short_line(middle, config.cut)
        self._speeds = speed_profile(self.line, config)
        self._spacing = float(_lengths(self.line).mean())

    def act(
        self, x: float, y: float, yaw: float, yaw_rate: float, speed: float
    ) -> tuple[float, float, float]:
        """Steering in [-1, 1] (positive to the right), gas and brake in [0, 1].

        Args:
            x: of the car's middle, as y.
            y: see x.
            yaw: of the car, radians from the y axis, positive to the left.
            yaw_rate: radians/s.
            speed: of the car.
        """
        config, num = self.config, len(self.line)
        here = int(np.square(self.line - (x, y)).sum(1).argmin())
        ahead = max(1, round((config.look + config.look_time * speed) / self._spacing))
        to_x, to_y = self.line[(here + ahead) % num] - (x, y)
        aside = math.remainder(math.atan2(-to_x, to_y) - yaw, 2 * math.pi)
        steer = min(max(config.damping * yaw_rate - config.gain * aside, -1.0), 1.0)
        wanted = self._speeds[(here + 1 + round(0.02 * speed)) % num]
        gas = min(max(0.1 * (wanted - speed), 0.0), config.gas) * max(0.0, 1 - 1.5 * abs(steer))
        return steer, gas, min(max(0.08 * (speed - wanted - 3), 0.0), config.brake)


def short_line(middle: NDArray[np.float64], cut: float) -> NDArray[np.float64]:
    """A line (n, 2) whose points lie at most `cut` beside the middle's: about the shortest there is."""
    forward = np.roll(middle, -1, axis=0) - middle
    aside = np.stack([-forward[:, 1], forward[:, 0]], axis=1) / _lengths(middle)[:, None]
    offset = np.zeros(len(middle))
    for _ in range(200):
        line = middle + offset[:, None] * aside
        chord = (np.roll(line, 3, axis=0) + np.roll(line, -3, axis=0)) / 2
        offset = (offset + 0.3 * ((chord - line) * aside).sum(1)).clip(-cut, cut)
    return middle + offset[:, None] * aside


def speed_profile(line: NDArray[np.float64], config: GuideConfig) -> list[float]:
    """The highest speed at each point from which all bends ahead can be taken."""
    lengths = _lengths(line)
    step = np.roll(line, -1, axis=0) - line
    yaw = np.arctan2(step[:, 1], step[:, 0])
    turn = np.abs((np.roll(yaw, -3) - np.roll(yaw, 3) + np.pi) % (2 * np.pi) - np.pi)
    arc = np.hypot(*(np.roll(line, -3, axis=0) - np.roll(line, 3, axis=0)).T)
    squared = (config.lateral * arc / np.maximum(turn, 1e-4)).tolist()
    num = len(squared)
    for i in reversed(range(2 * num)):  # twice round, so that the start brakes for the bends behind it, too
        here, ahead = i % num, (i + 1) % num
        squared[here] = min(squared[here], squared[ahead] + 2 * config.braking * lengths[here])
    return [math.sqrt(value) for value in squared]


def _lengths(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each point to the next, (n,)."""
    return np.hypot(*(np.roll(line, -1, axis=0) - line).T)
