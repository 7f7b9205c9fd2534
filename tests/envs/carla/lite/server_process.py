"""A lite server in a process of its own, and a client of bare sockets for what the real one would never send."""

import os
import socket
import struct
import subprocess
import sys
import time
from typing import Any, Self

import msgpack
import pytest

from envs.carla.ports import PortBlock

START_S = 30.0
lite_only = pytest.mark.skipif("CARLA_HOST" in os.environ, reason="holds on our lite server only")


class LiteServer:
    """A running server on a free block of ports; a context manager."""

    def __init__(self, *flags: str) -> None:
        self._block = PortBlock()
        self.port = self._block.port
        command = [
            sys.executable,
            "-m",
            "envs.carla.lite",
            "--port",
            str(self.port),
            "--parent",
            str(os.getpid()),
        ]
        self.process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether the port accepts."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def memory_mb(self) -> float:
        """What the process holds in memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> str:
        """End it; what it has written on stderr."""
        self.process.kill()
        _, errors = self.process.communicate(timeout=10)
        self._block.release()
        return errors.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def packed(message: Any) -> bytes:
    """A message in msgpack."""
    data = msgpack.packb(message)
    assert data is not None
    return data


class RawClient:
    """Speaks msgpack-rpc over a socket."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self._number = 0

    def post(self, method: str, *arguments: Any, is_unwaited: bool = False) -> int:
        """Send a request; its number."""
        self._number += 1
        self.socket.sendall(packed([0, self._number, method, [[is_unwaited], *arguments]]))
        return self._number

    def receive(self) -> list[Any]:
        """The next response."""
        while True:
            for message in self._unpacker:
                return message
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the server has hung up")
            self._unpacker.feed(data)

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of a call: a value, None, or RuntimeError with the server's message."""
        number = self.post(method, *arguments)
        kind, answered, error, result = self.receive()
        assert (kind, answered) == (1, number)
        if error is not None:
            raise LookupError(error)
        (variant,) = result
        if variant in ([False], [1]):
            return None
        if variant[0] == 1 and variant[0] is not True:
            return variant[1]
        raise RuntimeError(variant[1][0])

    def is_hung_up(self) -> bool:
        """Whether the server has closed the connection (waits for it)."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class RawStream:
    """Subscribes to a stream over a socket."""

    def __init__(self, port: int, stream_id: int, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port + 1), timeout_s)
        self.socket.sendall(struct.pack("<I", stream_id))

    def receive(self) -> bytes:
        """The next message without its length."""
        (length,) = struct.unpack("<I", self._exactly(4))
        return self._exactly(length)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the server has hung up")
            data += more
        return data
