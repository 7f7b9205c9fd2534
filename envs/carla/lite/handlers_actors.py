"""RPC methods: blueprints, and actors of any kind: spawning, finding, moving, pushing, destroying."""

from typing import Any

from envs.carla.lite import blueprints, wire
from envs.carla.lite.actors import Actor, Vehicle
from envs.carla.lite.rpc import Methods, Session
from envs.carla.lite.schema import (
    U32,
    ActorDefinition,
    ActorDescription,
    BoundingBox,
    Location,
    Transform,
    Vector3D,
    array,
    boolean,
    integer,
    text,
)
from envs.carla.lite.schema import Actor as ActorStruct
from envs.carla.lite.spawning import pose_from
from envs.carla.lite.vehicle_state import add_angular_impulse, add_force, add_impulse

HERE = Methods()
_ANY = integer(0, 2**32 - 1)
"""AttachmentType: unset memory where a batch does not give it, so any number is taken as rigid."""
_definitions: list[bytes] = []


@HERE.returns(None, form="packed")
def get_actor_definitions(session: Session) -> bytes:
    """All blueprints; they never change, so they are checked and packed once."""
    if not _definitions:
        library = [_definition(blueprint) for blueprint in blueprints.LIBRARY.values()]
        array(ActorDefinition)(library)
        _definitions.append(wire.pack(library))
    return _definitions[0]


@HERE.returns(array(ActorStruct), array(U32))
def get_actors_by_id(session: Session, ids: list[int]) -> list[Any]:
    """Those of the actors that exist."""
    world = session.host.world
    return [world.describe(world.actors[each]) for each in ids if each in world.actors]


@HERE.returns(ActorStruct)
def get_spectator(session: Session) -> list[Any]:
    """The actor that stands for the viewer's eye."""
    world = session.host.world
    return world.describe(world.spectator)


@HERE.returns(ActorStruct, ActorDescription, Transform)
def spawn_actor(session: Session, description: list[Any], transform: list[Any]) -> list[Any]:
    """A new actor."""
    world = session.host.world
    return world.describe(world.spawn(description, pose_from(transform)))


@HERE.returns(ActorStruct, ActorDescription, Transform, U32, _ANY, text)
def spawn_actor_with_parent(
    session: Session, description: list[Any], transform: list[Any], parent: int, attachment: int, bone: str
) -> list[Any]:
    """A new actor that moves with another; every attachment is rigid here."""
    world = session.host.world
    return world.describe(world.spawn(description, pose_from(transform), world.actor(parent)))


@HERE.returns(boolean, U32)
def destroy_actor(session: Session, actor_id: int) -> bool:
    """Remove an actor; False if it has gone already."""
    return session.host.world.destroy(actor_id)


@HERE.returns(BoundingBox, U32)
def get_actor_bounding_box(session: Session, actor_id: int) -> list[Any]:
    """The box around an actor, from its origin."""
    return session.host.world.actor(actor_id).bounding_box()


@HERE.nothing(U32, Transform)
def set_actor_transform(session: Session, actor_id: int, transform: list[Any]) -> None:
    """Put an actor elsewhere; one that is attached moves on its parent."""
    session.host.world.place(session.host.world.actor(actor_id), pose_from(transform))


@HERE.nothing(U32, Location)
def set_actor_location(session: Session, actor_id: int, location: list[float]) -> None:
    """Put an actor elsewhere, turned as it is."""
    actor = session.host.world.actor(actor_id)
    turned = actor.mount if actor.parent else actor.pose
    x, y, z = pose_from([location, [0.0, 0.0, 0.0]])[:3]
    session.host.world.place(actor, turned._replace(x=x, y=y, z=z))


@HERE.nothing(U32, Vector3D)
def set_actor_target_velocity(session: Session, actor_id: int, velocity: list[float]) -> None:
    """Give a vehicle a speed, in the world's axes; the physics goes on from there."""
    state = session.host.world.vehicle(actor_id).state
    state.vx, state.vy, state.vz = (float(each) for each in velocity)


@HERE.nothing(U32, Vector3D)
def set_actor_target_angular_velocity(session: Session, actor_id: int, deg_per_s: list[float]) -> None:
    """Give a vehicle a yaw rate; the other axes are the ground's business."""
    session.host.world.vehicle(actor_id).state.yaw_rate = wire.to_radians(deg_per_s[2])


@HERE.nothing(U32, Vector3D)
def enable_actor_constant_velocity(session: Session, actor_id: int, velocity: list[float]) -> None:
    """Hold a vehicle's speed, in its own axes."""
    x, y, z = (float(each) for each in velocity)
    session.host.world.vehicle(actor_id).state.constant_velocity = (x, y, z)


@HERE.nothing(U32)
def disable_actor_constant_velocity(session: Session, actor_id: int) -> None:
    """Let the physics have it again."""
    session.host.world.vehicle(actor_id).state.constant_velocity = None


@HERE.nothing(U32, Vector3D)
def add_actor_impulse(session: Session, actor_id: int, impulse: list[float]) -> None:
    """Hit a vehicle at its centre, N s."""
    _hit(session.host.world.vehicle(actor_id), impulse)


@HERE.nothing(U32, Vector3D, Vector3D)
def add_actor_impulse_at_location(
    session: Session, actor_id: int, impulse: list[float], at: list[float]
) -> None:
    """Hit a vehicle somewhere, which turns it too."""
    vehicle = session.host.world.vehicle(actor_id)
    _hit(vehicle, impulse)
    add_angular_impulse(vehicle.state, vehicle.spec, _lever(vehicle, impulse, at))


@HERE.nothing(U32, Vector3D)
def add_actor_force(session: Session, actor_id: int, force: list[float]) -> None:
    """Push a vehicle during the next step, N."""
    add_force(session.host.world.vehicle(actor_id).state, _three(force))


@HERE.nothing(U32, Vector3D, Vector3D)
def add_actor_force_at_location(session: Session, actor_id: int, force: list[float], at: list[float]) -> None:
    """Push a vehicle somewhere, which turns it too."""
    vehicle = session.host.world.vehicle(actor_id)
    add_force(vehicle.state, _three(force), _lever(vehicle, force, at))


@HERE.nothing(U32, Vector3D)
def add_actor_angular_impulse(session: Session, actor_id: int, impulse: list[float]) -> None:
    """Spin a vehicle, N m s."""
    vehicle = session.host.world.vehicle(actor_id)
    add_angular_impulse(vehicle.state, vehicle.spec, float(impulse[2]))


@HERE.nothing(U32, Vector3D)
def add_actor_torque(session: Session, actor_id: int, torque: list[float]) -> None:
    """Turn a vehicle during the next step, N m."""
    add_force(session.host.world.vehicle(actor_id).state, (0.0, 0.0, 0.0), float(torque[2]))


@HERE.nothing(U32, boolean)
def set_actor_simulate_physics(session: Session, actor_id: int, is_on: bool) -> None:
    """Whether a vehicle moves by itself; other actors never do."""
    actor = session.host.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.state.is_simulated = is_on


@HERE.nothing(U32, boolean)
def set_actor_collisions(session: Session, actor_id: int, is_on: bool) -> None:
    """Whether others bump into it."""
    session.host.world.actor(actor_id).has_collisions = is_on


@HERE.nothing(U32, boolean)
def set_actor_enable_gravity(session: Session, actor_id: int, is_on: bool) -> None:
    """Whether a vehicle falls."""
    actor = session.host.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.state.has_gravity = is_on


@HERE.nothing(U32)
def set_actor_dead(session: Session, actor_id: int) -> None:
    """It drives no more: the brakes are on for good."""
    vehicle = session.host.world.vehicle(actor_id)
    vehicle.control.throttle, vehicle.control.brake, vehicle.control.hand_brake = 0.0, 1.0, True


@HERE.nothing(U32, boolean)
def set_actor_autopilot(session: Session, actor_id: int, is_on: bool) -> None:
    """Nothing to do: autopilots are driven by the client's Traffic Manager."""
    session.host.world.actor(actor_id)


def _definition(blueprint: blueprints.Blueprint) -> list[Any]:
    rows = [
        [each.name, each.type_code, each.value, each.recommended, each.is_modifiable, each.is_restricted]
        for each in blueprint.attributes
    ]
    return [blueprint.uid, blueprint.id, blueprint.tags, rows]


def _three(vector: list[float]) -> tuple[float, float, float]:
    x, y, z = vector
    return float(x), float(y), float(z)


def _hit(vehicle: Vehicle, impulse: list[float]) -> None:
    add_impulse(vehicle.state, vehicle.spec, _three(impulse))


def _lever(actor: Actor, push: list[float], at: list[float]) -> float:
    """The moment about the upright axis of a push at a point of the world."""
    return (at[0] - actor.pose.x) * push[1] - (at[1] - actor.pose.y) * push[0]
