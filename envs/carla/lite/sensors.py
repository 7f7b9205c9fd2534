"""Sensor actors: when they measure, and what they all look at.

A sensor that nobody listens to does not measure. `sensor_tick` seconds lie between two measurements, 0 for each tick;
collision and obstacle sensors speak up only when something happens. The lane invasion sensor is computed by the
client from its own copy of the map, so here it only exists.
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from envs.carla.lite import wire
from envs.carla.lite.actors import Actor, Vehicle
from envs.carla.lite.scene import Box, Scene
from envs.carla.lite.settings import Settings

if TYPE_CHECKING:
    from envs.carla.lite.world import World

_EARLY_S = 1e-6
"""A measurement may come so much too early, for sums of steps that are not exact."""
_DEFAULT_COLOUR = (128, 128, 128)


class Surroundings:
    """What the sensors of one tick share."""

    def __init__(self, world: "World", scene: Scene) -> None:
        self.world, self.scene = world, scene

    @cached_property
    def boxes(self) -> list[Box]:
        """Every actor that has a body, as cameras and rays see it."""
        return [_box(actor) for actor in self.world.actors.values() if actor.body is not None]

    def boxes_without(self, actor: Actor | None) -> list[Box]:
        """All but one."""
        return [box for box in self.boxes if actor is None or box.actor_id != actor.id]


def _box(actor: Actor) -> Box:
    pose, (x, y, z) = actor.pose, actor.box_centre
    colour = _DEFAULT_COLOUR
    if "color" in actor.attributes:
        red, green, blue = (int(part) for part in actor.attributes["color"].split(","))
        colour = (red, green, blue)
    return Box(
        (pose.x + x, pose.y + y, pose.z + z), pose.yaw, actor.extent, actor.blueprint.label, colour, actor.id
    )


@dataclass(eq=False)
class Sensor(Actor):
    """A sensor; this class itself never measures."""

    kind: ClassVar[int] = -1
    """The sensor type of its messages."""
    is_event: ClassVar[bool] = False
    """Whether it looks at each tick and speaks only when there is something to say."""
    is_camera: ClassVar[bool] = False
    passed_s: float = 0.0
    """Time between the last measurement and the one before; for the first one, a step of the world."""
    _wait_s: float = 0.0
    _since_s: float = 0.0
    _has_measured: bool = False

    def check(self) -> None:
        """Refuse attributes that cannot be served.

        Raises:
            UserError: which and why.
        """

    def number(self, name: str) -> float:
        """An attribute that is a number."""
        return float(self.attributes[name])

    @property
    def carrier(self) -> Vehicle | None:
        """The vehicle that it is mounted on, directly or not."""
        parent = self.parent
        while parent is not None and not isinstance(parent, Vehicle):
            parent = parent.parent
        return parent

    def is_due(self, delta_s: float) -> bool:
        """Whether it measures in this tick.

        Only sums of steps count, never the world's clock: the same drive later on gives the same bits.
        """
        every_s = float(self.attributes.get("sensor_tick", "0"))
        self._since_s += delta_s
        self._wait_s -= delta_s
        if self._wait_s > _EARLY_S:
            return False
        self.passed_s, self._since_s = self._since_s, 0.0
        self._wait_s = max(self._wait_s + every_s, 0.0) if self._has_measured else every_s
        self._has_measured = True
        return True

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """What follows the header, once a message."""
        yield from ()


class Sensors:
    """Lets the sensors of a world measure.

    Args:
        world: the world.
        scene: of the same map, if it has been made already.
    """

    def __init__(self, world: "World", scene: Scene | None = None) -> None:
        self._world = world
        self.scene = scene or Scene(world.roadmap)
        self._failed: set[int] = set()

    def measure(self, is_wanted: Callable[[int], bool], settings: Settings) -> Iterator[tuple[int, bytes]]:
        """The messages of this tick, each with its stream."""
        world, around = self._world, Surroundings(self._world, self.scene)
        for sensor in world.sensors:
            if not is_wanted(sensor.stream_id) or (sensor.is_camera and settings.no_rendering):
                continue
            if not sensor.is_event and not sensor.is_due(world.delta_s):
                continue
            for payload in self._try(sensor, around):
                yield sensor.stream_id, payload

    def _try(self, sensor: Sensor, around: Surroundings) -> list[bytes]:
        """The messages of one sensor; none, and a trace of why, if it fails."""
        world = self._world
        try:
            head = wire.header(sensor.kind, world.frame, world.time_s, sensor.pose)
            return [head + payload for payload in sensor.measure(around)]
        except Exception:
            if sensor.id not in self._failed:  # once is enough: it may fail at every tick
                self._failed.add(sensor.id)
                traceback.print_exc(file=sys.stderr)
            return []
