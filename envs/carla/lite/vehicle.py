"""How a vehicle moves: a dynamic bicycle model whose tyres have limits, in plain floats.

Each substep first changes the speed along the body (engine, brakes, drags), then lets both axles' tyres push against
their sideways slip. A tyre pushes with its cornering stiffness times its slip angle, up to what the friction circle
leaves beside braking and driving. The pushes of both axles are solved together for the end of the substep (implicit
Euler), which has two good effects: any time step is stable and loses energy, as tyres do, and at walking pace, where
a slip angle means nothing, the model turns smoothly into the kinematic bicycle and stands still.

Left out: suspension, roll and pitch of the body on its springs, slip of single wheels, side winds. The wheels of one
axle are one wheel. ABS keeps the wheels from locking and traction control from spinning.
"""

import math
from collections.abc import Callable

from envs.carla.lite.driveline import drive, interpolate
from envs.carla.lite.tyres import corner, loads, within
from envs.carla.lite.vehicle_spec import GRAVITY_MPS2, VehicleSpec
from envs.carla.lite.vehicle_state import Control, VehicleState, add_angular_impulse, add_impulse, speed_mps

__all__ = ["Control", "VehicleState", "dry_road", "flat", "speed_mps", "steer_rad", "step"]

MAX_SUBSTEP_S = 0.025
"""longer steps are divided"""
_USABLE = 0.97
"""share of the friction circle that braking and driving may take"""
_FRONT_SIDE = 0.88
"""share of their friction with which the front tyres hold sideways: they let go first, as carmakers see to"""
_BARELY_MPS = 0.05
"""a vehicle this slow has no slide to speak of: its brakes hold it"""
_STILL = 1e-4
"""m/s and rad/s that a stopped vehicle forgets"""
_ROLLING = 0.013
"""rolling resistance of a hard road, share of the weight"""
_SOFT_ROLLING = 0.15
"""what it grows by where there is no grip at all"""
_STEER_PER_S = 4.0
"""turns of the steering wheel from straight to full in a second"""
_CLEARANCE_M = 0.02
"""a vehicle at most this high above the ground touches it"""

Field = Callable[[float, float], float]
"""of x and y"""


def dry_road(x: float, y: float) -> float:
    """Full grip everywhere."""
    return 1.0


def flat(x: float, y: float) -> float:
    """Height 0 everywhere."""
    return 0.0


def step(
    state: VehicleState,
    spec: VehicleSpec,
    control: Control,
    dt: float,
    grip: Field = dry_road,
    height: Field = flat,
) -> None:
    """Move a vehicle by `dt` seconds, in place. The same inputs give the same bits.

    Args:
        state: what changes.
        spec: what the vehicle is.
        control: what its driver does.
        dt: up to 0.1 s or so.
        grip: share of the dry road's friction under a point, 1 on the road; below 1 it also rolls harder.
        height: of the ground under a point, m.
    """
    if not state.is_simulated:
        _rest(state)
        return
    before = state.vx, state.vy, state.vz
    _push(state, spec, dt)
    if state.constant_velocity is not None:
        _hold_velocity(state)
    is_grounded = state.z <= height(state.x, state.y) + _CLEARANCE_M
    if is_grounded:
        _turn_wheels(state, control, dt)
        engine = drive(state, spec, control, dt)
        num = math.ceil(dt / MAX_SUBSTEP_S - 1e-9)
        for _ in range(num):
            _roll(state, spec, control, engine, dt / num, grip)
    else:
        _move(state, dt)
        state.front_n = state.rear_n = (0.0, 0.0)
    if state.constant_velocity is not None:
        _hold_velocity(state)
    _follow_ground(state, spec, dt, height)
    state.ax = (state.vx - before[0]) / dt
    state.ay = (state.vy - before[1]) / dt
    state.az = (state.vz - before[2]) / dt
    state.forward_mps2 = state.ax * math.cos(state.yaw) + state.ay * math.sin(state.yaw)


def steer_rad(state: VehicleState, spec: VehicleSpec, speed: float) -> float:
    """Angle of the front wheels at a speed in m/s, positive to the right."""
    return state.steer * spec.max_steer_rad * interpolate(spec.steering_curve, abs(speed) * 3.6)


def _rest(state: VehicleState) -> None:
    state.vx = state.vy = state.vz = state.ax = state.ay = state.az = 0.0
    state.pitch_rate = state.yaw_rate = state.forward_mps2 = 0.0
    state.front_n = state.rear_n = (0.0, 0.0)
    state.force = (0.0, 0.0, 0.0, 0.0)


def _push(state: VehicleState, spec: VehicleSpec, dt: float) -> None:
    if any(state.force):
        x, y, z, torque = state.force
        add_impulse(state, spec, (x * dt, y * dt, z * dt))
        add_angular_impulse(state, spec, torque * dt)
        state.force = (0.0, 0.0, 0.0, 0.0)


def _hold_velocity(state: VehicleState) -> None:
    forward, right, up = state.constant_velocity or (0.0, 0.0, 0.0)
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    state.vx, state.vy = forward * cos - right * sin, forward * sin + right * cos
    if up:
        state.vz = up


def _turn_wheels(state: VehicleState, control: Control, dt: float) -> None:
    reach = _STEER_PER_S * dt
    state.steer += min(max(control.steer - state.steer, -reach), reach)


def _roll(
    state: VehicleState,
    spec: VehicleSpec,
    control: Control,
    engine: tuple[float, float],
    dt: float,
    grip: Field,
) -> None:
    """One substep on the ground; `engine` is its push in N and its drag in N per m/s."""
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    a, b, mass = spec.front_axle_m, spec.rear_axle_m, spec.mass_kg
    grip_front = grip(state.x + a * cos, state.y + a * sin)
    grip_rear = grip(state.x - b * cos, state.y - b * sin)
    load_front, load_rear = loads(spec, state.forward_mps2)
    most_front = spec.tyre_friction * grip_front * load_front
    most_rear = spec.tyre_friction * grip_rear * load_rear
    forward = state.vx * cos + state.vy * sin
    right = state.vy * cos - state.vx * sin
    wheel = steer_rad(state, spec, forward)

    # along the body: the engine and the slope, then everything that can only slow it down
    drive_front, drive_rear = _driving(state, spec, engine[0], most_front, most_rear)
    brake_front, brake_rear = _braking(state, spec, control, forward, right, most_front, most_rear)
    softness = max(1 - (grip_front + grip_rear) / 2, 0.0)
    resistance = (_ROLLING + _SOFT_ROLLING * softness) * (load_front + load_rear)
    resistance += (engine[1] + spec.air_drag * abs(forward)) * abs(forward)
    forward += ((drive_front + drive_rear) / mass - _slope(state)) * dt
    slower = (brake_front + brake_rear + resistance) * dt / mass
    forward = math.copysign(max(abs(forward) - slower, 0.0), forward)
    is_stopped = forward == 0

    # across: what the friction circle leaves to the tyres
    side_front = _FRONT_SIDE * _left_of(most_front, abs(drive_front) + brake_front)
    side_rear = _left_of(most_rear, abs(drive_rear) + brake_rear)
    front = spec.stiffness_front * grip_front * load_front, side_front
    rear = spec.stiffness_rear * grip_rear * load_rear, side_rear
    forward, right, rate, side_n = corner(spec, (forward, right, state.yaw_rate), wheel, front, rear, dt)

    if is_stopped and abs(forward) + abs(right) + abs(rate) < _STILL:
        forward = right = rate = 0.0
    state.front_n = drive_front - math.copysign(brake_front, forward), side_n[0]
    state.rear_n = drive_rear - math.copysign(brake_rear, forward), side_n[1]
    state.vx, state.vy, state.yaw_rate = forward * cos - right * sin, forward * sin + right * cos, rate
    _move(state, dt)


def _driving(
    state: VehicleState, spec: VehicleSpec, engine_n: float, most_front: float, most_rear: float
) -> tuple[float, float]:
    """Force of the engine at each axle, N. Traction control: it gets what cornering left of the friction circle."""
    left_front = _USABLE * _left_of(most_front, state.front_n[1])
    left_rear = _USABLE * _left_of(most_rear, state.rear_n[1])
    share = spec.drive_front
    return within(engine_n * share, left_front), within(engine_n * (1 - share), left_rear)


def _braking(
    state: VehicleState,
    spec: VehicleSpec,
    control: Control,
    forward: float,
    right: float,
    most_front: float,
    most_rear: float,
) -> tuple[float, float]:
    """Force of the brakes at each axle, N. Stability control: the rear ones, too, leave to cornering what it has."""
    if not (control.brake or control.hand_brake):
        return 0.0, 0.0
    front, rear, hand = spec.brake_n
    left_rear = _USABLE * _left_of(most_rear, state.rear_n[1])
    rear = min(rear * control.brake, left_rear) + (hand if control.hand_brake else 0.0)
    along_front = _along(forward, right + spec.front_axle_m * state.yaw_rate)
    along_rear = _along(forward, right - spec.rear_axle_m * state.yaw_rate)
    front = min(front * control.brake, _USABLE * most_front * along_front)
    return front, min(rear, _USABLE * most_rear * along_rear)


def _along(forward: float, side: float) -> float:
    """How much of a braked wheel's friction acts along the body: a sliding one rubs against its slide."""
    return (abs(forward) + _BARELY_MPS) / (math.hypot(forward, side) + _BARELY_MPS)


def _slope(state: VehicleState) -> float:
    """How hard the slope pulls back, m/s2."""
    return GRAVITY_MPS2 * math.sin(state.pitch) if state.pitch and state.has_gravity else 0.0


def _left_of(most: float, used: float) -> float:
    return math.sqrt(max(most * most - used * used, 0.0))


def _move(state: VehicleState, dt: float) -> None:
    state.x += state.vx * dt
    state.y += state.vy * dt
    state.yaw = math.remainder(state.yaw + state.yaw_rate * dt, 2 * math.pi)


def _follow_ground(state: VehicleState, spec: VehicleSpec, dt: float, height: Field) -> None:
    """Fall until the ground is there; lie along it."""
    fall = state.vz - GRAVITY_MPS2 * dt if state.has_gravity else state.vz
    free = state.z + fall * dt
    ground = pitch = 0.0
    if height is not flat:
        cos, sin = math.cos(state.yaw), math.sin(state.yaw)
        a, b = spec.front_axle_m, spec.rear_axle_m
        rise = height(state.x + a * cos, state.y + a * sin) - height(state.x - b * cos, state.y - b * sin)
        ground, pitch = height(state.x, state.y), math.atan2(rise, spec.wheelbase_m)
    if free > ground + _CLEARANCE_M:
        state.z, state.vz, state.pitch_rate = free, fall, 0.0
        return
    state.pitch_rate = math.remainder(pitch - state.pitch, 2 * math.pi) / dt
    state.z, state.pitch, state.roll = ground, pitch, 0.0
    state.vz = speed_mps(state) * math.tan(pitch)
