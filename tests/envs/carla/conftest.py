from collections.abc import Iterator

import pytest

from envs.carla.server import Started, lite_command


@pytest.fixture
def server() -> Iterator[Started]:
    """A running server, somebody's own."""
    server = Started(lite_command, is_lite=True)
    server.wait(20)
    yield server
    server.stop()
