"""The one rollout loop: play one episode a slot, in any environment of features.

`evaluate` lets linear controllers drive, `evaluate_guide` the env's own driver: the yardstick beside them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from envs.measures import Tally
from envs.vector import SlotEnv
from models.controller import LinearController


class Limits(NamedTuple):
    """When an episode is given up, and what it is paid."""

    patience: int | None = None
    """after so many steps in a row without a positive reward, what `due` takes off included: most early candidates
    leave the road for good"""
    pace: float | None = None
    """what a step is paid at most"""
    due: float | None = None
    """what a step should pay: each unit that it falls short of it costs SHORTFALL more"""
    lost_penalty: float = 0.0
    """what running out of patience costs besides: the rest of a lap that a short dream does not show"""

    def paid(self, reward: Any) -> Any:
        """What steps count with these rewards, a NumPy array or a tensor (B,)."""
        if self.pace is not None:
            reward = reward.clip(max=self.pace)
        if self.due is not None:
            reward = reward - SHORTFALL * (self.due - reward).clip(min=0)
        return reward


NO_LIMITS = Limits()
SHORTFALL = 3.0
"""A tile that is missed costs a lap far more than its reward: the lap goes on until its time is over."""


class GivingUp:
    """Says step by step which of the episodes that began together are to be given up.

    Args:
        num: number of episodes, B.
        patience: after so many steps in a row without a positive reward.
        most: after so many steps.

    Attributes:
        lost: whose patience is at an end, bool (B,).
    """

    def __init__(self, num: int, patience: int | None, most: float = math.inf) -> None:
        self._patience, self._most = patience or math.inf, most
        self._steps, self._rewarded = 0, np.zeros(num, np.int64)
        self.lost = np.zeros(num, bool)

    def after(self, rewards: np.ndarray) -> np.ndarray:
        """Whose time is over, bool (B,), after one more step with these rewards (B,)."""
        self._steps += 1
        self._rewarded[rewards > 0] = self._steps
        self.lost = self._steps - self._rewarded >= self._patience
        return self.lost | (self._steps >= self._most)


@dataclass(frozen=True)
class EpisodeStats:
    """How B episodes went.

    Attributes:
        returns: undiscounted sums of rewards as the limits count them, less their penalty, float64 (B,).
        lengths: steps, int64 (B,).
        terminated: ended by termination, bool (B,).
        truncated: ended by truncation, bool (B,).
        lap_finished: the env reported a finished lap, bool (B,).
        measures: what the env measures of an episode, float64 (B,) each.
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lap_finished: np.ndarray
    measures: dict[str, np.ndarray] = field(default_factory=dict)


Act = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""obs (B, ...), live slots (n,) -> their actions (n, A)"""


@torch.inference_mode()
def evaluate(
    env: SlotEnv,
    controller: LinearController,
    params: np.ndarray | Tensor,
    seeds: Sequence[int] | np.ndarray,
    limits: Limits = NO_LIMITS,
) -> EpisodeStats:
    """Play exactly one episode in each of the first B slots.

    A finished slot drops out of the batch, so that no step is simulated for nothing. Results depend on the slice of
    (params, seeds) as a whole, to the bit, because a batch of another size may round differently.

    Args:
        env: an env of features with at least B slots: LatentEnv or DreamEnv.
        controller: what the parameters mean.
        params: one controller a slot, (B, N).
        seeds: the slots' seeds, (B,).
        limits: when an episode is given up; it then counts as neither terminated nor truncated.

    Returns:
        How the episodes went, in the order of `seeds`.

    Raises:
        ValueError: B is zero or larger than the number of slots, or the controllers are not as many.
    """
    rows = torch.as_tensor(params, dtype=torch.float32)
    if len(rows) != len(seeds):
        raise ValueError(f"{len(rows)} controllers for {len(seeds)} seeds.")
    chosen = rows

    def act(obs: np.ndarray, live: np.ndarray) -> np.ndarray:
        nonlocal chosen
        if len(chosen) != len(live):  # slots drop out, none comes back
            chosen = rows[live]
        features = torch.from_numpy(obs if len(live) == env.num_envs else obs[live])
        return controller.act(chosen, features).numpy()

    return _play(env, act, seeds, limits)


def evaluate_guide(env: SlotEnv, seeds: Sequence[int] | np.ndarray) -> EpisodeStats:
    """Let the env's own guide play one episode in each of the first B slots.

    Raises:
        UserError: the env has no guide.
        ValueError: B is zero or larger than the number of slots.
    """
    return _play(env, lambda obs, live: env.guide()[live], seeds, NO_LIMITS)


def _play(env: SlotEnv, act: Act, seeds: Sequence[int] | np.ndarray, limits: Limits) -> EpisodeStats:
    num = len(seeds)
    if not 0 < num <= env.num_envs:
        raise ValueError(f"{num} episodes do not fit {env.num_envs} slots.")
    spare = env.num_envs - num
    mask = np.arange(env.num_envs) < num
    obs, _ = env.reset(seed=[*map(int, seeds), *[0] * spare], options={"reset_mask": mask})

    returns = np.zeros(env.num_envs)
    lengths = np.zeros(env.num_envs, np.int64)
    giving_up = GivingUp(env.num_envs, limits.patience)
    flags = {name: np.zeros(env.num_envs, bool) for name in ("terminated", "truncated", "lap_finished")}
    tally = Tally(env.measures, env.num_envs)
    actions = np.zeros(env.action_space.shape or (), np.float32)
    live = np.flatnonzero(env.live)
    while len(live):
        actions[live] = act(obs, live)
        obs, reward, terminated, truncated, info = env.step(actions)
        reward = limits.paid(reward)
        returns[live] += reward[live]
        lengths[live] += 1
        tally.add(info, live)
        given_up = giving_up.after(reward)
        returns[giving_up.lost & env.live] -= limits.lost_penalty
        env.retire(given_up)
        done = live[~env.live[live]]
        if len(done):
            flags["terminated"][done] = terminated[done]
            flags["truncated"][done] = truncated[done]
            flags["lap_finished"][done] = np.asarray(info.get("lap_finished", np.zeros(env.num_envs)))[done]
            live = np.flatnonzero(env.live)
    first = {name: flag[:num] for name, flag in flags.items()}
    return EpisodeStats(returns[:num], lengths[:num], **first, measures=tally.result(lengths[:num]))
