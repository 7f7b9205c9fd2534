"""What can be spawned: CARLA's blueprints as far as the lite server has them.

An attribute's value travels as text, whatever its type. `Blueprint.values` turns what a client sends into the full
set of values, or says which of them is wrong.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from envs.carla.lite.sensor_attributes import SENSORS
from envs.carla.lite.vehicle_spec import SPECS, VehicleSpec
from utils.errors import UserError, check

TYPE_CODES = {"bool": 1, "int": 2, "float": 3, "string": 4, "colour": 5}
"""ActorAttributeType on the wire, by our word"""
_ROLES = ("autopilot", "scenario", "ego_vehicle", "hero")
_WALKER_SPEEDS = ("0.0", "1.4", "2.7")
_NO_EXTENT = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Attribute:
    """One attribute of a blueprint; `kind` is a key of `TYPE_CODES`."""

    name: str
    kind: str
    value: str
    recommended: tuple[str, ...] = ()
    is_modifiable: bool = True
    is_restricted: bool = False
    """only recommended values are taken"""

    @property
    def type_code(self) -> int:
        """ActorAttributeType on the wire."""
        return TYPE_CODES[self.kind]


@dataclass(frozen=True)
class Blueprint:
    """Something that can be spawned."""

    id: str
    tags: str
    """comma-separated, as on the wire"""
    attributes: tuple[Attribute, ...]
    uid: int = 0
    """number in the library, from 1"""
    extent: tuple[float, float, float] = _NO_EXTENT
    """half sizes of its box, m; zero for what nothing collides with"""
    label: int = 0
    """CityObjectLabel"""
    mass_kg: float = math.inf
    """infinite for what nothing moves"""

    @cached_property
    def by_name(self) -> dict[str, Attribute]:
        """The attributes by their names."""
        return {attribute.name: attribute for attribute in self.attributes}

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """Every attribute's value: the given ones, else the defaults.

        Raises:
            UserError: there is no such attribute, or its value is not of its type.
        """
        merged = {attribute.name: attribute.value for attribute in self.attributes}
        for name, value in given.items():
            attribute = self.by_name.get(name)
            check(attribute is not None, f"the blueprint {self.id} has no attribute {name!r}.")
            assert attribute is not None
            _check_value(self.id, attribute, value)
            if attribute.is_modifiable:
                merged[name] = value
        return merged


def _check_value(blueprint_id: str, attribute: Attribute, value: str) -> None:
    message = (
        f"the attribute {attribute.name!r} of {blueprint_id} must be {_RULES[attribute.kind]}; got {value!r}."
    )
    try:
        is_good = _PARSERS[attribute.kind](value)
    except ValueError:
        is_good = False
    check(is_good, message)
    is_listed = not attribute.is_restricted or value in attribute.recommended
    known = ", ".join(attribute.recommended)
    check(is_listed, f"the attribute {attribute.name!r} of {blueprint_id} is one of {known}; got {value!r}.")


def _is_colour(value: str) -> bool:
    parts = [int(part) for part in value.split(",")]
    return len(parts) == 3 and all(0 <= part <= 255 for part in parts)


_PARSERS: dict[str, Callable[[str], bool]] = {
    "bool": lambda value: value.lower() in ("true", "false"),
    "int": lambda value: abs(int(value)) < 2**31,
    "float": lambda value: math.isfinite(float(value)),
    "string": lambda value: len(value) < 1000,
    "colour": _is_colour,
}
_RULES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a finite number",
    "string": "a text of less than 1000 letters",
    "colour": 'three numbers from 0 to 255, "r,g,b"',
}


def _tags(blueprint_id: str) -> str:
    return ",".join(dict.fromkeys(part for part in blueprint_id.split(".")))


def _role(value: str, others: tuple[str, ...] = ()) -> Attribute:
    return Attribute("role_name", "string", value, others)


def _vehicle(spec: VehicleSpec) -> Blueprint:
    def fixed(name: str, kind: str, value: object) -> Attribute:
        return Attribute(name, kind, str(value).lower() if kind == "bool" else str(value), (), False)

    attributes = (
        _role("autopilot", _ROLES),
        Attribute("color", "colour", spec.colours[0], spec.colours),
        Attribute("driver_id", "int", "0", ("0",)),
        Attribute("sticky_control", "bool", "true"),
        fixed("object_type", "string", ""),
        fixed("base_type", "string", spec.base_type),
        fixed("special_type", "string", spec.special_type),
        fixed("generation", "int", spec.generation),
        fixed("number_of_wheels", "int", spec.number_of_wheels),
        fixed("has_dynamic_doors", "bool", False),
        fixed("has_lights", "bool", spec.has_lights),
    )
    return Blueprint(
        spec.blueprint_id, _tags(spec.blueprint_id), attributes, 0, spec.extent, spec.label, spec.mass_kg
    )


def _sensor(blueprint_id: str) -> Blueprint:
    rows = (Attribute(name, kind, value) for name, kind, value in SENSORS[blueprint_id])
    return Blueprint(blueprint_id, _tags(blueprint_id), (_role("front"), *rows))


def _walker(number: int, age: str, gender: str) -> Blueprint:
    blueprint_id = f"walker.pedestrian.{number:04d}"
    attributes = (
        _role("pedestrian"),
        Attribute("is_invincible", "bool", "true"),
        Attribute("speed", "float", "1.4", _WALKER_SPEEDS),
        Attribute("age", "string", age, (), False),
        Attribute("gender", "string", gender, (), False),
        Attribute("generation", "int", "1", (), False),
    )
    half_height = 0.93 if age == "adult" else 0.55
    return Blueprint(blueprint_id, _tags(blueprint_id), attributes, 0, (0.19, 0.19, half_height), 12, 75.0)


def _prop(name: str, extent: tuple[float, float, float], size: str) -> Blueprint:
    blueprint_id = f"static.prop.{name}"
    attributes = (_role("prop"), Attribute("size", "string", size, (), False))
    return Blueprint(blueprint_id, _tags(blueprint_id), attributes, 0, extent, 20)


def _all() -> list[Blueprint]:
    walkers = (
        _walker(n, "child" if n in (9, 10) else "adult", "female" if n % 2 else "male") for n in range(1, 13)
    )
    props = (
        _prop("streetbarrier", (0.17, 0.61, 0.53), "small"),
        _prop("trafficcone01", (0.21, 0.21, 0.31), "small"),
        _prop("constructioncone", (0.17, 0.17, 0.29), "tiny"),
        _prop("container", (1.93, 1.01, 0.98), "big"),
        _prop("bench01", (0.25, 0.76, 0.26), "medium"),
        _prop("vendingmachine", (0.43, 0.66, 1.03), "medium"),
    )
    spectator = Blueprint("spectator", "spectator", (_role("spectator"),))
    return [*map(_vehicle, SPECS.values()), *map(_sensor, SENSORS), *walkers, *props, spectator]


def _numbered(blueprint: Blueprint, uid: int) -> Blueprint:
    parts = (blueprint.id, blueprint.tags, blueprint.attributes, uid)
    return Blueprint(*parts, blueprint.extent, blueprint.label, blueprint.mass_kg)


LIBRARY: dict[str, Blueprint] = {
    blueprint.id: _numbered(blueprint, uid)
    for uid, blueprint in enumerate(sorted(_all(), key=lambda blueprint: blueprint.id), start=1)
}
"""Everything that can be spawned, by id; `spectator` is there for its description only."""


def find(blueprint_id: str) -> Blueprint:
    """A blueprint by its id.

    Raises:
        UserError: there is none of this id.
    """
    if blueprint_id not in LIBRARY:
        raise UserError(
            f"there is no blueprint {blueprint_id!r}; client.get_world().get_blueprint_library() lists them."
        )
    return LIBRARY[blueprint_id]
