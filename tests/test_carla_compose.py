"""The compose file and the Dockerfile agree with each other and with what is pinned here; one test needs Docker."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from envs.carla.config import CarlaConfig
from envs.carla.server import LAUNCHERS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "carla"
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]


def test_the_image_is_of_the_version_of_the_pinned_client(services: dict[str, Any]):
    pinned = re.search(r"^carla==([\d.]+)", LOCK, re.MULTILINE)
    assert pinned
    assert services["carla"]["image"] == f"carlasim/carla:{pinned[1]}"


def test_docker_compose_takes_the_file():
    def compose(*words: str) -> "subprocess.CompletedProcess[str]":
        command = ["docker", "compose", *words]
        return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)

    if not shutil.which("docker") or compose("version").returncode:
        pytest.skip("there is no docker compose")
    done = compose("config", "--quiet")
    assert done.returncode == 0, done.stderr


def test_the_simulator_runs_without_a_window_where_the_others_look_for_it(services: dict[str, Any]):
    command = shlex.split(services["carla"]["command"])
    assert command[1].removeprefix("./") in LAUNCHERS
    assert "-RenderOffScreen" in command
    port = next(word.partition("=")[2] for word in command if word.startswith("-carla-rpc-port="))
    address = services["worldmodels"]["environment"]["CARLA_HOST"]
    assert CarlaConfig(carla=address).addresses() == (("localhost", int(port)),)
    assert f"/{port}" in services["carla"]["healthcheck"]["test"][1]
    assert {service["network_mode"] for service in services.values()} == {"host"}
    assert services["worldmodels"]["depends_on"] == {"carla": {"condition": "service_healthy"}}
    (device,) = services["carla"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert "gpu" in device["capabilities"]


def test_what_the_containers_are_built_of_and_see_is_there(services: dict[str, Any]):
    for name in ("worldmodels", "tensorboard"):
        build = services[name]["build"]
        context = (FOLDER / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()
        for volume in services[name]["volumes"]:
            host, inside = volume.split(":")[:2]
            assert (FOLDER / host).resolve().parent == ROOT
            assert inside.startswith("/app/")
    assert "--logdir exp_dir" in services["tensorboard"]["command"]
    shell, flag, line = shlex.split(services["worldmodels"]["command"])
    assert (shell, flag) == ("bash", "-c")  # which finds the files of the pattern
    patterns = [word for word in line.split() if word.startswith("tests/")]
    files = {path.name for pattern in patterns for path in ROOT.glob(pattern)}
    assert {"test_env.py", "test_refusals.py", "test_client_actors.py", "test_client_world.py"} <= files
    assert all(list(ROOT.glob(pattern)) for pattern in patterns)
    assert all(pattern in (ROOT / "docs" / "carla.md").read_text() for pattern in patterns)


def test_the_dockerfile_builds_from_the_lock_on_a_python_that_has_the_client():
    lines = [
        line.split() for line in (FOLDER / "Dockerfile").read_text().splitlines() if line and line[0] != "#"
    ]
    image = next(words[1] for words in lines if words[0] == "FROM")
    below = re.search(r'^carla==.*python_version < "3\.(\d+)"', LOCK, re.MULTILINE)
    version = re.fullmatch(r"python:3\.(\d+)-slim", image)
    assert version
    assert below
    assert 11 <= int(version[1]) < int(below[1])
    for words in lines:
        if words[0] == "COPY":
            assert all((ROOT / source).exists() for source in words[1:-1])
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "exp_dir", "datasets"} <= set(ignored)
