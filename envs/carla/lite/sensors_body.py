"""Sensors of a vehicle's own body: collisions, inertia, place on Earth, and lane invasions."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from envs.carla.lite import schema, wire
from envs.carla.lite.inertial import GeoReference, Gnss, Imu
from envs.carla.lite.sensors import Sensor, Surroundings


@dataclass(eq=False)
class Collision(Sensor):
    """Says what its vehicle has bumped into in this tick, and how hard."""

    kind = wire.COLLISION
    is_event = True

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One message for each thing that it touches."""
        world, parent = around.world, self.parent
        if parent is None:
            return
        for contact in world.contacts:
            if contact.actor_id == parent.id:
                other = world.actors.get(contact.other_id)
                described = world.describe(other) if other else world.describe_thing(contact.other_label)
                yield wire.event(
                    (schema.Actor, world.describe(parent)),
                    (schema.Actor, described),
                    (schema.Vector3D, contact.impulse),
                )


@dataclass(eq=False)
class LaneInvasion(Sensor):
    """Computed by the client from its own copy of the map; here it only exists."""


@dataclass(eq=False)
class ImuSensor(Sensor):
    """Accelerometer, gyroscope, compass."""

    kind = wire.IMU

    @cached_property
    def imu(self) -> Imu:
        """The instrument with its noise."""
        return Imu(self.attributes)

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One reading."""
        motion = self.carrier.motion() if self.carrier else self.motion()
        gravity_mps2 = around.world.imu_gravity_mps2
        acceleration, turning, compass = self.imu.read(motion[6:], motion[3:6], self.pose[3:], gravity_mps2)
        yield wire.event((schema.Vector3D, acceleration), (schema.Vector3D, turning), (schema.real, compass))


@dataclass(eq=False)
class GnssSensor(Sensor):
    """Latitude, longitude, altitude."""

    kind = wire.GNSS
    gnss: Gnss | None = None

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One reading."""
        if self.gnss is None:
            self.gnss = Gnss(self.attributes, GeoReference(*around.world.roadmap.geo_origin))
        place = self.gnss.read(*self.pose[:3])
        yield wire.event(*((schema.real, each) for each in place))
