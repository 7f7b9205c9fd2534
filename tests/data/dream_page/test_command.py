"""`python -m envs.dream`: what it finds to show, what it refuses, and that it starts and ends as a process."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch

from data.dream_page import command
from data.trained import run_files, save_controller
from models.controller import LinearController
from tests.envs.tiny import HIGH, LOW
from tests.scripts.tiny_run import HIDDEN, LATENT, make_run
from utils import cli
from utils.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_run(tmp_path_factory.mktemp("page") / "run")
    controller = LinearController(LATENT + HIDDEN, LOW, HIGH)
    save_controller(run_files(root).controller, controller, np.zeros(controller.num_params), {})
    return root


@pytest.fixture
def logs(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def place(*flags: str) -> command.Place:
    return command.make_place(cli.parse(command.PageConfig, flags))


def refuse(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one sentence with which the command refuses; it never listens."""
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: command.main([*flags, "--no-browser"]))
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert "the dream is at" not in said.out
    return said.err


def test_a_run_is_shown_with_its_controller(logs: Path):
    shown = place("--logs", str(logs), "--fps", "30", "--temperature", "0.5", "--seed", "9")
    assert (shown.weights, shown.env_name, shown.image_size) == (str(logs), "CarRacing-v2", 16)
    assert (shown.fps, shown.temperature, shown.seed, shown.has_controller) == (30, 0.5, 9, True)
    drive = shown.make()
    drive.reset(0, warm_up=2)
    assert drive.moment().step == 2
    drive.env.close()


def test_without_a_controller_it_is_for_the_keys(logs: Path, capsys: pytest.CaptureFixture[str]):
    shutil.rmtree(logs / "controller")
    assert not place("--logs", str(logs)).has_controller
    assert "arrow keys alone" in capsys.readouterr().out


def test_where_nothing_is_trained_the_shipped_weights_are_shown_and_said_so(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    for flags in ((), ("--logs", "exp_dir")):
        shown = place(*flags)
        assert "shipped" in shown.weights
        assert "showing the one shipped in" in capsys.readouterr().out
        assert (shown.has_controller, shown.image_size) == (True, 64)
    logs.rename("exp_dir")
    assert place().weights == "exp_dir"
    assert "shipped" not in capsys.readouterr().out
    for stage in ("controller", "controller-dream"):
        shown = place("--logs", str(command.SHIPPED), "--stage", stage)
        drive = shown.make()
        weights = load_checkpoint(command.SHIPPED / f"{stage}.safetensors").weights
        assert drive._params is not None
        assert torch.equal(drive._params, weights["params"])
        drive.env.close()


def test_what_is_missing_is_named(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert f"there is no run directory {tmp_path / 'no'}" in refuse(capsys, "--logs", str(tmp_path / "no"))
    (tmp_path / "empty").mkdir()
    assert "there is no trained V and M" in refuse(capsys, "--logs", str(tmp_path / "empty"))
    assert "no controller-dream yet" in refuse(capsys, "--logs", str(logs), "--stage", "controller-dream")
    memory = run_files(logs).memory
    memory.unlink()
    assert f"there is no trained M at {memory}" in refuse(capsys, "--logs", str(logs))
    memory.write_text("no weights")
    assert str(memory) in refuse(capsys, "--logs", str(logs))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "SHIPPED", tmp_path / "shipped")
    assert "and none in" in refuse(capsys)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--temperature", "2.5"), "the temperature must be a number from 0 to 2; got 2.5"),
        (("--temperature", "nan"), "the temperature must"),
        (("--seed", "-1"), "the seed must be a whole number"),
        (("--fps", "0"), "--fps must be positive"),
        (("--fps", "1000"), "--fps must be at most 100"),
        (("--fps", "nan"), "--fps must"),
        (("--port", "70000"), "--port must lie between 0 and 65535"),
        (("--max-tabs", "0"), "--max-tabs must be positive"),
        (("--warm-up", "-1"), "--warm-up must lie between"),
        (("--host", ""), "--host needs an address"),
        (("--host", "no.such.host.invalid"), "does not go by the name no.such.host.invalid"),
        (("--stage", "vae"), "invalid choice 'vae'"),
    ],
)
def test_impossible_flags_are_refused(
    logs: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], words: str
):
    assert words in refuse(capsys, "--logs", str(logs), *flags)


def test_a_port_that_is_taken_is_refused(logs: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} is taken already" in refuse(capsys, "--logs", str(logs), "--port", str(port))


def test_an_env_that_arrow_keys_cannot_drive_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec = {"name": "tests.data.dream_page.test_command:two_pedals", "options": {}}
    root = make_run(tmp_path, env_spec=spec)
    assert "the arrow keys drive steering, gas and brake" in refuse(capsys, "--logs", str(root))


def two_pedals(num_envs: int):
    """An env without a wheel: all three of its numbers are one-sided."""
    from gymnasium.spaces import Box

    from tests.envs.tiny import CountingEnv

    env = CountingEnv(num_envs, 16)
    env.single_action_space = Box(0, 1, (3,), np.float32)
    return env


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_command_serves_until_it_is_told_to_stop(logs: Path, name: str):
    words = [sys.executable, "-m", "envs.dream", "--logs", str(logs), "--port", "0", "--no-browser"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert url, line + process.communicate(timeout=20)[1]
        with urlopen(url[0], timeout=20) as reply:
            assert b"Drive the dream" in reply.read()
        process.send_signal(getattr(signal, name))
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
