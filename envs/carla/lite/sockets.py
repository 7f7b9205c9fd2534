"""One client's non-blocking socket with a queue of bytes to send, on the server's single event loop."""

import math
import selectors
import socket
from collections import deque
from collections.abc import Callable

CHUNK = 1 << 16
MAX_CONNECTIONS = 256
"""For each of the two ports; a flood of connections beyond that is turned away."""


def listen(host: str, port: int) -> socket.socket:
    """A listening, non-blocking TCP socket.

    Raises:
        OSError: the port is taken, or the address is not ours.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


class Peer:
    """A connected client: what does not fit into the kernel's buffer waits here and goes as the client reads.

    Args:
        sock: the accepted socket.
        selector: of the event loop.
        on_readable: called when bytes (or the end) have come.
        on_drained: called when the last waiting byte is gone.
        unread_limit: while more bytes than these wait for the client, nothing that it sends is read.
    """

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        on_readable: Callable[[], None],
        on_drained: Callable[[], None] = lambda: None,
        unread_limit: float = math.inf,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock, self._selector = sock, selector
        self._on_readable, self._on_drained = on_readable, on_drained
        self._unread_limit = unread_limit
        self._mask = selectors.EVENT_READ
        self._queue: deque[memoryview] = deque()
        self.pending = 0
        """Bytes that wait here."""
        self.is_closed = False
        selector.register(sock, selectors.EVENT_READ, self._on_event)

    def receive(self) -> bytes:
        """What has come; nothing if there is none or the peer has gone, which closes this end."""
        if self.is_closed:
            return b""
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.close()
        return data

    def send(self, data: bytes) -> None:
        """Send now what fits; the rest waits."""
        if self.is_closed:
            return
        if not self._queue:
            sent = self._try_send(data)
            if sent == len(data) or self.is_closed:
                return
            data = data[sent:]
        self._queue.append(memoryview(data))
        self.pending += len(data)
        self._watch()

    def close(self) -> None:
        """Hang up and forget what waits."""
        if self.is_closed:
            return
        self.is_closed = True
        self._selector.unregister(self._sock)
        self._sock.close()
        self._queue.clear()
        self.pending = 0

    def _on_event(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and not self.is_closed:
            self._on_readable()

    def _flush(self) -> None:
        while self._queue:
            sent = self._try_send(self._queue[0])
            if self.is_closed:
                return
            self.pending -= sent
            if sent < len(self._queue[0]):
                self._queue[0] = self._queue[0][sent:]
                return
            self._queue.popleft()
        self._watch()
        self._on_drained()

    def _watch(self) -> None:
        mask = selectors.EVENT_WRITE if self._queue else 0
        if self.pending <= self._unread_limit:
            mask |= selectors.EVENT_READ
        if mask != self._mask:
            self._selector.modify(self._sock, mask, self._on_event)
            self._mask = mask

    def _try_send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0
