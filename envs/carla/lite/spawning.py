"""Makes actors from what a client asks for."""

import math
from typing import Any

from envs.carla.lite import blueprints, sensors_body, sensors_cameras, sensors_rays
from envs.carla.lite.actors import ORIGIN, Actor, Vehicle, Walker, attach
from envs.carla.lite.collisions import Body
from envs.carla.lite.pose import Pose
from envs.carla.lite.schema import WireError
from envs.carla.lite.sensors import Sensor
from envs.carla.lite.vehicle_spec import SPECS
from envs.carla.lite.vehicle_state import VehicleState
from utils.errors import UserError

SENSORS: dict[str, type[Sensor]] = {
    "sensor.camera.rgb": sensors_cameras.Camera,
    "sensor.camera.semantic_segmentation": sensors_cameras.SemanticCamera,
    "sensor.camera.depth": sensors_cameras.DepthCamera,
    "sensor.other.collision": sensors_body.Collision,
    "sensor.other.lane_invasion": sensors_body.LaneInvasion,
    "sensor.other.imu": sensors_body.ImuSensor,
    "sensor.other.gnss": sensors_body.GnssSensor,
    "sensor.other.obstacle": sensors_rays.Obstacle,
    "sensor.other.radar": sensors_rays.Radar,
    "sensor.lidar.ray_cast": sensors_rays.Lidar,
    "sensor.lidar.ray_cast_semantic": sensors_rays.SemanticLidar,
}
FAR_M = 1e6
"""No place in the world is farther from its origin."""


def pose_from(transform: list[Any]) -> Pose:
    """The pose of a checked `Transform`.

    Raises:
        WireError: it is out of this world.
    """
    (x, y, z), (pitch, yaw, roll) = transform
    if max(abs(x), abs(y), abs(z)) > FAR_M:
        raise WireError(f"a place must lie within {FAR_M:.0f} m of the origin, and this is ({x}, {y}, {z})")
    pitch, yaw, roll = (math.remainder(math.radians(each), 2 * math.pi) for each in (pitch, yaw, roll))
    return Pose(float(x), float(y), float(z), pitch, yaw, roll)


def make(actor_id: int, description: list[Any], pose: Pose, parent: Actor | None) -> Actor:
    """A new actor.

    Args:
        actor_id: its id.
        description: a checked `ActorDescription`.
        pose: its place in the world, or on its parent.
        parent: the actor that it is attached to.

    Raises:
        UserError: there is no such blueprint, or an attribute is wrong.
    """
    _, blueprint_id, given = description
    blueprint = blueprints.find(blueprint_id)
    values = blueprint.values({name: value for name, _, value in given})
    mount = ORIGIN
    if parent is not None:
        pose, mount = attach(parent.pose, pose), pose
    common = (actor_id, blueprint, values, pose, parent, mount)
    kind = blueprint_id.split(".")[0]
    if kind == "sensor":
        sensor = SENSORS[blueprint_id](*common)
        sensor.check()
        return sensor
    if kind not in ("vehicle", "walker", "static"):
        raise UserError(f"a {blueprint_id} cannot be spawned here.")
    if kind == "vehicle":
        state = VehicleState(*pose)
        actor: Actor = Vehicle(*common, spec=SPECS[blueprint_id], state=state)
    else:
        state = VehicleState()
        actor = Walker(*common) if kind == "walker" else Actor(*common)
    inertia = actor.spec.yaw_inertia if isinstance(actor, Vehicle) else math.inf
    actor.body = Body(actor_id, blueprint.label, state, blueprint.extent, blueprint.mass_kg, inertia)
    actor.move(pose)
    return actor


def spectator(actor_id: int) -> Actor:
    """The viewer's eye."""
    blueprint = blueprints.find("spectator")
    return Actor(actor_id, blueprint, blueprint.values({}), Pose(0.0, 0.0, 30.0, -math.pi / 2))
