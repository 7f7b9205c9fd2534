"""How well an M remembers: held-out likelihood, rewards, terminations, and pictures of what it dreams.

Rewards are judged twice. A tile pays 3.3 on about one step in three, so the reward of one step is mostly chance and
its R2 is low however good M is; the sum over ten steps is what driving depends on.

Axes: b batch, t time, z latent, a action.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.latents import LatentStore
from models.mdnrnn import MDNRNN, Prediction, SequenceBatch
from models.world_model import WorldModel
from utils import seeding
from utils.seeding import Split

SPAN = 10
"""Steps over which rewards are summed for the second R2."""
STRETCHES, WATCHED, DREAMT = 256, 40, 100
"""Held-out stretches on which dreams are compared with reality, steps watched first, and steps dreamt."""
EPISODES = 8
"""The stretches come from so many held-out episodes at least, or from all, and are shorter where those are short."""


class RSquared:
    """Share of the variance that a prediction explains, collected batch by batch."""

    def __init__(self) -> None:
        self._error = self._sum = self._squares = 0.0
        self._count = 0

    def add(self, predicted: Tensor, actual: Tensor) -> None:
        """Take in numbers of any shape."""
        predicted, actual = (x.cpu().double() for x in (predicted, actual))  # MPS has no float64
        self._error += float((predicted - actual).square().sum())
        self._sum += float(actual.sum())
        self._squares += float(actual.square().sum())
        self._count += actual.numel()

    def named(self, name: str) -> dict[str, float]:
        """1 - error / variance under that name; nothing where there is no variance to explain."""
        variance = self._squares - self._sum**2 / max(1, self._count)
        return {name: 1 - self._error / variance} if variance > 1e-9 else {}


@torch.inference_mode()
def evaluate(model: MDNRNN, batches: Iterable[SequenceBatch]) -> dict[str, float]:
    """Scores of a model in eval mode on windows that it has not seen.

    Returns:
        "loss" (lower is better) and its terms, "reward_r2" of single steps, "reward_r2_10" of sums over ten steps,
        the number of "terminations" there and of "terminations_foretold" at probability one half, and what these have
        in common as "termination_precision" and "termination_recall". What would be 0 / 0 is left out.
    """
    sums: dict[str, float] = {"nll": 0.0, "reward": 0.0, "termination": 0.0}
    num_steps = 0
    single, spans = RSquared(), RSquared()
    counts = np.zeros(3)  # true positives, positives said, positives there
    for batch in batches:
        prediction: Prediction = model(batch.z[:, :-1], batch.action)[0]
        mask = batch.mask
        for name, value in model.loss_terms(prediction, batch).items():
            sums[name] += float((value * mask).sum())
        num_steps += int(mask.sum())
        single.add(prediction.reward[mask], batch.reward[mask])
        spans.add(*(span_sums(reward, mask) for reward in (prediction.reward, batch.reward)))
        said, there = (prediction.termination_logit > 0) & mask, batch.terminated & mask
        counts += [float(flag.sum()) for flag in (said & there, said, there)]
    terms = {name: value / max(1, num_steps) for name, value in sums.items()}
    hits, foretold, there = counts.tolist()
    shares = {"termination_precision": (hits, foretold), "termination_recall": (hits, there)}
    return {
        "loss": model.weigh(terms),
        **terms,
        **single.named("reward_r2"),
        **spans.named("reward_r2_10"),
        "terminations": there,
        "terminations_foretold": foretold,
        **{name: part / whole for name, (part, whole) in shares.items() if whole},
    }


def in_words(scores: dict[str, float]) -> str:
    """One sentence about what `evaluate` found, and `honesty`, if it was asked."""
    there, foretold = scores["terminations"], scores["terminations_foretold"]
    if there:
        ends = f"{scores['termination_recall']:.0%} of {there:.0f} terminations foretold"
        ends += (
            f", {scores['termination_precision']:.0%} of {foretold:.0f} forecasts right" if foretold else ""
        )
    else:
        ends = f"terminations not judged, for no held-out episode has one ({foretold:.0f} false alarms)"
    words = (
        f"NLL {scores['nll']:.3f} nats a latent, reward R2 {_r2(scores, 'reward_r2')} a step and "
        f"{_r2(scores, 'reward_r2_10')} over ten, {ends}"
    )
    if "dream_steps" not in scores:
        return words
    steps, paid, real, spread = (
        scores[name] for name in ("dream_steps", "dream_reward", "real_reward", "dream_spread")
    )
    return (
        f"{words}; {steps:.0f} dreamed steps pay {paid:.1f} where the real ones paid {real:.1f} "
        f"(R2 {_r2(scores, 'dream_reward_r2')}), and end with {spread:.2f} times the real spread of z"
    )


def _r2(scores: dict[str, float], name: str) -> str:
    return f"{scores[name]:.2f}" if name in scores else "not judged"


def span_sums(reward: Tensor, mask: Tensor) -> Tensor:
    """Sums of rewards (b, t) over whole spans of ten steps without padding, (n,)."""
    num = reward.shape[1] // SPAN
    spans = reward[:, : num * SPAN].unflatten(1, (num, SPAN))
    return spans.sum(2)[mask[:, : num * SPAN].unflatten(1, (num, SPAN)).all(2)]


class Dreamt(NamedTuple):
    """What M dreams under given actions."""

    z: Tensor
    """latents, the first of them real, (N, S + 1, Z)"""
    reward: Tensor
    """expected rewards, (N, S)"""


@torch.inference_mode()
def open_loop(
    world_model: WorldModel, z: Tensor, action: Tensor, warmup: int, temperature: float, seed: int
) -> Dreamt:
    """Watch the first steps, then dream on under the actions that were really taken.

    Args:
        world_model: V and M.
        z: real latents, warmup + 1 of them are looked at, (N, T + 1, Z).
        action: real actions, (N, T, A).
        warmup: steps watched.
        temperature: of the dream.
        seed: of its noise.

    Returns:
        The dream from step `warmup` on: S = T - warmup steps.
    """
    generator = torch.Generator().manual_seed(seed)
    carry = world_model.initial(len(z))
    for t in range(warmup):
        carry = world_model.advance(z[:, t], action[:, t], carry)
    now = z[:, warmup]
    latents, rewards = [now], []
    for t in range(warmup, action.shape[1]):
        carry = world_model.advance(now, action[:, t], carry)
        uniform = torch.rand(len(z), generator=generator).to(now.device)
        normal = torch.randn(now.shape, generator=generator).to(now.device)
        now, reward, _ = world_model.dream(now, carry, uniform, normal, temperature)
        latents.append(now)
        rewards.append(reward)
    return Dreamt(torch.stack(latents, 1), torch.stack(rewards, 1))


def honesty(world_model: WorldModel, latents: LatentStore, split: Split) -> dict[str, float]:
    """Whether dreams pay what reality pays, from the same held-out starts and under the same actions.

    A dream's road is not the real one: the longer it lasts, the oftener actions that kept to the road leave it there.

    Returns:
        "dream_steps" of each stretch: 100 after 40 watched, or fewer where episodes are short; "dream_reward" and
        "real_reward", the mean sums of rewards; "dream_reward_r2" of the sums, left out where these are all alike;
        "dream_spread", the root mean square of the standardised latents after the last step over the real one's:
        above 1 dreams have left what is real.
    """
    episodes = latents.episodes(split)
    lengths = latents.lengths[episodes]
    most = int(np.sort(lengths)[-EPISODES:][0])
    warmup = min(WATCHED, most // 2)
    steps = min(DREAMT, most - warmup)
    rng = seeding.rng(0, "honesty")
    chosen = rng.choice(np.flatnonzero(lengths >= warmup + steps), STRETCHES)
    phase = rng.integers(lengths[chosen] - warmup - steps + 1)
    rows = (latents.offsets[episodes][chosen] + phase)[:, None] + np.arange(warmup + steps + 1)
    device = world_model.device
    z, action = (torch.from_numpy(array[rows]).to(device) for array in (latents.mu, latents.actions))
    dreamt = open_loop(world_model, z, action[:, :-1], warmup, 1.0, seed=0)
    real = torch.from_numpy(latents.rewards[rows[:, warmup:-1]]).sum(1)
    paid, score = dreamt.reward.sum(1).cpu(), RSquared()
    score.add(paid, real)
    m = world_model.m
    spread = [((x[:, -1] - m.z_mean) / m.z_std).square().mean().sqrt() for x in (dreamt.z, z)]
    return {
        "dream_steps": steps,
        "dream_reward": float(paid.mean()),
        "real_reward": float(real.mean()),
        **score.named("dream_reward_r2"),
        "dream_spread": float(spread[0] / spread[1]),
    }


def dream_rows(
    world_model: WorldModel,
    frames: np.ndarray,
    z: Tensor,
    action: Tensor,
    warmup: int,
    stride: int,
    temperatures: Sequence[float],
) -> tuple[list[np.ndarray], list[str]]:
    """Rows for a picture: what happened, what V makes of it, and what M dreams from the same start.

    Args:
        world_model: V and M.
        frames: the real frames, uint8 (T + 1, H, W, 3).
        z: their latents, (T + 1, Z).
        action: the actions between them, (T, A).
        warmup: steps that M watches; the rows start there.
        stride: steps from one picture to the next.
        temperatures: one dream for each.

    Returns:
        Rows uint8 (N, H, W, 3), and a label for each.
    """
    shown = slice(warmup, None, stride)
    rows, labels = [frames[shown], world_model.decode(z[shown])], ["real", "seen by V"]
    for temperature in temperatures:
        dreamt = open_loop(world_model, z[None], action[None], warmup, temperature, seed=0)
        rows.append(world_model.decode(dreamt.z[0, ::stride]))
        labels.append(f"dream, T={temperature:g}")
    return rows, labels
