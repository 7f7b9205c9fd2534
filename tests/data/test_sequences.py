import numpy as np
import pytest
import torch

from data.latents import LatentStore, encode_store
from data.sequences import Batch, SequenceSet
from tests.data.recorded import Reader, record
from tests.envs.counting import length_of
from utils.errors import UserError


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> LatentStore:
    path = tmp_path_factory.mktemp("sequences")
    return encode_store(record(path / "d", 40), Reader(), "v", path / "latents.h5", torch.device("cpu"))


def _assert_aligned(batch: Batch, seeds: dict[int, int]) -> None:
    """Everything in a batch belongs to the time that its frames show."""
    for z, action, reward, terminated, mask in zip(*batch):
        real = int(mask.sum())
        assert mask[:real].all()
        assert real > 0
        t, marks = z[: real + 1, 0].round(), z[: real + 1, 1].round()
        assert (t == t[0] + torch.arange(real + 1)).all()
        assert (marks == marks[0]).all(), "a window crosses episodes"
        torch.testing.assert_close(reward[:real], t[:-1] + action[:real, 0] / 4)
        seed = seeds[int(marks[0])]
        last = t[:-1] == length_of(seed) - 1
        assert (terminated[:real] == (last & (seed % 2 == 0))).all()
        if real < len(mask):
            assert t[-1] == length_of(seed), "padding before the episode's end"
        padding = (z[real + 1 :], action[real:], reward[real:], terminated[real:])
        assert not any(bool(p.any()) for p in padding)


def _seeds(latents: LatentStore) -> dict[int, int]:
    """Seed modulo 251 -> a seed like it in length and parity, from the data themselves."""
    seeds = {}
    for e, length in enumerate(latents.lengths):
        start, end = latents.offsets[e : e + 2]
        parity = 0 if latents.terminated[start:end].any() else 1
        mark = int(latents.mu[start, 1])
        assert mark not in seeds
        seeds[mark] = next(s for s in range(80) if length_of(s) == length and s % 2 == parity)
    return seeds


@pytest.mark.parametrize("length", [1, 7, 16, 60])
def test_from_the_env_to_the_batch_nothing_is_off_by_one(latents: LatentStore, length: int):
    windows = SequenceSet(latents, "train", length, 8, seed=3)
    seeds = _seeds(latents)
    for step in range(2 * windows.steps_per_epoch):
        _assert_aligned(windows.batch_at(step), seeds)
    for index in range(windows.num_batches()):
        _assert_aligned(windows.ordered_batch(index), seeds)


def _steps(batches: list[Batch]) -> list[tuple[int, int]]:
    """(episode's mark, t) of every real step."""
    return [
        (int(z[i, 1].round()), int(z[i, 0].round()))
        for batch in batches
        for z, mask in zip(batch.z, batch.mask)
        for i in range(int(mask.sum()))
    ]


@pytest.mark.parametrize("length", [1, 7, 60])
def test_validation_holds_every_step_once_and_an_epoch_every_step_at_least_once(
    latents: LatentStore, length: int
):
    every = {
        (int(latents.mu[latents.offsets[e], 1]), t)
        for e in latents.episodes("train")
        for t in range(latents.lengths[e])
    }
    windows = SequenceSet(latents, "train", length, 8)
    once = _steps([windows.ordered_batch(i) for i in range(windows.num_batches())])
    assert sorted(once) == sorted(every)
    single = SequenceSet(latents, "train", length, 1)
    assert single.steps_per_epoch == single.num_windows
    assert set(_steps([single.batch_at(i) for i in range(single.num_windows)])) == every


def test_a_batch_is_a_function_of_seed_and_step(latents: LatentStore):
    first, again = (SequenceSet(latents, "train", 5, 4, seed=1) for _ in range(2))
    later = [first.batch_at(step) for step in (0, 40, 7)][2]
    for a, b in zip(later, again.batch_at(7)):
        assert torch.equal(a, b)
    other = SequenceSet(latents, "train", 5, 4, seed=2).batch_at(7)
    assert not torch.equal(other.action, later.action)


def test_z_is_drawn_afresh_with_the_posteriors_spread(latents: LatentStore):
    wide = LatentStore(
        **{
            **latents.__dict__,
            "mu": np.zeros_like(latents.mu),
            "log_sigma": np.full_like(latents.mu, np.log(3)),
        }
    )
    windows = SequenceSet(wide, "train", 1, 16)
    draws = torch.cat([windows.batch_at(step).z.flatten() for step in range(60)])
    assert float(draws.std()) == pytest.approx(3.0, rel=0.05)
    assert len(draws.unique()) > 0.99 * len(draws)


def test_impossible_numbers_are_refused(latents: LatentStore):
    for length, batch_size in ((0, 4), (4, 0)):
        with pytest.raises(UserError):
            SequenceSet(latents, "train", length, batch_size)
