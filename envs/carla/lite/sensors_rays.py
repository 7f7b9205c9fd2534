"""Sensors that send rays: lidar, semantic lidar, radar, obstacle detector."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from envs.carla.lite import lidar, schema, wire
from envs.carla.lite.sensors import Sensor, Surroundings
from utils.errors import check

MAX_RAYS_PER_S = 5_000_000
MAX_CHANNELS = 1024
MAX_RANGE_M = 10_000.0


class _RaySensor(Sensor):
    """What they have in common."""

    @cached_property
    def rng(self) -> np.random.Generator:
        """Of losses and noise: the same for the same seed."""
        return np.random.default_rng(int(self.attributes.get("noise_seed", "0")) % 2**32)

    def check(self) -> None:
        """Refuse numbers of rays that nobody could compute."""
        for name, most in (
            ("points_per_second", MAX_RAYS_PER_S),
            ("channels", MAX_CHANNELS),
            ("range", MAX_RANGE_M),
        ):
            if name in self.attributes:
                low = 1 if name == "channels" else 0
                good = low <= self.number(name) <= most
                check(good, f"{name} must lie between {low} and {most:g}; got {self.attributes[name]}.")


@dataclass(eq=False)
class Lidar(_RaySensor):
    """The lidar with losses and noise."""

    kind = wire.LIDAR
    angle_rad: float = 0.0

    @cached_property
    def spec(self) -> lidar.LidarSpec:
        """From the attributes."""
        number, optional = self.number, self.attributes
        losses = ("atmosphere_attenuation_rate", "dropoff_general_rate", "dropoff_intensity_limit")
        more = (*losses, "dropoff_zero_intensity", "noise_stddev")
        return lidar.LidarSpec(
            int(number("channels")),
            number("range"),
            int(number("points_per_second")),
            *(number(name) for name in ("rotation_frequency", "upper_fov", "lower_fov", "horizontal_fov")),
            *(number(name) for name in more if name in optional),
        )

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One sweep."""
        boxes = around.boxes_without(self.carrier)
        scan = lidar.lidar(around.scene, self.pose, self.spec, boxes, self.angle_rad, self.passed_s, self.rng)
        self.angle_rad = scan.angle_rad
        yield wire.lidar(scan.angle_rad, scan.counts, scan.points)


@dataclass(eq=False)
class SemanticLidar(Lidar):
    """The lidar that knows what it sees."""

    kind = wire.SEMANTIC_LIDAR

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One sweep."""
        boxes = around.boxes_without(self.carrier)
        scan = lidar.semantic_lidar(around.scene, self.pose, self.spec, boxes, self.angle_rad, self.passed_s)
        self.angle_rad = scan.angle_rad
        yield wire.lidar(scan.angle_rad, scan.counts, scan.points, np.stack([scan.actor_id, scan.label], 1))


@dataclass(eq=False)
class Radar(_RaySensor):
    """Distances and speeds."""

    kind = wire.RADAR

    @cached_property
    def spec(self) -> lidar.RadarSpec:
        """From the attributes."""
        number = self.number
        return lidar.RadarSpec(
            number("horizontal_fov"),
            number("vertical_fov"),
            number("range"),
            int(number("points_per_second")),
        )

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One sweep."""
        speeds = {vehicle.id: vehicle.motion()[:3] for vehicle in around.world.vehicles}
        own = self.carrier.motion()[:3] if self.carrier else (0.0, 0.0, 0.0)
        boxes = around.boxes_without(self.carrier)
        found = lidar.radar(around.scene, self.pose, self.spec, boxes, self.passed_s, self.rng, own, speeds)
        yield wire.rows(found, 4)


@dataclass(eq=False)
class Obstacle(_RaySensor):
    """Says how far the next thing straight ahead is, while there is one."""

    kind = wire.OBSTACLE

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """At most one message."""
        found = lidar.obstacle(
            around.scene,
            self.pose,
            around.boxes_without(self.carrier),
            self.number("distance"),
            self.number("hit_radius"),
            self.attributes["only_dynamics"].lower() == "true",
        )
        if found is None:
            return
        world, (actor_id, label, metres) = around.world, found
        other = world.actors.get(actor_id)
        yield wire.event(
            (schema.Actor, world.describe(self.parent or self)),
            (schema.Actor, world.describe(other) if other else world.describe_thing(label)),
            (schema.real, metres),
        )
