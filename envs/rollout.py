"""The one rollout loop: play one episode a slot with linear controllers, in any environment of features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.vector import SlotEnv
from models.controller import LinearController


@dataclass(frozen=True)
class EpisodeStats:
    """How B episodes went.

    Attributes:
        returns: undiscounted sums of rewards, float64 (B,).
        lengths: steps, int64 (B,).
        terminated: ended by termination, bool (B,).
        truncated: ended by truncation, bool (B,).
        lap_finished: the env reported a finished lap, bool (B,).
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lap_finished: np.ndarray


@torch.inference_mode()
def evaluate(
    env: SlotEnv,
    controller: LinearController,
    params: np.ndarray | Tensor,
    seeds: Sequence[int] | np.ndarray,
    patience: int | None = None,
) -> EpisodeStats:
    """Play exactly one episode in each of the first B slots.

    A finished slot drops out of the batch, so that no step is simulated for nothing. Results depend on the slice of
    (params, seeds) as a whole, to the bit, because a batch of another size may round differently.

    Args:
        env: an env of features with at least B slots: LatentEnv or DreamEnv.
        controller: what the parameters mean.
        params: one controller a slot, (B, N), or one for all, (N,).
        seeds: the slots' seeds, (B,).
        patience: give an episode up after this many steps in a row without a positive reward; it then counts as
            neither terminated nor truncated. For training only: most early candidates leave the road for good.

    Returns:
        How the episodes went, in the order of `seeds`.

    Raises:
        ValueError: B is zero or larger than the number of slots.
    """
    num = len(seeds)
    if not 0 < num <= env.num_envs:
        raise ValueError(f"{num} episodes do not fit {env.num_envs} slots.")
    rows = torch.as_tensor(params, dtype=torch.float32)
    if rows.ndim == 2 and len(rows) != num:
        raise ValueError(f"{len(rows)} controllers for {num} seeds.")
    spare = env.num_envs - num
    mask = np.arange(env.num_envs) < num
    obs, _ = env.reset(seed=[*map(int, seeds), *[0] * spare], options={"reset_mask": mask})

    returns = np.zeros(env.num_envs)
    lengths = np.zeros(env.num_envs, np.int64)
    rewarded = np.zeros(env.num_envs, np.int64)
    flags = {name: np.zeros(env.num_envs, bool) for name in ("terminated", "truncated", "lap_finished")}
    actions = np.zeros((env.num_envs, controller.action_size), np.float32)
    live = np.flatnonzero(env.live)
    chosen = rows if rows.ndim == 1 else rows[live]
    while len(live):
        features = torch.from_numpy(obs if len(live) == env.num_envs else obs[live])
        actions[live] = controller.act(chosen, features).numpy()
        obs, reward, terminated, truncated, info = env.step(actions)
        returns[live] += reward[live]
        lengths[live] += 1
        if patience is not None:
            rewarded[reward > 0] = lengths[reward > 0]
            env.retire(lengths - rewarded >= patience)
        done = live[~env.live[live]]
        if len(done):
            flags["terminated"][done] = terminated[done]
            flags["truncated"][done] = truncated[done]
            flags["lap_finished"][done] = np.asarray(info.get("lap_finished", np.zeros(env.num_envs)))[done]
            live = np.flatnonzero(env.live)
            chosen = rows if rows.ndim == 1 else rows[live]
    return EpisodeStats(returns[:num], lengths[:num], **{name: flag[:num] for name, flag in flags.items()})
