"""Servers and clients for the tests. With CARLA_HOST=HOST:PORT the client tests run against that server instead."""

import os
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.envs.carla.lite.server_process import LiteServer

TIMEOUT_S = 20.0


@pytest.fixture(scope="session")
def lite() -> Iterator[LiteServer]:
    """One lite server for all tests of this process that do it no harm."""
    with LiteServer() as server:
        yield server


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> tuple[str, int]:
    """Where the client tests find their server."""
    given = os.environ.get("CARLA_HOST")
    if given:
        host, _, port = given.partition(":")
        return host, int(port or 2000)
    return "127.0.0.1", request.getfixturevalue("lite").port


@pytest.fixture
def client(address: tuple[str, int]) -> Any:
    """The real client."""
    carla = pytest.importorskip("carla")
    client = carla.Client(*address)
    client.set_timeout(TIMEOUT_S)
    return client


@pytest.fixture
def world(client: Any) -> Any:
    """A fresh episode in asynchronous mode."""
    return client.reload_world()


@pytest.fixture
def synchronous(world: Any) -> Iterator[Any]:
    """A fresh episode that steps by 0.05 s when it is told."""
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    yield world
    settings.synchronous_mode, settings.fixed_delta_seconds = False, None
    world.apply_settings(settings)


@pytest.fixture
def spawn(synchronous: Any) -> Iterator[Callable[..., Any]]:
    """Spawns at a spawn point, on a parent or at a transform; afterwards everything is destroyed."""
    carla = pytest.importorskip("carla")
    library, points = synchronous.get_blueprint_library(), synchronous.get_map().get_spawn_points()
    actors = []

    def spawn(
        blueprint_id: str, place: int = 0, parent: Any = None, transform: Any = None, **attributes: object
    ) -> Any:
        blueprint = library.find(blueprint_id)
        for name, value in attributes.items():
            blueprint.set_attribute(name, str(value))
        transform = transform or (carla.Transform(carla.Location(x=1.5, z=2.4)) if parent else points[place])
        actor = synchronous.spawn_actor(blueprint, transform, attach_to=parent)
        actors.append(actor)
        return actor

    yield spawn
    for actor in reversed([actor for actor in actors if actor.is_alive]):
        if hasattr(actor, "stop"):
            actor.stop()
        actor.destroy()


@pytest.fixture
def listen() -> Callable[[Any], "queue.Queue[Any]"]:
    """Collects what a sensor measures."""

    def listen(sensor: Any) -> "queue.Queue[Any]":
        measured: queue.Queue[Any] = queue.Queue()
        sensor.listen(measured.put)
        return measured

    return listen
