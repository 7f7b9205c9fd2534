"""A page server in a thread of the test's own process, with a tiny world and a tab that talks to it."""

import asyncio
import contextlib
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

import envs
from data.dream_page.server import PageServer
from data.dream_page.session import Place
from envs.side_by_side import SideBySide
from models.controller import LinearController
from tests.envs.tiny import HIGH, LOW, tiny_world_model

PATIENCE_S = 20.0
SIZE = 64


def tiny_place(**changes: Any) -> Place:
    """CarRacing, with a V and M that know nothing and never end a dream, and a controller at random."""
    world_model = tiny_world_model(log_odds=-20.0)
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    params = np.random.default_rng(0).normal(size=controller.num_params)

    def make() -> SideBySide:
        return SideBySide(envs.make("CarRacing-v2", 1, size=SIZE), world_model, controller, params)

    place = Place(make, True, "CarRacing-v2", "weights of a test", SIZE, fps=50, warm_up=2)
    return replace(place, **changes)


class Served:
    """The server, running between `start` and `stop`; the port stays the same."""

    def __init__(self, place: Place, max_tabs: int = 4) -> None:
        self.page = PageServer(place, max_tabs=max_tabs)
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        is_up = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(is_up),), daemon=True
        )
        self._thread.start()
        assert is_up.wait(PATIENCE_S)

    def stop(self) -> None:
        """Close, and wait until everything has ended."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _serve(self, is_up: threading.Event) -> None:
        async with self.page.open(self.port) as self.port:
            is_up.set()
            await self._stop.wait()

    @property
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self.port}/"

    @contextmanager
    def tab(self, **options: Any) -> "Iterator[Tab]":
        """A connection as the page makes it."""
        with connect(f"ws://127.0.0.1:{self.port}/drive", **{"origin": self.url[:-1], **options}) as socket:
            yield Tab(socket)


class Frame(NamedTuple):
    """A binary message, read."""

    head: dict[str, Any]
    pixels: np.ndarray
    """uint8 (3, H, W, 3)"""


class Tab:
    """What page.js does, by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, **message: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps(message))

    def hear(self) -> Any:
        """The next message: a dict or a Frame, which is not reported as seen."""
        message = self.socket.recv(PATIENCE_S)
        if isinstance(message, str):
            return json.loads(message)
        (length,) = struct.unpack_from("<I", message)
        pixels = np.frombuffer(message, np.uint8, offset=4 + length)
        return Frame(json.loads(message[4 : 4 + length]), pixels.reshape(3, SIZE, SIZE, 3))

    def hear_the_end(self) -> Close:
        """The server's last word, whatever frames come before it."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.hear()
        end = self.socket.protocol.close_rcvd
        assert end is not None
        return end

    def begin(self, seed: int = 0) -> Frame:
        """Greet, reset, and see the first frame."""
        assert self.hear()["say"] == "hello"
        self.say(say="reset", seed=seed)
        return self.see()

    def see(self) -> Frame:
        """The next frame, reported as seen."""
        frame = self.hear()
        assert isinstance(frame, Frame), frame
        self.say(say="seen", frame=frame.head["frame"])
        return frame

    def see_until(self, *conditions: Any) -> Frame:
        """The first frame for which all conditions hold."""
        for _ in range(200):
            frame = self.see()
            if all(condition(frame.head) for condition in conditions):
                return frame
        raise AssertionError("it never came")
