"""A driver that sees the track: what the tests need in order to get round it."""

import math

import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing


class Driver:
    """Steers at a tile ahead; brakes before bends."""

    def __init__(self, ahead: int = 6, fast: float = 50.0) -> None:
        self.ahead, self.fast, self.nearest = ahead, fast, 0

    def __call__(self, env: CarRacing) -> np.ndarray:
        assert env.car is not None
        (x, y), heading, track = env.car.hull.position, env.car.hull.angle, env.track
        window = [(self.nearest + i) % len(track) for i in range(8)]
        self.nearest = min(window, key=lambda i: math.hypot(track[i][2] - x, track[i][3] - y))
        target = track[(self.nearest + self.ahead) % len(track)]
        to_target = math.atan2(target[3] - y, target[2] - x) - math.pi / 2
        error = math.remainder(to_target - heading, 2 * math.pi)
        bend = track[(self.nearest + 14) % len(track)][1] - track[self.nearest][1]
        speed = math.hypot(*env.car.hull.linearVelocity)
        goal = self.fast if abs(math.remainder(bend, 2 * math.pi)) < 0.3 else 0.6 * self.fast
        pedals = (0.5 * (speed < goal), 0.4 * (speed > goal + 8))
        return np.array([np.clip(-2 * error, -1, 1), *pedals], np.float32)
