import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import envs
from envs.dream import DreamConfig
from envs.dream_pixels import DreamFrames, DreamPixels
from models.world_model import WorldModel
from tests.envs.tiny import tiny_starts, tiny_world_model
from utils.errors import UserError


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return tiny_world_model()


def test_frames_are_the_decoded_latents_of_the_dream(world_model: WorldModel):
    env = DreamFrames(world_model, tiny_starts(), 3, DreamConfig(termination="never"))
    obs, _ = env.reset(seed=0)
    assert np.array_equal(obs, world_model.decode(env.dream.z))
    for _ in range(3):
        obs, *_ = env.step(np.ones((3, 3), np.float32))
        assert np.array_equal(obs, world_model.decode(env.dream.z))


def test_idle_slots_keep_their_last_frame(world_model: WorldModel):
    env = DreamFrames(world_model, tiny_starts(), 2, DreamConfig(horizon=2, termination="never"))
    env.reset(seed=0)
    env.step(np.ones((2, 3), np.float32))
    obs, _ = env.reset(seed=[5, 0], options={"reset_mask": np.array([True, False])})
    last, _, _, truncated, _ = env.step(np.ones((2, 3), np.float32))
    assert truncated.tolist() == [False, True]
    kept, reward, _, truncated, _ = env.step(np.ones((2, 3), np.float32))
    assert truncated.tolist() == [True, False]
    assert reward[1] == 0
    assert np.array_equal(kept[1], last[1])
    assert not np.array_equal(kept[0], obs[0])


def test_gymnasium_makes_it_by_name_and_finds_nothing_to_warn_about(world_model: WorldModel):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(
            "DreamCarRacing-v2",
            world_model=world_model,
            starts=tiny_starts(),
            render_mode="rgb_array",
            horizon=9,
        )
        check_env(env.unwrapped)
        env.reset(seed=1)
        ends = [env.step(env.action_space.sample())[2:4] for _ in range(9)]
    assert isinstance(env.unwrapped, DreamPixels)
    if not any(terminated for terminated, _ in ends):
        assert [truncated for _, truncated in ends] == [False] * 8 + [True]
    env.close()


def test_seeds_decide_the_dream_and_without_one_dreams_differ(world_model: WorldModel):
    env = DreamPixels(world_model, tiny_starts())
    first, again, other = env.reset(seed=3)[0], env.reset(seed=3)[0], env.reset(seed=4)[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    env.reset(seed=3)
    unseeded = [env.reset()[0] for _ in range(6)]
    assert any(not np.array_equal(unseeded[0], obs) for obs in unseeded)


def test_misuse_is_named(world_model: WorldModel):
    with pytest.raises(ResetNeeded):
        DreamPixels(world_model, tiny_starts()).step(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="render_mode"):
        DreamPixels(world_model, tiny_starts(), render_mode="human")
    with pytest.raises(UserError, match="no option colour"):
        envs.make("dream", 2, world_model=world_model, starts=tiny_starts(), colour="red")
    with pytest.raises(UserError, match="made of logs=FOLDER"):
        envs.make("dream", 2)
    with pytest.raises(UserError, match="no trained V"):
        envs.make("dream", 2, logs="/nowhere")
