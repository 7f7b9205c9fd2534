import numpy as np
import pytest
import torch

from envs.latent import LatentEnv
from envs.side_by_side import SideBySide
from models.controller import LinearController
from models.world_model import WorldModel
from tests.envs.tiny import HIGH, LOW, CountingEnv, tiny_world_model
from utils.errors import UserError

GAS = np.array([0, 1, 0], np.float32)
LONG = 4  # CountingEnv's episode `4` is of 6 steps, terminates and finishes a lap


@pytest.fixture
def world_model() -> WorldModel:
    return tiny_world_model(log_odds=-20.0)


def driven(world_model: WorldModel) -> SideBySide:
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    params = np.random.default_rng(0).normal(size=controller.num_params)
    return SideBySide(CountingEnv(1), world_model, controller, params)


def test_the_dream_begins_as_the_reconstruction_and_goes_its_own_way(world_model: WorldModel):
    drive = SideBySide(CountingEnv(1), world_model)
    drive.reset(LONG)
    first = drive.moment()
    assert first.frames.shape == (3, 64, 64, 3)
    assert np.array_equal(first.frames[1], first.frames[2])
    drive.step(GAS, 1.0)
    later = drive.moment()
    assert (later.step, later.dream_age) == (1, 1)
    assert not np.array_equal(later.frames[1], later.frames[2])
    assert later.real.reward == later.return_ == LONG + 10
    drive.sync()
    again = drive.moment()
    assert np.array_equal(again.frames[1], again.frames[2])
    assert (again.step, again.dream_age, again.real.return_, again.return_) == (1, 0, 0.0, LONG + 10)


def test_the_same_seed_and_actions_are_the_same_drive_and_dream(world_model: WorldModel):
    def play(seed: int, temperature: float) -> np.ndarray:
        drive.reset(seed)
        for _ in range(4):
            drive.step(GAS, temperature)
        return drive.moment().frames

    drive = SideBySide(CountingEnv(1), world_model)
    first = play(LONG, 1.0)
    other = play(LONG, 2.0)
    assert np.array_equal(first, play(LONG, 1.0))
    assert np.array_equal(first[:2], other[:2]), "temperature is the dream's alone"
    assert not np.array_equal(first[2], other[2])


def test_the_controller_sees_what_latent_env_shows_it(world_model: WorldModel):
    drive = driven(world_model)
    latent = LatentEnv(CountingEnv(1), world_model)
    features, _ = latent.reset(seed=[LONG])
    drive.reset(LONG)
    assert drive._controller is not None
    assert drive._params is not None
    for _ in range(4):
        expected = drive._controller.act(drive._params, torch.from_numpy(features))[0].numpy()
        action = drive.propose("real")
        assert np.allclose(action, expected, atol=1e-6)
        features, *_ = latent.step(action[None])
        drive.step(action, 1.0)
    assert not np.allclose(drive.propose("dream"), drive.propose("real")), (
        "the dream is somewhere else by now"
    )


def test_a_warm_up_ends_with_the_episode(world_model: WorldModel):
    drive = driven(world_model)
    drive.reset(LONG, warm_up=100)
    moment = drive.moment()
    assert moment.real.over
    assert (moment.step, moment.dream_age) == (6, 0)


def test_a_warm_up_is_driven_before_the_dream_begins(world_model: WorldModel):
    drive = driven(world_model)
    drive.reset(LONG, warm_up=3)
    moment = drive.moment()
    assert (moment.step, moment.dream_age, moment.real.return_) == (3, 0, 0.0)
    assert moment.return_ >= 3 * LONG
    hands_off = SideBySide(CountingEnv(1), world_model)
    hands_off.reset(LONG, warm_up=3)
    assert hands_off.moment().step == 0, "without a controller nobody warms up"


def test_each_half_ends_by_itself_and_says_why(world_model: WorldModel):
    drive = SideBySide(CountingEnv(1), world_model)
    for seed, reason in ((LONG, "lap finished"), (2, "the car is out"), (1, "time is up")):
        drive.reset(seed)
        for _ in range(8):
            drive.step(GAS, 1.0)
        moment = drive.moment()
        assert moment.real.over == reason
        assert moment.step == 2 + seed % 5
        assert moment.dream_age == 8, "the dream goes on"
        assert not drive.is_over


def test_the_dream_ends_where_m_thinks_so_unless_told_not_to():
    world_model = tiny_world_model(log_odds=20.0)
    for ends in (True, False):
        drive = SideBySide(CountingEnv(1), world_model, dream_ends=ends)
        drive.reset(LONG)
        for _ in range(3):
            drive.step(GAS, 1.0)
        moment = drive.moment()
        assert moment.termination > 0.99
        assert bool(moment.dream.over) == ends
        assert moment.dream_age == (1 if ends else 3)
        for _ in range(5):
            drive.step(GAS, 1.0)
        assert drive.is_over == ends


def test_another_envs_frames_are_refused(world_model: WorldModel):
    with pytest.raises(UserError, match="64x64"):
        SideBySide(CountingEnv(1, size=32), world_model)
