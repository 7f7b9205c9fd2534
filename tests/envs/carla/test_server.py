import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from envs.carla.config import CarlaConfig, config_from
from envs.carla.ports import Claim, PortBlock, is_free
from envs.carla.server import Attached, Started, simulator_command, start
from utils.errors import UserError

LISTEN = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"


def listening(port: int) -> list[str]:
    """A process that accepts connections, as a server does that is ready."""
    return [sys.executable, "-c", LISTEN.format(port=port)]


def launcher(folder: Path, *lines: str) -> Path:
    """A simulator's folder with a start script that has a child of its own, as the real one has."""
    script = folder / "CarlaUE4.sh"
    script.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    script.chmod(0o755)
    return script


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_dead(*pids: int) -> None:
    for _ in range(500):
        if not any(is_alive(pid) for pid in pids):
            return
        time.sleep(0.02)
    pytest.fail(f"still alive: {[pid for pid in pids if is_alive(pid)]}")


def members(group: int) -> list[int]:
    """Living processes of a process group."""
    return [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _group(path) == group
    ]


def server_in(group: int) -> int:
    """The server itself in the process group of a `Started`: neither the scripts nor the cat."""
    (pid,) = (
        pid
        for pid in members(group)
        if Path(f"/proc/{pid}/comm").read_text().strip() not in ("sh", "dash", "cat", "CarlaUE4.sh")
    )
    return pid


def _group(path: Path) -> int:
    try:
        fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return -1
    return -1 if fields[0] == "Z" else int(fields[2])


@pytest.fixture
def first_of_two(monkeypatch: pytest.MonkeyPatch) -> int:
    """There are but two blocks, which nobody else uses."""
    first = 30000 + 20 * (os.getpid() % 100)
    monkeypatch.setattr("envs.carla.ports.FIRST", first)
    monkeypatch.setattr("envs.carla.ports.NUM_BLOCKS", 2)
    return first


def test_two_blocks_are_never_the_same_and_a_released_one_comes_again_in_its_turn(first_of_two: int) -> None:
    with PortBlock() as one:
        with PortBlock() as two:
            assert {one.port, two.port} == {first_of_two, first_of_two + 10}
            with pytest.raises(UserError, match="no block of 10 free ports"):
                PortBlock()
        with PortBlock() as again:
            assert again.port == two.port


def test_a_block_with_a_port_in_use_is_passed_over(first_of_two: int) -> None:
    with socket.create_server(("127.0.0.1", first_of_two + 1)):
        assert not is_free(first_of_two + 1)
        for _ in range(3):
            with PortBlock() as block:
                assert block.port == first_of_two + 10


def test_a_claim_is_held_by_one_until_released() -> None:
    one, two = Claim("test/a"), Claim("test/a")
    assert (one.is_held, two.is_held) == (True, False)
    one.release()
    three = Claim("test/a")
    assert three.is_held
    three.release()


def test_a_started_server_is_ready_when_it_accepts_and_gone_after_stop() -> None:
    server = Started(listening, is_lite=False)
    server.wait(20)
    socket.create_connection((server.host, server.port), 1).close()
    group = members(server.process.pid)
    assert len(group) >= 3
    server.stop()
    wait_until_dead(*group)
    assert is_free(server.port)
    server.stop()


def test_the_whole_group_is_stopped_even_if_frozen(tmp_path: Path) -> None:
    script = launcher(tmp_path, f'{sys.executable} -c "{LISTEN.format(port="${3##*=}")}" &', "wait")
    server = Started(lambda port: simulator_command(script, port), is_lite=False)
    server.wait(20)
    group = members(server.process.pid)
    assert len(group) >= 3
    os.killpg(server.process.pid, signal.SIGSTOP)
    server.stop()
    wait_until_dead(*group)


def test_a_killed_parent_takes_the_simulator_with_it_even_if_frozen(tmp_path: Path) -> None:
    script = launcher(tmp_path, f'{sys.executable} -c "{LISTEN.format(port="${3##*=}")}" &', "wait")
    code = (
        "import time; from pathlib import Path; from envs.carla.server import Started, simulator_command\n"
        f"s = Started(lambda port: simulator_command(Path({str(script)!r}), port), False)\n"
        "s.wait(20); print(s.process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    first = parent.stdout.readline()
    group = members(int(first))
    assert len(group) >= 3
    os.kill(server_in(int(first)), signal.SIGSTOP)
    parent.kill()
    parent.wait()
    wait_until_dead(*group)


def test_a_simulator_that_ends_is_noticed_and_its_group_with_it(tmp_path: Path) -> None:
    script = launcher(tmp_path, "sleep 600 &", "echo no Vulkan here >&2", "exit 1")
    server = Started(lambda port: simulator_command(script, port), is_lite=False)
    with pytest.raises(UserError, match="ended at once: no Vulkan here"):
        server.wait(20)
    assert not is_alive(server.process.pid)


def test_a_server_that_finds_its_port_taken_is_started_at_another() -> None:
    tried: list[int] = []

    def command(port: int) -> list[str]:
        tried.append(port)
        return listening(port) if len(tried) > 1 else [sys.executable, "-c", "raise OSError('port taken')"]

    server = Started(command, is_lite=False)
    server.wait(20)
    assert len(tried) == 2
    server.stop()


def test_a_server_that_never_listens_is_given_up_and_killed() -> None:
    server = Started(lambda port: ["sleep", "600"], is_lite=False)
    with pytest.raises(UserError, match=r"did not accept a connection within 0.3 s"):
        server.wait(0.3)
    assert not is_alive(server.process.pid)


def test_what_cannot_be_run_is_said() -> None:
    server = Started(lambda port: ["/no/such/program"], is_lite=False)
    with pytest.raises(UserError, match=r"ended at once: .*/no/such/program"):
        server.wait(20)


def test_carla_root_decides_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARLA_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"neither CarlaUE4.sh nor CarlaUnreal.sh"):
        start(None)
    seen = tmp_path / "seen"
    launcher(tmp_path, f'echo "$@" > {seen}', "exec sleep 600")
    server = start(None)
    assert isinstance(server, Started)
    assert not server.is_lite
    for _ in range(500):
        if seen.exists() and seen.read_text():
            break
        time.sleep(0.02)
    words = seen.read_text().split()
    assert {"-RenderOffScreen", "-quality-level=Low", f"-carla-rpc-port={server.port}"} <= set(words)
    server.stop()
    lite = start("lite")
    assert isinstance(lite, Started)
    assert lite.is_lite
    lite.stop()


def test_a_running_server_has_one_driver() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        one = Attached("127.0.0.1", port)
        one.wait(5)
        for name in ("127.0.0.1", "localhost"):
            with pytest.raises(UserError, match=f"{name}:{port} is driven by another"):
                Attached(name, port)
        one.stop()
        Attached("127.0.0.1", port).stop()


def test_of_several_running_servers_each_driver_gets_one_that_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("envs.carla.server.HANDOVER_S", 0.0)
    addresses = (("127.0.0.1", 1), ("127.0.0.1", 2))
    one, two = start(addresses), start(addresses)
    assert (one.port, two.port) == (1, 2)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:2 is driven by another"):
        start(addresses)
    one.stop()
    again = start(addresses)
    assert again.port == 1
    again.stop()
    two.stop()


def test_a_running_server_that_is_just_being_let_go_is_waited_for() -> None:
    one = Attached("127.0.0.1", 1)
    threading.Timer(0.3, one.stop).start()
    start((("127.0.0.1", 1),)).stop()


def test_nothing_at_the_address_is_said_at_once() -> None:
    with PortBlock() as block:
        server = start((("127.0.0.1", block.port),))
        with pytest.raises(UserError, match=f"no CARLA server answers at 127.0.0.1:{block.port}"):
            server.wait(5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"wings": 2}, "no option 'wings'"),
        ({"size": 60}, "multiple of 8"),
        ({"task": "parking"}, "one of circuit, route; got 'parking'"),
        ({"obs": "depth"}, "one of rgb, birdview, semantic"),
        ({"action_repeat": 0}, "action_repeat must be at least 1"),
        ({"vehicle": "walker.pedestrian.0001"}, "a blueprint such as vehicle.* got 'walker.pedestrian.0001'"),
        ({"vehicle": "sensor.camera.rgb"}, "a blueprint such as vehicle.* got 'sensor.camera.rgb'"),
        ({"traffic": -1}, "traffic must not be negative"),
        ({"tick_timeout_s": float("nan")}, "tick_timeout_s must be positive"),
        ({"weights": {"style": 1}}, "no term 'style'"),
        ({"carla": "localhost"}, "HOST:PORT"),
        ({"carla": "localhost:99999"}, "HOST:PORT"),
        ({"carla": "a:2000,b"}, "HOST:PORT"),
    ],
)
def test_bad_options_are_a_users_mistake(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        config_from(options)


def test_addresses_are_a_list() -> None:
    assert CarlaConfig(carla="a:2000, b:3000").addresses() == (("a", 2000), ("b", 3000))
    assert CarlaConfig(carla="lite").addresses() == CarlaConfig().addresses() == ()
