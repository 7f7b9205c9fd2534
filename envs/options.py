"""What env configs have in common: made from an env spec's options, with every mistake named in one sentence."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from utils.errors import UserError, check

Config = TypeVar("Config")


def from_options(kind: type[Config], title: str, options: Mapping[str, Any]) -> Config:
    """A config dataclass from the options of an env spec.

    Raises:
        UserError: an option is unknown or impossible.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(f"{title} has no option {unknown[0]!r}; it has {', '.join(known)}.")
    return kind(**options)


def check_frames(title: str, config: Any) -> None:
    """Raise `UserError` unless `size`, `action_repeat` and `max_steps` are possible."""
    ok = config.size % 8 == 0 and 16 <= config.size <= 512
    check(ok, f"{title}'s frame size must be a multiple of 8 from 16 to 512; got {config.size}.")
    for name in ("action_repeat", "max_steps"):
        value = getattr(config, name)
        check(value > 0, f"{title}'s {name} must be at least 1; got {value}.")


def check_words(title: str, config: Any, words: Mapping[str, str]) -> None:
    """Raise `UserError` unless each of these fields holds one of its words, which are separated by blanks."""
    for name, line in words.items():
        value, known = getattr(config, name), line.split()
        check(value in known, f"{title}'s {name} is one of {', '.join(known)}; got {value!r}.")
