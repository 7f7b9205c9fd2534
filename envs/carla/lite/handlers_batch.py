"""The RPC method `apply_batch`: many commands at once, each answered on its own.

A command is `[[kind, fields]]`. Each kind is another RPC method with the same arguments, but for spawning.
"""

import struct
from typing import Any

from envs.carla.lite import handlers_actors as of_actors
from envs.carla.lite import handlers_lights as of_lights
from envs.carla.lite import handlers_vehicles as of_vehicles
from envs.carla.lite.rpc import CallError, Method, Methods, Session
from envs.carla.lite.schema import (
    U32,
    ActorDescription,
    Transform,
    WireError,
    array,
    boolean,
    integer,
    optional,
    text,
    variant,
)
from envs.carla.lite.schema import struct as struct_of
from envs.carla.lite.spawning import pose_from
from utils.errors import UserError

HERE = Methods()
MAX_DEPTH = 4
"""Of commands after a spawn, which may spawn again."""
_COMMANDS = {
    1: "destroy_actor",
    2: "apply_control_to_vehicle",
    3: "apply_ackermann_control_to_vehicle",
    4: "apply_control_to_walker",
    5: "apply_physics_control",
    6: "set_actor_transform",
    8: "set_actor_target_velocity",
    9: "set_actor_target_angular_velocity",
    10: "add_actor_impulse",
    11: "add_actor_force",
    12: "add_actor_angular_impulse",
    13: "add_actor_torque",
    14: "set_actor_simulate_physics",
    15: "set_actor_enable_gravity",
    16: "set_actor_autopilot",
    17: "show_vehicle_debug_telemetry",
    19: "set_actor_location",
    21: "set_traffic_light_state",
}
"""Kinds of commands that are calls of their own; 0 spawns, 7 moves a walker, 18 sets lights, 20 is a console."""
_METHODS: dict[str, Method] = {**of_actors.HERE, **of_vehicles.HERE, **of_lights.HERE}
_Spawn = struct_of(
    "SpawnActor",
    ActorDescription,
    Transform,
    optional(U32),
    integer(0, 2**32 - 1),
    text,
    array(lambda _: None),
)
_Result = variant(array(text), U32)


def _steps(arguments: list[Any]) -> bool:
    return len(arguments) == 2 and arguments[1] is True


@HERE.returns(array(array(_Result)), array(lambda _: None), boolean, form="bare", ticks=_steps)
def apply_batch(session: Session, commands: list[Any], do_tick: bool) -> list[Any]:
    """Do the commands in order; each gets the id of its actor or an error."""
    results = [_answer(session, command) for command in commands]
    if do_tick and session.host.settings.is_synchronous:
        session.host.tick()
    return results


def _answer(session: Session, command: Any) -> list[Any]:
    try:
        return [[1, _do(session, command, 0, 0)]]
    except (CallError, UserError, WireError) as error:
        return [[0, [str(error)[:2000]]]]
    except (OverflowError, ValueError, TypeError, struct.error) as error:
        return [[0, [f"this is no command ({error})"[:2000]]]]


def _do(session: Session, command: Any, future_actor: int, depth: int) -> int:
    """Do one command; the id of its actor. An id of 0 stands for the actor that was just spawned."""
    ((kind, fields),) = command
    if kind == 0:
        return _spawn(session, fields, depth)
    actor_id, *values = fields
    actor_id = actor_id or future_actor
    if kind == 7:
        transform, speed = values
        _METHODS["set_actor_transform"].call(session, [actor_id, transform])
        of_vehicles.set_walker_speed(session, actor_id, speed)
    elif kind == 18:
        _METHODS["set_vehicle_light_state"].call(session, [actor_id, values])
    elif kind in _COMMANDS:
        if _METHODS[_COMMANDS[kind]].call(session, [actor_id, *values]) is False:
            raise CallError(f"there is no actor {actor_id}")
    else:
        raise CallError(f"commands of kind {kind!r:.20} are not supported by the lite server")
    return actor_id


def _spawn(session: Session, fields: Any, depth: int) -> int:
    _Spawn(fields)
    description, transform, parent, _, _, afterwards = fields
    if depth >= MAX_DEPTH:
        raise CallError("commands after a spawn are nested too deeply")
    world = session.host.world
    actor = world.spawn(description, pose_from(transform), world.actor(parent[1]) if parent[0] else None)
    for command in afterwards:
        _do(session, command, actor.id, depth + 1)
    return actor.id
