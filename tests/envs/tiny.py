"""A tiny world for the tests of features and dreams: V, M, and a frame env whose every number is known."""

import math

import numpy as np
import torch
from gymnasium.spaces import Box

from envs.starts import StartStates
from envs.vector import SlotEnv, Step
from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.vae import VAE, VAEConfig
from models.world_model import WorldModel

LOW, HIGH = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
PAID = np.array([[1.0, 1000.0], [4.0, 1000.0]])


class CountingEnv(SlotEnv):
    """Frames show (seed, t); the reward of step t is seed + 10 * gas; episode `seed` ends at step 2 + seed % 5.

    Even seeds terminate, odd seeds truncate; seeds that 4 divides finish a lap.
    """

    def __init__(self, num_envs: int, size: int = 64) -> None:
        super().__init__(num_envs, Box(0, 255, (size, size, 3), np.uint8), Box(LOW, HIGH, dtype=np.float32))
        self.episode = np.zeros(num_envs, np.int64)
        self.t = np.zeros(num_envs, np.int64)
        self.simulated = 0

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        self.episode[indices], self.t[indices] = seeds, 0
        return self.frames(indices)

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        self.simulated += len(indices)
        self.t[indices] += 1
        seed = self.episode[indices]
        over = self.t[indices] >= 2 + seed % 5
        even = seed % 2 == 0
        reward = seed + 10.0 * actions[:, 1]
        return (
            self.frames(indices),
            reward,
            over & even,
            over & ~even,
            {"lap_finished": over & (seed % 4 == 0)},
        )

    def frames(self, indices: np.ndarray) -> np.ndarray:
        size = self.single_observation_space.shape[0]  # type: ignore[index]
        obs = np.zeros((len(indices), size, size, 3), np.uint8)
        obs[..., 0] = (20 * self.episode[indices, None, None]) % 256
        obs[:, : size // 2, :, 1] = 40 * self.t[indices, None, None]
        return obs


def tiny_world_model(log_odds: float | None = None) -> WorldModel:
    """One that knows nothing; its steps terminate with these log odds, if any are given, whatever happens."""
    torch.manual_seed(0)
    m = MDNRNN(MDNRNNConfig(6, 3, 10, 2))
    with torch.no_grad():
        m.head.weight.mul_(3)  # untrained heads say next to nothing
        if log_odds is not None:
            m.head.weight[-1].zero_()
            m.head.bias[-1] = log_odds + math.log(m.config.termination_positive_weight)
    return WorldModel(VAE(VAEConfig(latent_size=6)), m)


def tiny_starts(num: int = 20) -> StartStates:
    g = torch.Generator().manual_seed(5)
    z, h, c = (torch.randn(num, size, generator=g) for size in (6, 10, 10))
    return StartStates(z, h.tanh(), c, LOW, HIGH, PAID)
