"""How well an M remembers: held-out likelihood, rewards, terminations, and pictures of what it dreams.

Rewards are judged twice. A tile pays 3.3 on about one step in three, so the reward of one step is mostly chance and
its R2 is low however good M is; the sum over ten steps is what driving depends on.

Axes: b batch, t time, z latent, a action.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.mdnrnn import MDNRNN, Prediction, SequenceBatch
from models.world_model import WorldModel

SPAN = 10
"""Steps over which rewards are summed for the second R2."""


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

    def value(self) -> float:
        """1 - error / variance; 0 where there is no variance to explain."""
        variance = self._squares - self._sum**2 / max(1, self._count)
        return 1 - self._error / variance if variance > 1e-9 else 0.0


@torch.inference_mode()
def evaluate(model: MDNRNN, batches: Iterable[SequenceBatch]) -> dict[str, float]:
    """Scores of a model in eval mode on windows that it has not seen.

    Returns:
        "loss" (lower is better) and its terms, "reward_r2" of single steps, "reward_r2_10" of sums over ten steps,
        the number of "terminations" there and of "terminations_foretold" at probability one half, and what these have
        in common as "termination_precision" and "termination_recall", each left out where it would be 0 / 0.
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
        "reward_r2": single.value(),
        "reward_r2_10": spans.value(),
        "terminations": there,
        "terminations_foretold": foretold,
        **{name: part / whole for name, (part, whole) in shares.items() if whole},
    }


def in_words(scores: dict[str, float]) -> str:
    """One sentence about what `evaluate` found."""
    there, foretold = scores["terminations"], scores["terminations_foretold"]
    if there:
        ends = f"{scores['termination_recall']:.0%} of {there:.0f} terminations foretold"
        ends += (
            f", {scores['termination_precision']:.0%} of {foretold:.0f} forecasts right" if foretold else ""
        )
    else:
        ends = f"terminations not judged, for no held-out episode has one ({foretold:.0f} false alarms)"
    return (
        f"NLL {scores['nll']:.3f} nats a latent, reward R2 {scores['reward_r2']:.2f} a step and "
        f"{scores['reward_r2_10']:.2f} over ten, {ends}"
    )


def span_sums(reward: Tensor, mask: Tensor) -> Tensor:
    """Sums of rewards (b, t) over whole spans of ten steps without padding, (n,)."""
    num = reward.shape[1] // SPAN
    spans = reward[:, : num * SPAN].unflatten(1, (num, SPAN))
    return spans.sum(2)[mask[:, : num * SPAN].unflatten(1, (num, SPAN)).all(2)]


@torch.inference_mode()
def open_loop(
    world_model: WorldModel, z: Tensor, action: Tensor, warmup: int, temperature: float, seed: int
) -> Tensor:
    """Watch the first steps, then dream on under the actions that were really taken.

    Args:
        world_model: V and M.
        z: real latents, (warmup + 1, Z) of them are looked at.
        action: real actions, (T, A).
        warmup: steps watched.
        temperature: of the dream.
        seed: of its noise.

    Returns:
        The latents from step `warmup` on, the first of them real, (T - warmup + 1, Z).
    """
    generator = torch.Generator().manual_seed(seed)
    carry = world_model.initial(1)
    for t in range(warmup):
        carry = world_model.advance(z[t : t + 1], action[t : t + 1], carry)
    now = z[warmup : warmup + 1]
    dreamt = [now]
    for t in range(warmup, len(action)):
        carry = world_model.advance(now, action[t : t + 1], carry)
        uniform = torch.rand(1, generator=generator).to(now.device)
        normal = torch.randn(1, world_model.latent_size, generator=generator).to(now.device)
        now = world_model.predict(now, carry).mixture.sample(uniform, normal, temperature)
        dreamt.append(now)
    return torch.cat(dreamt)


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
        dreamt = open_loop(world_model, z, action, warmup, temperature, seed=0)
        rows.append(world_model.decode(dreamt[::stride]))
        labels.append(f"dream, T={temperature:g}")
    return rows, labels
