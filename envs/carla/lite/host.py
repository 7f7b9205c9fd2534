"""The server: one event loop over both ports, the world, and when it is stepped.

Synchronous mode steps when a client says so; asynchronous mode follows the clock while any client is there.
"""

import selectors
import sys
import time
import traceback
from collections.abc import Callable

from envs.carla.lite import maps, roadmap, wire
from envs.carla.lite.handlers import METHODS
from envs.carla.lite.roadmap import RoadMap
from envs.carla.lite.rpc import CallError, Rpc, Session
from envs.carla.lite.scene import Scene
from envs.carla.lite.sensors import Sensors
from envs.carla.lite.settings import Settings
from envs.carla.lite.sockets import listen
from envs.carla.lite.streams import PATIENCE_S, WORLD_STREAM, Streams
from envs.carla.lite.world import World

ASYNC_DELTA_S = 0.05
"""Step of the world in asynchronous mode without a fixed one; also of synchronous mode without one."""
SWEEP_S = 1.0
QUIET_S = 0.05
"""So long before a load is over nothing has been sent to anybody."""
OPEN_DRIVE = "OpenDriveMap"
"""What the client calls the map that it has sent itself."""


class Host:
    """A lite server on two ports.

    Args:
        host: address to listen on.
        port: of the RPC; the streams have the next one.
        map_name: as `maps.load_map` takes it.
        seed: of the seeded maps, and of what stands beside the road.

    Raises:
        UserError: there is no such map.
        OSError: a port is taken.
    """

    def __init__(self, host: str, port: int, map_name: str, seed: int) -> None:
        self.port, self.seed = port, seed
        self.settings = Settings()
        self.managers: dict[int, tuple[str, Session]] = {}
        """Traffic Managers by port: address and the client that runs it."""
        self._sent_map: RoadMap | None = None
        self.world = World(maps.load_map(map_name, seed), port + 1)
        self._selector = selectors.DefaultSelector()
        rpc_socket = listen(host, port)
        try:
            stream_socket = listen(host, port + 1)
        except OSError:
            rpc_socket.close()
            raise
        self.rpc = Rpc(self, self._selector, rpc_socket, METHODS)
        self.streams = Streams(self._selector, stream_socket)
        self._sensors = Sensors(self.world)
        self._last_sent = 0.0
        self._is_map_new = False
        self._quiet_until = 0.0, 0
        """Until this moment, or until so many subscribers to the world have come, time does not go on by itself."""
        self._publish_state(map_changed=True)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Serve until `is_over`, which is asked once a second."""
        next_tick = next_sweep = time.monotonic()
        is_held = False
        while True:
            now = time.monotonic()
            wait = 0.005 if is_held else next_sweep - now
            if self._is_free_running():
                wait = min(wait, next_tick - now)
            for key, mask in self._selector.select(max(wait, 0.0)):
                key.data(mask)
            is_held = self.rpc.retry()
            now = time.monotonic()
            if self._is_free_running() and now >= next_tick:
                delta = self.settings.fixed_delta_s or ASYNC_DELTA_S
                next_tick = max(next_tick + delta, now)
                try:
                    self.tick()
                except Exception:  # a client must not end the world for the others
                    traceback.print_exc(file=sys.stderr)
            if now >= next_sweep:
                next_sweep = now + SWEEP_S
                self.rpc.sweep()
                self.streams.sweep()
                if is_over():
                    return

    @property
    def scene(self) -> Scene:
        """The map as the sensors see it."""
        return self._sensors.scene

    def must_wait(self) -> bool:
        """Whether a tick that a client asks for should wait for subscribers."""
        return self.settings.is_synchronous and self.streams.must_wait()

    def tick(self) -> int:
        """Step the world and send what the sensors measure; the new frame number."""
        self.world.step(self.settings.fixed_delta_s or ASYNC_DELTA_S, self.settings)
        for stream_id, message in self._sensors.measure(self.streams.is_wanted, self.settings):
            self._publish(stream_id, message)
        self._publish_state(self._is_map_new)
        self._is_map_new = False
        return self.world.frame

    def offer(self, xodr: str) -> None:
        """Take an OpenDRIVE text, which `load(OPEN_DRIVE)` makes the world.

        Raises:
            MapError: it is no map that can be driven on.
        """
        self._sent_map = roadmap.parse(xodr, OPEN_DRIVE, self.seed)

    def load(self, name: str, reset_settings: bool) -> None:
        """Begin a new episode, on the map of that name; on the present one if it is empty."""
        name = name.rsplit("/", 1)[-1]
        if name == OPEN_DRIVE:
            if self._sent_map is None:
                raise CallError("no OpenDRIVE text has been sent")
            new_map = self._sent_map
        elif name in ("", self.world.roadmap.name):
            new_map = self.world.roadmap
        elif name in maps.map_names():
            new_map = maps.load_map(name, self.seed)
        else:
            raise CallError(f"there is no map {name!r} here; there are {', '.join(maps.map_names())}")
        if reset_settings:
            self.settings = Settings()
        old = self.world
        self.world = World(new_map, self.port + 1, old.episode + 1, old.frame + 1, old.next_id)
        self._sensors = Sensors(self.world, self._sensors.scene if new_map is old.roadmap else None)
        # The client that loads a map drops its old stream as soon as it has our answer, and a world state that it is
        # still reading then ends its process. So the last one must be read by now, and the next one goes to new
        # subscribers only, until the next tick.
        time.sleep(max(self._last_sent + QUIET_S - time.monotonic(), 0.0))
        self.streams.newest_state = wire.frame(self.world.state(True))
        self._is_map_new = True
        self._quiet_until = time.monotonic() + PATIENCE_S, self.streams.num_welcomed

    def client_left(self, session: Session) -> None:
        """An RPC client has gone, and its Traffic Managers with it."""
        self.managers = {port: each for port, each in self.managers.items() if each[1] is not session}

    def _is_free_running(self) -> bool:
        moment, num_welcomed = self._quiet_until
        is_quiet = self.streams.num_welcomed == num_welcomed and time.monotonic() < moment
        return not self.settings.is_synchronous and len(self.rpc) > 0 and not is_quiet

    def _publish_state(self, map_changed: bool = False) -> None:
        self._publish(WORLD_STREAM, self.world.state(map_changed))

    def _publish(self, stream_id: int, message: bytes) -> None:
        self.streams.publish(stream_id, message)
        self._last_sent = time.monotonic()
