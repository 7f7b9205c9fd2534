"""DreamEnv: the world model as an environment, thousands of dreams as one batch, nothing ever decoded.

Time, as in latent.py: `features_t = [z_t, h_t]`. `step(a_t)` feeds (z_t, a_t) into M, which gives h_{t+1}; from
it the heads give the distribution of z_{t+1}, of which one is drawn at the temperature, the expected r_t, which is
the reward, and the probability that the episode terminated. The horizon truncates.

A slot's seed decides its start state and all its noise, which comes from a generator of its own; so a dream does not
depend on its neighbours (but for the last bits of the arithmetic, since a matrix product of another height may
round differently), and candidates that share a seed share the start and the luck.
"""

import importlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from envs.latent import feature_space
from envs.options import check_words
from envs.starts import StartStates
from envs.vector import SlotEnv, Step
from models.mdnrnn import Carry
from models.world_model import WorldModel
from utils.cli import run
from utils.errors import check, check_not_negative, check_positive

NOISE_STEPS = 64
"""Steps for which a slot's noise is drawn at a time."""
SLAB = 1024
"""Dreams that go through M at a time: on a CPU a batch of 4,096 falls out of its cache and runs a fifth slower."""


@dataclass(frozen=True)
class DreamConfig:
    """How the dream is dreamt."""

    horizon: int = 1000
    """steps after which a dream is truncated"""
    temperature: float = 1.0
    """divides the mixture's logits and multiplies its variances; 1 is as learnt, 0 is deterministic"""
    termination: Literal["sample", "cut", "never"] = "sample"
    """terminate with the predicted probability, or where it is above one half (as in 2018), or not at all"""

    def __post_init__(self) -> None:
        check_positive(self, "horizon")
        check_not_negative(self, "temperature")
        check_words("the dream", self, {"termination": "sample cut never"})


class SlotNoise:
    """Random numbers, a stream for every slot, drawn in blocks and kept where M runs.

    The generators run on the CPU whatever the device, so that a seed means the same dream everywhere.
    """

    def __init__(self, num_slots: int, latent_size: int, device: torch.device) -> None:
        self._generators = [torch.Generator() for _ in range(num_slots)]
        self._t = np.zeros(num_slots, np.int64)
        self._normal = torch.zeros(num_slots, NOISE_STEPS, latent_size)
        self._uniform = torch.zeros(num_slots, NOISE_STEPS, 2)
        self._device = device
        self._on_device = (self._normal, self._uniform)
        if device.type != "cpu":
            self._on_device = (self._normal.to(device), self._uniform.to(device))

    def seed(self, slot: int, seed: int) -> torch.Generator:
        """Start a slot's stream; returns its generator for draws of the caller's own."""
        self._t[slot] = 0
        return self._generators[slot].manual_seed(seed)

    def take(self, slots: np.ndarray) -> tuple[Tensor, Tensor]:
        """The next numbers of some slots: standard normal (n, Z) and uniform (n, 2)."""
        phase = self._t[slots] % NOISE_STEPS
        empty = slots[phase == 0]
        if len(empty):
            self._refill(empty)
        self._t[slots] += 1
        normal, uniform = self._on_device
        if (phase == phase[0]).all():  # dreams that began together
            where, now = _where(slots), int(phase[0])
            return normal[where, now], uniform[where, now]
        return normal[slots, phase], uniform[slots, phase]

    def _refill(self, slots: np.ndarray) -> None:
        for slot in slots.tolist():
            self._normal[slot].normal_(generator=self._generators[slot])
            self._uniform[slot].uniform_(generator=self._generators[slot])
        if self._device.type != "cpu":
            for here, there in zip((self._normal, self._uniform), self._on_device, strict=True):
                there[slots] = here[slots].to(self._device)


class DreamEnv(SlotEnv):
    """Dreams as episodes; its spaces are those of LatentEnv.

    Args:
        world_model: V and M, on the device where the dream is to run; V is never called here.
        starts: where dreams begin.
        num_envs: how many run side by side.
        config: how they run.

    Raises:
        UserError: the starts were made with another world model.
    """

    def __init__(
        self,
        world_model: WorldModel,
        starts: StartStates,
        num_envs: int,
        config: DreamConfig = DreamConfig(),
    ) -> None:
        check(
            (starts.z.shape[1], starts.h.shape[1], len(starts.low))
            == (world_model.latent_size, world_model.hidden_size, world_model.action_size),
            "the start states were made with another world model; run trainmdrnn.py again to make them anew.",
        )
        action_space = Box(starts.low, starts.high, dtype=np.float32)
        super().__init__(num_envs, feature_space(world_model.feature_size), action_space)
        self.world_model = world_model
        self.config = config
        device = world_model.device
        self._starts = tuple(x.to(device) for x in (starts.z, starts.h, starts.c))
        self._state = [x.new_zeros(num_envs, x.shape[1]) for x in self._starts]
        self._low, self._high = (torch.from_numpy(x).to(device) for x in (starts.low, starts.high))
        self._steps = np.zeros(num_envs, np.int64)
        self._noise = SlotNoise(num_envs, world_model.latent_size, device)

    @property
    def z(self) -> Tensor:
        """The latents of all slots, (B, Z): what a viewer decodes."""
        return self._state[0]

    @torch.inference_mode()
    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        chosen = np.empty(len(indices), np.int64)
        for i, (slot, seed) in enumerate(zip(indices.tolist(), seeds, strict=True)):
            chosen[i] = begin(self._noise.seed(slot, seed), len(self._starts[0]))
        for state, starts in zip(self._state, self._starts, strict=True):
            state[indices] = starts[chosen]
        self._steps[indices] = 0
        return torch.cat([self._state[0][indices], self._state[1][indices]], dim=1).cpu().numpy()

    @torch.inference_mode()
    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        device = self.world_model.device
        action = torch.from_numpy(np.asarray(actions, np.float32)).to(device)
        action = torch.minimum(torch.maximum(action, self._low), self._high)
        slab = SLAB if device.type == "cpu" else len(indices)
        parts = [
            self._dream(indices[i : i + slab], action[i : i + slab]) for i in range(0, len(indices), slab)
        ]
        features, reward, terminated = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        self._steps[indices] += 1
        truncated = (self._steps[indices] >= self.config.horizon) & ~terminated
        return features, reward, terminated, truncated, {"lap_finished": np.zeros(len(indices), bool)}

    def _dream(self, slots: np.ndarray, action: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of some slots: their features, rewards and terminations."""
        where = _where(slots)
        z, h, c = (state[where] for state in self._state)
        noise = self._noise.take(slots)
        z, carry, reward, terminated = advance(self.world_model, self.config, z, (h, c), action, *noise)
        for state, new in zip(self._state, (z, *carry), strict=True):
            state[where] = new
        features = self.world_model.features(z, carry)
        return features.cpu().numpy(), reward.cpu().double().numpy(), terminated.cpu().numpy()


def _where(slots: np.ndarray) -> np.ndarray | slice:
    """The same slots as a slice if they are neighbours: what need not be gathered is a tenth of a step's time."""
    first = int(slots[0])
    neighbours = np.array_equal(slots, np.arange(first, first + len(slots)))
    return slice(first, first + len(slots)) if neighbours else slots


def begin(generator: torch.Generator, num_starts: int) -> int:
    """What a dream draws first: which start state."""
    return int(torch.randint(num_starts, (), generator=generator))


@torch.inference_mode()
def advance(
    world_model: WorldModel,
    config: DreamConfig,
    z: Tensor,
    carry: Carry,
    action: Tensor,
    normal: Tensor,
    uniform: Tensor,
) -> tuple[Tensor, Carry, Tensor, Tensor]:
    """One step of B dreams.

    Args:
        world_model: V and M; V is not called.
        config: temperature and termination.
        z: (B, Z).
        carry: (h, c), each (B, D).
        action: within the bounds, (B, A).
        normal: standard normal numbers, (B, Z).
        uniform: numbers in [0, 1), for the component and the termination, (B, 2).

    Returns:
        The next z and carry, rewards (B,), terminated (B,).
    """
    carry = world_model.advance(z, action, carry)
    z, reward, termination_logit = world_model.dream(z, carry, uniform[:, 0], normal, config.temperature)
    if config.termination == "sample":
        terminated = uniform[:, 1] < torch.sigmoid(termination_logit)
    elif config.termination == "cut":
        terminated = termination_logit > 0
    else:
        terminated = torch.zeros_like(termination_logit, dtype=torch.bool)
    return z, carry, reward, terminated


if __name__ == "__main__":
    # Named and not imported: what loads weights stands to the right of this room.
    run(importlib.import_module("data.dream_page.command").main)
