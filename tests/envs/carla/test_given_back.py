"""A running server of somebody's own: it gets its settings back however we end, and nobody else's."""

import contextlib
import gc
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("carla")

from envs.carla.config import CarlaConfig
from envs.carla.env import CarlaVec
from envs.carla.remote import GRACE_S, RemoteSession
from envs.carla.server import Attached, Started, lite_command, start
from envs.carla.single import CarlaEnv
from envs.carla.slot import Slot
from tests.envs.carla.lite.server_process import LiteServer, RawClient
from tests.envs.carla.patience import SLACK_S, next_line, within
from tests.envs.carla.test_faults import FORWARD, episode
from tests.envs.carla.test_server import server_in, wait_until_dead
from utils.errors import UserError


def world_of(server: Started) -> Any:
    """The world of another client."""
    import carla

    client = carla.Client(server.host, server.port)
    client.set_timeout(20.0)
    return client.get_world()


def settings_of(server: Started) -> tuple[bool, float | None]:
    """Whether it waits for ticks, and for how long a tick is."""
    settings = world_of(server).get_settings()
    return settings.synchronous_mode, settings.fixed_delta_seconds


def wait_until_given_back(server: Started) -> None:
    """Until a running server has its own settings, which come last."""
    deadline = time.monotonic() + SLACK_S
    while settings_of(server) != (False, None):
        assert time.monotonic() < deadline, "it still has our settings"
        time.sleep(0.1)


def assert_is_empty(server: Started) -> None:
    """Nothing of ours is left in it."""
    world = world_of(server)
    world.wait_for_tick()
    assert [actor.type_id for actor in world.get_actors().filter("vehicle.*")] == []
    assert [actor.type_id for actor in world.get_actors().filter("sensor.*")] == []


def test_a_killed_worker_gives_a_running_server_back_and_its_successor_gets_it(server: Started) -> None:
    """A pool that is interrupted kills its workers."""
    code = (
        "from envs.carla.config import CarlaConfig; from envs.carla.env import CarlaVec\n"
        f"env = CarlaVec(1, CarlaConfig(carla='{server.host}:{server.port}', map='loop', size=16))\n"
        "env.reset(seed=0); print('drives', flush=True)\n"
        "while True: env.step([[0.0, 0.0, 1.0]]); env.live.all() or env.reset(seed=0)"
    )
    workers = []
    for _ in range(2):
        worker = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        workers.append(worker)
        assert next_line(worker) == "drives"
        assert settings_of(server) == (True, pytest.approx(0.05))
        worker.kill()
    wait_until_given_back(server)
    assert_is_empty(server)
    assert [worker.communicate()[1] for worker in workers] == ["", ""], "nor does any process complain"


def kill_client(env: CarlaVec) -> None:
    """Kill the process in which the client runs."""
    session = env._slots[0].session
    assert isinstance(session, RemoteSession)
    assert session.process is not None
    session.process.kill()
    wait_until_dead(session.process.pid)


def test_an_env_that_is_dropped_gives_a_running_server_back(server: Started) -> None:
    env = CarlaEnv(carla=f"{server.host}:{server.port}", map="loop", size=16)
    env.reset(seed=0)
    assert settings_of(server) == (True, pytest.approx(0.05))
    del env
    gc.collect()
    wait_until_given_back(server)
    assert_is_empty(server)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(
    server: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a notebook, say."""
    config = CarlaConfig(carla=f"{server.host}:{server.port}", map="loop", size=16)
    slot = Slot(config, config.addresses())
    slot.reset(0)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "poll", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            slot.session.guide()
    slot.reset(0)
    assert len(slot.session.guide()) == 3
    assert not slot.step(0.0, 0.5, 0.0).ending.reason
    slot.session.close()


@pytest.mark.parametrize("traffic", [0, 2])
@pytest.mark.parametrize("has_next_episode", [True, False])
def test_a_running_server_that_froze_gets_its_owners_settings_back(
    server: Started, traffic: int, has_next_episode: bool
) -> None:
    """It is in our mode when the next client meets it, which must not take that for the owner's wish."""
    before = settings_of(server)
    assert before == (False, None)
    address = f"{server.host}:{server.port}"
    env = CarlaVec(
        1,
        CarlaConfig(carla=address, map="loop", size=16, obs="birdview", traffic=traffic, tick_timeout_s=1.0),
    )
    env.reset(seed=[0])
    pid = server_in(server.process.pid)
    os.kill(pid, signal.SIGSTOP)
    with within(1.0 + GRACE_S):
        assert env.step(FORWARD)[4]["server_restarted"].all()
    os.kill(pid, signal.SIGCONT)
    assert settings_of(server) == (True, pytest.approx(0.05))
    if has_next_episode:
        env.reset(seed=[0])
        assert not env.step(FORWARD)[4]["server_restarted"].any()
    env.close()
    assert settings_of(server) == before


def test_a_server_that_accepts_while_it_is_loading_is_waited_for(server: Started) -> None:
    """For longer than a tick may take."""
    address = f"{server.host}:{server.port}"
    env = CarlaVec(1, CarlaConfig(carla=address, map="loop", size=16, tick_timeout_s=1.0, restarts=0))
    pid = server_in(server.process.pid)
    os.kill(pid, signal.SIGSTOP)
    loading = subprocess.Popen(["/bin/sh", "-c", f"sleep 5; kill -CONT {pid}"])
    env.reset(seed=[0])
    loading.wait()
    env.close()


def test_a_guide_whose_client_died_does_nothing_and_the_next_step_says_so(server: Started) -> None:
    env = CarlaVec(1, CarlaConfig(carla=f"{server.host}:{server.port}", map="loop", size=16))
    env.reset(seed=[0])
    assert env.guide().any()
    kill_client(env)
    assert env.guide().tolist() == [[0.0, 0.0, 0.0]]
    assert env.step(FORWARD)[4]["server_restarted"].all()
    env.close()


def test_settings_come_back_after_a_client_died_unnoticed(server: Started) -> None:
    env = CarlaVec(1, CarlaConfig(carla=f"{server.host}:{server.port}", map="loop", size=16))
    env.reset(seed=[0])
    kill_client(env)
    env.close()
    assert settings_of(server) == (False, None)


def test_settings_come_back_after_a_client_died_in_its_first_episode(server: Started) -> None:
    """It had taken the server over, so that the next client meets our settings, not the owner's."""
    env = CarlaVec(1, CarlaConfig(carla=f"{server.host}:{server.port}", map="loop", size=16))
    bare = RawClient(server.port)  # the real one would hold Python's lock

    def disturb() -> None:
        while not bare.call("get_episode_settings")[0]:  # whether it waits for ticks
            time.sleep(0.005)
        kill_client(env)

    other = threading.Thread(target=disturb)
    other.start()
    env.reset(seed=[0])
    assert env._slots[0]._losses == 1
    other.join()
    bare.close()
    env.close()
    assert settings_of(server) == (False, None)


def test_a_running_server_that_was_lost_stays_ours(server: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else may take our settings for its owner's."""
    monkeypatch.setattr("envs.carla.server.HANDOVER_S", 0.0)
    config = CarlaConfig(carla=f"{server.host}:{server.port}", map="loop", size=16)
    env = CarlaVec(1, config)
    env.reset(seed=[0])
    kill_client(env)
    assert env.step(FORWARD)[4]["server_restarted"].all()
    for _ in range(int(SLACK_S / 0.1)):  # the new client's process is starting
        with contextlib.suppress(UserError):
            start(config.addresses()).stop()
            time.sleep(0.1)
            continue
        break
    else:
        pytest.fail("anybody can have it")
    env.close()


def test_of_several_running_servers_the_one_that_was_driven_gets_its_settings_back(server: Started) -> None:
    """Not the first that is free by then."""
    other = Attached("127.0.0.1", 1)  # somebody drives it
    env = CarlaVec(1, CarlaConfig(carla=f"127.0.0.1:1,{server.host}:{server.port}", map="loop", size=16))
    env.reset(seed=[0])
    other.stop()
    kill_client(env)
    assert env.step(FORWARD)[4]["server_restarted"].all()
    env.close()
    wait_until_given_back(server)


@pytest.mark.parametrize("traffic", [0, 2])
def test_a_running_server_that_its_owner_starts_again_takes_the_next_episode(traffic: int) -> None:
    """As a container with a restart policy does, a while later."""
    first = LiteServer()
    address = f"127.0.0.1:{first.port}"
    env = CarlaVec(1, CarlaConfig(carla=address, map="loop", size=16, traffic=traffic, tick_timeout_s=1.0))
    seen = episode(env, 5)
    first.process.kill()
    first.process.communicate()
    assert env.step(FORWARD)[4]["server_restarted"].all()
    command = ["/bin/sh", "-c", f"sleep 1; exec {shlex.join(lite_command(first.port))}"]
    second = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        assert episode(env, 5) == seen
        assert not env.step(FORWARD)[4]["server_restarted"].any()
        env.close()
    finally:
        second.kill()
        second.wait()
        first.close()
