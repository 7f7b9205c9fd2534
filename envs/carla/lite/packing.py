"""The one place where `msgpack` is imported, so that one sentence can say how to get it."""

from utils.errors import UserError

try:
    import msgpack
except ImportError as error:
    raise UserError(
        f"CARLA's lite server and traffic need the msgpack package, which cannot be imported ({error}); "
        "pip install -e .[carla] (Python 3.11 or 3.12, Linux)."
    ) from None

__all__ = ["msgpack"]
