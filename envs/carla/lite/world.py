"""The world of one episode: its map, its actors, and what one step does to them."""

import sys
from typing import Any

from envs.carla.lite import actors, collisions, spawning, vehicle, wire
from envs.carla.lite.actors import Actor, TrafficLight, Vehicle, Walker
from envs.carla.lite.crossings import Crossings
from envs.carla.lite.pose import Pose
from envs.carla.lite.roadmap import RoadMap
from envs.carla.lite.rpc import CallError
from envs.carla.lite.sensors import Sensor
from envs.carla.lite.settings import Settings
from envs.carla.lite.spawning import FAR_M
from envs.carla.lite.terrain import grip_of, height_of
from envs.carla.lite.vehicle_spec import GRAVITY_MPS2
from envs.carla.lite.vehicle_state import VehicleState
from envs.carla.lite.weather import Weather

MAX_ACTORS = 4096
FIRST_SENSOR_STREAM = 1000
"""Streams of sensors are numbered from here, by the sensor's id."""
CLEARANCE_M = 0.5
"""Of the spawn points over the road."""
PROP_NAMES = {3: "static.building", 6: "static.pole", 7: "static.trafficlight", 9: "static.vegetation"}
"""What collision sensors call the things of the map, by label."""
FAST_MPS = 1e3
"""A vehicle beyond these has been thrown out of the world by a client's pushes, and is put back and stopped."""


class World:
    """One episode.

    Args:
        roadmap: the map.
        stream_port: where the sensors' streams are.
        episode: its number; clients notice a new world by it.
        frame: the number of its first frame.
        next_id: the first actor's id; ids are not used again in later episodes.
    """

    def __init__(
        self,
        roadmap: RoadMap,
        stream_port: int,
        episode: int = 1,
        frame: int = 1,
        next_id: int = 1,
    ) -> None:
        self.roadmap, self._stream_port = roadmap, stream_port
        self.episode, self.frame, self.next_id = episode, frame, next_id
        self.time_s = self.delta_s = 0.0
        self.weather = Weather()
        self.imu_gravity_mps2 = GRAVITY_MPS2
        self.actors: dict[int, Actor] = {}
        self.vehicles: list[Vehicle] = []
        self.sensors: list[Sensor] = []
        self.contacts: list[collisions.Contact] = []
        """Who has touched what in the last step: one for each side of a pair."""
        self._props = collisions.PropGrid(roadmap.props)
        self._grip = grip_of(roadmap)
        self._height = height_of(roadmap)
        self.spectator = self._add(spawning.spectator(self._take_id()))
        self.crossings = Crossings(roadmap, self._take_id)
        for light in self.crossings.actors:
            self._add(light)

    def actor(self, actor_id: int) -> Actor:
        """An actor by its id.

        Raises:
            CallError: there is none.
        """
        if actor_id not in self.actors:
            raise CallError(f"there is no actor {actor_id}")
        return self.actors[actor_id]

    def vehicle(self, actor_id: int) -> Vehicle:
        """As `actor`, for vehicles only."""
        actor = self.actor(actor_id)
        if not isinstance(actor, Vehicle):
            raise CallError(f"actor {actor_id} is a {actor.blueprint.id}, not a vehicle")
        return actor

    def walker(self, actor_id: int) -> Walker:
        """As `actor`, for walkers only."""
        actor = self.actor(actor_id)
        if not isinstance(actor, Walker):
            raise CallError(f"actor {actor_id} is a {actor.blueprint.id}, not a walker")
        return actor

    def light(self, actor_id: int) -> TrafficLight:
        """As `actor`, for traffic lights only."""
        actor = self.actor(actor_id)
        if not isinstance(actor, TrafficLight):
            raise CallError(f"actor {actor_id} is a {actor.blueprint.id}, not a traffic light")
        return actor

    def spawn(self, description: list[Any], pose: Pose, parent: Actor | None = None) -> Actor:
        """A new actor, at a place in the world or on its parent.

        Raises:
            CallError: something else stands there, or there are too many actors.
            UserError: there is no such blueprint, or an attribute is wrong.
        """
        if len(self.actors) >= MAX_ACTORS:
            raise CallError(f"there are {MAX_ACTORS} actors already")
        actor = spawning.make(self.next_id, description, pose, parent)
        body = actor.body
        if body is not None and parent is None:
            bodies = [body, *self._bodies()]
            if any(body.actor_id in (c.actor_id, c.other_id) for c in self._touching(bodies)):
                raise CallError("spawn failed because of a collision at the spawn position")
        if isinstance(actor, Sensor) and actor.kind >= 0:
            actor.stream_id = actor.id + FIRST_SENSOR_STREAM
        self._take_id()
        return self._add(actor)

    def destroy(self, actor_id: int) -> bool:
        """Remove an actor; what was attached to it stays where it is. False if there is none, or it must stay."""
        actor = self.actors.get(actor_id)
        if actor is None or actor is self.spectator or isinstance(actor, TrafficLight):
            return False
        del self.actors[actor_id]
        if isinstance(actor, Vehicle):
            self.vehicles.remove(actor)
        if isinstance(actor, Sensor):
            self.sensors.remove(actor)
        for other in self.actors.values():
            if other.parent is actor:
                other.parent = None
        return True

    def place(self, actor: Actor, pose: Pose) -> None:
        """Put an actor elsewhere; for one that is attached, `pose` is seen from its parent."""
        if actor.parent is not None:
            actor.mount = pose
            pose = actors.attach(actor.parent.pose, pose)
        actor.move(pose)

    def step(self, delta_s: float, settings: Settings) -> None:
        """Let time pass."""
        self.frame += 1
        self.time_s += delta_s
        self.delta_s = delta_s
        count = settings.substeps(delta_s)
        self._drive(delta_s / count, count)
        self.crossings.step(delta_s)
        for each in self.vehicles:
            each.at_light = self.crossings.light_at(each)
        for actor in self.actors.values():  # in the order of spawning: parents come first
            if actor.parent is not None:
                actor.move(actors.attach(actor.parent.pose, actor.mount))

    def state(self, map_changed: bool) -> bytes:
        """The world state as a stream message."""
        records = [actor.record() for actor in self.actors.values()]
        head = wire.header(wire.WORLD, self.frame, self.time_s, self.spectator.pose)
        return head + wire.world_state(self.episode, self.time_s, self.delta_s, map_changed, records)

    def describe(self, actor: Actor) -> list[Any]:
        """`Actor`, as clients get it once."""
        parent = actor.parent.id if actor.parent else 0
        token = wire.token(actor.stream_id, self._stream_port) if actor.stream_id else b""
        label = bytes((actor.blueprint.label,))
        return [actor.id, parent, actor.description(), actor.bounding_box(), label, token]

    def describe_thing(self, label: int) -> list[Any]:
        """`Actor` that stands for a thing of the map, which is none: id 0."""
        nothing = [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0]
        return [0, 0, [0, PROP_NAMES.get(label, "static.unknown"), []], nothing, bytes((label,)), b""]

    def spawn_points(self) -> list[list[Any]]:
        """`Transform`s of places to begin at, a little above the ground."""
        places = self.roadmap.spawn_points.tolist()
        return [[(x, y, z + CLEARANCE_M), (0.0, wire.to_degrees(yaw), 0.0)] for x, y, z, yaw in places]

    def _drive(self, dt: float, count: int) -> None:
        """The physics of one step: so many substeps of `dt`."""
        walkers = [
            actor for actor in self.actors.values() if isinstance(actor, Walker) and actor.parent is None
        ]
        for each in self.vehicles:
            if each.target is not None:
                each.control = each.pilot.control(each.target, each.state, each.spec, dt * count)
        felt: dict[tuple[int, int, int], collisions.Contact] = {}  # the first touch of each pair, the hardest
        for _ in range(count):
            for each in self.vehicles:
                if each.parent is None:
                    self._drive_one(each, dt)
            for walker in walkers:
                walker.walk(dt, self._height)
            bodies = self._bodies()
            for contact in collisions.resolve(bodies, self._touching(bodies), dt):
                felt.setdefault((contact.actor_id, contact.other_id, contact.prop), contact)
        self.contacts = list(felt.values())
        for actor in self.actors.values():
            if actor.body is not None:
                actor.follow_body()

    def _drive_one(self, car: Vehicle, dt: float) -> None:
        is_sane = _is_sane(car.state)  # what clients push with is only known to be finite
        if is_sane:
            try:
                vehicle.step(car.state, car.spec, car.control, dt, self._grip, self._height)
                is_sane = _is_sane(car.state)
            except (ArithmeticError, ValueError, LookupError):
                is_sane = False
        if not is_sane:
            print(f"vehicle {car.id} left all bounds and was stopped", file=sys.stderr, flush=True)
            car.stop_at(car.pose)

    def _bodies(self) -> list[collisions.Body]:
        return [
            actor.body
            for actor in self.actors.values()
            if actor.body and actor.has_collisions and not actor.parent
        ]

    def _touching(self, bodies: list[collisions.Body]) -> list[collisions.Contact]:
        return collisions.find_contacts(bodies, self._props)

    def _take_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def _add(self, actor: Any) -> Any:
        self.actors[actor.id] = actor
        if isinstance(actor, Vehicle):
            self.vehicles.append(actor)
        if isinstance(actor, Sensor):
            self.sensors.append(actor)
        return actor


def _is_sane(s: VehicleState) -> bool:
    """Whether a vehicle is in the world and moves as something can; a NaN does not."""
    is_near = -FAR_M < s.x < FAR_M and -FAR_M < s.y < FAR_M and -FAR_M < s.z < FAR_M
    is_slow = -FAST_MPS < s.vx < FAST_MPS and -FAST_MPS < s.vy < FAST_MPS and -FAST_MPS < s.vz < FAST_MPS
    return is_near and is_slow and -FAST_MPS < s.yaw_rate < FAST_MPS and -FAR_M < s.yaw < FAR_M
