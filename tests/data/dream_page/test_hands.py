import numpy as np
import pytest

from data.dream_page.hands import FULL_BRAKE, Hands


def hold(hands: Hands, *keys: str, steps: int) -> np.ndarray:
    return np.stack([hands.act(keys) for _ in range(steps)])


def test_wheel_and_pedals_follow_the_keys_step_by_step_and_come_back():
    hands = Hands(20)
    steer = hold(hands, "left", "up", steps=20)[:, 0]
    assert (np.diff(steer) <= 0).all()
    assert -0.3 < steer[0] < 0
    assert steer[-1] == -1
    assert hands.act(("left", "up"))[1] == 1
    back = hold(hands, steps=20)
    assert np.array_equal(back[-1], [0, 0, 0])
    assert np.abs(back[:3, 0]).sum() < np.abs(steer[-3:]).sum()


def test_both_ways_at_once_is_straight_on():
    assert not hold(Hands(20), "left", "right", steps=5).any()


def test_brakes_stop_short_of_locking_the_wheels():
    actions = hold(Hands(20), "down", steps=20)
    assert actions[-1].tolist() == pytest.approx([0, 0, FULL_BRAKE])


def test_a_hand_is_as_fast_at_any_rate():
    slow, fast = hold(Hands(10), "right", steps=2), hold(Hands(40), "right", steps=8)
    assert slow[-1].tolist() == pytest.approx(fast[-1].tolist())


def test_rest_lets_go_at_once():
    hands = Hands(20)
    hold(hands, "right", "up", "down", steps=20)
    hands.rest()
    assert not hands.act(()).any()
