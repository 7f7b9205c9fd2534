"""A session in a process of its own, for episodes with traffic and on servers that somebody else runs.

The client's Traffic Manager needs it, twice: its threads end their process when a server is lost, and every tick of a
world moves the Traffic Managers of all the worlds in the process. A running server needs it to get its settings back
however we end: the line between the two closes even if we are killed, and the other side tidies up.
"""

import contextlib
import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from envs.carla.config import CarlaConfig
from envs.carla.drive import Outcome
from envs.carla.sensors import IMPACT_WAIT_S, Lost
from envs.carla.server import Address
from envs.carla.session import Found, Seen, Session
from utils.errors import UserError

GRACE_S = 5.0
"""beyond what the simulator may take"""


class RemoteSession:
    """See `session.Sessions`; the arguments are those of `Session`."""

    def __init__(self, config: CarlaConfig, address: Address, has_lidar: bool) -> None:
        self._config, self._made_of = config, (config, address, has_lidar)
        self._found: Found | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._line: Connection[Any, Any] | None = None

    def launch(self) -> None:
        """See Sessions."""
        if self.process is not None:
            return
        ours, theirs = socket.socketpair()
        # It stays in our working directory, where relative paths are meant, and finds our rooms all the same.
        paths = str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "envs.carla.remote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                start_new_session=True,  # Ctrl-C and a closed terminal are for us, who close the line
            )
        self._line = Connection(ours.detach())
        self._line.send((*self._made_of, self._found))

    def begin(self, seed: int) -> Seen:
        """See Sessions."""
        self.launch()
        self._ask(3 * self._config.start_timeout_s, "meet")  # we outlive a client that dies after taking over
        return self._ask(3 * self._config.start_timeout_s, "begin", seed)

    def step(self, steer: float, gas: float, brake: float) -> tuple[Outcome, Seen]:
        """See Sessions."""
        ticks = self._config.action_repeat
        return self._ask(
            (ticks + 2) * self._config.tick_timeout_s + ticks * IMPACT_WAIT_S, "step", steer, gas, brake
        )

    def guide(self) -> tuple[float, float, float]:
        """See Sessions."""
        return self._ask(self._config.tick_timeout_s, "guide")

    def close(self) -> None:
        """See Sessions."""
        if self._end() != 0 and self._found is not None:
            self.launch()  # its process died before it had given the server its settings back: a new one does
            self._end()
        self._found = None

    def abandon(self) -> None:
        """See Sessions. A running server is claimed again at once, as `Session.abandon` says."""
        if self.process is not None:
            self.process.kill()  # its server goes with it
        self._end()
        if self._found is not None:
            self.launch()

    def _end(self) -> int:
        """End the process; its exit code, 0 if it ended by itself or there was none."""
        if self.process is None or self._line is None:
            return 0
        self._line.close()  # which tells it to
        try:
            self.process.wait(self._config.tick_timeout_s + GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.process.wait()
        self.process = self._line = None
        return code

    def _ask(self, timeout_s: float, name: str, *arguments: Any) -> Any:
        assert self._line is not None
        try:
            self._line.send((name, arguments))
            if not self._line.poll(timeout_s + GRACE_S):
                raise Lost(f"the CARLA client did not {name} within {timeout_s + GRACE_S:g} s")
            kind, answer, self._found = self._line.recv()
        except (EOFError, OSError):
            raise Lost("the process of the CARLA client died") from None
        except BaseException:
            self._line.close()  # or the next question would get this one's answer
            raise
        if kind == "done":
            return answer
        raise Lost(answer) if kind == "lost" else UserError(answer)


def serve(line: "Connection[Any, Any]") -> None:
    """The other side: do what is asked until the line is closed or its other end dies."""
    made_of = _heard(line)
    if made_of is None:
        return
    session = Session(*made_of)
    with contextlib.suppress(UserError):  # which `begin` will meet again
        session.launch()
    while (asked := _heard(line)) is not None:
        name, arguments = asked
        try:
            answer = "done", getattr(session, name)(*arguments)
        except UserError as error:
            answer = "wrong", str(error)
        except Lost as error:
            _tell(line, ("lost", str(error), session.found))
            if session.server is not None:
                session.server.stop()
            os._exit(1)  # without asking the Traffic Manager, which would wait for the server
        _tell(line, (*answer, session.found))
    session.close()


def _heard(line: "Connection[Any, Any]") -> Any:
    """What the other end says next; None if it has closed the line or died."""
    try:
        return line.recv()
    except (EOFError, OSError):
        return None


def _tell(line: "Connection[Any, Any]", answer: tuple[Any, ...]) -> None:
    """Answer, if anybody is there to hear it."""
    with contextlib.suppress(OSError):
        line.send(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
    os._exit(0)  # Python's own end would abort a sensor's thread that waits for it, and the process with it
