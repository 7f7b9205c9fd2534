import numpy as np
import pytest
import torch

from envs.latent import LatentEnv
from envs.rollout import Limits, evaluate, evaluate_guide
from models.controller import LinearController
from tests.envs.guided import make_vec
from tests.envs.tiny import HIGH, LOW, CountingEnv, tiny_world_model
from utils.errors import UserError


def an_env(slots: int) -> tuple[LatentEnv, CountingEnv, LinearController]:
    inner = CountingEnv(slots)
    env = LatentEnv(inner, tiny_world_model())
    return env, inner, LinearController(env.world_model.feature_size, LOW, HIGH)


def with_gas(controller: LinearController, num: int) -> np.ndarray:
    """Controllers that do nothing but press the gas, number i with bias i."""
    params = np.zeros((num, controller.num_params))
    params[:, -2] = np.arange(num)
    return params


def test_one_episode_a_slot_with_the_known_answer():
    env, inner, controller = an_env(5)
    seeds = [5, 6, 7, 8, 9]
    stats = evaluate(env, controller, with_gas(controller, 5), seeds)
    lengths = np.array([2, 3, 4, 5, 6])
    gas = np.tanh(np.arange(5, dtype=np.float32))
    assert stats.lengths.tolist() == lengths.tolist()
    assert np.allclose(stats.returns, lengths * (np.array(seeds) + 10 * gas), atol=1e-4)
    assert stats.terminated.tolist() == [False, True, False, True, False]
    assert stats.truncated.tolist() == [True, False, True, False, True]
    assert stats.lap_finished.tolist() == [False, False, False, True, False]
    assert inner.simulated == lengths.sum(), "finished slots cost nothing"


def test_fewer_episodes_than_slots_leave_the_others_idle():
    env, inner, controller = an_env(5)
    stats = evaluate(env, controller, with_gas(controller, 2), [7, 6])
    assert stats.lengths.tolist() == [4, 3]
    assert inner.simulated == 7


def test_a_second_evaluation_starts_anew():
    env, _, controller = an_env(3)
    params = with_gas(controller, 3)
    first = evaluate(env, controller, params[[2, 2, 2]], [5, 6, 7])
    evaluate(env, controller, params, [9, 9, 9])
    again = evaluate(env, controller, torch.from_numpy(params)[2].expand(3, -1), [5, 6, 7])
    assert np.allclose(first.returns, again.returns, atol=1e-5)


@pytest.mark.parametrize("num", [0, 4])
def test_a_batch_that_does_not_fit_is_refused(num: int):
    env, _, controller = an_env(3)
    with pytest.raises(ValueError, match="slots"):
        evaluate(env, controller, with_gas(controller, num), range(num))


def test_patience_gives_up_what_earns_nothing():
    """The counting env pays its seed plus ten times the gas: seed 0 without gas earns nothing."""
    env, inner, controller = an_env(3)
    params = with_gas(controller, 3)
    params[1] = 0
    patient = evaluate(env, controller, params, [44, 0, 43], limits=Limits(patience=1))
    assert patient.lengths.tolist() == [6, 1, 5], "episodes that earn are not cut"
    assert inner.simulated == 12
    assert patient.terminated.tolist() == [True, False, False]
    assert patient.truncated.tolist() == [False, False, True]
    assert evaluate(env, controller, params, [44, 0, 43]).lengths.tolist() == [6, 2, 5]


def test_a_step_is_paid_so_much_at_most_and_losing_patience_costs():
    """Seeds 44, 43 and 20 pay 44, 53 and 20 a step with this gas, in 6, 5 and 2 steps; 0 without gas pays nothing."""
    env, inner, controller = an_env(4)
    params = with_gas(controller, 4)
    params[[1, 3]] = 0
    limits = Limits(patience=1, pace=50.0, lost_penalty=7.0)
    stats = evaluate(env, controller, params, [44, 0, 43, 20], limits=limits)
    assert stats.lengths.tolist() == [6, 1, 5, 2]
    assert inner.simulated == 14
    assert stats.returns == pytest.approx([6 * 44, -7, 5 * 50, 40], abs=1e-4)
    assert not (stats.terminated | stats.truncated)[1], "who is given up is neither"


def test_what_a_step_falls_short_of_its_due_counts_four_times():
    """Without gas seeds 44 and 20 pay 44 and 20 a step, in 6 and 2 steps; 20 is 10 short of 30."""
    env, _, controller = an_env(2)
    stats = evaluate(env, controller, np.zeros((2, controller.num_params)), [44, 20], limits=Limits(due=30.0))
    assert stats.returns == pytest.approx([6 * 44, 2 * (30 - 4 * 10)], abs=1e-4)


def guided(num: int) -> tuple[LatentEnv, LinearController]:
    world = tiny_world_model()
    env = LatentEnv(make_vec(num, size=64), world)
    return env, LinearController(world.feature_size, LOW, HIGH)


def test_what_an_env_measures_is_tallied_for_each_episode():
    """Winds of 0.3, 0.2 and -0.3 m a step blow a car with half gas off the road, in 7, 11 and 7 steps."""
    env, controller = guided(4)
    params = np.zeros((3, controller.num_params))
    params[:, -2] = np.arctanh(0.5)
    stats = evaluate(env, controller, params, [6, 5, 0])
    assert stats.lengths.tolist() == [7, 11, 7]
    means = {name: values.tolist() for name, values in stats.measures.items()}
    assert means["episode/mean_speed"] == pytest.approx([0.5] * 3)
    assert means["env/lat_err_raw"] == pytest.approx([1.2, 1.2, 1.2])
    assert means["env/progress_m"] == pytest.approx([3.5, 5.5, 3.5])
    assert means["env/reward"] == pytest.approx(stats.returns)


def test_an_episode_given_up_is_measured_to_where_it_was_given_up():
    env, controller = guided(1)
    stats = evaluate(env, controller, np.zeros((1, controller.num_params)), [3], limits=Limits(patience=4))
    assert stats.lengths.tolist() == [4]
    assert stats.measures["episode/mean_speed"] == pytest.approx([0.0], abs=1e-6)


def test_a_guide_plays_as_a_yardstick():
    env, _ = guided(4)
    stats = evaluate_guide(env, [6, 5, 0])
    assert stats.lap_finished.all()
    assert stats.lengths.tolist() == [20] * 3
    assert stats.measures["env/lat_err_raw"].max() < 0.31
    counting, *_ = an_env(2)
    with pytest.raises(UserError, match="no guide"):
        evaluate_guide(counting, [1, 2])
