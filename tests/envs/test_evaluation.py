"""A population is cut into tasks and put together again in the right order."""

import numpy as np
import pytest

from envs.dream import DreamConfig
from envs.evaluation import PlayerMaker, Task, play, slice_size
from envs.rollout import EpisodeStats
from models.controller import LinearController
from tests.envs.tiny import HIGH, LOW, tiny_starts, tiny_world_model
from utils.errors import UserError
from utils.parallel import SerialBackend

CONTROLLER = LinearController(2, LOW, HIGH)


def make_telling_worker():
    """Returns tell which controller (its first parameter) drove which seed; lengths tell the size of the task."""

    def work(task: Task) -> EpisodeStats:
        returns = task.params[:, 0].astype(np.float64) * 1000 + np.array(task.seeds)
        size = np.full(len(returns), len(returns))
        flags = returns % 2 == 0
        return EpisodeStats(returns, size, flags, flags, flags)

    return work


def test_every_controller_plays_every_seed_and_returns_keep_their_place():
    params = np.arange(5, dtype=np.float64)[:, None].repeat(3, axis=1)
    told: list[int] = []
    scores = play(
        SerialBackend(make_telling_worker),
        "real",
        CONTROLLER,
        params,
        [7, 8, 9],
        slots=4,
        on_episodes=told.append,
    )
    assert np.array_equal(scores.returns, [[p * 1000 + s for s in (7, 8, 9)] for p in range(5)])
    assert scores.lengths.ravel().tolist() == [4] * 12 + [3] * 3
    assert scores.lap_finished.shape == (5, 3)
    assert told == [4, 4, 4, 3]


def test_tasks_are_enough_for_several_workers_but_not_tiny():
    assert slice_size("real", 128) == 16
    assert slice_size("real", 10_000) == 32
    assert slice_size("real", 8) == 4
    assert slice_size("dream", 1024) == 256
    assert slice_size("dream", 10_000) == 1024
    assert slice_size("dream", 1024, slots=7) == 7


def test_a_worker_dreams_and_needs_start_states_for_it():
    world = tiny_world_model()
    controller = LinearController(world.feature_size, LOW, HIGH)
    params = np.zeros((2, controller.num_params))
    maker = PlayerMaker(world, {}, tiny_starts(), DreamConfig(horizon=9, termination="never"))
    scores = play(SerialBackend(maker), "dream", controller, params, [1, 2, 3])
    assert (scores.lengths == 9).all()
    assert np.allclose(scores.returns[0], scores.returns[1]), "equal controllers, equal luck"
    assert len(set(scores.returns[0])) == 3
    with pytest.raises(UserError, match="start states"):
        play(SerialBackend(PlayerMaker(world, {})), "dream", controller, params, [1])
