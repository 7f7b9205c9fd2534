"""Closed-loop frames per second on one core: controller, env, V and M, many episodes as one batch.

python -m benchmarks.closed_loop [--json]

The peer, in the same run, is the classic pattern: one gymnasium CarRacing-v3, its frame scaled to 64x64, the 2018 VAE
and an LSTM one frame at a time. Weights are untrained: only the speed is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import gymnasium
import numpy as np
import torch
from torch import nn

import envs
from benchmarks.timing import BenchConfig, Work, compare, report, row
from envs.latent import LatentEnv
from envs.rollout import evaluate
from models.controller import LinearController
from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.nvae import NVAE, NVAEConfig
from models.vae import VAE, VAEConfig
from models.world_model import WorldModel
from utils import cli
from utils.device import num_threads

Z, A, D, K = 32, 3, 256, 5


@dataclass(frozen=True)
class ClosedLoopBenchConfig(BenchConfig):
    """What is measured."""

    slots: int = 32
    """episodes side by side"""
    steps: int = 500
    """steps of each episode in a run"""
    peer_steps: int = 100
    """frames of the classic loop in a run"""
    runs: int = 3


def ours(config: ClosedLoopBenchConfig) -> Work:
    """`evaluate` in the latent view of the fast CarRacing, with the NVAE's default config."""
    world_model = WorldModel(NVAE(NVAEConfig()).eval(), MDNRNN(MDNRNNConfig(Z, A, D, K)))
    env = LatentEnv(envs.make("CarRacing-v2", config.slots, max_steps=config.steps), world_model)
    box = env.single_action_space
    assert isinstance(box, gymnasium.spaces.Box)
    controller = LinearController(world_model.feature_size, box.low, box.high)
    params = 0.1 * np.random.default_rng(0).standard_normal((config.slots, controller.num_params))
    return lambda: int(evaluate(env, controller, params, range(config.slots)).lengths.sum())


class ClassicLoop:
    """One env, one frame, one step at a time, as rollouts were written in 2018 and since."""

    def __init__(self) -> None:
        self.env = gymnasium.make("CarRacing-v3")
        self.vae = VAE(VAEConfig()).eval()
        self.cell = nn.LSTMCell(Z + A, D)
        self.head = nn.Linear(D, K + 2 * K * Z + 2)
        self.controller = nn.Linear(Z + D, A)
        self.h, self.c = torch.zeros(1, D), torch.zeros(1, D)
        self.obs, _ = self.env.reset(seed=0)

    @torch.inference_mode()
    def play(self, steps: int) -> int:
        """Drive on; returns the frames."""
        for _ in range(steps):
            frame = torch.from_numpy(cv2.resize(self.obs, (64, 64), interpolation=cv2.INTER_AREA))
            z, _ = self.vae.encode(frame.permute(2, 0, 1)[None].float() / 255)
            raw = torch.tanh(self.controller(torch.cat([z, self.h], 1)))
            action = torch.cat([raw[:, :1], raw[:, 1:].clamp(0, 1)], 1)
            self.h, self.c = self.cell(torch.cat([z, action], 1), (self.h, self.c))
            self.head(self.h)
            self.obs, _, terminated, truncated, _ = self.env.step(action[0].numpy())
            if terminated or truncated:
                self.obs, _ = self.env.reset()
                self.h, self.c = torch.zeros(1, D), torch.zeros(1, D)
        return steps


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    config = cli.parse(
        ClosedLoopBenchConfig, argv, prog="python -m benchmarks.closed_loop", description=__doc__
    )
    torch.manual_seed(0)
    cv2.setNumThreads(1)
    classic = ClassicLoop()
    with num_threads(1):
        rates = compare(ours(config), lambda: classic.play(config.peer_steps), config.runs)
    rows = [row(f"{config.slots} CarRacings, NVAE, LSTM 256, one batch", *rates)]
    unit = "closed-loop frames/s on one core; resets are included in ours, not in the peer's"
    report(rows, config.json, slots=config.slots, unit=unit)
    if not config.json:
        print(unit)


if __name__ == "__main__":
    cli.run(main)
