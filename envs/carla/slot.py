"""One slot: a session that is replaced when its server is lost.

The episode that ran on a lost server is truncated and says so, and the next reset finds a new server.
"""

import numpy as np

from envs.carla import tasks
from envs.carla.config import CarlaConfig
from envs.carla.drive import Outcome
from envs.carla.remote import RemoteSession
from envs.carla.sensors import Lost
from envs.carla.server import Address
from envs.carla.session import Seen, Session, Sessions
from utils.errors import UserError

LOST = Outcome(0.0, np.zeros(len(tasks.TERMS)), tasks.Ending(False, True, "lost"))
"""the server went, and the episode with it"""


class Slot:
    """Episodes one after the other.

    Args:
        config: what to drive and where.
        address: of the server.
        has_lidar: attach one to the car.

    Attributes:
        session: where the episodes run.
    """

    def __init__(self, config: CarlaConfig, address: Address, has_lidar: bool = False) -> None:
        self._restarts = config.restarts
        is_remote = config.traffic or isinstance(address, tuple)
        self.session: Sessions = (RemoteSession if is_remote else Session)(config, address, has_lidar)
        self._losses = 0
        self._seen: Seen | None = None

    @property
    def seen(self) -> Seen:
        """What there was to see last."""
        assert self._seen is not None, "reset the slot first"
        return self._seen

    def reset(self, seed: int) -> None:
        """Begin an episode.

        Raises:
            UserError: what was asked for cannot be had, or servers are lost again and again.
        """
        while True:
            try:
                self._seen = self.session.begin(seed)
                return
            except Lost as error:
                self._replace(error)

    def step(self, steer: float, gas: float, brake: float) -> Outcome:
        """One action; `LOST` if the server is.

        Raises:
            UserError: servers are lost again and again.
        """
        try:
            outcome, self._seen = self.session.step(steer, gas, brake)
            return outcome
        except Lost as error:
            self._replace(error)
            return LOST

    def guide(self) -> tuple[float, float, float]:
        """What the pure-pursuit driver would do now; zeros if the server is lost, as the next `step` tells."""
        try:
            return self.session.guide()
        except Lost:
            return 0.0, 0.0, 0.0

    def _replace(self, error: Lost) -> None:
        """Give the server up; the next reset gets another one."""
        self.session.abandon()
        self._losses += 1
        if self._losses > self._restarts:
            raise UserError(
                f"{error}; {self._losses} servers were lost, more than restarts={self._restarts} allows; "
                "look at the server's log, or allow more time (tick_timeout_s) or restarts."
            )
