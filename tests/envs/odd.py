"""Envs of somebody's own that cannot be recorded."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from tests.envs.counting import Counting


def single(num_envs: int, size: int) -> gymnasium.Env:
    return gymnasium.Env()


def floats(num_envs: int, size: int) -> Counting:
    env = Counting(num_envs, size)
    env.single_observation_space = Box(0, 1, (size, size, 3), np.float32)
    return env


def unbounded(num_envs: int, size: int) -> Counting:
    env = Counting(num_envs, size)
    env.single_action_space = Box(-np.inf, np.inf, (3,))
    return env


def squares(num_envs: int, size: int) -> Counting:
    env = Counting(num_envs, size)
    env.single_action_space = Box(0, 1, (2, 2))
    return env
