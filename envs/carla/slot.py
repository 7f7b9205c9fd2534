"""One slot: a server, the world on it, and the episode that runs there.

A slot starts its server when it is first reset, and replaces one that is lost: the episode that ran on it is
truncated and says so, and the next reset finds a new server.
"""

import contextlib

import numpy as np
from numpy.typing import NDArray

from envs.carla import tasks
from envs.carla.config import CarlaConfig
from envs.carla.drive import Drive, Outcome
from envs.carla.sensors import Lost
from envs.carla.server import Server, start
from envs.carla.world import World
from utils.errors import UserError

LOST = Outcome(0.0, np.zeros(len(tasks.TERMS)), tasks.Ending(False, True, "lost"))
"""the server went, and the episode with it"""


class Slot:
    """Episodes on a server of its own.

    Args:
        config: what to drive and where.
        address: see `server.start`.
        has_lidar: attach one to the car.
    """

    def __init__(
        self, config: CarlaConfig, address: str | tuple[str, int] | None, has_lidar: bool = False
    ) -> None:
        self._config, self._address, self._has_lidar = config, address, has_lidar
        self._server: Server | None = None
        self._world: World | None = None
        self._drive: Drive | None = None
        self._losses = 0

    @property
    def drive(self) -> Drive:
        """The episode that runs, or the one that ended last."""
        assert self._drive is not None, "reset the slot first"
        return self._drive

    @property
    def image(self) -> NDArray[np.uint8]:
        """The last frame, uint8 (size, size, 3)."""
        return self.drive.image

    def launch(self) -> None:
        """Start the server, if there is none, without waiting for it."""
        if self._server is None:
            self._server = start(self._address)

    def reset(self, seed: int) -> None:
        """Begin an episode.

        Raises:
            UserError: what was asked for cannot be had, or servers are lost again and again.
        """
        self._drive = None  # and with it the client of a lost server, which would go on calling
        while True:
            try:
                world = self._connected()
                self._drive = Drive(world, self._config, seed, self._has_lidar)
                return
            except Lost as error:
                self._replace(error)

    def step(self, steer: float, gas: float, brake: float) -> Outcome:
        """One action; `LOST` if the server is.

        Raises:
            UserError: servers are lost again and again.
        """
        try:
            return self.drive.step(steer, gas, brake)
        except Lost as error:
            self._replace(error)
            return LOST

    def close(self) -> None:
        """Stop the server if we started it; otherwise leave it as it was found. The next reset starts anew."""
        if self._world is not None:
            self._world.hang_up()
            if isinstance(self._address, tuple):
                with contextlib.suppress(Lost):
                    self._world.clear()
                    self._world.restore()
        self._drop()

    def _connected(self) -> World:
        if self._world is None:
            self.launch()
            assert self._server is not None
            self._server.wait(self._config.start_timeout_s)
            self._world = World(self._server, self._config)
        return self._world

    def _replace(self, error: Lost) -> None:
        """Give the server up; the next reset gets another one."""
        if self._world is not None:
            self._world.hang_up()
        self._drop()
        self._losses += 1
        if self._losses > self._config.restarts:
            raise UserError(
                f"{error}; {self._losses} servers were lost, more than restarts={self._config.restarts} allows; "
                "look at the server's log, or allow more time (tick_timeout_s) or restarts."
            )

    def _drop(self) -> None:
        self._world = None
        if self._server is not None:
            self._server.stop()
        self._server = None
