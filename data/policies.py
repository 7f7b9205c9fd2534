"""Behaviours that fill a dataset. All act on B slots; each slot draws from its own generator.

A slot's generator follows from the dataset's seed and the episode's id, so that no episode's draws depend on which
others are run beside it. A policy is reset once and then acts step by step on every slot, idle or not: a slot's
draws are counted by its own steps.

Axes: b slots, a action, f features, n parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from models.controller import LinearController
from utils.errors import check, check_not_negative

Actions = NDArray[np.float32]
DT = 1 / 50
"""Time step of the Brownian walk: CarRacing's 50 frames a second."""
TAPE = 64
"""Steps for which noise is drawn at once."""


class Policy(Protocol):
    """(obs, generators) -> actions."""

    def reset(self, rngs: Sequence[np.random.Generator]) -> None:
        """Begin new episodes in len(rngs) slots."""
        ...

    def act(self, obs: np.ndarray) -> Actions:
        """Actions (B, A) within the bounds for obs (B, ...)."""
        ...


class _Noise:
    """Standard normal numbers (B, A), step by step; each slot's from its own generator."""

    def __init__(self, rngs: Sequence[np.random.Generator], size: int) -> None:
        self._rngs, self._size, self._at = rngs, size, TAPE
        self._tape = np.zeros((TAPE, len(rngs), size))

    def next(self) -> NDArray[np.float64]:
        if self._at == TAPE:
            self._tape = np.stack([rng.standard_normal((TAPE, self._size)) for rng in self._rngs], axis=1)
            self._at = 0
        self._at += 1
        return self._tape[self._at - 1]


class White:
    """Independent uniform actions: the car trembles on the spot, which V and M should have seen too."""

    def __init__(self, space: Box) -> None:
        self.space = space

    def reset(self, rngs: Sequence[np.random.Generator]) -> None:
        """See Policy."""
        self._rngs = rngs

    def act(self, obs: np.ndarray) -> Actions:
        """See Policy."""
        size = self.space.shape[0]
        draws = np.stack([rng.random(size) for rng in self._rngs])
        return (self.space.low + draws * (self.space.high - self.space.low)).astype(np.float32)


class Brown:
    """A Brownian walk with dt = 1/50 through the action space, held within its bounds.

    Of an action (steer, gas, brake) a walk over the plain bounds has the brake half pressed on average, and the car
    stands. Here steering starts straight and gas full, while the brake walks over [-3, 1], starts at rest, and is
    pressed where the walk is above 0, a quarter of the time: over 500 steps of physics the car then covers 160 m
    rather than 53. In an unknown space, every further one-sided number is taken for a brake.
    """

    BRAKE_FLOOR = -3.0

    def __init__(self, space: Box) -> None:
        self.space = space
        self._floor, self._start = space.low.astype(np.float64), (space.low + space.high) / 2.0
        gas, *brakes = [*np.flatnonzero(space.low == 0), None]
        if gas is not None:
            self._start[gas] = space.high[gas]
        for brake in brakes[:-1]:
            self._floor[brake] = self.BRAKE_FLOOR * space.high[brake]
            self._start[brake] = -space.high[brake]

    def reset(self, rngs: Sequence[np.random.Generator]) -> None:
        """See Policy."""
        self._noise = _Noise(rngs, len(self._start))
        self._walk = np.tile(self._start, (len(rngs), 1))

    def act(self, obs: np.ndarray) -> Actions:
        """See Policy."""
        walk = self._walk + np.sqrt(DT) * self._noise.next()
        self._walk = np.clip(walk, self._floor, self.space.high)
        return np.maximum(self._walk, self.space.low).astype(np.float32)


@dataclass(frozen=True)
class NoiseConfig:
    """How far the rollouts of a controller, or of the lane follower, stray from it."""

    noise: float = 0.2
    """deviation of the noise on the driver's actions, as a share of half their range"""
    noise_memory: float = 0.9
    """how much of the noise stays from step to step: AR(1), 0 is white"""
    param_noise: float = 0.0
    """deviation of a perturbation of the controller's parameters, drawn for each episode"""
    lapses: float = 0.0
    """chance at each step that the lane follower looks away for a while, in half of his episodes; so M sees how the
    road is lost, and that it does not come after the car"""

    def __post_init__(self) -> None:
        check_not_negative(self, "noise", "param_noise")
        check(0 <= self.lapses <= 1, f"--lapses must lie in [0, 1]; got {self.lapses}.")
        check(0 <= self.noise_memory < 1, f"--noise-memory must lie in [0, 1); got {self.noise_memory}.")


class _Wander:
    """AR(1) noise (B, A) on actions, with the spread and the memory that a config asks for."""

    def __init__(self, space: Box, config: NoiseConfig, rngs: Sequence[np.random.Generator]) -> None:
        self._memory = config.noise_memory
        self._scale = config.noise * (space.high - space.low) / 2.0
        self._noise = _Noise(rngs, len(self._scale))
        self._state = self._noise.next()

    def next(self) -> NDArray[np.float64]:
        now = self._scale * self._state
        self._state = self._memory * self._state + np.sqrt(1 - self._memory**2) * self._noise.next()
        return now


class _Lapses:
    """Times in which a driver looks away: he goes on as he was, or, in half of them, steers at random.

    Args:
        space: of the actions; the two-sided ones steer.
        chance: that one begins at a step, in half of the episodes; in the others there are none.
        rngs: of the slots.
    """

    STEPS = (6, 21)
    """Length: the least, and more than the most."""
    STEERING = 0.35
    """Deviation of random steering, as a share of its bound."""

    def __init__(self, space: Box, chance: float, rngs: Sequence[np.random.Generator]) -> None:
        self._rngs = rngs
        self._chances = [chance * (rng.random() < 0.5) for rng in rngs]
        self._steers = np.flatnonzero(space.low < 0)
        self._spread = self.STEERING * space.high[self._steers]
        self._left = np.zeros(len(rngs), np.int64)
        self._held = np.zeros((len(rngs), *space.shape))

    def holds(self, actions: Actions) -> NDArray[np.float64]:
        """What becomes of the actions (B, A) that an attentive driver would take at this step."""
        actions = np.broadcast_to(actions, self._held.shape)
        for slot, rng in enumerate(self._rngs):
            if self._left[slot] == 0 and rng.random() < self._chances[slot]:
                self._left[slot] = rng.integers(*self.STEPS)
                self._held[slot] = actions[slot]
                if rng.random() < 0.5:
                    self._held[slot, self._steers] = self._spread * rng.standard_normal(len(self._steers))
        away = self._left > 0
        self._left[away] -= 1
        return np.where(away[:, None], self._held, actions)


class Lane:
    """The env's own guide with AR(1) noise: a lane follower who strays and finds back.

    Each episode has a spread of its own, up to twice the asked one, so that V and M see clean laps as well as the
    verge. The pedals wander further than the steering, so that M sees what they do: a guide who keeps its speed would
    teach M that cars drive by themselves. The brake is pressed a sixth of the time at most. If asked for, he has
    lapses, too.

    Args:
        space: of the actions; as for Brown, the first one-sided number is the gas, others are brakes.
        guide: gives the guide's actions (B, A) for the present state of the env, see `SlotEnv.guide`.
        config: the noise.
    """

    PEDALS = 4.0
    """Spread of the pedals' noise over that of the steering, both as shares of half their range."""

    def __init__(self, space: Box, guide: Callable[[], Actions], config: NoiseConfig) -> None:
        self.space, self.guide, self.config = space, guide, config
        pedals = np.flatnonzero(space.low == 0)
        self._spread = np.ones(space.shape)
        self._spread[pedals] = self.PEDALS
        self._shift = np.zeros(space.shape)
        self._shift[pedals[1:]] = -self.PEDALS * config.noise * space.high[pedals[1:]] / 2

    def reset(self, rngs: Sequence[np.random.Generator]) -> None:
        """See Policy."""
        self._share = np.array([[2 * rng.random()] for rng in rngs])
        self._lapses = _Lapses(self.space, self.config.lapses, rngs) if self.config.lapses else None
        self._wander = _Wander(self.space, self.config, rngs)

    def act(self, obs: np.ndarray) -> Actions:
        """See Policy."""
        noise = self._share * (self._spread * self._wander.next() + self._shift)
        guide = self.guide() if self._lapses is None else self._lapses.holds(self.guide())
        return np.clip(guide + noise, self.space.low, self.space.high).astype(np.float32)


class Controlled:
    """A linear controller on features, with AR(1) noise on its actions and, if asked for, on its parameters.

    Args:
        space: of the actions.
        controller: the function.
        params: (N,).
        config: the noise.
    """

    def __init__(
        self, space: Box, controller: LinearController, params: NDArray[np.float32], config: NoiseConfig
    ) -> None:
        self.space, self.controller, self.params, self.config = space, controller, params, config

    def reset(self, rngs: Sequence[np.random.Generator]) -> None:
        """See Policy."""
        drawn = [rng.standard_normal(len(self.params)) * self.config.param_noise for rng in rngs]
        self._params = torch.from_numpy((self.params + np.stack(drawn)).astype(np.float32))
        self._wander = _Wander(self.space, self.config, rngs)

    def act(self, obs: np.ndarray) -> Actions:
        """See Policy."""
        actions = self.controller.act(self._params, torch.from_numpy(obs)).numpy()
        noisy = actions + self._wander.next()
        return np.clip(noisy, self.space.low, self.space.high).astype(np.float32)
