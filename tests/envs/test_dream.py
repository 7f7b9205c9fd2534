import dataclasses

import numpy as np
import pytest
import torch

from envs.dream import NOISE_STEPS, DreamConfig, DreamEnv
from envs.latent import LatentEnv
from envs.rollout import evaluate
from envs.starts import StartStates, warm_up
from models.controller import LinearController
from models.world_model import WorldModel
from tests.envs.tiny import HIGH, LOW, CountingEnv, tiny_starts, tiny_world_model
from utils.errors import UserError


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return tiny_world_model()


def dream(world_model: WorldModel, num_envs: int, **options) -> DreamEnv:
    return DreamEnv(world_model, tiny_starts(), num_envs, DreamConfig(**{"termination": "never", **options}))


def play(env: DreamEnv, seeds: list[int], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (T + 1, B, F) and rewards (T, B) under actions that depend on the seed alone."""
    obs, _ = env.reset(seed=seeds)
    rows, rewards = [obs], []
    actions = np.stack([np.random.default_rng(s).uniform(0, 1, (steps, 3)) for s in seeds], 1)
    for action in actions.astype(np.float32):
        obs, reward, *_ = env.step(action)
        rows.append(obs)
        rewards.append(reward)
    return np.stack(rows), np.stack(rewards)


def test_its_spaces_are_those_of_the_latent_view_of_the_real_env(world_model: WorldModel):
    latent = LatentEnv(CountingEnv(3), world_model)
    dreams = dream(world_model, 3)
    assert dreams.single_observation_space == latent.single_observation_space
    assert dreams.single_action_space == latent.single_action_space
    assert dreams.observation_space == latent.observation_space


def test_a_seed_means_the_same_dream_whatever_the_neighbours(world_model: WorldModel):
    steps = NOISE_STEPS + 6
    alone = play(dream(world_model, 1), [11], steps)
    among = play(dream(world_model, 5), [3, 4, 11, 5, 11], steps)
    for slot in (2, 4):
        assert np.allclose(alone[0][:, 0], among[0][:, slot], atol=1e-4)
        assert np.allclose(alone[1][:, 0], among[1][:, slot], atol=1e-4)
    assert not np.allclose(among[0][-1, 0], among[0][-1, 1])


def test_a_seed_means_the_same_dream_whenever_it_is_dreamt(world_model: WorldModel):
    env = dream(world_model, 2)
    first = play(env, [1, 2], 10)
    env.reset(seed=[7, 7], options={"reset_mask": np.array([True, False])})
    again = play(env, [1, 2], 10)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_a_step_is_ms_step_with_the_sampled_latent(world_model: WorldModel):
    env = dream(world_model, 4, temperature=0.0)
    obs, _ = env.reset(seed=0)
    z, h = torch.from_numpy(obs[:, :6]), torch.from_numpy(obs[:, 6:])
    c = env._state[2].clone()
    action = torch.rand(4, 3)
    with torch.inference_mode():
        carry = world_model.advance(z, action, (h, c))
        expected = world_model.m.heads(z, carry[0])
    new, reward, *_ = env.step(action.numpy())
    best = expected.mixture.logits.argmax(1)
    assert np.allclose(new[:, :6], expected.mixture.mu[torch.arange(4), best], atol=1e-5)
    assert np.allclose(new[:, 6:], carry[0], atol=1e-5)
    assert np.allclose(reward, expected.reward, atol=1e-5)


def test_start_states_are_real_ones_and_differ_between_seeds(world_model: WorldModel):
    starts = tiny_starts()
    obs, _ = DreamEnv(world_model, starts, 40).reset(seed=0)
    real = torch.cat([starts.z, starts.h], 1).numpy()
    which = {int(np.flatnonzero((real == row).all(1))[0]) for row in obs}
    assert len(which) > 10


def test_temperature_zero_leaves_only_the_start_to_chance(world_model: WorldModel):
    one_start = dataclasses.replace(
        tiny_starts(), **{k: getattr(tiny_starts(), k)[:1] for k in ("z", "h", "c")}
    )
    for temperature, same in ((0.0, True), (1.0, False)):
        env = DreamEnv(world_model, one_start, 2, DreamConfig(temperature=temperature, termination="never"))
        env.reset(seed=[1, 2])
        obs = [env.step(np.full((2, 3), 0.5, np.float32))[0] for _ in range(5)][-1]
        assert np.allclose(obs[0], obs[1], atol=1e-5) == same


def test_higher_temperatures_wander_farther(world_model: WorldModel):
    spread = [
        np.diff(play(dream(world_model, 32, temperature=t), list(range(32)), 8)[0][..., :6], axis=0).std()
        for t in (0.1, 1.0, 3.0)
    ]
    assert spread[0] < spread[1] < spread[2]


def test_the_horizon_truncates_and_does_not_terminate(world_model: WorldModel):
    env = dream(world_model, 3, horizon=4)
    env.reset(seed=0)
    for t in range(1, 5):
        _, _, terminated, truncated, _ = env.step(np.zeros((3, 3), np.float32))
        assert not terminated.any()
        assert (truncated == (t == 4)).all()
    assert not env.live.any()


@pytest.mark.parametrize(("log_odds", "cut", "share"), [(-1.0, 0.0, 0.27), (1.0, 1.0, 0.73)])
def test_termination_is_drawn_from_its_probability_or_cut_at_one_half(
    log_odds: float, cut: float, share: float
):
    world_model = tiny_world_model(log_odds)
    for mode, expected in (("cut", cut), ("sample", share), ("never", 0.0)):
        env = dream(world_model, 2000, termination=mode)
        env.reset(seed=0)
        _, _, terminated, truncated, _ = env.step(np.zeros((2000, 3), np.float32))
        assert terminated.mean() == pytest.approx(expected, abs=0.03)
        assert not truncated.any()


def test_the_one_rollout_loop_plays_in_dreams(world_model: WorldModel):
    env = dream(world_model, 6, horizon=5)
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    params = np.random.default_rng(0).normal(size=(6, controller.num_params))
    stats = evaluate(env, controller, params, [0, 0, 1, 1, 2, 2])
    assert stats.lengths.tolist() == [5] * 6
    assert stats.truncated.all()
    assert np.isfinite(stats.returns).all()
    assert stats.returns[0] != stats.returns[1], "another controller, the same luck"
    again = evaluate(env, controller, params, [0, 0, 1, 1, 2, 2])
    assert np.array_equal(stats.returns, again.returns)


def test_warm_up_watches_each_prefix_and_nothing_before_it(world_model: WorldModel):
    g = torch.Generator().manual_seed(0)
    z, action = torch.randn(3, 5, 6, generator=g), torch.rand(3, 5, 3, generator=g)
    lengths = torch.tensor([0, 2, 5])
    h, c = warm_up(world_model, z, action, lengths)
    assert not h[0].any()
    assert not c[0].any()
    for i in (1, 2):
        carry = world_model.initial(1)
        for t in range(5 - int(lengths[i]), 5):
            carry = world_model.advance(z[i : i + 1, t], action[i : i + 1, t], carry)
        assert torch.allclose(h[i], carry[0][0], atol=1e-6)
        assert torch.allclose(c[i], carry[1][0], atol=1e-6)


def test_starts_survive_a_file():
    starts = tiny_starts()
    again = StartStates.from_checkpoint(starts.to_checkpoint({}))
    assert torch.equal(again.z, starts.z)
    assert torch.equal(again.c, starts.c)
    assert np.array_equal(again.high, HIGH)


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"temperature": -0.1}, {"termination": "Sample"}])
def test_impossible_values_are_the_users_error(wrong: dict):
    with pytest.raises(UserError):
        DreamConfig(**wrong)


def test_starts_of_another_world_model_are_refused(world_model: WorldModel):
    starts = tiny_starts()
    with pytest.raises(UserError, match="another world model"):
        DreamEnv(world_model, dataclasses.replace(starts, h=starts.h[:, :5]), 2)
