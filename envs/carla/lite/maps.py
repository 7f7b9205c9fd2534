"""The maps by name: our own, and .xodr files."""

from collections.abc import Callable
from pathlib import Path

from envs.carla.lite.circuit import circuit, loop
from envs.carla.lite.roadmap import MapError, RoadMap, parse
from envs.carla.lite.town import town

__all__ = ["circuit", "load_map", "loop", "map_names", "town"]

_MAPS: dict[str, Callable[[int], str]] = {
    "loop": lambda _: loop(),
    "circuit": circuit,
    "town": lambda _: town(),
}


def map_names() -> list[str]:
    """Names that `load_map` knows."""
    return list(_MAPS)


def load_map(name: str, seed: int = 0) -> RoadMap:
    """A map by its name, or from an .xodr file.

    Args:
        name: one of `map_names()`, or the path of an OpenDRIVE file.
        seed: of the circuit, and of the scenery beside the roads.

    Raises:
        MapError: there is no such map, or it cannot be driven on.
    """
    if name in _MAPS:
        return parse(_MAPS[name](seed), name, seed)
    path = Path(name)
    if path.suffix != ".xodr":
        raise MapError(
            f"There is no map {name!r}; take one of {', '.join(_MAPS)}, or the path of an .xodr file."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError, ValueError) as error:
        raise MapError(f"The map file {name} cannot be read ({error}); give a readable .xodr file.") from None
    return parse(text, path.stem, seed)
