"""The one exception for a user's mistake."""


class UserError(Exception):
    """A mistake that the user can mend: its message says what is wrong and what to do, in one sentence."""


def check(condition: object, message: str) -> None:
    """Raise `UserError(message)` unless `condition` holds."""
    if not condition:
        raise UserError(message)
