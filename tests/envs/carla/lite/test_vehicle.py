import math
import random
from collections.abc import Callable

import pytest

from envs.carla.lite.vehicle import Control, VehicleState, flat, speed_mps, steer_rad, step
from envs.carla.lite.vehicle_spec import SPECS, VehicleSpec
from envs.carla.lite.vehicle_state import add_angular_impulse, add_force, add_impulse, angular_velocity

G = 9.81
SALOONS = ["vehicle.tesla.model3", "vehicle.lincoln.mkz_2020", "vehicle.mini.cooper_s"]
MODEL3, MKZ = SPECS[SALOONS[0]], SPECS[SALOONS[1]]


def drive(state: VehicleState, spec: VehicleSpec, control: Control, seconds: float, dt: float = 0.05) -> None:
    for _ in range(round(seconds / dt)):
        step(state, spec, control, dt)


def energy(state: VehicleState, spec: VehicleSpec) -> float:
    speed2 = state.vx**2 + state.vy**2
    return spec.mass_kg * speed2 / 2 + spec.yaw_inertia * state.yaw_rate**2 / 2


def wild(seed: int) -> Callable[[], Control]:
    """Controls all over the place, each held for a while."""
    rng, control = random.Random(seed), Control()

    def act() -> Control:
        nonlocal control
        if rng.random() < 0.1:
            hand, reverse = rng.random() < 0.1, rng.random() < 0.2
            control = Control(rng.random(), rng.uniform(-1, 1), max(rng.uniform(-1, 1), 0), hand, reverse)
        return control

    return act


@pytest.mark.parametrize("name", SALOONS)
@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1])
def test_a_saloon_is_as_fast_as_saloons_are_and_stops_as_they_do(name: str, dt: float) -> None:
    spec, state, time_s = SPECS[name], VehicleState(), 0.0
    while speed_mps(state) < 100 / 3.6:
        step(state, spec, Control(throttle=1.0), dt)
        time_s += dt
    assert 7 <= time_s <= 10
    state.vx, start = 100 / 3.6, state.x
    while state.vx > 0:
        step(state, spec, Control(brake=1.0), dt)
    assert 36 <= state.x - start <= 45


@pytest.mark.parametrize("name", SALOONS)
@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1])
def test_a_saloon_corners_at_about_nine_tenths_of_g(name: str, dt: float) -> None:
    spec, best = SPECS[name], 0.0
    for steer in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8):
        state = VehicleState(vx=14.0)
        for i in range(round(4 / dt)):
            gas = min(max(14 - speed_mps(state), 0.0), 1.0)
            step(state, spec, Control(gas, steer), dt)
            if i * dt > 3:
                best = max(best, abs(state.ay * math.cos(state.yaw) - state.ax * math.sin(state.yaw)) / G)
    assert 0.8 <= best <= 1.0


def test_the_step_hardly_changes_the_path() -> None:
    ends = []
    for dt in (0.005, 0.05):
        state = VehicleState(vx=15.0)
        drive(state, MKZ, Control(0.3, 0.1), 3.0, dt)
        drive(state, MKZ, Control(0.3, -0.1), 3.0, dt)
        ends.append(state)
    assert math.hypot(ends[0].x - ends[1].x, ends[0].y - ends[1].y) < 1.5
    assert ends[0].yaw == pytest.approx(ends[1].yaw, abs=0.05)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_vehicle_stands_still_starts_and_stops(name: str) -> None:
    spec, state = SPECS[name], VehicleState(yaw=0.7)
    drive(state, spec, Control(steer=1.0), 2.0)
    assert (state.x, state.y, state.z, state.yaw, state.vx, state.yaw_rate) == (0, 0, 0, 0.7, 0, 0)
    drive(state, spec, Control(), 0.5)
    drive(state, spec, Control(throttle=1.0), 4.0)
    assert speed_mps(state) > 2
    assert math.atan2(state.y, state.x) == pytest.approx(0.7)
    drive(state, spec, Control(brake=1.0, steer=0.5), 10.0)
    assert (state.vx, state.vy, state.yaw_rate) == (0, 0, 0)


def test_it_starts_smoothly() -> None:
    state, last = VehicleState(), 0.0
    for i in range(40):
        step(state, MODEL3, Control(0.3, 0.5), 0.05)
        rise, last = state.forward_mps2 - last, state.forward_mps2
        assert i == 0 or abs(rise) < 0.5
        assert state.vx > 0


def test_a_slow_turn_is_the_kinematic_one() -> None:
    state = VehicleState()
    drive(state, MODEL3, Control(0.15, 0.5), 4.0)
    speed = speed_mps(state)
    radius = MODEL3.wheelbase_m / math.tan(steer_rad(state, MODEL3, speed))
    assert 1 < speed < 4
    assert state.yaw_rate == pytest.approx(speed / radius, rel=0.05)
    # the rear axle does not slide
    right = state.vy * math.cos(state.yaw) - state.vx * math.sin(state.yaw)
    assert right == pytest.approx(MODEL3.rear_axle_m * state.yaw_rate, abs=0.05)
    assert state.yaw > 0


def test_reverse_goes_back_and_turns_the_other_way() -> None:
    state = VehicleState()
    drive(state, MKZ, Control(0.5, 0.5, reverse=True), 2.0)
    assert state.gear == -1
    assert state.x < -1
    assert state.yaw < -0.1
    drive(state, MKZ, Control(0.5), 4.0)
    assert state.gear >= 1
    assert speed_mps(state) > 0


def test_the_hand_brake_throws_the_tail_out() -> None:
    turned = []
    for hand_brake in (False, True):
        state = VehicleState(vx=16.0)
        drive(state, MKZ, Control(steer=0.5), 0.4)
        drive(state, MKZ, Control(steer=0.5, hand_brake=hand_brake), 1.2)
        side = state.vy * math.cos(state.yaw) - state.vx * math.sin(state.yaw)
        turned.append((state.yaw, abs(math.atan2(side, speed_mps(state)))))
    assert turned[1][0] > turned[0][0] + 0.2
    assert turned[1][1] > 0.4 > 3 * turned[0][1]


@pytest.mark.parametrize("name", SALOONS[:2])
@pytest.mark.parametrize("brake", [0.3, 0.6, 1.0])
def test_braking_in_a_bend_does_not_throw_it_round(name: str, brake: float) -> None:
    spec, state = SPECS[name], VehicleState(vx=16.0)
    drive(state, spec, Control(steer=0.4), 0.5)
    while speed_mps(state) > 3:
        step(state, spec, Control(steer=0.4, brake=brake), 0.05)
        right = state.vy * math.cos(state.yaw) - state.vx * math.sin(state.yaw)
        assert abs(math.atan2(right, speed_mps(state))) < 0.3


def test_the_hand_brake_holds_a_slope_and_no_brake_does_not() -> None:
    def hill(x: float, y: float) -> float:
        return 0.1 * x

    for hand_brake, moves in ((True, False), (False, True)):
        state = VehicleState()
        for _ in range(40):
            step(state, MODEL3, Control(hand_brake=hand_brake), 0.05, height=hill)
        assert (state.x < -0.5) == moves
        assert state.x == 0 or moves
        assert state.pitch == pytest.approx(math.atan(0.1))


@pytest.mark.parametrize("name", sorted(SPECS))
@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1])
def test_energy_never_grows_without_throttle(name: str, dt: float) -> None:
    spec, rng = SPECS[name], random.Random(name)
    for _ in range(6):
        state = VehicleState(
            vx=rng.uniform(-30, 30),
            vy=rng.uniform(-20, 20),
            yaw=rng.uniform(-3, 3),
            yaw_rate=rng.uniform(-4, 4),
        )
        last = energy(state, spec)
        act = wild(rng.randrange(1000))
        for _ in range(60):
            control = act()
            control.throttle = 0.0
            step(state, spec, control, dt)
            now = energy(state, spec)
            assert now <= last * (1 + 1e-9)
            last = now


def test_left_is_the_mirror_of_right() -> None:
    for seed in range(5):
        act, one, two = wild(seed), VehicleState(vx=8.0), VehicleState(vx=8.0)
        for _ in range(300):
            control = act()
            step(one, MODEL3, control, 0.05)
            mirrored = Control(
                control.throttle, -control.steer, control.brake, control.hand_brake, control.reverse
            )
            step(two, MODEL3, mirrored, 0.05)
            assert (one.x, one.y, one.yaw, one.yaw_rate) == (two.x, -two.y, -two.yaw, -two.yaw_rate)


def test_wild_driving_repeats_to_the_bit_and_stays_sane() -> None:
    for name, spec in SPECS.items():
        states = []
        for _ in range(2):
            act, state = wild(7), VehicleState()
            for i in range(400):
                step(state, spec, act(), 0.1 if i % 2 else 0.03)
                assert math.hypot(state.vx, state.vy) < 90, name
                assert abs(state.yaw_rate) < 40, name
            states.append(state)
        assert states[0] == states[1]


def test_beside_the_road_everything_is_slower() -> None:
    def grass(x: float, y: float) -> float:
        return 0.5

    on, off = VehicleState(), VehicleState()
    for _ in range(100):
        step(on, MODEL3, Control(throttle=1.0), 0.05)
        step(off, MODEL3, Control(throttle=1.0), 0.05, grass)
    assert off.vx < 0.85 * on.vx
    # it rolls out sooner, but the brakes need longer
    for control, is_shorter in ((Control(), True), (Control(brake=1.0), False)):
        ways = []
        for grip in (None, grass):
            state = VehicleState(vx=15.0)
            for _ in range(60):
                step(state, MODEL3, control, 0.05, *([grip] if grip else []))
            ways.append(state.x)
        assert (ways[1] < 0.95 * ways[0]) == is_shorter
        assert (ways[1] > 1.3 * ways[0]) != is_shorter


def test_ice_under_the_front_wheels_alone_lets_it_plough_on() -> None:
    dry, icy = VehicleState(vx=12.0), VehicleState(vx=12.0)
    for _ in range(20):
        step(dry, MODEL3, Control(steer=0.4), 0.05)
        front = icy.x + MODEL3.front_axle_m * math.cos(icy.yaw) / 2
        step(icy, MODEL3, Control(steer=0.4), 0.05, lambda x, y, front=front: 0.1 if x > front else 1.0)
    assert abs(icy.yaw) < 0.4 * dry.yaw


def test_the_gearbox_shifts_up_and_down_and_obeys_a_manual_driver() -> None:
    state, seen = VehicleState(), []
    for control in (Control(throttle=1.0), Control(brake=0.5)):
        for _ in range(600):
            step(state, MKZ, control, 0.05)
            seen.append(state.gear)
            assert state.engine_rpm < 1.2 * MKZ.max_rpm
    assert max(seen) >= len(MKZ.gear_ratios) - 1
    assert seen[-1] == 1
    drive(state, MKZ, Control(throttle=1.0, manual_gear_shift=True, gear=1), 15.0)
    first = speed_mps(state)
    drive(state, MKZ, Control(throttle=1.0, manual_gear_shift=True, gear=2), 15.0)
    assert state.gear == 2
    assert state.engine_rpm < 1.02 * MKZ.max_rpm
    assert speed_mps(state) > 1.3 * first
    drive(state, MKZ, Control(throttle=1.0, manual_gear_shift=True, gear=0), 5.0)
    assert speed_mps(state) < 1.5 * first


def test_it_falls_lands_and_follows_hills() -> None:
    def hill(x: float, y: float) -> float:
        return 2.0 * math.sin(x / 20)

    state = VehicleState(z=1.0)
    step(state, MODEL3, Control(throttle=1.0), 0.05)
    assert state.vx == 0
    assert state.az == pytest.approx(-G)
    drive(state, MODEL3, Control(), 1.0)
    assert (state.z, state.vz) == (0.0, 0.0)
    state = VehicleState(vx=8.0)
    for _ in range(200):
        step(state, MODEL3, Control(throttle=0.3), 0.05, height=hill)
        assert state.z == pytest.approx(hill(state.x, 0), abs=0.05)
        assert state.pitch == pytest.approx(math.atan(0.1 * math.cos(state.x / 20)), abs=0.02)
    state = VehicleState(z=5.0, has_gravity=False)
    drive(state, MODEL3, Control(), 1.0)
    assert state.z == 5.0


def test_a_rising_nose_turns_about_the_axis_to_the_left() -> None:
    def valley(x: float, y: float) -> float:
        return 0.01 * (x * x + y * y)

    for yaw, axis in ((0.0, (0, -1, 0)), (math.pi / 2, (1, 0, 0))):
        state = VehicleState(vx=5 * math.cos(yaw), vy=5 * math.sin(yaw), yaw=yaw)
        for _ in range(20):
            step(state, MODEL3, Control(0.3), 0.05, height=valley)
        rate = 0.02 * speed_mps(state)
        assert angular_velocity(state) == pytest.approx([rate * part for part in axis], abs=0.05 * rate)


def test_on_flat_ground_height_pitch_and_roll_stay_exactly_as_they_are() -> None:
    state, act = VehicleState(vx=5.0), wild(3)
    for _ in range(200):
        step(state, MODEL3, act(), 0.05, height=lambda x, y: 0.0)
        assert (state.z, state.pitch, state.roll, state.vz) == (0, 0, 0, 0)


def test_pushes_from_outside_do_what_they_should() -> None:
    state = VehicleState(z=100.0)
    add_impulse(state, MODEL3, (MODEL3.mass_kg * 3, 0.0, 0.0))
    add_angular_impulse(state, MODEL3, MODEL3.yaw_inertia * 0.5)
    assert (state.vx, state.yaw_rate) == (pytest.approx(3), pytest.approx(0.5))
    add_force(state, (0.0, MODEL3.mass_kg * 2, 0.0), torque_z=-MODEL3.yaw_inertia)
    add_force(state, (0.0, MODEL3.mass_kg * 2, 0.0))
    step(state, MODEL3, Control(), 0.1)
    assert (state.vy, state.yaw_rate) == (pytest.approx(0.4), pytest.approx(0.4))
    step(state, MODEL3, Control(), 0.1)
    assert state.vy == pytest.approx(0.4)


def test_a_constant_velocity_is_kept_in_the_vehicles_own_axes() -> None:
    state = VehicleState(yaw=1.0, constant_velocity=(7.0, 0.0, 0.0))
    drive(state, MODEL3, Control(brake=1.0, steer=0.2), 2.0)
    assert speed_mps(state) == pytest.approx(7.0)
    assert state.yaw > 1.1
    state.constant_velocity = None
    drive(state, MODEL3, Control(brake=1.0), 3.0)
    assert speed_mps(state) == 0


def test_without_physics_nothing_moves() -> None:
    state = VehicleState(x=3.0, z=4.0, vx=5.0, yaw_rate=1.0, is_simulated=False)
    step(state, MODEL3, Control(throttle=1.0), 0.05)
    assert (state.x, state.z, state.vx, state.yaw_rate) == (3.0, 4.0, 0.0, 0.0)


def test_acceleration_is_the_change_of_velocity() -> None:
    state, act = VehicleState(), wild(11)
    for _ in range(100):
        before = state.vx, state.vy
        step(state, MODEL3, act(), 0.05, height=flat)
        assert state.ax == pytest.approx((state.vx - before[0]) / 0.05)
        assert state.ay == pytest.approx((state.vy - before[1]) / 0.05)
