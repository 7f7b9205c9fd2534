"""The one place where the `carla` package is imported, so that one sentence can say how to get it."""

from utils.errors import UserError

try:
    import carla
except ImportError as error:
    raise UserError(
        f"the CARLA envs need the carla package, which cannot be imported ({error}); "
        "pip install -e .[carla] (Python 3.11 or 3.12, Linux)."
    ) from None

__all__ = ["carla"]
