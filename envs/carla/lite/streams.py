"""The port of the sensor streams: who listens to which stream, and the messages that go there.

A client asks over RPC for a stream's token, connects in the background, and sends the stream's number, 4 bytes.
It may call `tick` before that connection stands and would miss the frame: so the server remembers who has announced
himself and holds the tick until he is there, for a bounded time (`must_wait`).
"""

import selectors
import socket
import struct
import time
from collections import defaultdict

from envs.carla.lite import wire
from envs.carla.lite.sockets import MAX_CONNECTIONS, Peer

WORLD_STREAM = 1
PATIENCE_S = 0.5
"""So long does a tick wait for a subscriber to connect, or to read what he has got."""
HANDSHAKE_S = 10.0
MAX_BACKLOG = 8 << 20
"""Bytes that may wait for one subscriber; he misses further messages until he has read some."""


class Subscriber:
    """One connection to the stream port."""

    def __init__(self, streams: "Streams", sock: socket.socket, selector: selectors.BaseSelector) -> None:
        self._streams = streams
        self.peer = Peer(sock, selector, self._on_readable)
        self.stream_id: int | None = None
        self.since = time.monotonic()
        self._start = b""

    def _on_readable(self) -> None:
        data = self.peer.receive()
        if self.peer.is_closed:
            self._streams.forget(self)
        elif self.stream_id is None:  # what comes after the number has no meaning and is dropped
            self._start = (self._start + data)[:4]
            if len(self._start) == 4:
                self.stream_id = struct.unpack("<I", self._start)[0]
                self._streams.welcome(self)


class Streams:
    """All subscribers, by stream."""

    def __init__(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        self._selector, self._listener = selector, listener
        self._peers: set[Subscriber] = set()
        self._subscribers: dict[int, list[Subscriber]] = defaultdict(list)
        self._announced: dict[int, list[float]] = defaultdict(list)
        self.num_welcomed = 0
        """How many have subscribed to the world states so far."""
        self.newest_state: bytes | None = None
        """The framed world state that a new subscriber gets at once."""
        selector.register(listener, selectors.EVENT_READ, self._on_connect)

    def announce(self, stream_id: int) -> None:
        """Somebody has asked for the stream's token and is about to connect."""
        self._announced[stream_id] = [*self._announced[stream_id], time.monotonic() + PATIENCE_S][-16:]

    def is_wanted(self, stream_id: int) -> bool:
        """Whether anybody would get a message of this stream."""
        return stream_id in self._subscribers

    def publish(self, stream_id: int, message: bytes) -> None:
        """Send to all subscribers that keep up."""
        framed = wire.frame(message)
        if stream_id == WORLD_STREAM:
            self.newest_state = framed
        for subscriber in list(self._subscribers.get(stream_id, ())):
            if subscriber.peer.pending < MAX_BACKLOG:
                subscriber.peer.send(framed)
            if subscriber.peer.is_closed:
                self.forget(subscriber)

    def must_wait(self) -> bool:
        """Whether a tick should wait for an announced subscriber to come, or for a slow one to read."""
        if self._announced:
            now = time.monotonic()
            open_ = {key: [at for at in times if at > now] for key, times in self._announced.items()}
            self._announced = defaultdict(list, {key: times for key, times in open_.items() if times})
        return bool(self._announced) or any(peer.peer.pending >= MAX_BACKLOG for peer in self._peers)

    def drop_laggards(self) -> None:
        """Hang up on those who do not read."""
        for subscriber in [each for each in self._peers if each.peer.pending >= MAX_BACKLOG]:
            subscriber.peer.close()
            self.forget(subscriber)

    def sweep(self) -> None:
        """Hang up on those who connected long ago and never said what they want."""
        oldest = time.monotonic() - HANDSHAKE_S
        for subscriber in [each for each in self._peers if each.stream_id is None and each.since < oldest]:
            subscriber.peer.close()
            self.forget(subscriber)

    def welcome(self, subscriber: Subscriber) -> None:
        """A subscriber has named his stream; an unknown one stays silent (a refusal would make him try for ever)."""
        assert subscriber.stream_id is not None
        self._subscribers[subscriber.stream_id].append(subscriber)
        times = self._announced.get(subscriber.stream_id)
        if times:
            times.pop(0)
            if not times:
                del self._announced[subscriber.stream_id]
        if subscriber.stream_id == WORLD_STREAM:
            self.num_welcomed += 1
            if self.newest_state is not None:
                subscriber.peer.send(self.newest_state)

    def forget(self, subscriber: Subscriber) -> None:
        """He has gone."""
        self._peers.discard(subscriber)
        others = self._subscribers.get(subscriber.stream_id or 0, [])
        if subscriber in others:
            others.remove(subscriber)
            if not others:
                del self._subscribers[subscriber.stream_id or 0]

    def __len__(self) -> int:
        return len(self._peers)

    def _on_connect(self, _mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._peers) >= MAX_CONNECTIONS:
            sock.close()
            return
        self._peers.add(Subscriber(self, sock, self._selector))
