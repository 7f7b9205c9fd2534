from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from data import memory_quality
from data.latents import LatentStore
from data.memory_quality import (
    Dreamt,
    RSquared,
    dream_rows,
    evaluate,
    honesty,
    in_words,
    open_loop,
    span_sums,
)
from models.mdnrnn import MDNRNN, MDNRNNConfig
from tests.envs.tiny import tiny_world_model


class Windows(NamedTuple):
    z: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor


def some_windows(b: int = 4, t: int = 25, seed: int = 0) -> Windows:
    g = torch.Generator().manual_seed(seed)
    mask = torch.ones(b, t, dtype=torch.bool)
    mask[0, 12:] = False
    return Windows(
        torch.randn(b, t + 1, 4, generator=g),
        torch.rand(b, t, 2, generator=g),
        torch.randn(b, t, generator=g),
        (torch.rand(b, t, generator=g) < 0.2) & mask,
        mask,
    )


def a_model() -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(MDNRNNConfig(4, 2, 8, 3)).eval()


def test_r_squared_of_batches_is_that_of_all_numbers_at_once():
    g = torch.Generator().manual_seed(0)
    actual = torch.randn(100, generator=g) + 5
    predicted = actual + 0.5 * torch.randn(100, generator=g)
    score = RSquared()
    for part in range(0, 100, 20):
        score.add(predicted[part : part + 20], actual[part : part + 20])
    expected = 1 - ((predicted - actual) ** 2).mean() / actual.var(correction=0)
    assert score.named("r2") == {"r2": pytest.approx(expected.item(), abs=1e-5)}


def test_where_nothing_varies_no_share_of_it_is_claimed():
    score = RSquared()
    score.add(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
    assert score.named("r2") == {}
    short = some_windows(t=9)
    scores = evaluate(a_model(), [short])
    assert "reward_r2_10" not in scores, "no window has ten steps"
    assert f"reward R2 {scores['reward_r2']:.2f} a step and not judged over ten" in in_words(scores)


def test_spans_are_whole_and_without_padding():
    reward = torch.arange(25.0).expand(2, 25)
    mask = torch.ones(2, 25, dtype=torch.bool)
    mask[1, 15:] = False
    assert span_sums(reward, mask).tolist() == [45.0, 145.0, 45.0]


def test_scores_of_two_batches_equal_those_of_one():
    model, batch = a_model(), some_windows()
    whole = evaluate(model, [batch])
    parts = evaluate(model, [Windows(*(x[:1] for x in batch)), Windows(*(x[1:] for x in batch))])
    assert whole == pytest.approx(parts, rel=1e-4)
    loss, terms = model.loss(batch)
    assert whole["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert whole["nll"] == pytest.approx(terms["nll"].item(), rel=1e-4)


def test_a_perfect_prophet_of_rewards_and_ends_scores_one(monkeypatch: pytest.MonkeyPatch):
    model, batch = a_model(), some_windows()
    prediction = model(batch.z[:, :-1], batch.action)[0]
    told = prediction._replace(reward=batch.reward, termination_logit=20.0 * batch.terminated - 10)
    monkeypatch.setattr(model, "forward", lambda z, action: (told, None))
    scores = evaluate(model, [batch])
    for name in ("reward_r2", "reward_r2_10", "termination_precision", "termination_recall"):
        assert scores[name] == pytest.approx(1.0)
    assert scores["terminations"] == scores["terminations_foretold"] == batch.terminated.sum().item()
    count = int(batch.terminated.sum())
    assert f"100% of {count} terminations foretold, 100% of {count} forecasts right" in in_words(scores)


def test_where_nothing_ends_no_share_of_ends_is_claimed(monkeypatch: pytest.MonkeyPatch):
    model, batch = a_model(), some_windows()
    endless = batch._replace(terminated=torch.zeros_like(batch.terminated))
    prediction = model(batch.z[:, :-1], batch.action)[0]
    for logit, foretold in ((-10.0, 0), (10.0, int(batch.mask.sum()))):
        told = prediction._replace(termination_logit=torch.full_like(batch.reward, logit))
        monkeypatch.setattr(model, "forward", lambda z, action, told=told: (told, None))
        scores = evaluate(model, [endless])
        assert "termination_recall" not in scores
        assert scores.get("termination_precision") == (0.0 if foretold else None)
        assert f"not judged, for no held-out episode has one ({foretold} false alarms)" in in_words(scores)


def test_the_open_loop_starts_on_the_last_frame_watched_and_repeats_with_its_seed():
    world_model, g = tiny_world_model(), torch.Generator().manual_seed(0)
    z, action = torch.randn(2, 13, 6, generator=g), torch.rand(2, 12, 3, generator=g)
    dreamt, reward = open_loop(world_model, z, action, warmup=4, temperature=1.0, seed=1)
    assert (dreamt.shape, reward.shape) == ((2, 9, 6), (2, 8))
    assert torch.equal(dreamt[:, 0], z[:, 4])
    assert torch.equal(dreamt, open_loop(world_model, z, action, 4, 1.0, 1).z)
    assert not torch.allclose(dreamt, open_loop(world_model, z, action, 4, 1.0, 2).z)
    future = torch.cat([z[:, :5], torch.full((2, 8, 6), torch.nan)], 1)
    assert torch.equal(dreamt, open_loop(world_model, future, action, 4, 1.0, 1).z), "it never peeks"
    past = torch.cat([z[:, :1] + 1, z[:, 1:]], 1)
    assert not torch.equal(dreamt, open_loop(world_model, past, action, 4, 1.0, 1).z), "it watches"


def recorded(lengths: tuple[int, ...], seed: int = 0) -> LatentStore:
    offsets = np.concatenate([[0], np.cumsum(np.array(lengths) + 1)])
    num, rng = int(offsets[-1]), np.random.default_rng(seed)
    return LatentStore(
        mu=rng.normal(size=(num, 6)).astype(np.float32),
        log_sigma=np.zeros((num, 6), np.float32),
        actions=rng.uniform(0, 1, (num, 3)).astype(np.float32),
        rewards=rng.normal(size=num).astype(np.float32),
        terminated=np.zeros(num, bool),
        offsets=offsets,
        ids=np.arange(len(lengths)),
        splits=("validation",) * len(lengths),
        info={},
    )


def test_a_dream_that_pays_what_reality_pays_and_stays_in_place_is_honest(monkeypatch: pytest.MonkeyPatch):
    world_model, latents = tiny_world_model(), recorded((30, 200, *[150] * 7))
    rewards = torch.from_numpy(latents.rewards)
    seen = []

    def oracle(world_model, z, action, warmup, temperature, seed):
        rows = [int(np.flatnonzero((latents.mu == first.numpy()).all(1))[0]) + warmup for first in z[:, 0]]
        seen.append((warmup, action.shape[1], len(z)))
        return Dreamt(z[:, warmup:], torch.stack([rewards[row : row + 100] for row in rows]))

    monkeypatch.setattr(memory_quality, "open_loop", oracle)
    scores = honesty(world_model, latents, "validation")
    assert seen == [(40, 140, 256)]
    assert scores["dream_steps"] == 100
    assert scores["dream_reward_r2"] == pytest.approx(1.0)
    assert scores["dream_reward"] == pytest.approx(scores["real_reward"])
    assert scores["dream_spread"] == pytest.approx(1.0)


def test_honesty_is_measured_on_short_episodes_too_and_told_in_words():
    world_model, latents = tiny_world_model(), recorded((3, 9, *[9] * 7))
    scores = honesty(world_model, latents, "validation")
    assert scores["dream_steps"] == 5, "of nine, four are watched"
    assert scores == honesty(world_model, latents, "validation")
    words = in_words(evaluate(a_model(), [some_windows()]) | scores)
    assert "5 dreamed steps pay" in words


def test_honesty_is_not_measured_on_one_long_episode_alone(monkeypatch: pytest.MonkeyPatch):
    latents, whole, starts = recorded((400, 60, 60)), memory_quality.open_loop, set()

    def watch(world_model, z, *others, **more):
        starts.update(float(first[0]) for first in z[:, 0])
        return whole(world_model, z, *others, **more)

    monkeypatch.setattr(memory_quality, "open_loop", watch)
    scores = honesty(tiny_world_model(), latents, "validation")
    assert scores["dream_steps"] == 30, "of sixty, thirty are watched"
    assert {float(latents.mu[start, 0]) for start in latents.offsets[1:3]} < starts
    alike = recorded((9,))
    alike.rewards[:] = 1.0
    assert "dream_reward_r2" not in honesty(tiny_world_model(), alike, "validation")


def test_rows_of_a_picture_line_up():
    world_model, rng = tiny_world_model(), np.random.default_rng(0)
    frames = rng.integers(0, 256, (13, 64, 64, 3), np.uint8)
    rows, labels = dream_rows(
        world_model, frames, torch.randn(13, 6), torch.rand(12, 3), 4, stride=4, temperatures=(0.0, 1.0)
    )
    assert [row.shape for row in rows] == [(3, 64, 64, 3)] * 4
    assert labels == ["real", "seen by V", "dream, T=0", "dream, T=1"]
    assert np.array_equal(rows[0], frames[[4, 8, 12]])
    assert np.array_equal(rows[1][0], rows[2][0]), "dreams start where reality was"
