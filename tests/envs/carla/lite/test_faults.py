"""Servers and clients that die, freeze or hang up in the middle: nobody waits longer than the time-out.

The real client runs in a process of its own here: it may abort.
"""

import os
import signal
import subprocess
import sys

import pytest

from tests.envs.carla.lite.server_process import LiteServer, RawClient, RawStream
from tests.envs.carla.patience import next_line, within

pytest.importorskip("carla")
START = """
import os, queue, sys, time
import carla
port = int(sys.argv[1])
client = carla.Client("127.0.0.1", port)
client.set_timeout(20.0)
world = client.get_world()
settings = world.get_settings()
settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
world.apply_settings(settings)
library, points = world.get_blueprint_library(), world.get_map().get_spawn_points()
vehicle = world.spawn_actor(library.find("vehicle.tesla.model3"), points[0])
images = queue.Queue()
camera = world.spawn_actor(library.find("sensor.camera.rgb"), carla.Transform(carla.Location(x=1.5, z=2.4)), vehicle)
camera.listen(images.put)
def step():
    frame = world.tick()
    assert images.get(timeout=20.0).frame == frame
    return frame
for _ in range(3):
    step()
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
say("ready")
hear()
"""
END = "\nsay('done')\nos._exit(0)\n"
TIMED_OUT = """
client.set_timeout(2.0)
try:
    world.tick()
    say("no error")
except RuntimeError as error:
    say("time-out" if "time-out" in str(error) else error)
client.set_timeout(20.0)
"""


class Client:
    """The real client, driven by a script that talks over pipes."""

    def __init__(self, server: LiteServer, code: str) -> None:
        command = [sys.executable, "-c", START + code + END, str(server.port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, text=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        assert self.hear() == "ready"

    def hear(self) -> str:
        return next_line(self.process)

    def say(self, words: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def server():
    with LiteServer() as server:
        yield server


@pytest.fixture
def start(server):
    clients = []

    def start(code: str) -> Client:
        clients.append(Client(server, code))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def test_a_killed_server_is_a_time_out(server, start):
    client = start(TIMED_OUT)
    server.process.kill()
    server.process.wait()
    client.say()
    with within(2.0):
        assert client.hear() == "time-out"
    assert client.hear() == "done"


def test_a_frozen_server_is_a_time_out_and_serves_on_when_it_thaws(server, start):
    client = start(TIMED_OUT + "hear()\nsay(world.tick())\n")
    os.kill(server.process.pid, signal.SIGSTOP)
    client.say()
    with within(2.0):
        assert client.hear() == "time-out"
    os.kill(server.process.pid, signal.SIGCONT)
    client.say()
    assert int(client.hear()) > 3
    assert client.hear() == "done"


def test_a_killed_client_leaves_its_world_to_the_next(server, start):
    first = start("time.sleep(60)")
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    raw = RawClient(server.port)
    assert raw.call("get_episode_settings")[0] is True
    assert raw.call("tick_cue") == raw.call("tick_cue") - 1
    assert raw.call("destroy_actor", 2) is True
    raw.close()
    second = start("say(step() > 3)")
    second.say()
    assert second.hear() == "True"
    assert second.hear() == "done"


def test_a_stream_that_is_cut_comes_back(server, start):
    """The client opens its streams again at once; the frame in between is lost, as with CARLA."""
    client = start(
        """
streams = [int(name) for name in os.listdir("/proc/self/fd")]
import socket
for number in streams:
    try:
        held = socket.socket(fileno=os.dup(number))
        if held.getpeername()[1] == port + 1:
            held.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
time.sleep(0.5)
while not images.empty():
    images.get()
for _ in range(5):
    last = step()
say("again")
"""
    )
    client.say()
    assert client.hear() == "again"
    assert client.hear() == "done"


def test_streams_that_hang_up_in_the_middle_do_no_harm(server, start):
    client = start("for _ in range(20):\n    step()\nsay('went on')")
    camera = RawClient(server.port).call("get_actors_by_id", [3])[0]
    stream_id = int.from_bytes(camera[5][:4], "little")
    for _ in range(10):
        RawStream(server.port, stream_id).socket.close()
    client.say()
    assert client.hear() == "went on"
    assert client.hear() == "done"


def test_clients_that_never_end_a_request_do_not_stop_the_others(server, start):
    halves = [RawClient(server.port) for _ in range(20)]
    for half in halves:
        half.socket.sendall(b"\x94\x00\x01\xa7vers")
    client = start("for _ in range(20):\n    step()\nsay('went on')")
    client.say()
    assert client.hear() == "went on"
    for half in halves:
        half.close()


def test_a_client_that_floods_does_not_stop_the_others(server, start):
    client = start("for _ in range(20):\n    step()\nsay('went on')")
    flood = RawClient(server.port)
    flood.socket.setblocking(False)
    request = b"".join([b"\x94\x00\x01\xb5get_actor_definitions\x91\x91\xc2"] * 2000)
    client.say()
    for _ in range(50):
        try:
            flood.socket.send(request)
        except BlockingIOError:
            break
    assert client.hear() == "went on"
    assert client.hear() == "done"
    flood.close()
