"""SlotEnv: the one kind of environment here. B slots, no autoreset, and only slots with a running episode cost time.

Autoreset is disabled: an episode that ends leaves its slot idle until somebody resets it, so that no step is
simulated for nothing and no ghost step (gymnasium's NEXT_STEP mode) ever gets into the data.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.measures import Measure
from utils import seeding
from utils.errors import check

Seeds = int | Sequence[int | None] | np.ndarray | None
Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""obs, reward, terminated, truncated, info: arrays with one row a slot."""


class SlotEnv(VectorEnv, ABC):
    """A vector environment whose slots run one episode each, with their own seeds.

    Subclasses implement `_reset_slots` and `_step_slots` for a subset of the slots.

    Args:
        num_envs: number of slots, B.
        observation_space: of one slot.
        action_space: of one slot.

    Raises:
        ValueError: there is not at least one slot.

    Attributes:
        live: bool (B,), slots whose episode is running.
        measures: what is worth knowing of an episode besides its return, by name.
        has_guide: whether there is a `guide`.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012 (gymnasium's name)
    measures: Mapping[str, Measure] = {}
    has_guide = False

    def __init__(self, num_envs: int, observation_space: Space, action_space: Space) -> None:
        if num_envs < 1:
            raise ValueError(f"an env needs at least one slot; got num_envs={num_envs}.")
        self.num_envs = num_envs
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.live = np.zeros(num_envs, bool)
        self._started = np.zeros(num_envs, bool)
        entropy = int(np.random.SeedSequence().generate_state(1)[0])
        self._seeds = [seeding.derive(entropy, i) % seeding.SPAN for i in range(num_envs)]
        self._obs = np.zeros((num_envs, *(observation_space.shape or ())), observation_space.dtype)

    @abstractmethod
    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Start episodes in these slots; return their first obs (n, ...), an array of its own."""

    @abstractmethod
    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        """Step these slots with actions (n, A); return arrays of their own with n rows."""

    def _guide_slots(self, indices: np.ndarray) -> np.ndarray:
        """What the guide would do in these slots, (n, A); for envs with `has_guide`."""
        raise NotImplementedError

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start new episodes.

        Args:
            seed: an int gives slot i `seed + i`; a sequence (B,) gives each slot its own; None goes on from each
                slot's last seed, reproducibly.
            options: `{"reset_mask": bool (B,)}` resets these slots only; the others keep their episodes.

        Returns:
            obs (B, ...), with the last obs in the slots that were not reset, and an empty info.

        Raises:
            ValueError: a seed is negative or not a whole number, or the mask or the seeds do not fit the slots.
        """
        mask = self._mask(options)
        seeds = self._next_seeds(seed, mask)
        indices = np.flatnonzero(mask)
        first = self._reset_slots(indices, [seeds[i] for i in indices])
        for i in indices:
            self._seeds[i] = seeds[i]
        obs = self._obs.copy()
        obs[indices] = first
        self._obs = obs
        self.live = self.live | mask
        self._started |= mask
        return obs, {}

    def step(self, actions: Any) -> Step:
        """Step the live slots; idle ones keep their last obs, with reward 0 and both flags False.

        Args:
            actions: (B, A); rows of idle slots are ignored.

        Returns:
            obs (B, ...), never written to again; reward float64 (B,); terminated and truncated bool (B,); info of
            arrays (B, ...), zero in idle slots.

        Raises:
            ResetNeeded: no slot was ever reset.
            InvalidAction: the actions have the wrong shape, or are not finite in a live slot.
        """
        if not self._started.any():
            raise ResetNeeded("call env.reset() before env.step().")
        actions = self._checked(np.asarray(actions))
        indices = np.flatnonzero(self.live)
        if len(indices) == self.num_envs:
            result = self._step_slots(indices, actions)
        else:
            result = self._scatter(indices, actions)
        self._obs, _, terminated, truncated, _ = result
        self.live = self.live & ~(terminated | truncated)
        return result

    def guide(self) -> np.ndarray:
        """What the env's own driver would do now, who sees what no picture shows: (B, A), zero in idle slots.

        Raises:
            UserError: there is none.
        """
        check(
            self.has_guide,
            "this env has no guide, a driver who knows the road, as CarRacing and CARLA do.",
        )
        actions = np.zeros(self.action_space.shape or (), np.float32)
        indices = np.flatnonzero(self.live)
        if len(indices):
            actions[indices] = self._guide_slots(indices)
        return actions

    def retire(self, mask: np.ndarray) -> None:
        """Give up the episodes of these slots, bool (B,): they are idle until their next reset."""
        self.live = self.live & ~mask

    def _scatter(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        """Step some of the slots and spread the rows over all of them."""
        num = self.num_envs
        obs, reward = self._obs.copy(), np.zeros(num)
        terminated, truncated = np.zeros(num, bool), np.zeros(num, bool)
        info: dict[str, np.ndarray] = {}
        if len(indices):
            rows = self._step_slots(indices, actions[indices])
            for whole, part in zip((obs, reward, terminated, truncated), rows[:4], strict=True):
                whole[indices] = part
            for key, part in rows[4].items():
                info[key] = np.zeros((num, *part.shape[1:]), part.dtype)
                info[key][indices] = part
        return obs, reward, terminated, truncated, info

    def _mask(self, options: dict[str, Any] | None) -> np.ndarray:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(f"reset_mask must be bool ({self.num_envs},); got {mask.dtype} {mask.shape}.")
        if not mask.any():
            raise ValueError("reset_mask chooses no slot.")
        return mask

    def _next_seeds(self, seed: Seeds, mask: np.ndarray) -> list[int]:
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif not isinstance(seed, (Sequence, np.ndarray)):
            seeds = [whole_seed(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds do not fit {self.num_envs} slots.")
        return [
            seeding.derive(last, "next") % seeding.SPAN if new is None or not reset else whole_seed(new)
            for new, last, reset in zip(seeds, self._seeds, mask)
        ]

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        if actions.shape != self.action_space.shape:
            raise InvalidAction(f"actions must be {self.action_space.shape}; got {actions.shape}.")
        if isinstance(self.single_action_space, Box):
            if actions.dtype.kind not in "fiu":
                raise InvalidAction(f"actions must be numbers; got {actions.dtype}.")
            if not np.isfinite(actions[self.live]).all():
                raise InvalidAction("the actions of a live slot are not finite.")
        return actions


def whole_seed(seed: object) -> int:
    """The seed as an int.

    Raises:
        ValueError: it is negative or not a whole number.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"a seed is a whole number from 0 on; got {seed!r}.")
    return int(seed)
