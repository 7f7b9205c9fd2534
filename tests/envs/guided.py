"""A small env with a guide and measures: a point on a straight lane, pushed sideways by a wind that the seed decides.

Steering moves it sideways, gas forward; beyond 2 m it is off the road, which terminates; 20 m make a lap, which
truncates. The guide steers against the offset that only it knows.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from envs.measures import Measure
from envs.vector import SlotEnv, Step
from tests.envs.tiny import HIGH, LOW

MEASURES = {
    "episode/mean_speed": Measure("speed_mps", "mean", "mean speed {:.2f} m/s"),
    "env/lat_err_raw": Measure("lat_err_m", "mean_abs", "{:.2f} m from the lane's middle"),
    "env/progress_m": Measure("progress_m", "last"),
    "env/reward": Measure("reward", "sum"),
}


def make_vec(num_envs: int, **options: Any) -> "Guided":
    return Guided(num_envs, **options)


class Guided(SlotEnv):
    has_guide = True
    measures = MEASURES

    def __init__(self, num_envs: int, size: int = 16) -> None:
        super().__init__(num_envs, Box(0, 255, (size, size, 3), np.uint8), Box(LOW, HIGH, dtype=np.float32))
        self.x, self.s, self.wind = np.zeros((3, num_envs))

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        self.x[indices], self.s[indices] = 0.0, 0.0
        self.wind[indices] = np.array(seeds) % 7 / 10 - 0.3
        return self._frames(indices)

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        speed = actions[:, 1].astype(np.float64)
        self.x[indices] += actions[:, 0] + self.wind[indices]
        self.s[indices] += speed
        off, lap = np.abs(self.x[indices]) > 2, self.s[indices] >= 20
        info = {"lap_finished": lap & ~off, "speed_mps": speed, "lat_err_m": self.x[indices].copy()}
        info |= {"progress_m": self.s[indices].copy(), "reward": speed}
        return self._frames(indices), speed, off, lap & ~off, info

    def _guide_slots(self, indices: np.ndarray) -> np.ndarray:
        steer = np.clip(-self.x[indices] - self.wind[indices], -1, 1)
        return np.stack([steer, np.ones(len(indices)), np.zeros(len(indices))], axis=1).astype(np.float32)

    def _frames(self, indices: np.ndarray) -> np.ndarray:
        size = self.single_observation_space.shape[0]  # type: ignore[index]
        grey = np.clip(128 + 40 * self.x[indices], 0, 255).astype(np.uint8)
        return np.broadcast_to(grey[:, None, None, None], (len(indices), size, size, 3)).copy()
