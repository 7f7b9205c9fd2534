"""One server, the world on it and the episode that runs there, in this process."""

import atexit
import contextlib
import weakref
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.carla import tasks
from envs.carla.config import CarlaConfig
from envs.carla.drive import Drive, Outcome
from envs.carla.sensors import Lost
from envs.carla.server import Address, Attached, Server, start
from envs.carla.world import Settings, World
from utils.errors import UserError


class Seen(NamedTuple):
    """What there is to see of an episode now."""

    image: NDArray[np.uint8]
    """(size, size, 3)"""
    vector: NDArray[np.float32]
    """the car's state (7,), see drive.STATE"""
    free_m: NDArray[np.float32]
    """the lidar's distances (LIDAR_SECTORS,); none without a lidar"""
    state: tasks.DriveState


class Found(NamedTuple):
    """A running server before we took it over."""

    address: tuple[str, int]
    settings: Settings


class Sessions(Protocol):
    """A session, wherever it runs. All methods but `close` and `abandon` raise Lost if the server does not answer."""

    def launch(self) -> None:
        """Start the server, if there is none, without waiting for it."""
        ...

    def begin(self, seed: int) -> Seen:
        """Begin an episode; UserError if what was asked for cannot be had."""
        ...

    def step(self, steer: float, gas: float, brake: float) -> tuple[Outcome, Seen]:
        """One action."""
        ...

    def guide(self) -> tuple[float, float, float]:
        """What the pure-pursuit driver would do now: steer, gas, brake."""
        ...

    def close(self) -> None:
        """Stop the server if we started it; otherwise give it its settings back and take our actors away."""
        ...

    def abandon(self) -> None:
        """Give up a lost server, of which no answer is expected."""
        ...


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Turn the client's error about an answer that did not come into `Lost`."""
    try:
        yield
    except RuntimeError as error:
        raise Lost(f"the CARLA server did not answer ({str(error).rstrip('.')})") from None


def _close(session: "weakref.ref[Session]") -> None:
    """Close a session that nobody has closed when Python ends: its sensors' threads would abort the process."""
    if (left := session()) is not None:
        left.close()


class Session:
    """Episodes on one server; see `Sessions`.

    Args:
        config: what to drive and where.
        address: of the server.
        has_lidar: attach one to the car.
        found: the running server that an earlier session took over and lost: that one is taken, and no other.

    Attributes:
        found: the running server before we took it over; None until it has told.
    """

    def __init__(
        self, config: CarlaConfig, address: Address, has_lidar: bool, found: Found | None = None
    ) -> None:
        self._config, self._has_lidar = config, has_lidar
        self._address = (found.address,) if found else address
        self.found = found
        self.server: Server | None = None
        self.world: World | None = None
        self._drive: Drive | None = None

    @property
    def drive(self) -> Drive:
        """The episode."""
        assert self._drive is not None, "begin an episode first"
        return self._drive

    def launch(self) -> None:
        """See Sessions."""
        if self.server is None:
            self.server = start(self._address)
            if isinstance(self.server, Attached):
                self.server.was_there = self.found is not None
            atexit.register(_close, weakref.ref(self))  # runs before the server's own finaliser

    def meet(self) -> None:
        """Connect to the server, which tells what it is set to, and change nothing yet."""
        self.launch()
        assert self.server is not None
        if self.world is None:
            self.server.wait(self._config.start_timeout_s)
            with answered():
                self.world = World(self.server, self._config, self._config.start_timeout_s)
                if isinstance(self.server, Attached):
                    address = self.server.host, self.server.port
                    self.found = self.found or Found(address, self.world.settings())  # later they may be ours

    def begin(self, seed: int) -> Seen:
        """See Sessions."""
        self.meet()
        assert self.world is not None
        with answered():
            if self._drive is None:
                self.world.take_over()
            self._drive = Drive(self.world, self._config, seed, self._has_lidar)
        return self._seen()

    def step(self, steer: float, gas: float, brake: float) -> tuple[Outcome, Seen]:
        """See Sessions."""
        with answered():
            return self.drive.step(steer, gas, brake), self._seen()

    def guide(self) -> tuple[float, float, float]:
        """See Sessions."""
        return self.drive.guide()

    def close(self) -> None:
        """See Sessions."""
        with contextlib.suppress(RuntimeError, UserError):
            if self.world is not None:
                self.world.hang_up()
            elif isinstance(self.server, Attached) and self.found and self.server.accepts():
                # It was abandoned, and may be well again.
                self.world = World(self.server, self._config, self._config.tick_timeout_s)
            if self.server and self.world and self.server.is_running and self.world.is_answering():
                self.world.clear()  # also where the server is stopped: the client complains of sensors left
                if isinstance(self.server, Attached) and self.found:
                    self.world.give_back(self.found.settings)
        self.found = None
        self._let_go()

    def abandon(self) -> None:
        """See Sessions. A running server stays claimed: nobody else may drive it before it has its settings back."""
        if self.world is not None:
            self.world.hang_up()
        if isinstance(self.server, Attached):
            self._drive = self.world = None
        else:
            self._let_go()

    def _let_go(self) -> None:
        self._drive = self.world = None
        if self.server is not None:
            self.server.stop()
        self.server = None

    def _seen(self) -> Seen:
        drive = self.drive
        return Seen(drive.image, drive.vector(), drive.free_m, drive.state)
