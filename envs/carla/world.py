"""One simulated world: a client in synchronous mode, a map, our car and the traffic.

What the user asked for and cannot have raises a UserError; what the server does not answer in time raises the
client's RuntimeError, in any method.
"""

from pathlib import Path
from typing import Any

import numpy as np

from envs.carla.api import carla
from envs.carla.birdview import Texture, lanes_of
from envs.carla.config import DELTA_S, CarlaConfig
from envs.carla.lite import maps
from envs.carla.sensors import Feed
from envs.carla.server import Server
from envs.carla.traffic import Traffic
from utils.errors import UserError, check

THREADS = 2
"""of the client: one may wait for Python while the other takes the next message"""
SUBSTEPS = 5
OWN_MAPS = {"loop": lambda seed: maps.loop(), "circuit": maps.circuit, "town": lambda seed: maps.town()}
"""name -> OpenDRIVE text for a seed"""
Settings = dict[str, Any]
"""fields of a carla.WorldSettings, which cannot go to another process itself"""
NO_ANSWER = ("time-out", "failed to connect")
"""words of the client's error where an answer did not come in time; any other error is the server's answer"""
LIFT_M = 0.3
"""the car is put down from so high, because a simulator refuses a place where wheels touch the road"""


class World:
    """A world on a server that accepts connections.

    Args:
        server: where.
        config: what to drive.
        timeout_s: for the server's first answers: a simulator accepts connections while it is still loading.

    Raises:
        UserError: the server has another version.
    """

    def __init__(self, server: Server, config: CarlaConfig, timeout_s: float) -> None:
        self._config, self._server = config, server
        self.client = carla.Client(server.host, server.port, THREADS)
        self.client.set_timeout(timeout_s)
        theirs, ours = self.client.get_server_version(), self.client.get_client_version()
        check(
            _release(theirs) == _release(ours),
            f"the CARLA server at {server.host}:{server.port} is {theirs} but the carla package is {ours}; "
            "other versions do not understand each other, so install the server's or start another server.",
        )
        self.is_lite = server.is_lite
        self._world = self.client.get_world()
        self.client.set_timeout(config.tick_timeout_s)
        self.others: list[Any] = []
        self._loaded: tuple[str, int] | None = None
        self._texture: Texture | None = None
        self._actors: list[Any] = []
        self._feeds: list[Feed] = []
        self._traffic: Traffic | None = None

    def settings(self) -> Settings:
        """What the server is set to."""
        settings = self._world.get_settings()
        return {name: getattr(settings, name) for name in dir(settings) if not name.startswith("_")}

    def take_over(self) -> None:
        """Let the server wait for our ticks."""
        self._world.apply_settings(self._ours())

    def give_back(self, found: Settings) -> None:
        """Set the server to what it was set to."""
        settings = carla.WorldSettings()
        for name, value in found.items():
            setattr(settings, name, value)
        self._world.apply_settings(settings)

    def load(self, name: str, seed: int) -> None:
        """Make a map the world, unless it is already.

        Raises:
            UserError: there is no such map, it cannot be read, or the server refuses it.
        """
        wanted = (name, seed if name == "circuit" else 0)
        if wanted != self._loaded:
            self._loaded = self._texture = None
            self.client.set_timeout(self._config.start_timeout_s)
            if name in OWN_MAPS or name.endswith(".xodr"):
                self._generate(name, OWN_MAPS[name](seed) if name in OWN_MAPS else read_opendrive(name))
            else:
                self._load_town(name)
            self.town = self._world.get_map()
            self.starts = self.town.get_spawn_points()
            self.client.set_timeout(self._config.tick_timeout_s)
            self._loaded = wanted
        check(self.starts, f"the map {name} has no spawn point.")
        self._world.set_weather(weather(self._config.weather))
        self._world.reset_all_traffic_lights()

    def _generate(self, name: str, xodr: str) -> None:
        parameters = carla.OpendriveGenerationParameters(
            vertex_distance=2.0, max_road_length=50.0, wall_height=0.0, additional_width=0.6
        )
        try:
            self._world = self.client.generate_opendrive_world(xodr, parameters, False)
        except RuntimeError as error:
            if any(words in str(error) for words in NO_ANSWER):
                raise
            reason = str(error).rstrip(".")
            raise UserError(f"the CARLA server refuses the map {name} ({reason}); take another.") from None

    def _load_town(self, name: str) -> None:
        there = [path.rsplit("/", 1)[-1] for path in self.client.get_available_maps()]
        known = ", ".join([*OWN_MAPS, *sorted(there)])
        check(
            name.rsplit("/", 1)[-1] in there,
            f"the CARLA server has no map {name!r}; take FILE.xodr or one of {known}.",
        )
        self._world = self.client.load_world(name, False)

    def texture(self) -> Texture:
        """The map from above, painted once."""
        if self._texture is None:
            self._texture = Texture(lanes_of(self.town), self._config.size)
        return self._texture

    def spawn_car(self, starts: list[Any]) -> Any:
        """Put our car at the first free one of some places.

        Raises:
            UserError: there is no such blueprint, or none of the places is free.
        """
        blueprint = self._blueprint(self._config.vehicle)
        if blueprint.has_attribute("role_name"):
            blueprint.set_attribute("role_name", "hero")
        for start in starts:
            car = self._world.try_spawn_actor(blueprint, lifted(start))
            if car is not None:
                self._actors.append(car)
                return car
        raise UserError(
            f"no spawn point is free: all {len(starts)} tried are taken; remove vehicles from the map."
        )

    def attach(self, car: Any, blueprint_id: str, attributes: dict[str, Any], pose: Any) -> Feed:
        """Attach a sensor to the car and listen to it.

        Raises:
            UserError: there is no such blueprint.
        """
        blueprint = self._blueprint(blueprint_id)
        for key, value in attributes.items():
            blueprint.set_attribute(key, f"{value:g}" if isinstance(value, float) else str(value))
        sensor = self._world.spawn_actor(blueprint, pose, attach_to=car)
        feed = Feed(sensor, blueprint_id)
        self._actors.append(sensor)
        self._feeds.append(feed)
        return feed

    def _blueprint(self, blueprint_id: str) -> Any:
        library = self._world.get_blueprint_library()
        try:
            return library.find(blueprint_id)
        except IndexError:
            family = ".".join(blueprint_id.split(".")[:1])
            known = sorted(blueprint.id for blueprint in library.filter(f"{family}.*")) or [
                "none of that kind"
            ]
            shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise UserError(f"the CARLA server has no blueprint {blueprint_id!r}; it has {shown}.") from None

    def add_traffic(self, starts: list[Any], rng: np.random.Generator) -> None:
        """Put cars at the first free ones of some places and let the Traffic Manager drive them.

        Raises:
            UserError: there are too few free places.
        """
        wanted = self._config.traffic
        if not wanted:
            return
        seed = int(rng.integers(2**31))
        self._traffic = Traffic(
            self.client, self._server.client_port, self._world, self._config.tick_timeout_s, seed
        )
        library = self._world.get_blueprint_library().filter("vehicle.*")
        cars = sorted(
            (b for b in library if int(b.get_attribute("number_of_wheels")) == 4), key=lambda b: b.id
        )
        cars = [blueprint for blueprint in cars if blueprint.get_attribute("base_type") == "car"] or cars
        for start in starts:
            if len(self.others) == wanted:
                return
            other: Any = self._world.try_spawn_actor(cars[int(rng.integers(len(cars)))], lifted(start))
            if other is not None:
                self._traffic.drive(other)
                self._actors.append(other)
                self.others.append(other)
        if len(self.others) < wanted:
            raise UserError(
                f"there is room for {len(self.others)} vehicles of traffic={wanted} on this map; ask for fewer."
            )

    def tick(self) -> int:
        """Advance by DELTA_S; the frame's number."""
        if self._traffic is not None:
            return self._traffic.tick()
        return self._world.tick(self._config.tick_timeout_s)

    def clear(self) -> None:
        """Take away what we put there."""
        self.hang_up()
        actors, self._actors, self.others = self._actors, [], []
        for actor in reversed(actors):
            actor.destroy()

    def hang_up(self) -> None:
        """Stop listening to sensors and driving the traffic, which needs no answer of the server.

        The Traffic Manager's threads would end this process over a vehicle or a server that is gone.
        """
        for feed in self._feeds:
            feed.stop()
        self._feeds = []
        if self._traffic is not None:
            self._traffic.stop()
            self._traffic = None
            self._loaded = None  # traffic starts the same only in a new world

    def is_answering(self) -> bool:
        """True; a server that does not answer costs one time-out here, rather than one for each actor."""
        return bool(self.client.get_server_version())

    def _ours(self) -> Any:
        settings = self._world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = DELTA_S
        settings.substepping = True
        substeps = 1 if self.is_lite else SUBSTEPS  # our lite server's cars divide a long step themselves
        settings.max_substep_delta_time = DELTA_S / substeps
        settings.max_substeps = substeps
        settings.deterministic_ragdolls = True
        settings.no_rendering_mode = self._config.obs == "birdview"
        return settings


def weather(name: str) -> Any:
    """A weather preset by name.

    Raises:
        UserError: there is no such preset.
    """
    kind = carla.WeatherParameters
    known = [key for key in dir(kind) if isinstance(getattr(kind, key), kind)]
    check(name in known, f"CARLA has no weather {name!r}; it has {', '.join(known)}.")
    return getattr(kind, name)


def read_opendrive(name: str) -> str:
    """The text of a .xodr file that the client can read.

    Raises:
        UserError: it cannot.
    """
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"the map {name} cannot be read ({reason}).") from None
    try:
        is_empty = not carla.Map(name, text).get_topology()
    except RuntimeError:
        is_empty = True
    check(not is_empty, f"the map {name} is no OpenDRIVE map with roads to drive on; take another file.")
    return text


def lifted(start: Any) -> Any:
    """A spawn point, a little higher."""
    place = start.location
    return carla.Transform(carla.Location(place.x, place.y, place.z + LIFT_M), start.rotation)


def _release(version: str) -> list[str]:
    """0.9.16 of "0.9.16-12-g3af2b1"."""
    return version.split("-")[0].split(".")[:3]
