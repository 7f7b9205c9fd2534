"""A vehicle's VehiclePhysicsControl and telemetry, as nested lists in the order of the wire.

What our model has goes out and comes back in. What it has not goes out as a neutral value and is ignored when it
comes back: the engine's moment of inertia, the clutch, the damping of single wheels, the stiffness along the wheel.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from envs.carla.lite.tyres import loads
from envs.carla.lite.vehicle import steer_rad
from envs.carla.lite.vehicle_spec import Curve, VehicleSpec
from envs.carla.lite.vehicle_state import Control, VehicleState, speed_mps
from utils.errors import check

_MOI, _CLUTCH_STRENGTH, _WHEEL_DAMPING, _MAX_LOAD, _LONG_STIFFNESS = 1.0, 10.0, 0.25, 2.0, 1000.0
_MOST_POINTS = 64


def physics_control(spec: VehicleSpec, state: VehicleState) -> list[Any]:
    """VehiclePhysicsControl of a vehicle; its wheels' positions are in the world and in cm, as CARLA's are."""
    gears = [[ratio, spec.down_ratio, spec.up_ratio] for ratio in spec.gear_ratios]
    return [
        [list(point) for point in spec.torque_curve],
        *(spec.max_rpm, _MOI, 0.0, spec.engine_damping, 0.0, True, spec.shift_s, _CLUTCH_STRENGTH),
        *(spec.final_ratio, gears, spec.mass_kg, spec.drag_coefficient, [0.0, 0.0, spec.cg_height_m]),
        [list(point) for point in spec.steering_curve],
        [_wheel(spec, place, state) for place in wheel_places(spec)],
        False,
    ]


def with_physics_control(spec: VehicleSpec, values: Sequence[Any]) -> VehicleSpec:
    """A vehicle changed by a VehiclePhysicsControl.

    Raises:
        UserError: a value is one that no vehicle can have.
    """
    torque, max_rpm, _, _, damping, _, _, shift_s, _, final, gears, mass, drag, com, steering, wheels, _ = (
        values
    )
    num = len(wheel_places(spec))
    check(len(wheels) == num, f"{spec.blueprint_id} has {num} wheels; got the physics of {len(wheels)}.")
    front, rear = wheels[: num // 2], wheels[num // 2 :]
    # friction is the only one that an axle cannot have for itself
    friction = _mean([wheel[0] for wheel in wheels])
    gears = gears or [[ratio, spec.down_ratio, spec.up_ratio] for ratio in spec.gear_ratios]
    check(len(gears) <= _MOST_POINTS, f"a vehicle has at most {_MOST_POINTS} gears; got {len(gears)}.")
    return replace(
        spec,
        torque_curve=_curve(torque, "torque_curve") or spec.torque_curve,
        steering_curve=_curve(steering, "steering_curve") or spec.steering_curve,
        max_rpm=_within(max_rpm, 1, 1e6, "max_rpm"),
        engine_damping=_within(damping, 0, 1e4, "damping_rate_zero_throttle_clutch_engaged"),
        shift_s=_within(shift_s, 0, 60, "gear_switch_time"),
        final_ratio=_within(final, 0, 1e3, "final_ratio"),
        gear_ratios=tuple(_within(gear[0], 0, 1e3, "gear ratio") for gear in gears),
        down_ratio=_within(gears[0][1], 0, 1, "down_ratio"),
        up_ratio=_within(gears[0][2], 0, 1, "up_ratio"),
        mass_kg=_within(mass, 1, 1e6, "mass"),
        drag_coefficient=_within(drag, 0, 1e3, "drag_coefficient"),
        cg_height_m=_within(com[2], -10, 10, "center_of_mass.z"),
        tyre_friction=_within(friction, 0, 100, "tire_friction"),
        max_steer_deg=_within(
            _mean([wheel[2] for wheel in front]), 0, 85, "max_steer_angle of the front wheels"
        ),
        wheel_radius_m=_within(_mean([wheel[3] for wheel in wheels]), 1, 1000, "radius") / 100,
        max_brake_nm=(_torque(front, 4, "max_brake_torque"), _torque(rear, 4, "max_brake_torque")),
        max_hand_brake_nm=_torque(rear, 5, "max_handbrake_torque"),
        stiffness_front=_within(_mean([wheel[7] for wheel in front]), 0, 1e4, "lat_stiff_value"),
        stiffness_rear=_within(_mean([wheel[7] for wheel in rear]), 0, 1e4, "lat_stiff_value"),
    )


def telemetry(spec: VehicleSpec, state: VehicleState, control: Control) -> list[Any]:
    """VehicleTelemetryData of a vehicle."""
    speed = speed_mps(state)
    wheels = [_wheel_telemetry(spec, place, state, speed) for place in wheel_places(spec)]
    drag_n = spec.air_drag * speed * abs(speed)
    return [speed, state.steer, control.throttle, control.brake, state.engine_rpm, state.gear, drag_n, wheels]


def wheel_places(spec: VehicleSpec) -> list[tuple[float, float]]:
    """Where the wheels are, m forward and m right: front left, front right, rear left, rear right; or front, rear."""
    half = spec.track_m / 2
    sides = (-half, half) if spec.number_of_wheels > 2 else (0.0,)
    return [(along, side) for along in (spec.front_axle_m, -spec.rear_axle_m) for side in sides]


def _wheel(spec: VehicleSpec, place: tuple[float, float], state: VehicleState) -> list[Any]:
    along, side = place
    is_front = along > 0
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    x, y = state.x + along * cos - side * sin, state.y + along * sin + side * cos
    return [
        *(
            spec.tyre_friction,
            _WHEEL_DAMPING,
            spec.max_steer_deg if is_front else 0.0,
            100 * spec.wheel_radius_m,
        ),
        *(spec.max_brake_nm[0 if is_front else 1], 0.0 if is_front else spec.max_hand_brake_nm),
        *(_MAX_LOAD, spec.stiffness_front if is_front else spec.stiffness_rear, _LONG_STIFFNESS),
        [100 * x, 100 * y, 100 * (state.z + spec.wheel_radius_m)],
    ]


def _wheel_telemetry(
    spec: VehicleSpec, place: tuple[float, float], state: VehicleState, speed: float
) -> list[float]:
    is_front = place[0] > 0
    per_axle = 2 if spec.number_of_wheels > 2 else 1
    load_n = loads(spec, state.forward_mps2)[0 if is_front else 1] / per_axle
    rest_n = loads(spec, 0.0)[0 if is_front else 1] / per_axle
    along_n, across_n = (force / per_axle for force in (state.front_n if is_front else state.rear_n))
    across = state.vy * math.cos(state.yaw) - state.vx * math.sin(state.yaw) + place[0] * state.yaw_rate
    slip = math.atan2(across, abs(speed)) if abs(speed) + abs(across) > 0.1 else 0.0
    if is_front:
        slip -= math.copysign(steer_rad(state, spec, speed), speed * state.steer)
    return [
        *(spec.tyre_friction, slip, 0.0, speed / spec.wheel_radius_m, load_n, load_n / rest_n),
        *(along_n * spec.wheel_radius_m, along_n, across_n, along_n / load_n, across_n / load_n),
    ]


def _curve(points: Sequence[Sequence[float]], name: str) -> Curve:
    xs = [point[0] for point in points]
    is_good = len(points) <= _MOST_POINTS and all(map(math.isfinite, xs)) and sorted(xs) == xs
    check(is_good, f"the {name} takes up to {_MOST_POINTS} points whose x values do not fall.")
    return tuple((float(x), _within(y, -1e5, 1e5, name)) for x, y in points)


def _torque(wheels: Sequence[Sequence[float]], field: int, name: str) -> float:
    return _within(_mean([wheel[field] for wheel in wheels]), 0, 1e6, name)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _within(value: float, low: float, high: float, name: str) -> float:
    check(low <= value <= high, f"the {name} of a vehicle must be from {low} to {high}; got {value}.")
    return float(value)
