"""What changes about a vehicle, what its driver does, and pushes from outside."""

import math
from dataclasses import dataclass

from envs.carla.lite.vehicle_spec import VehicleSpec


@dataclass
class Control:
    """What the driver does; CARLA's VehicleControl."""

    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0
    hand_brake: bool = False
    reverse: bool = False
    manual_gear_shift: bool = False
    gear: int = 0


@dataclass
class VehicleState:
    """Where a vehicle is and how it moves: world axes, metres, seconds, radians."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    vx: float = 0.0
    vy: float = 0.0
    vz: float = 0.0
    pitch_rate: float = 0.0
    yaw_rate: float = 0.0
    ax: float = 0.0
    ay: float = 0.0
    az: float = 0.0
    steer: float = 0.0
    """where the front wheels are, -1 to 1: the control's steer, a moment later"""
    gear: int = 1
    """-1 reverse, 0 neutral"""
    shift_left_s: float = 0.0
    engine_rpm: float = 0.0
    forward_mps2: float = 0.0
    """acceleration along the body, which shifts weight between the axles"""
    front_n: tuple[float, float] = (0.0, 0.0)
    """what the front tyres push with, along and across the wheel; for the telemetry"""
    rear_n: tuple[float, float] = (0.0, 0.0)
    force: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """pushes from outside in the next step: x, y, z in N and torque about z in N m"""
    constant_velocity: tuple[float, float, float] | None = None
    """if set, held in the vehicle's own axes whatever the engine and the brakes do"""
    is_simulated: bool = True
    """False: nothing but teleports moves it"""
    has_gravity: bool = True


def add_impulse(state: VehicleState, spec: VehicleSpec, impulse: tuple[float, float, float]) -> None:
    """Hit a vehicle at its centre: N s, world axes."""
    state.vx += impulse[0] / spec.mass_kg
    state.vy += impulse[1] / spec.mass_kg
    state.vz += impulse[2] / spec.mass_kg


def add_angular_impulse(state: VehicleState, spec: VehicleSpec, about_z: float) -> None:
    """Spin a vehicle about its upright axis: N m s, positive to the right."""
    state.yaw_rate += about_z / spec.yaw_inertia


def add_force(state: VehicleState, force: tuple[float, float, float], torque_z: float = 0.0) -> None:
    """Push a vehicle through the next step: N, world axes; torque in N m, positive to the right."""
    x, y, z, torque = state.force
    state.force = x + force[0], y + force[1], z + force[2], torque + torque_z


def speed_mps(state: VehicleState) -> float:
    """Speed along the body; negative backwards."""
    return state.vx * math.cos(state.yaw) + state.vy * math.sin(state.yaw)


def angular_velocity(state: VehicleState) -> tuple[float, float, float]:
    """About the world's axes, rad/s: a nose that rises turns backwards about the axis to the right."""
    if state.pitch_rate == 0:
        return 0.0, 0.0, state.yaw_rate
    return state.pitch_rate * math.sin(state.yaw), -state.pitch_rate * math.cos(state.yaw), state.yaw_rate
