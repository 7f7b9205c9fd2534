"""A bad line: forwards 127.0.0.2:PORT and PORT + 1 to 127.0.0.1, until told otherwise on standard input.

Commands: `cut` closes all streams and takes no more; `mute` keeps them open but carries nothing; `deaf` does so to
streams from now on, and carries the older ones; `heal` undoes all.
It is a process of its own, because the client holds Python's lock while it waits for its world.
"""

import contextlib
import os
import selectors
import socket
import sys

NEAR, FAR = "127.0.0.2", "127.0.0.1"


class Proxy:
    def __init__(self, port: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.state = "heal"
        self.peers: dict[socket.socket, socket.socket] = {}
        # Their ends towards the server.
        self.streams: set[socket.socket] = set()
        self.deaf: set[socket.socket] = set()
        for i in (0, 1):
            self.selector.register(socket.create_server((NEAR, port + i)), selectors.EVENT_READ, port + i)
        self.stream_port = port + 1
        self.selector.register(sys.stdin, selectors.EVENT_READ, "command")

    def run(self) -> None:
        print("ready", flush=True)
        while True:
            for key, _ in self.selector.select():
                if key.data == "command":
                    self.command(os.read(0, 100).decode().split())
                elif isinstance(key.data, int):
                    self.accept(key.fileobj, key.data)  # type: ignore[arg-type]
                elif key.fileobj in self.peers:
                    self.forward(key.fileobj)  # type: ignore[arg-type]

    def command(self, words: list[str]) -> None:
        if not words:
            sys.exit()
        self.state = words[-1]
        if self.state == "cut":
            for one in list(self.streams):
                self.close(one)
        print(self.state, flush=True)

    def accept(self, listener: socket.socket, port: int) -> None:
        near, _ = listener.accept()
        is_stream = port == self.stream_port
        if is_stream and self.state == "cut":
            near.close()
            return
        far = socket.create_connection((FAR, port))
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers[one] = other
            self.selector.register(one, selectors.EVENT_READ)
        if is_stream:
            self.streams.add(far)
            if self.state == "deaf":
                self.deaf.add(far)

    def forward(self, one: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.close(one)
        elif not self.is_silent(one):
            with contextlib.suppress(OSError):
                self.peers[one].sendall(data)

    def is_silent(self, one: socket.socket) -> bool:
        """Whether what comes from this end is dropped: only what streams send to the client is."""
        return one in self.streams and (self.state == "mute" or (self.state == "deaf" and one in self.deaf))

    def close(self, one: socket.socket) -> None:
        for end in (one, self.peers.get(one)):
            if end is not None and self.peers.pop(end, None) is not None:
                self.selector.unregister(end)
                self.streams.discard(end)
                end.close()


if __name__ == "__main__":
    Proxy(int(sys.argv[1])).run()
