import numpy as np
import torch

from data.latents import LatentStore
from data.start_states import best_stretches, draw_starts
from envs.starts import StartStates
from models.world_model import WorldModel
from tests.envs.tiny import HIGH, LOW, tiny_world_model


def some_latents(steps: tuple[int, ...] = (3, 30, 8, 20), paid: float = 1.0) -> LatentStore:
    offsets = np.concatenate([[0], np.cumsum(np.array(steps) + 1)])
    num, rng = int(offsets[-1]), np.random.default_rng(0)
    return LatentStore(
        mu=rng.normal(size=(num, 6)).astype(np.float32),
        log_sigma=np.zeros((num, 6), np.float32),
        actions=rng.uniform(0, 1, (num, 3)).astype(np.float32),
        rewards=np.full(num, paid, np.float32),
        terminated=np.zeros(num, bool),
        offsets=offsets,
        ids=np.arange(len(steps)),
        splits=("train", "train", "validation", "train"),
        info={},
    )


def by_hand(world_model: WorldModel, latents: LatentStore, row: int, warmup: int) -> tuple[torch.Tensor, ...]:
    e = int(np.searchsorted(latents.offsets, row, side="right")) - 1
    carry = world_model.initial(1)
    for t in range(max(int(latents.offsets[e]), row - warmup), row):
        z, action = (torch.from_numpy(x[t : t + 1]) for x in (latents.mu, latents.actions))
        carry = world_model.advance(z, action, carry)
    return carry


def test_starts_are_real_moments_with_the_memory_of_what_came_before():
    world_model, latents = tiny_world_model(), some_latents()
    starts = draw_starts(latents, world_model, (LOW, HIGH), count=60, seed=0, warmup=7)
    rows = [int(np.flatnonzero((latents.mu == z.numpy()).all(1))[0]) for z in starts.z]
    for i, row in enumerate(rows):
        h, c = by_hand(world_model, latents, row, warmup=7)
        assert torch.allclose(starts.h[i], h[0], atol=1e-5)
        assert torch.allclose(starts.c[i], c[0], atol=1e-5)
    episode = np.searchsorted(latents.offsets, rows, side="right") - 1
    assert set(episode.tolist()) == {0, 1, 3}, "only of the split, all of it"
    ends = latents.offsets[1:] - 1
    assert not set(rows) & set(ends.tolist()), "never the frame after the last step"


def test_the_seed_decides_which():
    world_model, latents = tiny_world_model(), some_latents()
    one, same, other = (draw_starts(latents, world_model, (LOW, HIGH), 30, seed) for seed in (0, 0, 1))
    assert torch.equal(one.z, same.z)
    assert torch.equal(one.h, same.h)
    assert not torch.equal(one.z, other.z)


def test_a_share_of_the_dreams_may_begin_where_episodes_begin():
    world_model, latents = tiny_world_model(), some_latents()
    anywhere = draw_starts(latents, world_model, (LOW, HIGH), 30, seed=0)
    starts = draw_starts(latents, world_model, (LOW, HIGH), 30, seed=0, first_share=0.5)
    firsts = latents.mu[latents.offsets[:-1]]
    for z, h in zip(starts.z[:15], starts.h[:15]):
        assert (firsts == z.numpy()).all(1).any()
        assert not h.any(), "nothing came before it"
    assert torch.equal(starts.z[15:], anywhere.z[15:])
    assert torch.allclose(starts.h[15:], anywhere.h[15:], atol=1e-6)


def test_a_share_of_the_dreams_may_begin_where_evolved_drivers_got_to():
    world_model, latents = tiny_world_model(), some_latents()
    anywhere = draw_starts(latents, world_model, (LOW, HIGH), 40, seed=0)

    def drawn(drives: list[int]) -> StartStates:
        return draw_starts(latents, world_model, (LOW, HIGH), 40, seed=0, drives=drives, drives_share=0.75)

    starts = drawn([2, 3])
    rows = [int(np.flatnonzero((latents.mu == z.numpy()).all(1))[0]) for z in starts.z]
    assert torch.equal(starts.z[:10], anywhere.z[:10])
    assert all(latents.offsets[3] <= row < latents.offsets[4] - 1 for row in rows[10:]), "2 is held out"
    assert len(set(rows[10:])) > 10
    assert torch.equal(drawn([2]).z, anywhere.z), "where there are none, anywhere"


def test_what_the_best_episode_pays_in_stretches_of_each_length_is_known():
    latents = some_latents((4, 2, 5, 3))
    latents.rewards[:] = [1, 5, -1, 4, 0, 9, 0, 0, 50, 50, 50, 50, 50, 0, 2, 2, 2, 0]
    steps, most = best_stretches(latents)
    assert steps.tolist() == [1, 2, 3, 4]
    assert most.tolist() == [4.5, 9, 6.5, 9], (
        "the validation episode's 50 do not count, nor what follows a last frame"
    )
    starts = draw_starts(latents, tiny_world_model(), (LOW, HIGH), 3, seed=0)
    assert [starts.most(n) for n in (1, 3, 4, 100)] == [4.5, 6.5 / 3, 9 / 4, 9 / 4]
    again = StartStates.from_checkpoint(starts.to_checkpoint({}))
    assert np.array_equal(again.paid, starts.paid)


def test_dreams_begin_on_the_road_that_has_just_paid_or_where_episodes_begin():
    latents = some_latents((60, 40, 30, 50), paid=0.0)
    latents.rewards[[3, 40, 59]] = 1  # of the first episode, rows 0 to 60, the last of which no step follows
    latents.rewards[[70, 105]] = -1
    starts = draw_starts(latents, tiny_world_model(), (LOW, HIGH), 600, seed=0)
    rows = {int(np.flatnonzero((latents.mu == z.numpy()).all(1))[0]) for z in starts.z}
    begun = {first + step for first in (0, 61, 133) for step in range(3)}
    assert rows == begun | {4, 5, 6, 41, 42, 43}, (
        "no more than 3 steps after a reward; the third episode is held out"
    )
