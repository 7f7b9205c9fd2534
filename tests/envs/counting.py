"""A measuring instrument: an env whose frames, rewards and ends say exactly where in time they belong.

Frame t of the episode with seed s holds t in its red channel (low byte) and green channel (high byte), and s modulo
251 in blue. Step t (from o_t to o_{t+1}) is rewarded with t + action[0] / 4. Episodes have 3 + seed % 40 steps; even
seeds terminate, odd ones are truncated.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from envs.vector import SlotEnv, Step


def length_of(seed: Any) -> Any:
    return 3 + seed % 40


def make_vec(num_envs: int, **options: Any) -> "Counting":
    return Counting(num_envs, **options)


class Counting(SlotEnv):
    def __init__(self, num_envs: int, size: int = 16) -> None:
        low, high = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
        super().__init__(num_envs, Box(0, 255, (size, size, 3), np.uint8), Box(low, high))
        self.t = np.zeros(num_envs, np.int64)
        self.seed_of = np.zeros(num_envs, np.int64)

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        self.t[indices], self.seed_of[indices] = 0, seeds
        return self._frames(indices)

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        reward = self.t[indices] + actions[:, 0].astype(np.float64) / 4
        self.t[indices] += 1
        over = self.t[indices] >= length_of(self.seed_of[indices])
        even = self.seed_of[indices] % 2 == 0
        return self._frames(indices), reward, over & even, over & ~even, {}

    def _frames(self, indices: np.ndarray) -> np.ndarray:
        size = self.single_observation_space.shape[0]  # type: ignore[index]
        rows = np.stack([self.t[indices] % 256, self.t[indices] // 256, self.seed_of[indices] % 251], axis=1)
        return np.broadcast_to(rows[:, None, None], (len(indices), size, size, 3)).astype(np.uint8)


def time_of(obs: np.ndarray) -> np.ndarray:
    """The t that frames (..., H, W, 3) show."""
    corner = obs[..., 0, 0, :].astype(np.int64)
    return corner[..., 0] + 256 * corner[..., 1]
