import math

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from envs.carracing import CarRacing, CarRacingConfig, CarRacingVec
from envs.carracing_guide import Guide, GuideConfig, short_line, speed_profile


def ring(radius: float, num: int = 200) -> np.ndarray:
    """A circle, driven counterclockwise from (radius, 0)."""
    angles = np.arange(num) * 2 * np.pi / num
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("action_repeat", [1, 3])
def test_it_visits_every_tile_and_is_faster_than_a_lap_needs_to_be(action_repeat: int) -> None:
    env = CarRacingVec(2, CarRacingConfig(size=16, action_repeat=action_repeat))
    env.reset(seed=[1, 2])
    returns, laps = np.zeros(2), np.zeros(2, bool)
    while env.live.any():
        _, reward, _, _, info = env.step(env.guide())
        returns += reward
        laps |= info["lap_finished"]
    assert laps.all()
    assert (returns > 905).all()


def test_it_finds_back_after_a_wild_drive_beside_the_road() -> None:
    env = CarRacing(size=16, action_repeat=3)
    env.reset(seed=3)
    for _ in range(20):
        env.step([0.4, 0.3, 0.0])
    before = env.tile_visited_count
    for _ in range(60):
        env.step(env.guide())
    assert env.tile_visited_count > before + 20


def test_a_new_track_gets_a_new_line() -> None:
    env = CarRacing(size=16)
    with pytest.raises(ResetNeeded):
        env.guide()
    actions = []
    for seed in (1, 2, 1):
        env.reset(seed=seed)
        for _ in range(150):
            env.step(env.guide())
        actions.append(env.guide())
    assert actions[0] == actions[2] != actions[1]


def test_the_line_is_shorter_than_the_road_and_stays_beside_its_middle() -> None:
    angles = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    road = ring(100, 300) * (1 + 0.2 * np.cos(3 * angles))[:, None]
    line = short_line(road, 1.6)
    assert np.hypot(*(line - road).T).max() <= 1.6 + 1e-9
    lengths = [np.hypot(*np.diff(points, axis=0).T).sum() for points in (line, road)]
    assert lengths[0] < 0.99 * lengths[1]


def test_the_speeds_are_those_that_bends_bear() -> None:
    config = GuideConfig(lateral=50.0)
    assert speed_profile(ring(80.0), config) == pytest.approx([math.sqrt(80 * 50.0)] * 200, rel=0.01)


def test_it_steers_towards_the_line_brakes_when_fast_and_spares_gas_in_bends() -> None:
    guide = Guide(ring(100.0))
    straight_on, _, _ = guide.act(100.0, 0.0, 0.0, 0.0, 20.0)
    from_outside, gas_outside, _ = guide.act(108.0, 0.0, 0.0, 0.0, 20.0)
    from_inside, gas_inside, _ = guide.act(92.0, 0.0, 0.0, 0.0, 20.0)
    assert from_outside < straight_on < from_inside  # positive is to the right, the ring bends to the left
    assert 0 < gas_outside < gas_inside
    assert guide.act(100.0, 0.0, 0.0, 0.0, 300.0)[1:] == (0.0, GuideConfig().brake)
    assert guide.act(100.0, 0.0, 0.0, 1.0, 20.0)[0] > straight_on  # against the yaw
