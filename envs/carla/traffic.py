"""The client's Traffic Manager, which drives other cars in step with our ticks.

A tick of the 0.9.16 client ends when the manager's thread has had its turn. Each of the two tells the other by a
signal that is lost if nobody listens yet, and then both wait for ever (carla-simulator/carla#9172, mended after
0.9.16). Turning the manager's synchronous mode off sends the first of these signals again. It must be asked for at
the manager's own port: the client's method would wait for the tick.
"""

import contextlib
import socket
import threading
from typing import Any

from envs.carla.lite.packing import msgpack
from envs.carla.lite.wire import pack
from envs.carla.ports import TRAFFIC_OFFSET

PATIENCE_S = 3.0
"""a turn takes milliseconds, and a signal too many would break the step: wait one to two times as long as this"""


class Traffic:
    """The manager of one world, and the one who ticks it from now on.

    Args:
        client: of a server in synchronous mode.
        port: the server's.
        world: the client's world.
        tick_timeout_s: a server that takes longer for a tick is lost: the client's RuntimeError.
        seed: of how the cars drive.
    """

    def __init__(self, client: Any, port: int, world: Any, tick_timeout_s: float, seed: int) -> None:
        self._world, self._timeout_s = world, tick_timeout_s
        self._manager = client.get_trafficmanager(port + TRAFFIC_OFFSET)
        self._manager.set_synchronous_mode(True)
        self._before: int | None = None
        self._is_over = threading.Event()
        threading.Thread(target=self._wake, daemon=True).start()
        self.tick()  # its thread began on its own, and forgets a car that is not yet in the world it knows
        self._manager.set_random_device_seed(seed)

    def drive(self, car: Any) -> None:
        """Drive a car."""
        car.set_autopilot(True, self._manager.get_port())

    def tick(self) -> int:
        """Advance the world; the frame's number."""
        self._before = self._frame()
        try:
            return self._world.tick(self._timeout_s)
        finally:
            self._before = None

    def stop(self) -> None:
        """Let go of all cars."""
        self._is_over.set()
        self._manager.shut_down()

    def _frame(self) -> int:
        return self._world.get_snapshot().frame

    def _wake(self) -> None:
        """Where a tick's frame has come but the tick does not end, send the manager its signal again."""
        last = None
        while not self._is_over.wait(PATIENCE_S):
            before = self._before
            if before is not None and before == last and self._frame() > before:
                with contextlib.suppress(OSError, msgpack.OutOfData):
                    ask(self._manager.get_port(), *(("set_synchronous_mode", [on]) for on in (False, True)))
            last = before


def ask(port: int, *calls: tuple[str, list[Any]]) -> None:
    """Call methods of a manager in this process, each its name and arguments, and wait for the answers.

    Raises:
        OSError: it cannot be reached, or does not answer in time.
    """
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line:
        line.sendall(b"".join(pack([0, number, *call]) for number, call in enumerate(calls)))
        answers = msgpack.Unpacker(line.makefile("rb", 0))
        for _ in calls:
            answers.unpack()
