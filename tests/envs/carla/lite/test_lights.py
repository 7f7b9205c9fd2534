from itertools import pairwise

import pytest

from envs.carla.lite.lights import LightState, TrafficLights

GREEN, YELLOW, RED = LightState.GREEN, LightState.YELLOW, LightState.RED
CROSSING = {11: (0, 1), 12: (0, 1), 21: (0, 2), 31: (0, 5)}


def states(lights: TrafficLights) -> list[LightState]:
    return [lights.light(light_id).state for light_id in sorted(CROSSING)]


def after(lights: TrafficLights, seconds: float, dt: float = 0.05) -> list[LightState]:
    for _ in range(round(seconds / dt)):
        lights.step(dt)
    return states(lights)


def test_groups_take_turns_through_green_yellow_and_all_red() -> None:
    lights = TrafficLights(CROSSING)
    assert states(lights) == [GREEN, GREEN, RED, RED]
    assert after(lights, 9.9) == [GREEN, GREEN, RED, RED]
    assert after(lights, 0.2) == [YELLOW, YELLOW, RED, RED]
    assert after(lights, 3.0) == [RED] * 4
    assert after(lights, 2.0) == [RED, RED, GREEN, RED]
    assert after(lights, 15.0) == [RED, RED, RED, GREEN]
    assert after(lights, 15.0) == [GREEN, GREEN, RED, RED]


@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1, 0.7])
def test_never_do_two_groups_have_green_and_the_cycle_keeps_its_length(dt: float) -> None:
    lights, starts, before = TrafficLights(CROSSING), [], None
    for i in range(round(400 / dt)):
        lights.step(dt)
        open_groups = {
            group for light_id, (_, group) in CROSSING.items() if lights.light(light_id).state != RED
        }
        assert len(open_groups) <= 1
        now = lights.light(11).state
        if now is GREEN and before is RED:
            starts.append(i * dt)
        before = now
    gaps = [late - early for early, late in pairwise(starts)]
    assert len(gaps) >= 7
    assert all(gap == pytest.approx(45, abs=dt + 1e-6) for gap in gaps)
    assert sum(gaps) == pytest.approx(45 * len(gaps), abs=dt + 1e-6)


def test_elapsed_time_counts_from_the_last_change() -> None:
    lights = TrafficLights(CROSSING)
    after(lights, 4.0)
    assert lights.light(11).elapsed_s == pytest.approx(4)
    after(lights, 7.0)
    assert lights.light(11).elapsed_s == pytest.approx(1)
    assert lights.light(21).elapsed_s == pytest.approx(11)


def test_times_belong_to_the_group() -> None:
    lights = TrafficLights(CROSSING)
    lights.set_times(12, green=2.0, red=0.5)
    assert (lights.times(11).green, lights.times(11).yellow, lights.times(21).green) == (2, 3, 10)
    assert after(lights, 2.1) == [YELLOW, YELLOW, RED, RED]
    assert after(lights, 3.5) == [RED, RED, GREEN, RED]
    lights.set_times(11, green=-5.0)
    assert lights.times(11).green == 0


def test_frozen_lights_stand_still_and_keep_what_they_are_told() -> None:
    lights = TrafficLights({**CROSSING, 99: (7, 1)})
    lights.freeze(21, True)
    assert lights.is_frozen(11)
    assert not lights.is_frozen(99)
    lights.set_state(11, RED)
    lights.set_state(21, LightState.OFF)
    assert after(lights, 100.0) == [RED, GREEN, LightState.OFF, RED]
    assert lights.light(99).state is RED or lights.light(99).elapsed_s < 15
    lights.freeze_all(True)
    other = lights.light(99).state
    after(lights, 30.0)
    assert lights.light(99).state is other
    lights.freeze_all(False)
    assert not lights.is_frozen(11)
    assert after(lights, 10.1) == [YELLOW, YELLOW, RED, RED]


def test_a_told_state_lasts_until_the_next_change() -> None:
    lights = TrafficLights(CROSSING)
    lights.set_state(21, GREEN)
    assert after(lights, 9.0) == [GREEN, GREEN, GREEN, RED]
    assert after(lights, 1.1) == [YELLOW, YELLOW, RED, RED]


def test_a_reset_starts_over_and_only_where_it_is_asked() -> None:
    lights = TrafficLights({**CROSSING, 98: (7, 1), 99: (7, 2)})
    after(lights, 16.0)
    lights.reset_group(31)
    assert states(lights) == [GREEN, GREEN, RED, RED]
    assert lights.light(11).elapsed_s == 0
    assert lights.light(99).state is GREEN
    lights.reset_all()
    assert lights.light(98).state is GREEN


def test_junctions_are_apart_and_a_light_without_one_goes_alone() -> None:
    lights = TrafficLights({1: (0, 1), 2: (0, 2), 3: (4, 1), 5: (-1, 8), 6: (-1, 9)})
    assert lights.group_of(2) == [1, 2]
    assert lights.group_of(3) == [3]
    assert lights.group_of(5) == [5]
    lights.step(0.05)
    assert lights.light(5).state is GREEN
    assert lights.light(6).state is GREEN


def test_the_numbers_are_the_clients() -> None:
    carla = pytest.importorskip("carla")
    for state in LightState:
        assert int(getattr(carla.TrafficLightState, state.name.capitalize())) == state
