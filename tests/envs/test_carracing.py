import os
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from Box2D import b2World
from gymnasium.envs.box2d.car_racing import CarRacing as Reference
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env

import envs
from envs.carracing import CarRacing, CarRacingConfig, CarRacingVec, config_from
from envs.carracing_physics import SlimCar
from tests.envs.carracing_driver import Driver
from utils.errors import UserError

IDS = ["CarRacing-v2", "WorldModels/CarRacing-v3"]


class Blind(Reference):
    """gymnasium's env without the drawing, which takes 99 % of its time."""

    def _render(self, mode: str) -> Any:
        return None


def wild(seed: int):
    """Actions all over the action space and a bit beyond it, each held for a while."""
    rng = np.random.default_rng(seed)
    action = np.zeros(3, np.float32)

    def act(_: Any) -> np.ndarray:
        if rng.random() < 0.1:
            action[:] = rng.uniform([-1.1, -0.2, -0.3], [1.1, 1.1, 1.0])
        return action

    return act


def trace(env: Reference, act: Any, seed: int, steps: int) -> list[tuple]:
    """All that an episode shows of itself: rewards, ends, the car's place."""
    env.reset(seed=seed)
    rows = []
    for _ in range(steps):
        _, reward, terminated, truncated, info = env.step(act(env))
        assert env.car is not None
        place = (*env.car.hull.position, env.car.hull.angle, *env.car.hull.linearVelocity)
        over = terminated or truncated
        rows.append(
            (float(reward), over, bool(info.get("lap_finished", False)), place, env.tile_visited_count)
        )
        if over:
            break
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_wild_episodes_equal_gymnasiums_to_the_bit(seed: int) -> None:
    ours = trace(CarRacing(size=16, max_steps=2000), wild(seed), seed, 1000)
    assert ours == trace(Blind(), wild(seed), seed, 1000)
    assert len(ours) > 100


@pytest.mark.parametrize("seed", [0, 5])
def test_laps_equal_gymnasiums_to_the_bit(seed: int) -> None:
    ours = trace(CarRacing(size=16, max_steps=2000), Driver(), seed, 1600)
    assert ours == trace(Blind(), Driver(), seed, 1600)
    _, over, lap_finished, _, tiles = ours[-1]
    assert over
    assert lap_finished
    assert tiles > 200


def test_the_first_steps_reward_holds_the_tiles_under_the_start() -> None:
    env = CarRacing(size=16)
    env.reset(seed=3)
    assert env.step(np.zeros(3))[1] == pytest.approx(env.tile_visited_count * 1000 / len(env.track) - 0.1)
    assert env.tile_visited_count > 0


def test_unseeded_episodes_go_on_like_gymnasiums_and_discrete_actions_are_the_same() -> None:
    ours, reference = CarRacing(size=16, continuous=False), Blind(continuous=False)
    for seed in (4, None):
        ours.reset(seed=seed)
        reference.reset(seed=seed)
        assert ours.track == reference.track
        for action in [3, 3, 1, 4, 2, 0] * 5:
            assert ours.step(action)[1] == reference.step(action)[1]


def test_domain_randomize_draws_gymnasiums_colours() -> None:
    ours, reference = CarRacing(size=16, domain_randomize=True), Blind(domain_randomize=True)
    for options in (None, {"randomize": False}, {"randomize": True}):
        ours.reset(seed=2, options=options)
        reference.reset(seed=2, options=options)
        assert ours.track == reference.track
        if options != {"randomize": False}:
            assert ours.grass_color.tolist() == reference.grass_color.tolist()


@pytest.mark.parametrize(("name", "flags"), [(IDS[0], (False, True)), (IDS[1], (True, False))])
def test_the_laps_end_truncates_in_v2_and_terminates_in_v3(name: str, flags: tuple[bool, bool]) -> None:
    env = envs.make(name, 1, size=16)
    assert isinstance(env, CarRacingVec)
    env.reset(seed=1)
    inner = env._envs[0]
    inner.new_lap = True  # what the contact listener sets at the line
    _, _, terminated, truncated, info = env.step(np.zeros((1, 3)))
    assert (terminated[0], truncated[0]) == flags
    assert info["lap_finished"][0]
    assert not env.live[0]


def test_leaving_the_playfield_terminates_with_minus_100_in_both() -> None:
    for name in IDS:
        env = envs.make(name, 1, size=16)
        assert isinstance(env, CarRacingVec)
        env.reset(seed=1)
        car = env._envs[0].car
        assert car is not None
        car.hull.position = (340.0, 0.0)
        _, reward, terminated, truncated, info = env.step(np.zeros((1, 3)))
        assert (reward[0], terminated[0], truncated[0], info["lap_finished"][0]) == (-100, True, False, False)


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_make_and_its_checker_have_nothing_to_say(name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*The environment CarRacing-v2 is out of date.*")
        warnings.filterwarnings("ignore", message="builtin type Swig|builtin type swig")  # of Box2D's import
        env = gymnasium.make(name, render_mode="rgb_array")
        assert env.spec is not None
        assert env.observation_space.shape == (96, 96, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped)
        env.reset(seed=0)
        assert np.asarray(env.render()).shape == (400, 600, 3)


def test_stable_baselines_only_regrets_gymnasiums_own_action_space() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checker.check_env(gymnasium.make(IDS[1]))
    ours = [str(w.message) for w in caught if "swig" not in str(w.message).lower()]
    assert ours == [
        "We recommend you to use a symmetric and normalized Box action space (range=[-1, 1]) "
        "cf. https://stable-baselines3.readthedocs.io/en/master/guide/rl_tips.html"
    ]


def test_bad_actions_and_seeds_are_refused() -> None:
    env = CarRacing(size=16)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.zeros(3))
    with pytest.raises(gymnasium.error.Error, match=r"greater|positive|negative"):
        env.reset(seed=-1)
    env.reset(seed=0)
    for action, words in [([0, np.nan, 0], "finite"), ([0, 0], "three numbers"), (1.0, "three numbers")]:
        with pytest.raises(InvalidAction, match=words):
            env.step(action)
    discrete = CarRacing(size=16, continuous=False)
    discrete.reset(seed=0)
    with pytest.raises(InvalidAction, match="0 to 4"):
        discrete.step(5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 50}, "multiple of 8"),
        ({"action_repeat": 0}, "at least 1"),
        ({"max_steps": -1}, "at least 1"),
        ({"renderer": "slow"}, "fast, gymnasium"),
        ({"perturbation": "rain"}, "none, color, bars"),
        ({"lap_end": "never"}, "truncate, terminate"),
        ({"renderer": "gymnasium", "skip_zoom": True}, "skip"),
        ({"colour": 1}, "no option 'colour'"),
    ],
)
def test_impossible_options_are_users_mistakes(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        config_from(options)


def test_the_same_seed_is_the_same_episode_whatever_the_number_of_slots() -> None:
    one, three = CarRacingVec(1), CarRacingVec(3)
    first, _ = one.reset(seed=[8])
    obs, _ = three.reset(seed=[5, 6, 8])
    actions = np.random.default_rng(0).uniform([-1, 0, 0], 1, (20, 3, 3)).astype(np.float32)
    assert np.array_equal(first[0], obs[2])
    for action in actions:
        alone, beside = one.step(action[2:]), three.step(action)
        assert np.array_equal(alone[0][0], beside[0][2])
        assert alone[1][0] == beside[1][2]


def test_one_env_has_the_time_limit_of_many() -> None:
    action = np.zeros(3, np.float32)
    for repeat, steps in ((1, 7), (3, 3)):
        env = gymnasium.make(IDS[1], size=16, max_steps=7, action_repeat=repeat)
        env.reset(seed=0)
        assert [env.step(action)[3] for _ in range(steps)] == [False] * (steps - 1) + [True]
        env.reset(seed=0)
        assert not env.step(action)[3], "it begins anew"


def test_videos_play_as_fast_as_the_car_drives() -> None:
    fps = [gymnasium.make("CarRacing-v2", action_repeat=n).metadata["render_fps"] for n in (1, 3)]
    assert fps == [Reference.metadata["render_fps"], pytest.approx(Reference.metadata["render_fps"] / 3)]


def test_action_repeat_sums_rewards_and_max_steps_counts_simulator_steps() -> None:
    plain, repeated = CarRacingVec(1), CarRacingVec(1, CarRacingConfig(action_repeat=4, max_steps=10))
    plain.reset(seed=3)
    repeated.reset(seed=3)
    action = np.array([[0.1, 0.6, 0]], np.float32)
    for i in range(3):
        singles = [
            plain.step(action) for _ in range(4 if i < 2 else 2)
        ]  # the limit cuts the last action short
        obs, reward, terminated, truncated, _ = repeated.step(action)
        assert reward[0] == sum(single[1][0] for single in singles)
        assert np.array_equal(obs, singles[-1][0])
        assert (terminated[0], truncated[0]) == (False, i == 2)
    assert not repeated.live[0]


def test_bodies_are_freed() -> None:
    env = CarRacingVec(1, CarRacingConfig(size=16))
    for seed in range(30):
        env.reset(seed=seed)
        inner = env._envs[0]
        assert inner.world.bodyCount == len(inner.track) + 5
        assert inner.world.jointCount == 4


STATM = Path("/proc/self/statm")


@pytest.mark.skipif(not STATM.exists(), reason="reads the process's memory from Linux's /proc")
def test_cars_leave_no_memory_behind() -> None:
    """pybox2d keeps every fixture definition: gymnasium's car leaves 2.5 kB."""
    world = b2World(gravity=(0, 0))

    def grown(cars: int) -> int:
        before = int(STATM.read_text().split()[1])
        for _ in range(cars):
            SlimCar(world, 0.0, 0.0, 0.0).destroy()
        return (int(STATM.read_text().split()[1]) - before) * os.sysconf("SC_PAGE_SIZE")

    grown(500)
    assert grown(3000) / 3000 < 600
