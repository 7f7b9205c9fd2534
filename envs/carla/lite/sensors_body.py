"""Sensors of a vehicle's own body: collisions, and (invisible here) lane invasions."""

from collections.abc import Iterator
from dataclasses import dataclass

from envs.carla.lite import schema, wire
from envs.carla.lite.sensors import Sensor, Surroundings


@dataclass(eq=False)
class Collision(Sensor):
    """Says what its vehicle has bumped into in this tick, and how hard."""

    kind = wire.COLLISION
    is_event = True

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One message for each body that it touches."""
        world = around.world
        for contact in world.contacts:
            if self.parent is not None and contact.actor_id == self.parent.id:
                other = world.actors.get(contact.other_id)
                fields = (
                    (schema.Actor, world.describe(self.parent)),
                    (schema.Actor, world.describe(other) if other else world.describe_prop(contact.prop)),
                    (schema.Vector3D, contact.impulse),
                )
                yield wire.event(*fields)


@dataclass(eq=False)
class LaneInvasion(Sensor):
    """Computed by the client."""
