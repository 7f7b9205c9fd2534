"""Servers: one that runs already, the simulator started from CARLA_ROOT, or our lite server, the default.

What we start runs in a process group of its own, writes to a file without a name, and is killed as a group: by
`stop`, when the object goes, when Python ends. If Python itself is killed, the group's leader notices, even if the
server is frozen: its standard input closes.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO

from envs.carla.ports import Claim, PortBlock
from utils.errors import UserError, check

LAUNCHERS = ("CarlaUE4.sh", "CarlaUnreal.sh")
TRIES = 3
"""blocks of ports that are tried: somebody may take a port between our probe and the server's start"""
HANDOVER_S = 5.0
"""for a driver that has just ended, or was killed, to give a running server its settings back"""
CONNECT_S = 10.0
"""for a running server to accept a connection"""
LEASH = '("$@"; kill -KILL 0) & cat > /dev/null; kill -KILL 0'
"""sh: run a command; when it ends, or our end of standard input closes, kill the whole process group"""

Command = Callable[[int], list[str]]
"""port -> command line"""


class Attached:
    """A server that somebody else runs at host:port; it goes on running when we let go of it.

    Raises:
        UserError: another slot, here or in another process of this machine, drives it.

    Attributes:
        was_there: it has been met, so that it is waited for when it is gone: somebody may be starting it again.
    """

    is_lite = False
    """whether it is known to be ours; a running one could be either"""
    is_running = True
    """as far as we know"""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.was_there = False
        self._claim = Claim(f"server/{_number(host)}:{port}")
        check(
            self._claim.is_held,
            f"the CARLA server at {host}:{port} is driven by another slot or worker already.",
        )
        try:
            self._ports = PortBlock()
        except UserError:
            self._claim.release()
            raise
        self.client_port = self._ports.port

    def wait(self, timeout_s: float) -> None:
        """Return once it accepts connections.

        Raises:
            UserError: it does not at all, or, if it was there before, not in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._connect(timeout_s)
            except OSError as error:
                if self.was_there and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                self.stop()
                where = f"{self.host}:{self.port}"
                late = (
                    f"; it was there and has not come back within {timeout_s:g} s" if self.was_there else ""
                )
                raise UserError(
                    f"no CARLA server answers at {where} ({error}){late}; start one or give another address."
                ) from None
            self.was_there = True
            return

    def accepts(self) -> bool:
        """Whether it accepts a connection now."""
        try:
            self._connect(CONNECT_S)
        except OSError:
            return False
        return True

    def _connect(self, timeout_s: float) -> None:
        socket.create_connection((self.host, self.port), min(timeout_s, CONNECT_S)).close()

    def stop(self) -> None:
        """Let go of it; it goes on running."""
        self._claim.release()
        self._ports.release()


class Started:
    """A server process of our own.

    Args:
        command: what to run, given the port.
        is_lite: it is our lite server.
    """

    host = "127.0.0.1"

    def __init__(self, command: Command, is_lite: bool) -> None:
        self.is_lite = is_lite
        self._command = command
        self._tries = 0
        self._launch()

    @property
    def client_port(self) -> int:
        """First port of a block that only we use."""
        return self.port

    @property
    def is_running(self) -> bool:
        """Whether the process is there, be it frozen."""
        return self.process.poll() is None

    def _launch(self) -> None:
        self._tries += 1
        ports = PortBlock()
        self.port = ports.port
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, "sh", *self._command(self.port)],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],  # where `python -m envs.carla.lite` finds itself
            start_new_session=True,
        )
        self.stop = weakref.finalize(self, _end, self.process, ports, self._said)

    def wait(self, timeout_s: float) -> None:
        """Return once it accepts connections; start it again at other ports if it ends before.

        Raises:
            UserError: it does not run, with its last words, or is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self.host, self.port), 1.0).close()
                return
            except OSError:
                pass
            if self.process.poll() is not None:
                words = _last_words(self._said)
                self.stop()
                if self._tries == TRIES:
                    name = " ".join(self._command(self.port)[:3])
                    raise UserError(
                        f"the CARLA server ({name} ...) ended at once: {words or 'it said nothing'}."
                    )
                self._launch()
            time.sleep(0.01)
        self.stop()
        raise UserError(f"the CARLA server did not accept a connection within {timeout_s:g} s of its start.")


Server = Attached | Started


Address = str | tuple[tuple[str, int], ...] | None
"""See `CarlaConfig.carla`: what starts a server, or where some run."""


def start(address: Address) -> Server:
    """A server that may still be starting: `wait` for it.

    Args:
        address: of running ones, of which the first that nobody drives is taken, so that workers who know nothing of
            each other can share a list, after a short wait if all are taken; "lite" or None start one.

    Raises:
        UserError: all addresses are taken, or there is nothing to start.
    """
    if isinstance(address, tuple):
        return _attach(address)
    root = os.environ.get("CARLA_ROOT")
    if address == "lite" or not root:
        return Started(lite_command, is_lite=True)
    folder = Path(root).resolve()  # what we start runs elsewhere
    launchers = [path for name in LAUNCHERS if (path := folder / name).is_file()]
    check(
        launchers, f"CARLA_ROOT is {root}, but there is neither {' nor '.join(LAUNCHERS)}; mend or unset it."
    )
    return Started(lambda port: simulator_command(launchers[0], port), is_lite=False)


def _attach(addresses: tuple[tuple[str, int], ...]) -> Attached:
    deadline = time.monotonic() + HANDOVER_S
    while True:
        for host, port in addresses:
            with contextlib.suppress(UserError):
                return Attached(host, port)
        if time.monotonic() > deadline:
            return Attached(*addresses[-1])
        time.sleep(0.1)


def lite_command(port: int) -> list[str]:
    """Command line of our lite server."""
    return [sys.executable, "-m", "envs.carla.lite", "--port", str(port)]


def simulator_command(launcher: Path, port: int) -> list[str]:
    """Command line of the simulator."""
    flags = ["-RenderOffScreen", "-quality-level=Low", f"-carla-rpc-port={port}", "-nosound"]
    return [str(launcher), *flags]


def _number(host: str) -> str:
    """A host's address, for another spelling of its name is no other server; the name where none is found."""
    with contextlib.suppress(OSError):
        return socket.gethostbyname(host)
    return host


def _end(process: "subprocess.Popen[bytes]", ports: PortBlock, said: IO[bytes]) -> None:
    """Kill the group: there is nothing that it would have to save, and a frozen server hears no other signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
    said.close()
    ports.release()


def _last_words(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    return next((line.strip().rstrip(".") for line in reversed(lines) if line.strip()), "")
