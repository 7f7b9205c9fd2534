"""What a tab may say, each message a JSON object, and what it so wants.

{"say": "reset", "seed": 7}             begin anew on that held-out track
{"say": "sync"}                         let the dream begin anew from the real drive
{"say": "pause", "value": true}
{"say": "temperature", "value": 1.1}
{"say": "driver", "value": "keys"}      or "real", "dream": the controller, seeing that road
{"say": "keys", "held": ["left"]}
{"say": "seen", "frame": 12}            the page has shown it
"""

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from data.dream_page.hands import KEYS
from utils.errors import check
from utils.seeding import SPAN

MAX_TEMPERATURE = 2.0
Driver = Literal["keys", "real", "dream"]
DRIVERS = get_args(Driver)


def check_temperature(value: object) -> None:
    """Refuse what is no temperature of the page."""
    check(
        _is_number(value) and 0 <= value <= MAX_TEMPERATURE,  # type: ignore[operator]
        f"the temperature must be a number from 0 to {MAX_TEMPERATURE:g}; got {_short(value)}.",
    )


def check_seed(value: object) -> None:
    """Refuse what is no number of a held-out track."""
    check(
        _is_whole(value) and 0 <= value < SPAN,  # type: ignore[operator]
        f"the seed must be a whole number from 0 to {SPAN - 1}; got {_short(value)}.",
    )


@dataclass
class Wishes:
    """What a tab wants, as last heard."""

    temperature: float
    has_controller: bool
    driver: Driver = "keys"
    held: frozenset[str] = frozenset()
    is_paused: bool = False
    seed: int | None = None
    """of the last reset; None before the first"""
    wants_reset: bool = False
    wants_sync: bool = False
    seen: int = 0
    """number of the last frame that the page has shown"""

    def hear(self, text: str | bytes) -> None:
        """Take in a message.

        Raises:
            UserError: it is none of those above; nothing has changed then.
        """
        said = _read(text)
        match said:
            case {"say": "reset", "seed": seed, **rest} if not rest:
                check_seed(seed)
                self.seed, self.wants_reset = seed, True
            case {"say": "sync", **rest} if not rest:
                self.wants_sync = True
            case {"say": "pause", "value": bool(value), **rest} if not rest:
                self.is_paused = value
            case {"say": "temperature", "value": value, **rest} if not rest:
                check_temperature(value)
                self.temperature = float(value)
            case {"say": "driver", "value": value, **rest} if not rest:
                check(value in DRIVERS, f"the driver is one of {', '.join(DRIVERS)}; got {_short(value)}.")
                check(
                    value == "keys" or self.has_controller, "this run has no controller: drive with the keys."
                )
                self.driver = value
            case {"say": "keys", "held": list(held), **rest} if not rest:
                check(
                    all(key in KEYS for key in held), f"the keys are {', '.join(KEYS)}; got {_short(held)}."
                )
                self.held = frozenset(held)
            case {"say": "seen", "frame": frame, **rest} if not rest and _is_whole(frame):
                self.seen = max(self.seen, frame)
            case _:
                check(False, f"this server does not understand {_short(said)}; reload the page.")


def _read(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
