"""What the CARLA envs refuse, in one sentence each, and that they leave no server, nor change another's."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

pytest.importorskip("carla")

import envs
from envs.carla.config import CarlaConfig
from envs.carla.env import CarlaVec
from envs.carla.lite import maps
from envs.carla.remote import RemoteSession
from envs.carla.server import Started, lite_command
from envs.carla.session import Session
from tests.envs.carla.which_server import GAS, config, lite_only, session_here
from utils.errors import UserError


@pytest.fixture
def children() -> Callable[[], str]:
    """The processes that this one has started."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text


def assert_stopped(env: CarlaVec) -> None:
    """Nothing runs on: neither a server nor a client's process."""
    session = env._slots[0].session
    assert isinstance(session, RemoteSession | Session)
    remains = session.process if isinstance(session, RemoteSession) else session.server
    assert remains is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"map": "Atlantis"}, "no map 'Atlantis'; take FILE.xodr or one of loop, circuit, town"),
        ({"map": "no/such.xodr"}, "no/such.xodr cannot be read"),
        ({"vehicle": "vehicle.flying.carpet"}, "no blueprint 'vehicle.flying.carpet'; it has vehicle."),
        ({"weather": "Frogs"}, "no weather 'Frogs'; it has ClearNight"),
        ({"map": "loop", "traffic": 5000}, "there is room for [0-9]+ vehicles of traffic=5000"),
        ({"map": "town", "task": "circuit"}, "the circuit task needs a closed road"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_sentence(options: dict, words: str) -> None:
    env = CarlaVec(1, config(**options))
    with pytest.raises(UserError, match=words):
        env.reset(seed=[0])
    assert_stopped(env)


@pytest.mark.parametrize("text", ["", "no map", "<OpenDRIVE></OpenDRIVE>", "<OpenDRIVE><road></OpenDRIVE>"])
def test_an_unreadable_map_is_a_users_mistake(children: Callable[[], str], tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.xodr"
    path.write_text(text)
    env = CarlaVec(1, config(map=str(path)))
    before = children()
    with pytest.raises(UserError, match=r"bad\.xodr is no OpenDRIVE map with roads"):
        env.reset(seed=[0])
    assert_stopped(env)
    assert children() == before


@lite_only
def test_a_map_that_the_server_refuses_is_a_users_mistake(tmp_path: Path) -> None:
    """Ours takes no document type definition, which the client passes over."""
    path = tmp_path / "typed.xodr"
    path.write_text(maps.loop().replace("<OpenDRIVE>", "<!DOCTYPE OpenDRIVE><OpenDRIVE>"))
    env = CarlaVec(1, config(map=str(path)))
    with pytest.raises(
        UserError, match=r"^the CARLA server refuses the map .*typed\.xodr \(.*type definition"
    ):
        env.reset(seed=[0])
    assert_stopped(env)


@pytest.mark.parametrize("words", ["time-out of 5ms while waiting", "failed to connect to newly created map"])
def test_a_map_that_does_not_come_in_time_is_a_lost_server(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    import carla

    env = CarlaVec(1, config(map="loop", restarts=0))
    session_here(env)
    monkeypatch.setattr(carla.Client, "generate_opendrive_world", Mock(side_effect=RuntimeError(words)))
    with pytest.raises(UserError, match=f"{words}.*1 servers were lost"):
        env.reset(seed=[0])
    assert_stopped(env)


def test_no_free_spawn_point_leaves_no_server(
    children: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import carla

    env = CarlaVec(1, config(map="loop"))
    session_here(env)
    before = children()
    monkeypatch.setattr(carla.World, "try_spawn_actor", lambda *_: None)
    with pytest.raises(UserError, match="no spawn point is free"):
        env.reset(seed=[0])
    assert_stopped(env)
    assert children() == before


def test_another_version_is_said(children: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    import carla

    monkeypatch.setattr(carla.Client, "get_client_version", lambda self: "0.9.15")
    env = CarlaVec(1, config())
    session_here(env)
    before = children()
    with pytest.raises(UserError, match=r"is 0\.9\.16.* but the carla package is 0\.9\.15"):
        env.reset(seed=[0])
    assert_stopped(env)
    assert children() == before


@lite_only
def test_a_running_server_is_left_as_it_was_found() -> None:
    import carla

    server = Started(lite_command, is_lite=True)
    server.wait(20)
    client = carla.Client(server.host, server.port)
    before = client.get_world().get_settings()
    env = CarlaVec(1, CarlaConfig(carla=f"{server.host}:{server.port}", map="loop", traffic=2))
    env.reset(seed=[1])
    env.step(GAS)
    world = client.get_world()
    assert world.get_settings().synchronous_mode
    assert len(world.get_actors().filter("vehicle.*")) == 3
    env.close()
    world = client.get_world()
    after = world.get_settings()
    for name in ("synchronous_mode", "fixed_delta_seconds", "no_rendering_mode", "max_substeps"):
        assert getattr(after, name) == getattr(before, name)
    world.wait_for_tick()
    assert not len(world.get_actors().filter("vehicle.*"))
    server.stop()


def test_more_slots_than_running_servers_are_refused() -> None:
    with pytest.raises(UserError, match="2 slots need a server each, but carla='a:2000' names 1"):
        CarlaVec(2, CarlaConfig(carla="a:2000"))


def test_making_an_env_starts_nothing_and_imports_carla_only_then() -> None:
    code = (
        "import sys, envs, envs.carla.lite\n"
        "assert 'carla' not in sys.modules\n"
        "env = envs.make('carla', 2)\n"
        "assert 'carla' in sys.modules\n"
        "assert all(slot.session.server is None for slot in env._slots)\n"
        "env.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_package_one_sentence_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['carla'] = None\n"
        "import envs; from utils.errors import UserError\n"
        "try: envs.make('carla', 1)\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install -e .[carla]" in done.stdout


def test_the_names_are_known() -> None:
    assert {"CarlaCircuit-v0", "CarlaRoute-v0", "carla"} <= set(envs.NAMES)
    route = envs.make("CarlaRoute-v0", 1, size=32)
    assert isinstance(route, CarlaVec)
    assert (route.config.task, route.config.map, route.config.size) == ("route", "town", 32)
    with pytest.raises(UserError, match="no option 'wings'"):
        envs.make("carla", 1, wings=2)
