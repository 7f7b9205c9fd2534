"""What happens to the env when its server does not behave. Time-outs are short, and nothing may outlast them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("carla")

from envs.carla.config import CarlaConfig
from envs.carla.drive import FIRST_TRIES
from envs.carla.env import CarlaVec
from envs.carla.ports import Claim
from envs.carla.remote import GRACE_S, RemoteSession
from envs.carla.sensors import Feed
from envs.carla.server import Started
from envs.carla.session import Session
from envs.rollout import evaluate_guide
from tests.envs.carla.patience import next_line, within
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


def test_a_score_tells_of_lost_servers(env: CarlaVec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate_guide(env, [5]).measures["episode/lost"].tolist() == [0.0]
    monkeypatch.setattr(env, "guide", lambda: (os.kill(pid_of(env), signal.SIGKILL), FORWARD)[1])
    stats = evaluate_guide(env, [5])
    assert (stats.measures["episode/lost"].tolist(), stats.lengths.tolist()) == ([1.0], [1])


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
