"""RPC methods: driving vehicles, what is inside them, and walkers."""

from typing import Any

from envs.carla.lite import physics_control as physics
from envs.carla.lite.ackermann import AckermannController, AckermannSettings, AckermannTarget
from envs.carla.lite.rpc import Methods, Session
from envs.carla.lite.schema import (
    U8,
    U32,
    AckermannControl,
    LightFlags,
    Telemetry,
    VehicleControl,
    VehiclePhysics,
    WalkerControl,
    array,
    boolean,
    real,
    struct,
)
from envs.carla.lite.schema import AckermannSettings as AckermannSettingsStruct
from envs.carla.lite.vehicle import steer_rad
from envs.carla.lite.vehicle_state import Control, speed_mps
from envs.carla.lite.wire import to_degrees

HERE = Methods()
_Lights = array(struct("vehicle's lights", U32, U32))


@HERE.nothing(U32, VehicleControl)
def apply_control_to_vehicle(session: Session, actor_id: int, control: list[Any]) -> None:
    """Drive; values beyond their range are taken as its end."""
    throttle, steer, brake, hand_brake, reverse, manual_gear_shift, gear = control
    vehicle = session.host.world.vehicle(actor_id)
    vehicle.target = None
    vehicle.control = Control(
        min(max(float(throttle), 0.0), 1.0),
        min(max(float(steer), -1.0), 1.0),
        min(max(float(brake), 0.0), 1.0),
        *(hand_brake, reverse, manual_gear_shift, gear),
    )


@HERE.nothing(U32, AckermannControl)
def apply_ackermann_control_to_vehicle(session: Session, actor_id: int, target: list[float]) -> None:
    """Drive by a steering angle and a speed, until the next control."""
    vehicle = session.host.world.vehicle(actor_id)
    vehicle.target = AckermannTarget(*(float(each) for each in target))


@HERE.returns(AckermannSettingsStruct, U32)
def get_ackermann_controller_settings(session: Session, actor_id: int) -> list[float]:
    """Gains of that driving."""
    gains = session.host.world.vehicle(actor_id).pilot.settings
    return [gains.speed_kp, gains.speed_ki, gains.speed_kd, gains.accel_kp, gains.accel_ki, gains.accel_kd]


@HERE.nothing(U32, AckermannSettingsStruct)
def apply_ackermann_controller_settings(session: Session, actor_id: int, gains: list[float]) -> None:
    """New gains."""
    pilot = AckermannController(AckermannSettings(*(float(gain) for gain in gains)))
    session.host.world.vehicle(actor_id).pilot = pilot


@HERE.returns(VehiclePhysics, U32)
def get_physics_control(session: Session, actor_id: int) -> list[Any]:
    """Engine, gears, tyres."""
    vehicle = session.host.world.vehicle(actor_id)
    return physics.physics_control(vehicle.spec, vehicle.state)


@HERE.nothing(U32, VehiclePhysics)
def apply_physics_control(session: Session, actor_id: int, control: list[Any]) -> None:
    """Another engine, other tyres."""
    vehicle = session.host.world.vehicle(actor_id)
    vehicle.refit(physics.with_physics_control(vehicle.spec, control))


@HERE.returns(Telemetry, U32)
def get_telemetry_data(session: Session, actor_id: int) -> list[Any]:
    """What the physics does."""
    vehicle = session.host.world.vehicle(actor_id)
    return physics.telemetry(vehicle.spec, vehicle.state, vehicle.control)


@HERE.returns(LightFlags, U32)
def get_vehicle_light_state(session: Session, actor_id: int) -> list[int]:
    """Which lamps are on; they do not shine."""
    return [session.host.world.vehicle(actor_id).light_flags]


@HERE.nothing(U32, LightFlags)
def set_vehicle_light_state(session: Session, actor_id: int, lights: list[int]) -> None:
    """Switch lamps."""
    session.host.world.vehicle(actor_id).light_flags = lights[0]


@HERE.returns(_Lights)
def get_vehicle_light_states(session: Session) -> list[list[int]]:
    """The lamps of all vehicles."""
    return [[vehicle.id, vehicle.light_flags] for vehicle in session.host.world.vehicles]


@HERE.returns(real, U32, U8)
def get_wheel_steer_angle(session: Session, actor_id: int, wheel: int) -> float:
    """Angle of a wheel, in degrees; only the front ones (0 and 1) turn."""
    vehicle = session.host.world.vehicle(actor_id)
    angle = steer_rad(vehicle.state, vehicle.spec, speed_mps(vehicle.state))
    return to_degrees(angle) if wheel < 2 else 0.0


@HERE.nothing(U32, U8, real)
def set_wheel_steer_direction(session: Session, actor_id: int, wheel: int, angle_deg: float) -> None:
    """Looks of a wheel, which is not drawn: nothing to do."""
    session.host.world.vehicle(actor_id)


@HERE.nothing(U32, boolean)
def show_vehicle_debug_telemetry(session: Session, actor_id: int, is_on: bool) -> None:
    """A display of the simulator, which has none here: nothing to do."""
    session.host.world.vehicle(actor_id)


@HERE.nothing(U32, WalkerControl)
def apply_control_to_walker(session: Session, actor_id: int, control: list[Any]) -> None:
    """Walk."""
    walker = session.host.world.walker(actor_id)
    (x, y, z), speed, walker.jump = control
    walker.direction, walker.speed_mps = (float(x), float(y), float(z)), min(max(float(speed), 0.0), 20.0)


def set_walker_speed(session: Session, actor_id: int, speed: Any) -> None:
    """Walk at a speed in the direction in which it looks."""
    real(speed)
    walker = session.host.world.walker(actor_id)
    walker.head_for(walker.pose.yaw, min(max(float(speed), 0.0), 20.0))
