import numpy as np
import pytest
import torch

from envs.latent import LatentEnv
from models.world_model import WorldModel
from tests.envs.tiny import CountingEnv, tiny_world_model
from utils.errors import UserError


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return tiny_world_model()


def by_hand(world_model: WorldModel, seed: int, actions: np.ndarray) -> np.ndarray:
    """The loop of the paper for one env: features of each frame of one episode."""
    env = CountingEnv(1)
    obs, _ = env.reset(seed=[seed])
    h = c = torch.zeros(1, world_model.hidden_size)
    rows = []
    for t in range(len(actions) + 1):
        z = world_model.encode(obs)
        rows.append(torch.cat([z, h], 1)[0].numpy())
        if t == len(actions):
            return np.stack(rows)
        with torch.inference_mode():
            action = torch.from_numpy(actions[t : t + 1]).unsqueeze(1)
            _, (h, c) = world_model.m.core(z.unsqueeze(1), action, (h, c))
        obs, _, terminated, truncated, _ = env.step(actions[t : t + 1])
        if terminated[0] or truncated[0]:
            rows.append(torch.cat([world_model.encode(obs), h], 1)[0].numpy())
            return np.stack(rows)
    raise AssertionError


def some_actions(steps: int, slots: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (steps, slots, 3)).astype(np.float32)


def test_features_equal_the_loop_by_hand_while_slots_drop_out(world_model: WorldModel):
    env, seeds, actions = LatentEnv(CountingEnv(4), world_model), [3, 5, 8, 10], some_actions(6, 4)
    obs, _ = env.reset(seed=seeds)
    seen = [obs]
    lengths = np.zeros(4, int)
    for t in range(6):
        lengths += env.live
        seen.append(env.step(actions[t])[0])
    assert lengths.tolist() == [5, 2, 5, 2]
    for i, seed in enumerate(seeds):
        expected = by_hand(world_model, seed, actions[:, i])
        got = np.stack([row[i] for row in seen[: lengths[i] + 1]])
        assert np.allclose(got, expected, atol=1e-5)


def test_h_is_zero_where_an_episode_starts_and_only_there(world_model: WorldModel):
    env, actions = LatentEnv(CountingEnv(2), world_model), some_actions(2, 2)
    z = world_model.latent_size
    env.reset(seed=[5, 8])
    obs, *_ = env.step(actions[0])
    assert (obs[:, z:] != 0).any(1).all()
    obs, _ = env.reset(seed=[5, 5], options={"reset_mask": np.array([True, False])})
    assert (obs[0, z:] == 0).all()
    assert (obs[1, z:] != 0).any()
    obs, *_ = env.step(actions[1])
    assert np.allclose(obs[0], by_hand(world_model, 5, actions[1:, 0])[1], atol=1e-5)


def test_the_order_of_slots_changes_nothing(world_model: WorldModel):
    actions, order = some_actions(4, 3), np.array([2, 0, 1])
    seeds = np.array([3, 5, 8])
    one, other = LatentEnv(CountingEnv(3), world_model), LatentEnv(CountingEnv(3), world_model)
    first, second = one.reset(seed=seeds)[0], other.reset(seed=seeds[order])[0]
    for t in range(4):
        assert np.allclose(first[order], second, atol=1e-6)
        first, second = one.step(actions[t])[0], other.step(actions[t][order])[0]


def test_only_live_slots_are_encoded(world_model: WorldModel, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    encode = world_model.v.encode
    monkeypatch.setattr(world_model.v, "encode", lambda frames: sizes.append(len(frames)) or encode(frames))
    env = LatentEnv(CountingEnv(3), world_model)
    env.reset(seed=[5, 6, 8])
    for action in some_actions(5, 3):
        env.step(action)
    assert sizes == [3, 3, 3, 2, 1, 1]


def test_an_env_of_another_size_is_the_users_error(world_model: WorldModel):
    with pytest.raises(UserError, match=r"64x64 frames but the env gives \(48, 48, 3\)"):
        LatentEnv(CountingEnv(1, size=48), world_model)
