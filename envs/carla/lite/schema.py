"""The types of CARLA's RPC interface, as checks: every argument that comes and every result that goes is checked.

A check is a function that returns nothing for a good value and raises `WireError` for any other. The real client
dies of malformed bytes, so nothing leaves the server unchecked; and what a client sends may be anything at all.
Structs travel as arrays of their fields in a fixed order; angles are in degrees on the wire.
"""

from collections.abc import Callable
from typing import Any

Check = Callable[[Any], None]
F32_MAX = 3.4028234663852886e38
MAX_TEXT = 16 << 20
TOKEN_SIZE = 24


class WireError(ValueError):
    """A value that must not be sent, or that a client must not send; the message says what is wrong with it."""


def boolean(value: Any) -> None:
    """True or false, nothing else."""
    if value is not True and value is not False:
        raise WireError(f"a bool is needed, not {_show(value)}")


def real(value: Any) -> None:
    """A finite number that a 32-bit float can hold."""
    _numbers("number", (value,))


def text(value: Any) -> None:
    """A string of bounded length that UTF-8 can hold."""
    if type(value) is not str or len(value) > MAX_TEXT:
        raise WireError(f"a string is needed, not {_show(value)}")
    if not value.isascii():
        value.encode("utf-8", "strict")


def token_or_nothing(value: Any) -> None:
    """A stream token of 24 bytes, or no bytes."""
    if type(value) is not bytes or len(value) not in (0, TOKEN_SIZE):
        raise WireError(f"a token of {TOKEN_SIZE} bytes is needed, not {_show(value)}")


def binary(value: Any) -> None:
    """Bytes of bounded length."""
    if type(value) is not bytes or len(value) > MAX_TEXT:
        raise WireError(f"bytes are needed, not {_show(value)}")


def integer(low: int, high: int) -> Check:
    """A whole number within bounds, both included."""

    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise WireError(f"a whole number from {low} to {high} is needed, not {_show(value)}")

    return check


def array(item: Check) -> Check:
    """Any number of the same."""

    def check(value: Any) -> None:
        if type(value) not in (list, tuple):
            raise WireError(f"an array is needed, not {_show(value)}")
        for each in value:
            item(each)

    return check


def optional(item: Check) -> Check:
    """`[false]`, or `[true, value]`."""

    def check(value: Any) -> None:
        if type(value) not in (list, tuple) or not value or len(value) != 1 + (value[0] is True):
            raise WireError(f"an optional value is needed, not {_show(value)}")
        boolean(value[0])
        if value[0]:
            item(value[1])

    return check


def variant(*alternatives: Check) -> Check:
    """`[index, value]`, the value of the kind that the index names."""

    def check(value: Any) -> None:
        if type(value) not in (list, tuple) or len(value) != 2:
            raise WireError(f"a variant is needed, not {_show(value)}")
        if type(value[0]) is not int or not 0 <= value[0] < len(alternatives):
            raise WireError(f"a variant has no kind {_show(value[0])}")
        alternatives[value[0]](value[1])

    return check


def struct(name: str, *fields: Check) -> Check:
    """An array with exactly these fields."""

    def check(value: Any) -> None:
        if type(value) not in (list, tuple) or len(value) != len(fields):
            raise WireError(f"a {name} has {len(fields)} fields, and this is {_show(value)}")
        for field, each in zip(fields, value):
            field(each)

    return check


def reals(name: str, count: int) -> Check:
    """An array of so many finite numbers."""

    def check(value: Any) -> None:
        if type(value) not in (list, tuple) or len(value) != count:
            raise WireError(f"a {name} has {count} numbers, and this is {_show(value)}")
        _numbers(name, value)

    return check


def _numbers(name: str, values: Any) -> None:
    try:
        for value in values:
            if not -F32_MAX <= value <= F32_MAX:
                raise WireError(f"a {name} must be finite, and this holds {value}")
    except TypeError:
        raise WireError(f"a {name} is made of numbers, and this is {_show(values)}") from None


def _show(value: Any) -> str:
    if type(value) in (list, tuple):
        return f"an array of {len(value)}"
    if type(value) in (str, bytes):
        return f"{type(value).__name__} of length {len(value)}"
    return f"{value!r:.40}"


U8, U16, U32, U64 = (integer(0, 2**bits - 1) for bits in (8, 16, 32, 64))
I32 = integer(-(2**31), 2**31 - 1)

Vector3D = Location = reals("Vector3D", 3)
Vector2D = reals("Vector2D", 2)
Rotation = reals("Rotation", 3)
"""Pitch, yaw, roll, in degrees."""
Transform = struct("Transform", Location, Rotation)
BoundingBox = struct("BoundingBox", Location, Vector3D, Rotation, U32)
Color = struct("Color", U8, U8, U8)
Token = struct("Token", token_or_nothing)
EpisodeInfo = struct("EpisodeInfo", U64, Token)
EpisodeSettings = struct(
    "EpisodeSettings",
    *(boolean, boolean, optional(real), boolean, real, I32, real, boolean, real, real, boolean),
)
MapInfo = struct("MapInfo", text, array(Transform))
WeatherParameters = reals("WeatherParameters", 14)
ActorAttribute = struct("ActorAttribute", text, integer(0, 5), text, array(text), boolean, boolean)
ActorDefinition = struct("ActorDefinition", U32, text, text, array(ActorAttribute))
ActorDescription = struct(
    "ActorDescription", U32, text, array(struct("ActorAttributeValue", text, integer(0, 5), text))
)
Actor = struct("Actor", U32, U32, ActorDescription, BoundingBox, binary, token_or_nothing)
VehicleControl = struct("VehicleControl", real, real, real, boolean, boolean, boolean, I32)
AckermannControl = reals("VehicleAckermannControl", 5)
AckermannSettings = reals("AckermannControllerSettings", 6)
WalkerControl = struct("WalkerControl", Vector3D, real, boolean)
WheelPhysics = struct("WheelPhysicsControl", *[real] * 9, Vector3D)
VehiclePhysics = struct(
    "VehiclePhysicsControl",
    *(array(Vector2D), real, real, real, real, real, boolean, real, real, real),
    *(
        array(reals("GearPhysicsControl", 3)),
        real,
        real,
        Location,
        array(Vector2D),
        array(WheelPhysics),
        boolean,
    ),
)
Telemetry = struct(
    "VehicleTelemetryData",
    *(real, real, real, real, real, I32, real, array(reals("WheelTelemetryData", 11))),
)
LightFlags = struct("VehicleLightState", U32)
StreetLight = struct("LightState", U32, Location, real, U8, Color, boolean)
EnvironmentObject = struct("EnvironmentObject", Transform, BoundingBox, U64, text, U8)
LabelledPoint = struct("LabelledPoint", Location, U8)
OpendriveParameters = struct(
    "OpendriveGenerationParameters", real, real, real, real, boolean, boolean, boolean
)
_line = (Location, Location, real)
_primitives = (
    struct("Point", Location, real),
    struct("Line", *_line),
    struct("Arrow", struct("Line", *_line), real),
    struct("Box", BoundingBox, Rotation, real),
)
DebugShape = struct(
    "DebugShape",
    variant(*_primitives, struct("String", Location, text, boolean), *_primitives),
    *(Color, real, boolean),
)
