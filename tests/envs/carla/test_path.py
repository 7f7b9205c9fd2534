import math

import numpy as np
import pytest

from envs.carla.path import wrap
from tests.envs.carla.roads import ring, straight, wavy


def test_a_place_on_a_straight_road_is_its_coordinates() -> None:
    path = straight()
    place = path.locate(12.25, 1.5, 10)
    assert (place.s_m, place.lat_m, place.yaw_rad) == pytest.approx((12.25, 1.5, 0))
    assert path.locate(12.25, -1.5, 10).lat_m == pytest.approx(-1.5)


def test_right_is_positive_and_yaw_grows_to_the_right() -> None:
    path = ring()
    place = path.locate(48.0, 0.0, 0)
    assert place.lat_m == pytest.approx(2.0, abs=0.01)
    assert place.yaw_rad == pytest.approx(math.pi / 2, abs=0.01)
    assert path.curvature() == pytest.approx(np.full(314, 1 / 50), rel=0.01)
    assert ring(turn=-1).curvature() == pytest.approx(np.full(314, -1 / 50), rel=0.01)


def test_a_closed_path_counts_on_round_after_round() -> None:
    path, place, s_m = wavy(), wavy().locate(60, 0, 0), []
    for step in range(900):
        angle = 2 * math.pi * step / 400
        radius = 50 + 10 * math.cos(3 * angle)
        place = path.locate(radius * math.cos(angle), radius * math.sin(angle), place.segment)
        s_m.append(place.s_m)
    assert np.diff(s_m).min() > 0
    assert (s_m[400], s_m[800]) == pytest.approx((path.length_m, 2 * path.length_m))


def test_backwards_it_counts_down_below_zero() -> None:
    place = ring().locate(50 * math.cos(-0.2), 50 * math.sin(-0.2), 0)
    assert place.s_m == pytest.approx(-10, abs=0.1)


def test_an_open_path_ends_at_its_ends() -> None:
    path = straight(50)
    assert path.locate(80, 0, 45).s_m == path.length_m == 50
    assert path.locate(-3, 0, 2).s_m == 0
    assert path.at(60) == pytest.approx((60, 0))


def test_a_short_cut_to_the_far_side_is_not_a_place_further_on() -> None:
    path = ring()
    across = path.locate(-50, 0, 0)
    assert across.s_m < 25, "it walks at most twenty segments"


def test_points_at_arc_lengths_lie_on_the_path() -> None:
    path = ring()
    for s_m in (0.0, 77.3, path.length_m + 5, -5.0):
        assert math.hypot(*path.at(s_m)) == pytest.approx(50, abs=0.01)


@pytest.mark.parametrize(
    ("angle", "wrapped"), [(0, 0), (math.pi, -math.pi), (7, 7 - 2 * math.pi), (-4, 2 * math.pi - 4)]
)
def test_wrap(angle: float, wrapped: float) -> None:
    assert wrap(angle) == pytest.approx(wrapped)
