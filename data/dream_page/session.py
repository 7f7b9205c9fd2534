"""A tab's session: its real episode and its dream, stepped at an even pace and sent as they go.

A frame is one binary message: the length of a JSON head (uint32, little-endian), the head, and the pixels of real,
reconstruction and dream, uint8 (3, H, W, 3).
"""

import asyncio
import json
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from data.dream_page.hands import Hands
from data.dream_page.wishes import MAX_TEMPERATURE, Wishes
from envs.side_by_side import Moment, SideBySide
from utils.errors import UserError
from utils.seeding import track_seeds

IN_FLIGHT = 3
"""Frames that a tab may be behind before the drive waits for it."""
CATCH_UP = 5
"""Steps that may follow faster after one that came late, so that the pace is even on a busy machine."""
TRY_LATER = 1013
"""Close code: try again later."""
REFUSED = 4000
"""Close code, one of those that are free: it will not go better next time."""
LONGEST_REASON = 120
"""Bytes of the sentence that may go with it."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """What every session is made of."""

    make: Callable[[], SideBySide]
    """makes a drive; called in the session's own thread"""
    has_controller: bool
    env_name: str
    weights: str
    """where they come from, for the page"""
    image_size: int
    fps: float = 24.0
    temperature: float = 1.0
    """of a page that has just been opened"""
    seed: int = 0
    """likewise"""
    warm_up: int = 20
    """steps of the controller before the dream begins"""
    patience_s: float = 60.0
    """how long a tab may show nothing before it loses its place"""

    def greeting(self) -> str:
        """The first message to a tab."""
        names = ("has_controller", "env_name", "weights", "image_size", "fps", "temperature", "seed")
        head: dict[str, Any] = {name: getattr(self, name) for name in names}
        return json.dumps({"say": "hello", **head, "max_temperature": MAX_TEMPERATURE})


class Session:
    """One tab.

    Args:
        place: what it is made of.
        tab: the connection.
    """

    def __init__(self, place: Place, tab: ServerConnection) -> None:
        self._place, self._tab = place, tab
        self._wishes = Wishes(place.temperature, place.has_controller)
        self._heard = asyncio.Event()
        self._sent = 0
        self._hands = Hands(place.fps)
        self._drive: SideBySide  # once its thread has made it
        # One thread for each: a drive is never in two of them, and the loop stays free for the other tabs.
        self._thread = ThreadPoolExecutor(1, "tab", initializer=torch.set_num_threads, initargs=(1,))

    async def run(self) -> None:
        """Serve the tab until it closes, shows nothing for too long, or cannot be served."""
        try:
            self._drive = await self._compute(self._place.make)
            await self._serve()
        except* ConnectionClosed:
            pass
        except* TimeoutError:
            await self._tab.close(TRY_LATER, "This tab showed no picture for a while and lost its place.")
        except* UserError as group:
            reason = str(group.exceptions[0]).encode()[:LONGEST_REASON].decode(errors="ignore")
            await self._tab.close(REFUSED, reason)
        finally:
            self._thread.shutdown(wait=False)

    async def _serve(self) -> None:
        try:
            await self._tab.send(self._place.greeting())
            async with asyncio.TaskGroup() as group:
                player = group.create_task(self._play())
                await self._listen()
                player.cancel()
        finally:
            self._thread.submit(self._drive.env.close)  # after the step that it may be at

    async def _listen(self) -> None:
        async for text in self._tab:
            try:
                self._wishes.hear(text)
            except UserError as error:
                await self._tab.send(json.dumps({"say": "error", "message": str(error)}))
            self._wishes.seen = min(self._wishes.seen, self._sent)
            self._heard.set()

    async def _play(self) -> None:
        """Send a frame at each tick of the clock, as long as one is wanted."""
        now, period = asyncio.get_running_loop().time, 1.0 / self._place.fps
        due = now()
        while True:
            await self._until_wanted()
            wishes = replace(self._wishes)
            self._wishes.wants_reset = self._wishes.wants_sync = False
            message = await self._compute(self._advance, wishes)
            self._sent += 1
            async with asyncio.timeout(self._place.patience_s):
                await self._tab.send(message)
            due = max(due + period, now() - CATCH_UP * period)
            await asyncio.sleep(due - now())

    async def _until_wanted(self) -> None:
        """Wait until the tab has begun, keeps up, and has something to see."""
        while True:
            wishes = self._wishes
            keeps_up = wishes.seed is not None and self._sent - wishes.seen < IN_FLIGHT
            asks = wishes.wants_reset or wishes.wants_sync
            rests = keeps_up and not asks and (wishes.is_paused or self._drive.is_over)
            if keeps_up and not rests:
                return
            self._heard.clear()
            async with asyncio.timeout(None if rests else self._place.patience_s):
                await self._heard.wait()

    def _advance(self, wishes: Wishes) -> bytes:
        """One step of the drive, or a new beginning; the frame to send."""
        drive, action = self._drive, np.zeros(3, np.float32)
        if wishes.wants_reset:
            assert wishes.seed is not None
            self._hands.rest()
            drive.reset(track_seeds("test", wishes.seed, 1)[0], self._place.warm_up)
        elif wishes.wants_sync:
            drive.sync()
        else:
            if wishes.driver == "keys":
                action = self._hands.act(wishes.held)
            else:
                self._hands.rest()
                action = drive.propose(wishes.driver)
            drive.step(action, wishes.temperature)
        head = {
            "frame": self._sent + 1,
            "begins": wishes.wants_reset,
            "seed": wishes.seed,
            "driver": wishes.driver,
            "temperature": wishes.temperature,
            "action": action.tolist(),
        }
        return pack(head, drive.moment())

    async def _compute(self, work: Callable[..., Result], *args: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


def pack(head: dict[str, Any], moment: Moment) -> bytes:
    """A frame message."""
    told = {
        **head,
        "step": moment.step,
        "age": moment.dream_age,
        "return": moment.return_,
        "real": moment.real._asdict(),
        "dream": moment.dream._asdict(),
        "termination": moment.termination,
    }
    text = json.dumps(told).encode()
    return struct.pack("<I", len(text)) + text + moment.frames.tobytes()
