import math
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from envs.carla.lite.boxes import PropGrid, Shape, overlap
from envs.carla.lite.collisions import Body, Contact, find_contacts, resolve
from envs.carla.lite.vehicle_spec import SPECS
from envs.carla.lite.vehicle_state import VehicleState

SPEC = SPECS["vehicle.tesla.model3"]
LENGTH, WIDTH = 2 * SPEC.extent[0], 2 * SPEC.extent[1]


@dataclass(frozen=True)
class Wall:
    centre: tuple[float, float, float]
    extent: tuple[float, float, float] = (0.5, 5.0, 1.0)
    yaw: float = 0.0
    label: int = 4


def car(actor_id: int, **state: Any) -> Body:
    return Body(actor_id, SPEC.label, VehicleState(**state), SPEC.extent, SPEC.mass_kg, SPEC.yaw_inertia)


def momentum(bodies: list[Body]) -> tuple[float, float, float]:
    """Along x, along y, and about the origin."""
    px = sum(body.mass_kg * body.state.vx for body in bodies)
    py = sum(body.mass_kg * body.state.vy for body in bodies)
    spins = (
        body.yaw_inertia * body.state.yaw_rate
        + body.mass_kg * (body.state.x * body.state.vy - body.state.y * body.state.vx)
        for body in bodies
    )
    return px, py, sum(spins)


def energy(bodies: list[Body]) -> float:
    return sum(
        body.mass_kg * (body.state.vx**2 + body.state.vy**2) / 2
        + body.yaw_inertia * body.state.yaw_rate**2 / 2
        for body in bodies
    )


def collide(bodies: list[Body], *walls: Wall) -> list[Contact]:
    return resolve(bodies, find_contacts(bodies, PropGrid(walls)))


def crowd(seed: int, count: int = 30, size: float = 30.0) -> list[Body]:
    rng = random.Random(seed)
    turn = math.pi
    return [
        car(
            i + 1,
            x=rng.uniform(0, size),
            y=rng.uniform(0, size),
            yaw=rng.uniform(-turn, turn),
            vx=rng.uniform(-9, 9),
            vy=rng.uniform(-9, 9),
            yaw_rate=rng.uniform(-1, 1),
        )
        for i in range(count)
    ]


def test_a_head_on_crash_stops_both_and_both_sensors_hear_of_it() -> None:
    one, two = car(1, vx=10.0), car(2, x=LENGTH - 0.1, yaw=math.pi, vx=-10.0)
    first, second = collide([one, two])
    assert abs(one.state.vx) < 1.5
    assert one.state.vx == pytest.approx(-two.state.vx)
    assert (first.actor_id, first.other_id, first.other_label) == (1, 2, 14)
    assert (second.actor_id, second.other_id) == (2, 1)
    assert first.normal == pytest.approx((-1, 0, 0))
    assert second.normal == pytest.approx((1, 0, 0))
    # J = m dv, with 10 % of the closing speed coming back
    assert first.impulse[0] == pytest.approx(-SPEC.mass_kg * 11.0, rel=0.02)
    assert second.impulse == pytest.approx(tuple(-part for part in first.impulse))
    assert two.state.x - one.state.x == pytest.approx(LENGTH, abs=0.01)


def test_a_car_stops_at_a_wall_and_the_wall_is_named() -> None:
    body = car(7, x=-SPEC.extent[0] - 0.4, vx=15.0)
    (contact,) = collide([body], Wall((50.0, 0.0, 1.0)), Wall((0.0, 0.0, 1.0)))
    assert -2 < body.state.vx <= 0
    assert (contact.other_id, contact.other_label, contact.prop) == (0, 4, 1)
    assert contact.impulse[0] == pytest.approx(-SPEC.mass_kg * 16.5, rel=0.02)
    for _ in range(5):
        body.state.vx = 1.0
        body.state.x += 0.05
        collide([body], Wall((0.0, 0.0, 1.0)))
    assert body.state.x == pytest.approx(-SPEC.extent[0] - 0.5, abs=0.02)


def test_a_blow_shows_in_the_acceleration_of_its_step() -> None:
    body = car(1, x=-SPEC.extent[0] - 0.4, vx=15.0, ax=1.0)
    resolve([body], find_contacts([body], PropGrid([Wall((0.0, 0.0, 1.0))])), dt=0.05)
    assert body.state.ax == pytest.approx(1 - 16.5 / 0.05, rel=0.02)


def test_a_glancing_blow_turns_the_car_along_the_wall() -> None:
    reach = SPEC.extent[0] * math.cos(1.2) + SPEC.extent[1] * math.sin(1.2)
    body = car(1, x=-0.45 - reach, yaw=1.2, vx=10 * math.cos(1.2), vy=10 * math.sin(1.2))
    wall = Wall((0.0, 0.0, 1.0), (0.5, 50.0, 1.0))
    (contact,) = collide([body], wall)
    assert contact.normal == pytest.approx((-1, 0, 0))
    assert body.state.vy > 0.8 * 10 * math.sin(1.2)
    assert body.state.yaw_rate > 0
    # Coulomb: a wall that is slid along rubs as hard as it pushes times the friction
    assert contact.impulse[1] == pytest.approx(0.4 * contact.impulse[0], rel=0.01)


def test_bodies_above_or_below_do_not_touch() -> None:
    one, two = car(1), car(2, x=1.0, z=2 * SPEC.extent[2] + 0.01)
    assert not find_contacts([one, two])
    two.state.z -= 0.1
    assert len(find_contacts([one, two])) == 1
    assert not find_contacts([one], PropGrid([Wall((0.0, 0.0, 6.0))]))


@pytest.mark.parametrize(("gap", "touches"), [(-0.01, True), (0.01, False)])
def test_turned_boxes_touch_where_their_corners_do(gap: float, touches: bool) -> None:
    reach = SPEC.extent[0] * math.cos(0.6) + SPEC.extent[1] * math.sin(0.6)
    one, two = car(1, yaw=0.6), car(2, x=reach + SPEC.extent[0] + gap)
    assert bool(find_contacts([one, two])) == touches


def test_overlap_agrees_with_sampling_points_of_both_boxes() -> None:
    rng, num_touching = random.Random(0), 0
    grid = [i / 20 for i in range(-20, 21)]
    for _ in range(150):
        shapes = []
        for _ in range(2):
            yaw = rng.uniform(-3, 3)
            cos, sin = math.cos(yaw), math.sin(yaw)
            place = rng.uniform(-3, 3), rng.uniform(-3, 3)
            shapes.append(Shape(*place, cos, sin, rng.uniform(0.3, 3), rng.uniform(0.3, 3), 0, 1))
        one, two = shapes
        held = 0
        for i in grid:
            for j in grid:
                along, across = i * one.half_length, j * one.half_width
                x = one.x + along * one.cos - across * one.sin - two.x
                y = one.y + along * one.sin + across * one.cos - two.y
                held += (
                    abs(x * two.cos + y * two.sin) <= two.half_length
                    and abs(y * two.cos - x * two.sin) <= two.half_width
                )
        touch = overlap(one, two)
        if touch is None:
            assert not held
        else:
            num_touching += 1
            nx, ny, depth, *_ = touch
            moved = one._replace(x=one.x + nx * (depth + 1e-6), y=one.y + ny * (depth + 1e-6))
            assert overlap(moved, two) is None
            # the least push out: a little less does not do
            nearly = one._replace(x=one.x + nx * (depth - 1e-3), y=one.y + ny * (depth - 1e-3))
            assert overlap(nearly, two) is not None
    assert 30 < num_touching < 140


def test_momentum_stays_and_energy_does_not_grow() -> None:
    for seed in range(10):
        bodies = crowd(seed)
        contacts = find_contacts(bodies)
        before, heat = momentum(bodies), energy(bodies)
        # the moves apart change the angular momentum of place; the impulses alone must not
        still = [replace(contact, depth=0.0) for contact in contacts]
        resolve(bodies, still)
        assert len(contacts) > 10
        ids = [(contact.actor_id, contact.other_id) for contact in contacts]
        assert ids == sorted(ids)
        assert momentum(bodies) == pytest.approx(before, abs=1e-3)
        assert energy(bodies) <= heat


def test_the_result_does_not_depend_on_the_order_of_the_bodies() -> None:
    ways = []
    for order in range(4):
        bodies = crowd(3)
        random.Random(order).shuffle(bodies)
        events = []
        for _ in range(5):
            events.append(collide(bodies, Wall((10.0, 10.0, 1.0))))
        ways.append((sorted((body.actor_id, repr(body.state)) for body in bodies), events))
    assert all(way == ways[0] for way in ways)


def test_cars_pushed_together_come_apart() -> None:
    bodies = crowd(1, 12, 12.0)
    for body in bodies:
        body.state.vx = body.state.vy = body.state.yaw_rate = 0.0
    depths = []
    for _ in range(200):
        contacts = find_contacts(bodies)
        depths.append(max((contact.depth for contact in contacts), default=0.0))
        resolve(bodies, contacts)
        assert energy(bodies) == 0
    assert depths[0] > 1
    assert depths[-1] < 0.05


def test_a_blow_goes_through_a_row_of_cars() -> None:
    bodies = [car(i, x=i * (LENGTH - 0.01)) for i in range(1, 5)]
    bodies[0].state.vx = 12.0
    events = collide(bodies)
    assert len(events) == 6
    speeds = [body.state.vx for body in bodies]
    assert speeds[-1] > 1
    assert all(ahead > behind - 1.5 for behind, ahead in pairwise(speeds))


def test_what_nothing_moves_stays_and_two_such_are_left_alone() -> None:
    bench, cone = (Body(i, 20, VehicleState(x=0.1 * i), (0.5, 0.5, 0.5), math.inf) for i in (1, 2))
    assert not find_contacts([bench, cone])
    body = car(3, x=-2.6, vx=5.0)
    events = collide([bench, body])
    assert (bench.state.x, bench.state.vx) == (0.1, 0.0)
    assert body.state.vx <= 0
    assert {event.actor_id for event in events} == {1, 3}


def test_the_grid_finds_what_a_search_through_all_props_finds() -> None:
    rng = random.Random(5)
    walls = [
        Wall(
            (rng.uniform(-100, 100), rng.uniform(-100, 100), 1.0),
            (rng.uniform(0.1, 20), rng.uniform(0.1, 3), 1.0),
            rng.uniform(-3, 3),
        )
        for _ in range(2000)
    ]
    grid = PropGrid(walls)
    num = 0
    for _ in range(50):
        body = car(1, x=rng.uniform(-110, 110), y=rng.uniform(-110, 110), yaw=rng.uniform(-3, 3))
        shape = body.shape()
        expected = [i for i, prop in enumerate(grid.shapes) if overlap(shape, prop)]
        assert [contact.prop for contact in find_contacts([body], grid)] == expected
        num += len(expected)
    assert num > 50
