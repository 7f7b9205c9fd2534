import math
from typing import Any

import pytest

from envs.carla.lite.physics_control import physics_control, telemetry, wheel_places, with_physics_control
from envs.carla.lite.vehicle import Control, VehicleState, speed_mps, step
from envs.carla.lite.vehicle_spec import SPECS, VehicleSpec
from utils.errors import UserError

SPEC = SPECS["vehicle.lincoln.mkz_2020"]
MASS, WHEELS = 11, 15
FIELDS = 17


def top_after(spec: VehicleSpec, control: Control, seconds: float, **start: Any) -> VehicleState:
    state = VehicleState(**start)
    for _ in range(round(seconds / 0.05)):
        step(state, spec, control, 0.05)
    return state


@pytest.mark.parametrize("name", sorted(SPECS))
def test_what_goes_out_comes_back_as_the_same_vehicle(name: str) -> None:
    spec = SPECS[name]
    values = physics_control(spec, VehicleState(yaw=0.3))
    assert len(values) == FIELDS
    back = with_physics_control(spec, values)
    for field in ("torque_curve", "gear_ratios", "mass_kg", "steering_curve", "shift_s", "drag_coefficient"):
        assert getattr(back, field) == getattr(spec, field)
    for field in ("tyre_friction", "max_steer_deg", "wheel_radius_m", "stiffness_rear", "max_brake_nm"):
        assert getattr(back, field) == pytest.approx(getattr(spec, field))
    assert with_physics_control(back, physics_control(back, VehicleState())) == back


def test_it_fills_the_real_clients_struct() -> None:
    carla = pytest.importorskip("carla")
    values = physics_control(SPEC, VehicleState())
    wheel = values[WHEELS][0]
    names = ("tire_friction", "damping_rate", "max_steer_angle", "radius", "max_brake_torque")
    theirs = carla.WheelPhysicsControl(**dict(zip(names, wheel)))
    assert (theirs.max_steer_angle, theirs.radius) == pytest.approx((40, 35))
    curve = [carla.Vector2D(*point) for point in values[0]]
    assert carla.VehiclePhysicsControl(torque_curve=curve, mass=values[MASS]).mass == SPEC.mass_kg


def test_a_heavier_car_is_slower_and_worn_tyres_stop_later() -> None:
    values = physics_control(SPEC, VehicleState())
    values[MASS] = 2 * SPEC.mass_kg
    heavy = with_physics_control(SPEC, values)
    assert heavy.yaw_inertia == pytest.approx(2 * SPEC.yaw_inertia)
    gas = Control(throttle=1.0)
    assert top_after(heavy, gas, 5).vx < 0.8 * top_after(SPEC, gas, 5).vx
    values = physics_control(SPEC, VehicleState())
    for wheel in values[WHEELS]:
        wheel[0] *= 0.4
    worn = with_physics_control(SPEC, values)
    brake = Control(brake=1.0)
    assert top_after(worn, brake, 8, vx=20.0).x > 2 * top_after(SPEC, brake, 8, vx=20.0).x


def test_less_steering_turns_less() -> None:
    values = physics_control(SPEC, VehicleState())
    for wheel in values[WHEELS][:2]:
        wheel[2] = 10.0
    stiff = with_physics_control(SPEC, values)
    steer = Control(0.2, 0.5)
    assert top_after(stiff, steer, 2, vx=4.0).yaw < 0.5 * top_after(SPEC, steer, 2, vx=4.0).yaw


def test_missing_curves_and_gears_keep_what_was() -> None:
    values = physics_control(SPEC, VehicleState())
    values[0], values[10], values[14] = [], [], []
    back = with_physics_control(SPEC, values)
    assert (back.torque_curve, back.gear_ratios) == (SPEC.torque_curve, SPEC.gear_ratios)
    assert back.steering_curve == SPEC.steering_curve


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        (MASS, 0.0, "mass"),
        (MASS, math.nan, "mass"),
        (1, -5.0, "max_rpm"),
        (9, math.inf, "final_ratio"),
        (0, [[2.0, 1.0], [1.0, 1.0]], "torque_curve"),
        (14, [[math.nan, 1.0]], "steering_curve"),
        (10, [[1.0, 0.3, 7.0]], "up_ratio"),
        (WHEELS, [], "4 wheels"),
    ],
)
def test_what_no_vehicle_can_have_is_refused_by_name(field: int, value: object, word: str) -> None:
    values = physics_control(SPEC, VehicleState())
    values[field] = value
    with pytest.raises(UserError, match=word):
        with_physics_control(SPEC, values)


def test_wheels_are_where_they_are_in_the_world() -> None:
    assert wheel_places(SPEC)[0] == (SPEC.front_axle_m, -SPEC.track_m / 2)
    assert len(wheel_places(SPECS["vehicle.bh.crossbike"])) == 2
    wheels = physics_control(SPEC, VehicleState(x=10.0, yaw=math.pi / 2))[WHEELS]
    # facing +y, the front left wheel is ahead in y and on the +x side
    assert wheels[0][9] == pytest.approx([1000 + 50 * SPEC.track_m, 100 * SPEC.front_axle_m, 35])


def test_telemetry_tells_forces_that_explain_the_motion() -> None:
    control = Control(0.3, 0.1)
    state = top_after(SPEC, control, 3, vx=12.0)
    speed, steer, throttle, brake, rpm, gear, drag, wheels = telemetry(SPEC, state, control)
    assert (speed, steer, throttle, brake) == (pytest.approx(speed_mps(state)), 0.1, 0.3, 0.0)
    assert (rpm, gear) == (state.engine_rpm, state.gear)
    assert drag > 0
    loads, side = [wheel[4] for wheel in wheels], [wheel[8] for wheel in wheels]
    assert sum(loads) == pytest.approx(SPEC.mass_kg * 9.81)
    across = state.ay * math.cos(state.yaw) - state.ax * math.sin(state.yaw)
    assert sum(side) == pytest.approx(SPEC.mass_kg * across, rel=0.1)
    assert all(wheel[1] < 0 for wheel in wheels)  # the tyres slip outwards
    assert wheels[0][7] > 0 == wheels[2][7]  # driven in front
    assert all(len(wheel) == 11 and all(map(math.isfinite, wheel)) for wheel in wheels)
