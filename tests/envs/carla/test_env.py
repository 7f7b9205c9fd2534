"""The CARLA envs on a server: ours, or with CARLA_HOST=HOST:PORT a running simulator, which has one slot."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

pytest.importorskip("carla")

from envs.carla import birdview, tasks
from envs.carla.env import CarlaVec
from envs.carla.single import TABLE, CarlaEnv
from envs.vector import Step
from tests.envs.carla.which_server import CARLA, GAS, IS_REAL, config, lite_only, session_here
from utils.errors import UserError

STAND = np.array([[0.0, 0.0, 1.0]], np.float32)


@pytest.fixture(scope="module")
def shared() -> Iterator[dict[str, CarlaVec]]:
    """Envs of this module, by what they show: a simulator drives one at a time."""
    made: dict[str, CarlaVec] = {}
    yield made
    for env in made.values():
        env.close_extras()


@pytest.fixture
def env(shared: dict[str, CarlaVec]) -> CarlaVec:
    """A circuit env with one slot."""
    if "one" not in shared:
        shared["one"] = CarlaVec(1, config())
    return shared["one"]


def other(shared: dict[str, CarlaVec], **options: Any) -> CarlaVec:
    """An env of its own for a test; a simulator is let go by the others first."""
    for one in shared.values():
        if IS_REAL:
            one.close_extras()
    return CarlaVec(1, config(**options))


def drive(env: CarlaVec, seed: int, act: Callable[[], np.ndarray]) -> list[Step]:
    """The steps of one episode."""
    env.reset(seed=[seed])
    seen = []
    while env.live.any():
        seen.append(env.step(act()))
    return seen


def actions(num: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform([-0.2, 0.3, 0], [0.2, 1, 0.1], (num, 3)).astype(np.float32)


def test_frames_actions_and_info_are_what_the_spaces_say(env: CarlaVec) -> None:
    obs, _ = env.reset(seed=[1])
    assert env.observation_space.contains(obs)
    assert obs.std() > 10
    obs, reward, terminated, truncated, info = env.step(GAS)
    assert env.observation_space.contains(obs)
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
    assert reward.shape == (1,)
    names = {f"{kind}_{name}" for kind in ("raw", "reward") for name in tasks.TERMS}
    assert names | {"lap_finished", "server_restarted", "progress_m", "speed_mps"} <= set(info)
    assert all(value.shape == (1,) for value in info.values())
    assert env.single_action_space.low.tolist() == [-1, 0, 0]  # type: ignore[attr-defined]


def test_the_guide_laps_a_circuit_for_about_a_thousand(env: CarlaVec) -> None:
    steps = drive(env, 3, env.guide)
    info = steps[-1][4]
    assert (steps[-1][2].all(), steps[-1][3].all(), info["lap_finished"].all()) == (False, True, True)
    return_ = sum(step[1][0] for step in steps)
    assert 850 < return_ < 1050
    assert not any(step[4]["lap_finished"][0] for step in steps[:-1])
    assert np.mean([abs(step[4]["lat_err_m"][0]) for step in steps]) < 0.5
    assert np.mean([step[4]["speed_mps"][0] for step in steps]) > 5
    for _, reward, _, _, info in steps:
        assert sum(info[f"reward_{name}"][0] for name in tasks.TERMS) == pytest.approx(reward[0])
    assert sum(step[4]["raw_progress"][0] for step in steps) == pytest.approx(1, abs=0.01)


@lite_only
def test_the_same_seed_is_the_same_episode_in_any_slot_and_at_any_time(env: CarlaVec) -> None:
    def episode(env: CarlaVec, slot: int, seed: int) -> list[Any]:
        seeds = [99] * env.num_envs
        seeds[slot] = seed
        seen: list[Any] = [env.reset(seed=seeds)[0][slot].tobytes()]
        for action in actions(40):
            obs, reward, terminated, truncated, info = env.step(np.tile(action, (env.num_envs, 1)))
            seen += [obs[slot].tobytes(), reward[slot], terminated[slot], truncated[slot]]
            seen += [info[key][slot] for key in sorted(info)]
            if not env.live[slot]:
                break
        return seen

    two = CarlaVec(2, config())
    first = episode(env, 0, 7)
    assert episode(two, 1, 7) == first
    assert episode(two, 0, 8) != first
    assert episode(two, 0, 7) == first
    assert episode(env, 0, 7) == first
    two.close()


def test_standing_still_is_truncated_as_stuck(env: CarlaVec) -> None:
    steps = drive(env, 2, lambda: STAND)
    _, reward, terminated, _, info = steps[-1]
    assert (len(steps), terminated[0], info["stuck"][0]) == (40, False, True)
    assert reward[0] == pytest.approx(-10.2, abs=0.05)


def test_leaving_the_road_far_terminates(env: CarlaVec) -> None:
    _, _, terminated, truncated, info = drive(env, 2, lambda: np.array([[0.6, 0.6, 0.0]]))[-1]
    assert (terminated[0], truncated[0], info["on_track"][0]) == (True, False, False)
    assert info["off_road"][0] or info["collision"][0]


def test_a_time_limit_truncates_and_pays_nothing(shared: dict[str, CarlaVec]) -> None:
    env = other(shared, max_steps=10, action_repeat=2)
    steps = drive(env, 2, lambda: STAND)
    assert [bool(step[3][0]) for step in steps] == [False] * 4 + [True]
    assert all(step[1][0] < 0 for step in steps)
    assert not steps[-1][4]["stuck"].any()
    env.close()


def test_a_crash_terminates_and_costs_by_its_damage(env: CarlaVec) -> None:
    session = session_here(env)
    env.reset(seed=[4])
    world, car = session.world, session.drive._car
    assert world is not None
    ahead = world.town.get_waypoint(car.get_location()).next(25.0)[0].transform
    ahead.location.z += 0.3
    world._actors.append(world._world.spawn_actor(world._blueprint("vehicle.tesla.model3"), ahead))
    step = env.step(GAS)
    while env.live.any():
        step = env.step(np.array([[env.guide()[0, 0], 0.6, 0.0]]))
    _, _, terminated, truncated, info = step
    assert (terminated[0], truncated[0], info["collision"][0], info["lap_finished"][0]) == (
        True,
        False,
        True,
        False,
    )
    assert 0.2 < info["damage"][0] < 1
    assert info["reward_collision"][0] == pytest.approx(-50 * info["damage"][0])
    assert 15 < info["progress_m"][0] < 25


@pytest.mark.parametrize("obs", ["birdview", "semantic"])
def test_other_observations_show_the_road(shared: dict[str, CarlaVec], obs: str) -> None:
    env = other(shared, obs=obs, size=96, map="loop")
    frame = env.reset(seed=[1])[0][0]
    assert frame.shape == (96, 96, 3)
    moved = [env.step(GAS)[0][0] for _ in range(20)][-1]
    assert not np.array_equal(frame, moved)
    grey = (128, 64, 128) if obs == "semantic" else (96, 96, 100)
    assert (np.abs(frame.astype(int) - grey).max(-1) < 8).mean() > 0.03
    env.close()


def test_a_route_leads_through_junctions_to_its_end(shared: dict[str, CarlaVec]) -> None:
    env = other(shared, task="route", map="town", route_m=120.0)
    steps = drive(env, 5, env.guide)
    info = steps[-1][4]
    assert (steps[-1][2][0], steps[-1][3][0], info["lap_finished"][0]) == (True, False, True)
    assert info["progress_m"][0] == pytest.approx(120, abs=6)
    env.close()


@lite_only
def test_traffic_drives_and_is_the_same_for_the_same_seed() -> None:
    env = CarlaVec(2, config(map="loop", traffic=8, obs="birdview", size=96))

    def episode() -> list[np.ndarray]:
        frames = [env.reset(seed=[6, 6])[0]]
        for _ in range(60):
            frames.append(env.step(env.guide())[0])
        return frames

    first, again = episode(), episode()
    for frame, later in zip(first, again):
        assert np.array_equal(frame[0], frame[1]), (
            "in both slots, whose Traffic Managers know nothing of each other"
        )
        assert np.array_equal(frame, later)
    orange = [(np.abs(frame[0].astype(int) - birdview.VEHICLE).max(-1) < 8).sum() for frame in first]
    assert len(set(orange)) > 5, "vehicles come and go"
    env.close()


def test_the_weather_changes_the_picture(shared: dict[str, CarlaVec]) -> None:
    pictures = []
    for weather in ("ClearNoon", "ClearNight"):
        env = other(shared, weather=weather, map="loop")
        pictures.append(env.reset(seed=[1])[0].astype(float))
        env.close()
    assert pictures[1].mean() < pictures[0].mean() - 20


@pytest.mark.parametrize(("name", "road"), [("CarlaCircuit-v0", "loop"), ("CarlaRoute-v0", "town")])
def test_gymnasium_and_stable_baselines_find_nothing_wrong(
    name: str, road: str, shared: dict[str, CarlaVec]
) -> None:
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    other(shared).close()
    env = gymnasium.make(name, carla=CARLA, map=road, size=64, max_steps=60, render_mode="rgb_array")
    assert isinstance(env.unwrapped, CarlaEnv)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        warnings.filterwarnings(
            "ignore", message=".*(not within the environment render modes|symmetric and normalized).*"
        )
        check_env(env.unwrapped, skip_render_check=IS_REAL, skip_close_check=True)
        check_for_sb3(env.unwrapped)
    env.close()


@pytest.mark.parametrize("options", [{"state": True, "lidar": True}, {"continuous": False}])
def test_gymnasium_finds_nothing_wrong_with_dicts_and_discrete_actions(
    shared: dict[str, CarlaVec], options: dict[str, bool]
) -> None:
    other(shared).close()
    env = gymnasium.make("CarlaCircuit-v0", carla=CARLA, map="loop", max_steps=60, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*(symmetric and normalized|imum value is -?infinity).*")
        check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
    env.close()


def test_a_dict_tells_the_cars_state_and_what_the_lidar_sees(shared: dict[str, CarlaVec]) -> None:
    other(shared).close()
    env = gymnasium.make("CarlaCircuit-v0", carla=CARLA, state=True, lidar=True)
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    assert set(obs) == {"image", "state", "lidar"}
    assert isinstance(env.unwrapped, CarlaEnv)
    info: dict[str, Any] = {}
    for _ in range(30):
        obs, _, _, _, info = env.step(env.unwrapped.guide())
    assert env.observation_space.contains(obs)
    speed, _, lat_err_m, _, progress, damage, on_track = obs["state"]
    assert (speed, lat_err_m) == pytest.approx((info["speed_mps"], info["lat_err_m"]))
    assert 0 < progress < 1
    assert (damage, on_track) == (0, 1)
    env.close()


def test_discrete_actions_are_rows_of_a_table(shared: dict[str, CarlaVec]) -> None:
    other(shared).close()
    env = gymnasium.make("CarlaCircuit-v0", carla=CARLA, continuous=False, state=True)
    assert env.action_space.n == len(TABLE)  # type: ignore[attr-defined]
    assert all(CarlaEnv().action_space.contains(np.array(row, np.float32)) for row in TABLE)
    obs, _ = env.reset(seed=1)
    fast = TABLE.index((0.0, 0.7, 0.0))
    for _ in range(20):
        obs, *_ = env.step(fast)
    assert obs["state"][0] > 2
    with pytest.raises(gymnasium.error.InvalidAction, match="whole number from 0 to 20"):
        env.unwrapped.step(21)
    env.close()


@pytest.mark.parametrize("traffic", [0, 2])
def test_a_map_file_can_be_driven(
    shared: dict[str, CarlaVec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traffic: int
) -> None:
    from envs.carla.lite import maps

    (tmp_path / "mine.xodr").write_text(maps.circuit(11))
    monkeypatch.chdir(tmp_path)
    env = other(shared, map="mine.xodr", traffic=traffic)
    env.reset(seed=[0])
    assert env.step(GAS)[1].shape == (1,)
    env.close()


def test_no_free_spawn_point_is_said(env: CarlaVec) -> None:
    session = session_here(env)
    env.reset(seed=[1])
    world, here = session.world, session.drive._car.get_transform()
    assert world is not None
    with pytest.raises(UserError, match="no spawn point is free: all 2 tried are taken"):
        world.spawn_car([here, here])
