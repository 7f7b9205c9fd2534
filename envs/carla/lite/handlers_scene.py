"""RPC methods: weather, the things of the map, rays, and debug drawing, which nobody sees."""

from typing import Any

from envs.carla.lite.rpc import Methods, Session
from envs.carla.lite.schema import (
    DebugShape,
    WeatherParameters,
)
from envs.carla.lite.weather import Weather

HERE = Methods()
GRAVITY = 9.81


@HERE.returns(WeatherParameters)
def get_weather_parameters(session: Session) -> list[float]:
    """The weather."""
    return list(session.host.world.weather)


@HERE.nothing(WeatherParameters)
def set_weather_parameters(session: Session, weather: list[float]) -> None:
    """Another weather."""
    session.host.world.weather = Weather(*(float(each) for each in weather))


@HERE.nothing(DebugShape)
def draw_debug_shape(session: Session, shape: list[Any]) -> None:
    """Taken and not drawn: CARLA's cameras do see debug shapes, ours do not."""


@HERE.nothing()
def clear_debug_shape(session: Session) -> None:
    """Nothing to do."""


@HERE.nothing()
def clear_debug_string(session: Session) -> None:
    """Nothing to do."""
