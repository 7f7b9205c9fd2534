"""Where dreams begin: real moments, as the world model remembers them.

A start state is the latent z of a real frame together with the carry (h, c) that M has after watching what came
before it. A bundle of them, with the bounds of the real env's actions, is all that a dream needs besides V and M.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.mdnrnn import Carry
from models.world_model import WorldModel
from utils.checkpoint import Checkpoint
from utils.errors import check


@dataclass(frozen=True)
class StartStates:
    """N real moments.

    Attributes:
        z: latents (N, Z).
        h: M's hidden state before z is fed in, (N, D).
        c: M's cell, (N, D).
        low: lower bounds of the real env's actions, (A,).
        high: upper bounds, (A,).
        paid: what stretches of the best real episode paid on average: their steps and rewards, float64 (2, K).
    """

    z: Tensor
    h: Tensor
    c: Tensor
    low: np.ndarray
    high: np.ndarray
    paid: np.ndarray

    kind = "starts"

    def __len__(self) -> int:
        return len(self.z)

    def features(self) -> np.ndarray:
        """What controllers see there: [z, h], float64 (N, Z + D)."""
        return torch.cat([self.z, self.h], dim=1).double().numpy()

    def most(self, steps: int) -> float:
        """What a step of so long stretches of the best real episode paid on average; of the longest known at most."""
        return float(np.interp(steps, *self.paid)) / min(steps, float(self.paid[0, -1]))

    def to_checkpoint(self, info: dict[str, Any]) -> Checkpoint:
        """The bundle as data, for one file."""
        weights = {"z": self.z, "h": self.h, "c": self.c}
        config = {"low": self.low.tolist(), "high": self.high.tolist(), "paid": self.paid.tolist()}
        return Checkpoint(self.kind, config, weights, info)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "StartStates":
        """The inverse of `to_checkpoint`."""
        low, high = (np.asarray(checkpoint.config[name], np.float32) for name in ("low", "high"))
        weights = checkpoint.weights
        paid = np.asarray(checkpoint.config["paid"], np.float64)
        return cls(weights["z"], weights["h"], weights["c"], low, high, paid)


@torch.inference_mode()
def warm_up(world_model: WorldModel, z: Tensor, action: Tensor, lengths: Tensor) -> Carry:
    """Let M watch the last steps before each start, h from zero.

    Args:
        world_model: V and M.
        z: latents of the prefixes, aligned at their ends, (N, W, Z); what lies before a shorter prefix is ignored.
        action: the actions taken there, (N, W, A).
        lengths: real steps in each prefix, 0 to W, (N,).

    Returns:
        The carry after the prefixes, (h, c), each (N, D).
    """
    width = z.shape[1]
    check(int(lengths.max()) <= width, "a prefix is longer than its window.")
    carry = world_model.initial(len(z))
    for t in range(width):
        h, c = world_model.advance(z[:, t], action[:, t], carry)
        began = (t >= width - lengths).unsqueeze(1).to(h.dtype)
        carry = h * began, c * began
    return carry
