"""What happens to the env when its server does not behave. Time-outs are short, and nothing may outlast them."""

import contextlib
import gc
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("carla")

from envs.carla.config import CarlaConfig
from envs.carla.drive import FIRST_TRIES
from envs.carla.env import CarlaVec
from envs.carla.ports import Claim
from envs.carla.remote import GRACE_S, RemoteSession
from envs.carla.sensors import Feed
from envs.carla.server import Attached, Started, lite_command, start
from envs.carla.session import Session
from envs.carla.single import CarlaEnv
from envs.carla.slot import Slot
from tests.envs.carla.lite.server_process import LiteServer, RawClient
from tests.envs.carla.patience import SLACK_S, next_line, within
from tests.envs.carla.test_server import is_alive, launcher, server_in, wait_until_dead
from utils.errors import UserError

FORWARD = np.array([[0.0, 0.5, 0.0]], np.float32)


@pytest.fixture
def env() -> Iterator[CarlaVec]:
    env = CarlaVec(
        1, CarlaConfig(carla="lite", size=16, tick_timeout_s=1.0, start_timeout_s=20.0, restarts=2)
    )
    yield env
    env.close()


@pytest.fixture
def server() -> Iterator[Started]:
    server = Started(lite_command, is_lite=True)
    server.wait(20)
    yield server
    server.stop()


def pid_of(env: CarlaVec) -> int:
    session = env._slots[0].session
    assert isinstance(session, Session)
    assert isinstance(session.server, Started)
    return server_in(session.server.process.pid)


def episode(env: CarlaVec, seed: int, steps: int = 8) -> list[Any]:
    seen: list[Any] = [env.reset(seed=[seed])[0].tobytes()]
    for _ in range(steps):
        obs, reward, _, _, _ = env.step(FORWARD)
        seen += [obs.tobytes(), reward.tolist()]
    return seen


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_server_that_dies_or_freezes_is_replaced_and_the_next_episode_is_the_same(
    env: CarlaVec, fault: int
) -> None:
    first = episode(env, 5)
    pid = pid_of(env)
    os.kill(pid, fault)
    with within(1.0):
        obs, reward, terminated, truncated, info = env.step(FORWARD)
    assert (terminated.tolist(), truncated.tolist(), info["server_restarted"].tolist()) == (
        [False],
        [True],
        [True],
    )
    assert obs.tobytes() == first[-2], "the last frame stays"
    assert reward.tolist() == [0.0]
    assert not env.live.any()
    wait_until_dead(pid)
    assert episode(env, 5) == first
    assert not env.step(FORWARD)[4]["server_restarted"].any()


def test_servers_lost_again_and_again_end_the_run_with_one_sentence(env: CarlaVec) -> None:
    for _ in range(2):
        env.reset(seed=[0])
        os.kill(pid_of(env), signal.SIGKILL)
        assert env.step(FORWARD)[4]["server_restarted"].all()
    env.reset(seed=[0])
    pid = pid_of(env)
    os.kill(pid, signal.SIGKILL)
    with (
        within(1.0),
        pytest.raises(UserError, match=r"did not answer .*3 servers were lost, more than restarts=2"),
    ):
        env.step(FORWARD)
    wait_until_dead(pid)


HINDER = "while kill -STOP $0; do sleep 0.05; kill -CONT $0; sleep 0.02; done"
"""sh: let a process run for a third of the time"""


def test_a_slow_server_gives_the_same_episode() -> None:
    env = CarlaVec(1, CarlaConfig(carla="lite", size=16, map="loop"))
    first = episode(env, 3)
    pid = pid_of(env)
    hinder = subprocess.Popen(
        ["/bin/sh", "-c", HINDER, str(pid)]
    )  # no thread, which could wait for Python's lock
    try:
        assert episode(env, 3) == first
        assert pid_of(env) == pid, "it was not given up"
    finally:
        hinder.kill()
        hinder.wait()
        env.close()


def test_one_lost_server_leaves_the_other_slots_driving() -> None:
    env = CarlaVec(2, CarlaConfig(carla="lite", size=16, tick_timeout_s=1.0))
    env.reset(seed=[1, 2])
    os.kill(pid_of(env), signal.SIGKILL)
    with within(1.0):
        _, _, _, truncated, info = env.step(np.repeat(FORWARD, 2, 0))
    assert truncated.tolist() == info["server_restarted"].tolist() == [True, False]
    assert env.live.tolist() == [False, True]
    env.step(np.repeat(FORWARD, 2, 0))
    env.close()


def test_close_and_a_killed_parent_leave_no_server(env: CarlaVec) -> None:
    env.reset(seed=[0])
    pid = pid_of(env)
    env.close_extras()
    wait_until_dead(pid)
    code = (
        "import time; from envs.carla.env import CarlaVec\n"
        "env = CarlaVec(1); env.reset(seed=0)\n"
        "print(env._slots[0].session.server.process.pid, flush=True); time.sleep(600)"
    )
    variables = {key: value for key, value in os.environ.items() if key != "CARLA_ROOT"}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=variables)
    pid = int(next_line(parent))
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    wait_until_dead(pid)


def test_an_exception_in_the_program_leaves_no_server() -> None:
    code = (
        "from envs.carla.env import CarlaVec\n"
        "env = CarlaVec(1); env.reset(seed=0)\n"
        "print(env._slots[0].session.server.process.pid, flush=True); 1 / 0"
    )
    variables = {key: value for key, value in os.environ.items() if key != "CARLA_ROOT"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=60
    )
    assert "ZeroDivisionError" in done.stderr
    assert done.returncode == 1
    wait_until_dead(int(done.stdout))


@pytest.mark.parametrize("traffic", [0, 2])
def test_carla_root_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traffic: int) -> None:
    (tmp_path / "sim").mkdir()
    launcher(tmp_path / "sim", f"exec {sys.executable} -m envs.carla.lite --port ${{3##*=}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARLA_ROOT", "sim")
    env = CarlaVec(1, CarlaConfig(map="loop", size=16, obs="birdview", traffic=traffic))
    env.reset(seed=[0])
    env.close()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("victim", ["server", "client"])
def test_with_traffic_too_a_lost_server_costs_an_episode_and_no_more(victim: str) -> None:
    """The client's Traffic Manager would end our process; it has one of its own."""
    env = CarlaVec(1, CarlaConfig(carla="lite", size=16, map="loop", traffic=2, tick_timeout_s=1.0))
    first = episode(env, 5)
    session = env._slots[0].session
    assert isinstance(session, RemoteSession)
    assert session.process is not None
    client = session.process.pid
    (group,) = children(client)
    server = server_in(group)
    os.kill(server if victim == "server" else client, signal.SIGKILL)
    with within(1.0 + GRACE_S):
        _, _, _, truncated, info = env.step(FORWARD)
    assert (truncated.tolist(), info["server_restarted"].tolist()) == ([True], [True])
    wait_until_dead(client, server, group)
    assert episode(env, 5) == first
    pids = [session.process.pid, *children(session.process.pid)]
    env.close()
    wait_until_dead(*pids)


class Line:
    """A bad line to a server."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-m", "tests.envs.carla.proxy", str(port)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._heard() == "ready"

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        assert self._heard() == word

    def _heard(self) -> str:
        return next_line(self.process)


@pytest.fixture
def line(server: Started) -> Iterator[Line]:
    line = Line(server.port)
    yield line
    line.process.kill()
    line.process.wait()


@pytest.mark.parametrize("fault", ["cut", "mute"])
def test_a_cut_line_ends_the_episode_and_a_healed_one_takes_the_next(
    server: Started, line: Line, fault: str
) -> None:
    env = CarlaVec(1, CarlaConfig(carla=f"127.0.0.2:{server.port}", size=16, tick_timeout_s=0.5))
    first = episode(env, 7)
    line.tell(fault)
    with within(0.5):
        _, _, _, truncated, info = env.step(FORWARD)
    assert (truncated.tolist(), info["server_restarted"].tolist()) == ([True], [True])
    line.tell("heal")
    assert episode(env, 7) == first
    env.close()
    assert is_alive(server.process.pid), "it is not ours to stop"


class ClosingSensor:
    """The client's sensor in the rare moment when it is closing the stream itself: 91 cut lines never did."""

    def listen(self, put: object) -> None:
        pass

    def is_listening(self) -> bool:
        return True

    def stop(self) -> None:
        raise RuntimeError("close: Bad file descriptor [system:9]")


def test_a_stream_that_the_client_is_closing_already_is_let_go() -> None:
    Feed(ClosingSensor(), "sensor.camera.rgb").stop()


def test_a_sensor_that_never_answers_is_named(server: Started, line: Line) -> None:
    address = f"127.0.0.2:{server.port}"
    env = CarlaVec(1, CarlaConfig(carla=address, map="loop", size=16, tick_timeout_s=0.5, restarts=0))
    env.reset(seed=[0])
    line.tell("deaf")
    with (
        within(FIRST_TRIES * 0.5),
        pytest.raises(UserError, match=r"sensor.camera.rgb sent nothing for tick \d+ within 0.5 s"),
    ):
        env.reset(seed=[1])
    env.close()


def test_a_server_that_goes_away_for_good_is_missed_with_one_sentence(server: Started) -> None:
    address = f"127.0.0.1:{server.port}"
    env = CarlaVec(1, CarlaConfig(carla=address, size=16, tick_timeout_s=0.5, start_timeout_s=5.0))
    env.reset(seed=[0])
    server.stop()
    place = Claim(f"ports/{server.port}")  # where another test's server would be taken for it
    with within(0.5):
        assert env.step(FORWARD)[4]["server_restarted"].all()
    with (
        within(5.0),
        pytest.raises(UserError, match=r"no CARLA server answers at 127\.0\.0\.1.* not come back within 5 s"),
    ):
        env.reset(seed=[0])
    env.close()
    place.release()


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
