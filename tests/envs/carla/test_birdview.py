import math

import numpy as np
import pytest

from envs.carla.birdview import (
    EGO,
    EGO_ROW,
    GROUND,
    MIDDLE,
    ROAD,
    ROUTE,
    VEHICLE,
    VIEW_M,
    Boxed,
    Strip,
    Texture,
    draw,
    lanes_of,
)

SIZE = 160  # four pixels a metre
CAR = (2.4, 1.0)


def lane(yaw: float, in_junction: bool = False) -> Strip:
    """A right lane, 4 m wide, 100 m through the origin in a direction."""
    along = np.arange(-50.0, 51.0)
    points = np.stack([along * math.cos(yaw), along * math.sin(yaw)], axis=1)
    return Strip(points, np.full(101, yaw), np.full(101, 4.0), True, in_junction)


def pixel(frame: np.ndarray, ahead_m: float, right_m: float) -> np.ndarray:
    scale = SIZE / VIEW_M
    return frame[round(EGO_ROW * SIZE - ahead_m * scale), round(SIZE / 2 + right_m * scale)].astype(int)


def near(colour: np.ndarray, wanted: tuple[int, int, int]) -> bool:
    return bool(np.abs(colour - np.array(wanted)).max() < 12)


@pytest.mark.parametrize("yaw", [0.0, 0.7, math.pi / 2, -2.5])
def test_the_road_lies_ahead_whatever_its_direction(yaw: float) -> None:
    frame = draw(Texture([lane(yaw)], SIZE), SIZE, Boxed(0, 0, yaw, *CAR))
    assert frame.shape == (SIZE, SIZE, 3)
    assert frame.dtype == np.uint8
    assert near(pixel(frame, 20, 0.5), ROAD)
    assert near(pixel(frame, 20, 8), GROUND)
    assert near(pixel(frame, 20, -8), GROUND)
    assert near(pixel(frame, 0, 0), EGO)
    edge = pixel(frame, 20, -2)
    assert edge[0] - edge[2] > 40, "the left edge of a lane by the middle is the yellow line"
    assert MIDDLE[0] - MIDDLE[2] > 40


def test_places_ahead_and_to_the_right_are_up_and_right() -> None:
    ego = Boxed(0, 0, 0.7, *CAR)
    ahead, right = np.array([math.cos(0.7), math.sin(0.7)]), np.array([-math.sin(0.7), math.cos(0.7)])
    x, y = 15 * ahead + 6 * right
    other = Boxed(x, y, 0.7 + math.pi / 2, *CAR)
    frame = draw(Texture([lane(0.7)], SIZE), SIZE, ego, [other])
    assert near(pixel(frame, 15, 6), VEHICLE)
    assert near(pixel(frame, 15, 8), VEHICLE), "it stands across: 2.4 m to either side"
    assert not near(pixel(frame, 17, 6), VEHICLE)
    assert not near(pixel(frame, 15, -6), VEHICLE)


def test_vehicles_out_of_sight_are_not_drawn() -> None:
    texture, ego = Texture([lane(0.0)], SIZE), Boxed(0, 0, 0, *CAR)
    alone = draw(texture, SIZE, ego)
    assert np.array_equal(alone, draw(texture, SIZE, ego, [Boxed(300, 0, 0, *CAR), Boxed(-40, 0, 0, *CAR)]))


def test_the_route_is_painted_on_a_copy() -> None:
    texture, ego = Texture([lane(0.0)], SIZE), Boxed(0, 0, 0, *CAR)
    before = draw(texture, SIZE, ego)
    routed = texture.with_route(lane(0.0).points)
    assert near(pixel(draw(routed, SIZE, ego), 10, 0), ROUTE)
    assert np.array_equal(draw(texture, SIZE, ego), before)


def test_junctions_have_no_lane_marks() -> None:
    plain = Texture([lane(0.0, in_junction=True)], SIZE)
    assert near(pixel(draw(plain, SIZE, Boxed(0, 0, 0, *CAR)), 20, -1.7), ROAD)
    assert len(np.unique(plain.pixels.reshape(-1, 3), axis=0)) < len(
        np.unique(Texture([lane(0.0)], SIZE).pixels.reshape(-1, 3), axis=0)
    )


def test_beyond_the_map_there_is_ground() -> None:
    frame = draw(Texture([lane(0.0)], SIZE), SIZE, Boxed(5000, 5000, 1.0, *CAR))
    assert near(pixel(frame, 20, 3), GROUND)


def test_large_maps_are_painted_more_coarsely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.carla.birdview.MOST_PIXELS", 10_000)
    texture = Texture([lane(0.0)], SIZE)
    assert texture.pixels.shape[0] * texture.pixels.shape[1] < 11_000
    assert near(pixel(draw(texture, SIZE, Boxed(0, 0, 0, *CAR)), 20, 0), ROAD)


def test_the_lanes_of_a_map_run_in_their_direction_and_fill_it() -> None:
    carla = pytest.importorskip("carla")
    from envs.carla.lite import maps

    town = carla.Map("loop", maps.loop())
    lanes = lanes_of(town)
    steps = [np.diff(strip.points, axis=0) for strip in lanes]
    for strip, step in zip(lanes, steps):
        forward = np.stack([np.cos(strip.yaw), np.sin(strip.yaw)], axis=1)[:-1]
        assert ((step * forward).sum(1) > 0).all()
    texture = Texture(lanes, SIZE)
    for waypoint in town.generate_waypoints(7.0):
        place, yaw = waypoint.transform.location, math.radians(waypoint.transform.rotation.yaw)
        frame = draw(texture, SIZE, Boxed(place.x, place.y, yaw, *CAR))
        assert near(pixel(frame, 3, 0), ROAD)
