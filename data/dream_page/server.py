"""The page's server: three static files and a websocket for every tab, for pages of its own alone.

websockets is all it takes: it answers plain GETs too, and depends on nothing else.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib import resources

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from data.dream_page.session import TRY_LATER, Place, Session
from utils.errors import UserError

SOCKET_PATH = "/drive"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MAX_MESSAGE = 4096
"""Bytes that a tab may say at a time."""


class PageServer:
    """Serves the page.

    Args:
        place: what each tab's session is made of.
        host: where it listens.
        max_tabs: sessions at a time.
    """

    def __init__(self, place: Place, host: str = "127.0.0.1", max_tabs: int = 4) -> None:
        self._place, self._host, self._max_tabs = place, host, max_tabs
        self.num_tabs = 0
        folder = resources.files("data.dream_page") / "static"
        self._files = {f"/{file.name}": file.read_bytes() for file in folder.iterdir()}
        self._files["/"] = self._files["/index.html"]
        self._log = logging.getLogger("dream page")
        self._log.addFilter(_is_no_idle_browser)

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[int]:
        """Listen; yields the port, which is a free one if 0 was asked for.

        Raises:
            UserError: the port or the host cannot be had.
        """
        try:
            server = await serve(
                self._serve_tab,
                self._host,
                port,
                process_request=self._answer,
                compression=None,  # pixels, a thousand a millisecond: deflate costs more than loopback does
                max_size=MAX_MESSAGE,
                ping_interval=10,
                ping_timeout=10,
                close_timeout=2,
                server_header=None,
                logger=self._log,
            )
        except OSError as error:
            raise UserError(_cannot_listen(error, self._host, port)) from None
        async with server:
            yield next(iter(server.sockets)).getsockname()[1]

    async def _serve_tab(self, tab: ServerConnection) -> None:
        if self.num_tabs >= self._max_tabs:
            full = f"No place is free (--max-tabs {self._max_tabs}): close another tab of this page."
            await tab.close(TRY_LATER, full)
            return
        self.num_tabs += 1
        try:
            await Session(self._place, tab).run()
        finally:
            self.num_tabs -= 1

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A file, a refusal, or None: go on as a websocket."""
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return connection.respond(HTTPStatus.FORBIDDEN, "This server does not go by that name.\n")
        if request.method != "GET":
            return connection.respond(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is served.\n")
        path = request.path.partition("?")[0]
        if path == SOCKET_PATH:
            if origins == [f"http://{hosts[0]}"]:
                return None
            return connection.respond(HTTPStatus.FORBIDDEN, "Only pages of this server may connect.\n")
        if path not in self._files:
            return connection.respond(HTTPStatus.NOT_FOUND, "There is no such page; go to /.\n")
        body = self._files[path]
        headers = Headers(
            {
                "Content-Type": KINDS[f".{path.rpartition('.')[2]}" if "." in path else ".html"],
                "Content-Length": str(len(body)),
                "Content-Security-Policy": POLICY,
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "Connection": "close",
            }
        )
        return Response(HTTPStatus.OK, "OK", headers, body)

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server: a foreign name that leads here is somebody else's trick."""
        match = re.fullmatch(r"\[?([^\[\]]+?)\]?(:\d+)?", host)
        name = match[1].lower() if match else ""
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(name))
        return name in ("localhost", self._host.lower(), socket.gethostname().lower())


def _is_no_idle_browser(record: logging.LogRecord) -> bool:
    """Browsers open connections ahead of need and drop them unused: nothing to write a traceback about."""
    return record.getMessage() != "opening handshake failed"


def _cannot_listen(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken already; choose another one with --port, or --port 0 for any that is free."
        )
    if error.errno == errno.EACCES:
        return f"port {port} is not for everybody on this machine; choose one above 1023 with --port."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"this machine does not go by the name {host}; --host takes one of its own addresses."
    return f"cannot listen at {host}, port {port}: {error}."


async def wait_for_signal() -> None:
    """Return when the user, or the system, asks the process to stop."""
    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows has none, and raises KeyboardInterrupt here
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
