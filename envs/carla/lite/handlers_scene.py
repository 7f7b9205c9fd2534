"""RPC methods: weather, the things of the map, rays, and debug drawing, which nobody sees."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from envs.carla.lite import rays
from envs.carla.lite.roadmap import Prop
from envs.carla.lite.rpc import CallError, Methods, Session
from envs.carla.lite.schema import (
    U8,
    U16,
    U64,
    BoundingBox,
    DebugShape,
    EnvironmentObject,
    LabelledPoint,
    Location,
    Vector3D,
    WeatherParameters,
    array,
    boolean,
    real,
    struct,
    text,
)
from envs.carla.lite.sensors import Surroundings
from envs.carla.lite.weather import Weather
from envs.carla.lite.wire import to_degrees
from envs.carla.lite.world import PROP_NAMES

HERE = Methods()
ANY = 255
MAX_HITS = 16
MAX_GRAVITY_MPS2 = 1000.0
_STEP_M = 1e-3
"""A ray that has met something goes on so far behind it."""


@HERE.returns(WeatherParameters)
def get_weather_parameters(session: Session) -> list[float]:
    """The weather."""
    return list(session.host.world.weather)


@HERE.nothing(WeatherParameters)
def set_weather_parameters(session: Session, weather: list[float]) -> None:
    """Another weather."""
    session.host.world.weather = Weather(*(float(each) for each in weather))


@HERE.returns(array(BoundingBox), U8)
def get_all_level_BBs(session: Session, label: int) -> list[Any]:
    """Boxes of the map's things of one kind, or of all, in the world."""
    return [_box(prop) for _, prop in _props(session, label)]


@HERE.returns(array(EnvironmentObject), U8)
def get_environment_objects(session: Session, label: int) -> list[Any]:
    """The map's things of one kind, or of all."""
    return [
        [[prop.centre, (0.0, to_degrees(prop.yaw), 0.0)], _box(prop), i + 1, _name(i, prop), prop.label]
        for i, prop in _props(session, label)
    ]


@HERE.returns(array(text))
def get_names_of_all_objects(session: Session) -> list[str]:
    """Names of the map's things."""
    return [_name(i, prop) for i, prop in _props(session, ANY)]


@HERE.nothing(array(U64), boolean)
def enable_environment_objects(session: Session, ids: list[int], is_on: bool) -> None:
    """The things of a map are always there."""
    if not is_on:
        raise CallError("hiding the map's objects is not supported by the lite server")


@HERE.nothing(U16)
def load_map_layer(session: Session, layers: int) -> None:
    """Our maps have one layer, which is always there: nothing to do."""


@HERE.nothing(U16)
def unload_map_layer(session: Session, layers: int) -> None:
    """Our maps have one layer, which is always there."""
    raise CallError("unloading map layers is not supported by the lite server")


@HERE.returns(array(LabelledPoint), Location, Location)
def cast_ray(session: Session, start: list[float], end: list[float]) -> list[Any]:
    """What a ray passes through, from near to far: where, and what it is."""
    here, way = np.array(start, float), np.array(end, float) - np.array(start, float)
    points = []
    left_m = float(np.linalg.norm(way))
    for _ in range(MAX_HITS):
        hit = _first_hit(session, here, way, left_m)
        if hit is None:
            break
        here, label = hit
        points.append([here.tolist(), label])
        left_m = float(np.linalg.norm(np.array(end) - here)) - _STEP_M
        here = here + way / np.linalg.norm(way) * _STEP_M
    return points


@HERE.returns(struct("found point", boolean, LabelledPoint), Location, Vector3D, real)
def project_point(
    session: Session, start: list[float], direction: list[float], distance_m: float
) -> list[Any]:
    """The first thing in a direction."""
    hit = _first_hit(session, np.array(start, float), np.array(direction, float), float(distance_m))
    return [False, [(0.0, 0.0, 0.0), 0]] if hit is None else [True, [hit[0].tolist(), hit[1]]]


@HERE.nothing(DebugShape)
def draw_debug_shape(session: Session, shape: list[Any]) -> None:
    """Taken and not drawn: CARLA's cameras do see debug shapes, ours do not."""


@HERE.nothing()
def clear_debug_shape(session: Session) -> None:
    """Nothing to do."""


@HERE.nothing()
def clear_debug_string(session: Session) -> None:
    """Nothing to do."""


@HERE.returns(real)
def get_imui_gravity(session: Session) -> float:
    """The gravity that IMUs feel, m/s2."""
    return session.host.world.imu_gravity_mps2


@HERE.nothing(real)
def set_imui_gravity(session: Session, gravity_mps2: float) -> None:
    """Another one, until the episode ends; vehicles go on falling as before."""
    if abs(gravity_mps2) > MAX_GRAVITY_MPS2:
        raise CallError(f"a gravity beyond {MAX_GRAVITY_MPS2:g} m/s2 is not supported by the lite server")
    session.host.world.imu_gravity_mps2 = float(gravity_mps2)


@HERE.nothing(boolean)
def set_annotations_traverse_translucency(session: Session, is_on: bool) -> None:
    """Nothing is translucent here: nothing to do."""


def _props(session: Session, label: int) -> Iterator[tuple[int, Prop]]:
    for i, prop in enumerate(session.host.world.roadmap.props):
        if label in (ANY, prop.label):
            yield i, prop


def _box(prop: Prop) -> list[Any]:
    return [prop.centre, prop.extent, (0.0, to_degrees(prop.yaw), 0.0), 0]


def _name(index: int, prop: Prop) -> str:
    return f"{PROP_NAMES.get(prop.label, 'static.unknown').removeprefix('static.')}_{index + 1}"


def _first_hit(
    session: Session, start: np.ndarray, way: np.ndarray, most_m: float
) -> tuple[np.ndarray, int] | None:
    """Where a ray meets something first, and its label."""
    length = float(np.linalg.norm(way))
    if not 0 < length < np.inf or most_m <= 0:
        return None
    host = session.host
    boxes = Surroundings(host.world, host.scene).boxes
    hits = rays.cast(host.scene, start[None], way[None] / length, most_m, boxes)
    distance_m = float(hits.distance_m[0])
    return None if not np.isfinite(distance_m) else (start + way / length * distance_m, int(hits.label[0]))
