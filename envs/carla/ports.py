"""Blocks of ports on this machine: each is held by one process at a time and let go of however that process ends.

A claim is a bound socket in Linux's abstract namespace. It needs no file, the system takes it back when its owner
dies, and processes of other users see it too. The ports themselves are probed, because others use ports as well.
"""

import itertools
import secrets
import socket
from types import TracebackType

from utils.errors import UserError

FIRST, NUM_BLOCKS, BLOCK = 20000, 1000, 10
"""Blocks begin at FIRST, FIRST + BLOCK, ...; below the ports that the system hands out by itself."""
_TURN = itertools.count(secrets.randbelow(NUM_BLOCKS))
"""Blocks are taken in turn: a client that still calls a lost server must not reach the one that took its place, which
another process may start just then. (Ids of processes are taken in turn, too: from these they would meet often.)"""
SERVER_PORTS = 3
"""A CARLA server at port N takes N, N + 1 (streams) and N + 2 (secondary servers)."""
TRAFFIC_OFFSET = 5
"""The Traffic Manager, a server within the client, listens at N + 5."""


class Claim:
    """A name that only one living process holds.

    Attributes:
        is_held: whether we got it.
    """

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(f"\0world-models-driving/{name}")
            self.is_held = True
        except OSError:
            self._socket.close()
            self.is_held = False

    def release(self) -> None:
        """Let go of the name; harmless twice."""
        self._socket.close()
        self.is_held = False


class PortBlock:
    """Ten free ports, ours until released; a context manager.

    Raises:
        UserError: no block is free.

    Attributes:
        port: the first.
    """

    def __init__(self) -> None:
        for _ in range(NUM_BLOCKS):
            port = FIRST + BLOCK * (next(_TURN) % NUM_BLOCKS)
            self._claim = Claim(f"ports/{port}")
            if not self._claim.is_held:
                continue
            if all(is_free(port + i) for i in (*range(SERVER_PORTS), TRAFFIC_OFFSET)):
                self.port = port
                return
            self._claim.release()
        raise UserError(
            f"no block of {BLOCK} free ports between {FIRST} and {FIRST + BLOCK * NUM_BLOCKS - 1}; stop some servers."
        )

    def release(self) -> None:
        """Let others have it."""
        self._claim.release()

    def __enter__(self) -> "PortBlock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_free(port: int) -> bool:
    """Whether a server could listen at a port, on any address of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a port that rests after use counts as free
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
