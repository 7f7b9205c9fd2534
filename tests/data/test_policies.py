from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from data.policies import TAPE, Brown, Controlled, Lane, NoiseConfig, Policy, White
from models.controller import LinearController
from utils.errors import UserError

SPACE = Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))


def _controlled(config: NoiseConfig | None = None) -> Controlled:
    controller = LinearController(4, SPACE.low, SPACE.high)
    params = np.random.default_rng(0).standard_normal(controller.num_params).astype(np.float32)
    return Controlled(SPACE, controller, params, config or NoiseConfig(param_noise=0.1))


def _lane(config: NoiseConfig | None = None) -> Lane:
    guided = np.array([0.1, 0.5, 0.0], np.float32)
    return Lane(SPACE, lambda: np.tile(guided, (1, 1)), config or NoiseConfig())


def _absent(num: int = 1) -> Lane:
    """A lane follower with lapses and without noise, whose steering tells the time."""
    times = iter(range(1000))

    def guide() -> np.ndarray:
        return np.full((num, 3), next(times) / 1000, np.float32)

    return Lane(SPACE, guide, NoiseConfig(noise=0, lapses=0.04))


def _rngs(*ids: int) -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in ids]


def _drive(policy: Policy, ids: list[int], steps: int) -> np.ndarray:
    policy.reset(_rngs(*ids))
    return np.stack([policy.act(np.ones((len(ids), 4), np.float32)) for _ in range(steps)])


@pytest.mark.parametrize("make", [lambda: Brown(SPACE), lambda: White(SPACE), _controlled, _lane, _absent])
def test_a_slot_depends_on_its_own_generator_alone(make: Callable[[], Policy]):
    many, one = _drive(make(), [5, 6, 7], 2 * TAPE + 3), _drive(make(), [6], 2 * TAPE + 3)
    np.testing.assert_allclose(many[:, 1], one[:, 0], atol=1e-6)
    assert np.abs(many[:, 0] - many[:, 1]).max() > 0.1


@pytest.mark.parametrize("make", [lambda: Brown(SPACE), lambda: White(SPACE), _controlled, _lane])
def test_actions_stay_within_the_bounds_and_reach_them(make: Callable[[], Policy]):
    actions = _drive(make(), list(range(20)), 300)
    assert actions.dtype == np.float32
    assert (actions >= SPACE.low).all()
    assert (actions <= SPACE.high).all()
    if not isinstance(make(), Controlled | Lane):
        assert actions.max((0, 1)) == pytest.approx(SPACE.high, abs=0.01)


def test_brown_walks_with_dt_one_fiftieth_and_leaves_the_brake_alone_at_first():
    actions = _drive(Brown(SPACE), list(range(200)), 400)
    free = np.abs(actions[:-1, :, 0]) < 0.5
    steps = np.diff(actions[:, :, 0], axis=0)[free]
    assert steps.std() == pytest.approx(np.sqrt(1 / 50), rel=0.03)
    assert (actions[:10, :, 2] == 0).mean() > 0.9
    assert (actions[:, :, 2] == 0).mean() > 0.6
    assert actions[:10, :, 1].mean() > 0.7


def test_controller_noise_has_the_asked_spread_and_memory():
    quiet = _drive(_controlled(NoiseConfig(noise=0)), [1], 3)
    assert (quiet == quiet[0]).all()
    policy = Controlled(
        Box(-100, 100, (1,)),
        LinearController(4, np.array([-100.0]), np.array([100.0])),
        np.zeros(5, np.float32),
        NoiseConfig(noise=0.01, noise_memory=0.9),
    )
    noise = _drive(policy, list(range(300)), 100)[:, :, 0]
    assert noise.std() == pytest.approx(1.0, rel=0.05)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0.9, abs=0.05)


def test_a_lane_follower_looks_away_in_half_of_his_episodes():
    num, steps = 400, 150
    time = np.arange(steps)[:, None] / 1000
    steering, gas, _ = np.moveaxis(_drive(_absent(num), list(range(num)), steps), 2, 0)
    attentive = np.abs(gas - time) < 1e-6
    assert attentive.all(0).mean() == pytest.approx(0.5, abs=0.07)
    away = ~attentive.all(0)
    assert (~attentive[:, away]).mean() == pytest.approx(0.04 * 12 / (1 + 0.04 * 12), abs=0.05)
    held = ["".join("x" if same else " " for same in slot) for slot in (gas[1:] == gas[:-1])[:, away].T]
    lengths = [len(run) + 1 for slot in held for run in slot.rstrip("x").split()]
    assert (min(lengths), max(lengths)) == (6, 20)
    as_it_was = np.abs(steering - gas) < 1e-6
    assert as_it_was[~attentive].mean() == pytest.approx(0.5, abs=0.1)
    assert steering[~as_it_was].std() == pytest.approx(0.35, abs=0.05)


def test_parameters_are_perturbed_for_each_episode():
    features = torch.ones(2, 4)
    policy = _controlled(NoiseConfig(noise=0, param_noise=0.5))
    policy.reset(_rngs(1, 2))
    first, second = policy.act(features.numpy())
    assert np.abs(first - second).max() > 0.01


def test_a_lane_follower_follows_its_guide_with_a_noise_of_its_own_in_each_episode():
    quiet = _drive(_lane(NoiseConfig(noise=0)), [1, 2], 5)
    assert (quiet == np.array([0.1, 0.5, 0.0], np.float32)).all()
    steering = _drive(_lane(NoiseConfig(noise=0.1)), list(range(50)), 200)[:, :, 0]
    assert steering.mean() == pytest.approx(0.1, abs=0.02)
    spread = steering.std(axis=0)
    assert spread.min() < 0.02, "some episodes are nearly clean"
    assert spread.max() < 0.25
    assert spread.max() > 0.15, "others use all of it"


def test_a_lane_followers_pedals_wander_further_and_its_brake_rests_mostly():
    actions = _drive(_lane(NoiseConfig(noise=0.1)), list(range(100)), 300)
    steering, gas, brake = np.moveaxis(actions, 2, 0)
    assert gas.std() > 1.5 * steering.std(), "on half the range"
    assert (brake == 0).mean() > 0.75
    assert brake.max() > 0.2


@pytest.mark.parametrize("wrong", [{"noise": -1}, {"noise_memory": 1}, {"param_noise": -0.1}])
def test_impossible_noise_is_refused(wrong: dict[str, float]):
    with pytest.raises(UserError):
        NoiseConfig(**wrong)
