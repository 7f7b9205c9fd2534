from dataclasses import replace

import numpy as np
import pytest

from envs.carla import tasks
from envs.carla.tasks import DriveState, Rules, Weights, advance, ending, raw_terms, weighted, weights_from
from utils.errors import UserError

RULES = Rules(length_m=400.0, is_closed=True)


def drive(places_m: list[float], rules: Rules = RULES, **reading: float) -> tuple[float, DriveState]:
    """The return of passing through these places, one a tick, and the last state."""
    state, return_ = DriveState(), 0.0
    for s_m in places_m:
        after = advance(state, s_m, DriveState(**reading))  # type: ignore[arg-type]
        return_ += sum(weighted(raw_terms(state, after, rules), rules.weights))
        state = after
        if ending(state, rules).reason:
            break
    return return_, state


def terms(before: DriveState, after: DriveState) -> dict[str, float]:
    return dict(zip(tasks.TERMS, raw_terms(before, after, RULES)))


@pytest.mark.parametrize("length_m", [100.0, 400.0, 900.0])
def test_a_clean_lap_gives_about_a_thousand_whatever_its_length(length_m: float) -> None:
    rules = replace(RULES, length_m=length_m, max_ticks=10_000)
    return_, state = drive(np.arange(0.5, length_m + 1, 0.5).tolist(), rules, speed_mps=10.0)
    assert ending(state, rules).reason == "finished"
    ticks = length_m / 0.5
    assert return_ == pytest.approx(1000 - 0.1 * ticks + 0.02 * 0.7616 * ticks, abs=3)


def test_swaying_and_turning_back_gain_nothing() -> None:
    onwards = drive([10.0] * 20)
    swaying = drive([10.0, 5.0] * 10)
    backwards = drive([10.0, -50.0, 9.0] + [10.0] * 17)
    assert onwards[0] == pytest.approx(swaying[0])
    assert onwards[0] == pytest.approx(backwards[0])
    assert swaying[1].progress_m == 10.0


def test_speed_without_new_progress_is_worth_nothing() -> None:
    here = DriveState(progress_m=10.0)
    assert terms(here, DriveState(progress_m=10.0, speed_mps=20.0))["speed"] == 0
    assert terms(here, DriveState(progress_m=10.5, speed_mps=10.0))["speed"] == pytest.approx(
        0.7616, abs=1e-3
    )


def test_each_term_follows_its_own_cause() -> None:
    calm = DriveState(lane_m=4.0)
    for name, change, raw in [
        ("progress", {"progress_m": 4.0}, 0.01),
        ("lateral", {"lat_err_m": -1.0}, 0.25),
        ("lateral", {"lat_err_m": 7.0}, 1.0),
        ("heading", {"head_err_rad": np.pi / 2}, 0.25),
        ("on_track", {"beyond_m": 0.1}, 1.0),
        ("collision", {"impulse_ns": 5000.0}, 0.7616),
        ("smoothness", {"steer": -0.5}, 0.25),
        ("stuck", {"tick": 90, "mark_tick": 10}, 1.0),
    ]:
        caused = terms(calm, calm._replace(**change))
        assert caused[name] == pytest.approx(raw, abs=1e-4)
        others = {key for key, value in caused.items() if value} - {name, "time"}
        assert not others, f"{name} also moves {others}"
    assert terms(calm, calm)["time"] == 1.0


def test_progress_outweighs_every_cost_that_can_come_with_it() -> None:
    """A metre at 5 m/s, four ticks, driven as badly as a car on the road can, still pays on a lap of 600 m."""
    rules = replace(RULES, length_m=600.0)
    return_, state = drive([0.25, 0.5, 0.75, 1.0], rules, speed_mps=5.0, lat_err_m=-4.0, head_err_rad=0.5)
    assert state.progress_m == 1.0
    assert return_ > 0.5


def test_driving_off_the_road_at_once_beats_standing_still() -> None:
    """So that evolution's first generations prefer to move."""
    off_return, off_state = drive([0.5 * i for i in range(41)], beyond_m=0.0, speed_mps=10.0)
    stand_return, stand_state = drive([0.0] * 200)
    assert ending(stand_state, RULES).reason == "stuck"
    assert off_state.progress_m == 20.0
    assert off_return > 40 > 0 > stand_return


@pytest.mark.parametrize(
    ("state", "rules", "expected"),
    [
        (DriveState(), RULES, (False, False, "")),
        (DriveState(progress_m=400.0), RULES, (False, True, "finished")),
        (DriveState(progress_m=400.0), replace(RULES, is_closed=False), (True, False, "finished")),
        (DriveState(progress_m=400.0, impulse_ns=1.0), RULES, (True, False, "crash")),
        (DriveState(beyond_m=4.1), RULES, (True, False, "off_road")),
        (DriveState(beyond_m=3.9), RULES, (False, False, "")),
        (DriveState(tick=1000, mark_tick=990), RULES, (False, True, "time")),
        (DriveState(tick=500, mark_tick=421), RULES, (False, False, "")),
        (DriveState(tick=500, mark_tick=420), RULES, (False, True, "stuck")),
    ],
)
def test_endings(state: DriveState, rules: Rules, expected: tuple) -> None:
    assert ending(state, rules) == expected


def test_the_time_limit_is_never_rewarded() -> None:
    before = DriveState(tick=999, progress_m=100.0, mark_tick=990)
    last = advance(before, 100.0, DriveState())
    assert ending(last, RULES).reason == "time"
    same = raw_terms(before, last, RULES)
    assert same == raw_terms(before, last, replace(RULES, max_ticks=5000))
    assert sum(weighted(same, Weights())) == pytest.approx(-0.1)


def test_the_clock_of_standing_still_starts_anew_with_every_metre() -> None:
    state = DriveState()
    for tick in range(300):
        state = advance(state, 0.02 * tick, DriveState())
        assert not ending(state, RULES).reason, "0.4 m/s is slow but gets on"
    _, state = drive([5.0] + [5.9] * 200)
    assert state.tick == 81


def test_weights_can_be_replaced_one_by_one() -> None:
    assert weights_from(None) == Weights()
    assert weights_from({"stuck": -3}) == Weights(stuck=-3)
    for bad, words in [
        ({"style": 1.0}, "no term 'style'"),
        ({"speed": float("nan")}, "finite"),
        ({"speed": "1"}, "finite"),
    ]:
        with pytest.raises(UserError, match=words):
            weights_from(bad)  # type: ignore[arg-type]
