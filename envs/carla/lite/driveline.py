"""Engine and gearbox: from the throttle to the force at the wheels."""

import math
from bisect import bisect_right

from envs.carla.lite.vehicle_spec import Curve, VehicleSpec
from envs.carla.lite.vehicle_state import Control, VehicleState, speed_mps

_RPM_PER_RAD_S = 60 / (2 * math.pi)


def interpolate(curve: Curve, at: float) -> float:
    """A curve's value between its points; beyond its ends that of the end."""
    if at <= curve[0][0]:
        return curve[0][1]
    if at >= curve[-1][0]:
        return curve[-1][1]
    i = bisect_right(curve, (at, math.inf))
    (x0, y0), (x1, y1) = curve[i - 1], curve[i]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def drive(state: VehicleState, spec: VehicleSpec, control: Control, dt: float) -> tuple[float, float]:
    """Shift if it is time to, and run the engine.

    Returns:
        the force at the wheels in N, negative in reverse, and the drag of the engine in N per m/s.
    """
    turns = abs(speed_mps(state)) / spec.wheel_radius_m * _RPM_PER_RAD_S * spec.final_ratio
    _choose_gear(state, spec, control, turns, dt)
    if state.gear == 0:
        state.engine_rpm = control.throttle * spec.max_rpm
        return 0.0, 0.0
    ratio = spec.gear_ratios[max(state.gear, 1) - 1]
    state.engine_rpm = turns * ratio
    if state.shift_left_s > 0:
        return 0.0, 0.0
    per_metre = ratio * spec.final_ratio / spec.wheel_radius_m
    drag = spec.engine_damping * (1 - control.throttle) * per_metre * per_metre
    if state.engine_rpm >= spec.max_rpm:
        return 0.0, drag
    push = control.throttle * interpolate(spec.torque_curve, state.engine_rpm) * per_metre
    return (-push if state.gear < 0 else push), drag


def _choose_gear(state: VehicleState, spec: VehicleSpec, control: Control, turns: float, dt: float) -> None:
    """`turns` is the engine's rpm in a gear of ratio 1."""
    state.shift_left_s = max(state.shift_left_s - dt, 0.0)
    top = len(spec.gear_ratios)
    if control.manual_gear_shift:
        state.gear = min(max(control.gear, -1), top)
    elif control.reverse:
        state.gear = -1
    elif state.gear < 1:
        state.gear = 1
    elif state.shift_left_s == 0:
        rpm = turns * spec.gear_ratios[state.gear - 1]
        if rpm > spec.up_ratio * spec.max_rpm and state.gear < top:
            state.gear += 1
            state.shift_left_s = spec.shift_s
        elif rpm < spec.down_ratio * spec.max_rpm and state.gear > 1:
            state.gear -= 1
