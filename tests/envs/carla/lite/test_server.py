"""The command: what it serves, how it refuses, and when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from envs.carla.lite import maps
from envs.carla.lite.__main__ import main
from envs.carla.ports import PortBlock
from tests.envs.carla.lite.server_process import LiteServer, RawClient
from utils import cli

COMMAND = [sys.executable, "-m", "envs.carla.lite"]


@pytest.fixture
def port():
    block = PortBlock()
    yield block.port
    block.release()


@pytest.fixture
def refusal(capsys):
    """The one sentence with which the command ends, given its flags."""

    def refusal(*flags: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: main(flags))
        assert stop.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("error: ")
        return line

    return refusal


def test_the_maps_are_listed(capsys):
    main(["--list-maps"])
    assert capsys.readouterr().out.split() == maps.map_names()


def test_a_refusal_is_the_whole_output_of_the_process():
    done = subprocess.run([*COMMAND, "--port", "0"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_without_msgpack_one_sentence_names_the_extra():
    code = (
        "import runpy, sys; sys.modules['msgpack'] = None; sys.argv[1:] = ['--port', '1999']\n"
        "runpy.run_module('envs.carla.lite', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "pip install -e .[carla]" in line


@pytest.mark.parametrize("taken", [0, 1])
def test_a_taken_port_is_told(refusal, port, taken):
    with socket.create_server(("127.0.0.1", port + taken)):
        assert f"ports {port} and {port + 1}" in refusal("--port", str(port))


def test_an_unknown_map_is_told(refusal, port):
    assert "atlantis" in refusal("--port", str(port), "--map", "atlantis")


@pytest.mark.parametrize("text", ["", "no xml", "<OpenDRIVE></OpenDRIVE>"])
def test_an_unreadable_map_is_told(refusal, port, tmp_path, text):
    path = tmp_path / "bad.xodr"
    path.write_text(text)
    assert " map " in refusal("--port", str(port), "--map", str(path))


def test_a_missing_file_is_told(refusal, port, tmp_path):
    assert "none.xodr" in refusal("--port", str(port), "--map", str(tmp_path / "none.xodr"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--prot", "2000"), "--port"),
        (("--port", "0"), "--port"),
        (("--port", "70000"), "--port"),
        (("--seed", "-1"), "--seed"),
        (("--seed", "one"), "--seed"),
        (("--host", "not an address"), "not an address"),
    ],
)
def test_bad_flags_are_told(refusal, flags, said):
    assert said in refusal(*flags)


def test_a_map_of_a_file_is_served(tmp_path):
    path = tmp_path / "ring.xodr"
    path.write_text(maps.circuit(5))
    with LiteServer("--map", str(path)) as server:
        client = RawClient(server.port)
        assert client.call("get_map_data") == path.read_text()
        assert client.call("get_map_info")[0].startswith("Carla/Maps/")
        client.close()


def test_the_seed_chooses_the_circuit():
    with LiteServer("--map", "circuit", "--seed", "7") as server:
        client = RawClient(server.port)
        assert client.call("get_map_data") == maps.circuit(7)
        client.close()


def test_several_servers_and_only_on_loopback():
    with LiteServer() as one, LiteServer("--map", "circuit") as two:
        names = []
        for server in (one, two):
            client = RawClient(server.port)
            names.append(client.call("get_map_info")[0])
            client.close()
        assert len(set(names)) == 2
        with open("/proc/net/tcp") as file:
            listening = [row.split()[1] for row in file if row.split()[3] == "0A"]
        for port in (one.port, one.port + 1, two.port, two.port + 1):
            assert [address for address in listening if address.endswith(f":{port:04X}")] == [
                f"0100007F:{port:04X}"
            ]


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # a zombie that nobody has collected is gone too
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_it_ends_with_its_parent(port):
    code = (
        "import os, subprocess, sys\n"
        f"server = subprocess.Popen({COMMAND} + ['--port', '{port}', '--parent', str(os.getpid())],"
        " stdout=subprocess.PIPE)\n"
        "server.stdout.readline()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    pid = int(parent.stdout)
    deadline = time.monotonic() + 20
    while not is_gone(pid):
        assert time.monotonic() < deadline, "the server outlives its parent"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told(number):
    server = LiteServer()
    server.process.send_signal(number)
    server.process.wait(timeout=10)
    assert server.close() == ""
