"""The one exception for a user's mistake, and checks of what a user may give."""

import math
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can mend: its message says what is wrong and what to do, in one sentence."""


def check(condition: object, message: str) -> None:
    """Raise `UserError(message)` unless `condition` holds."""
    if not condition:
        raise UserError(message)


def check_positive(config: object, *names: str) -> None:
    """Raise `UserError` unless these numbers of a config are positive and finite; None is "not given"."""
    _check_each(config, names, lambda value: 0 < value < math.inf, "be positive")


def check_not_negative(config: object, *names: str) -> None:
    """Raise `UserError` unless these numbers of a config are finite and 0 or more; None is "not given"."""
    _check_each(config, names, lambda value: 0 <= value < math.inf, "not be negative")


def _check_each(config: object, names: tuple[str, ...], is_good: Callable[[float], bool], rule: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is None or is_good(value):
            continue
        rule = "be a finite number" if value > 0 or math.isnan(value) else rule
        raise UserError(f"--{name.replace('_', '-')} must {rule}; got {value}.")
