"""The Traffic Manager in step with our ticks, in processes of their own: its threads may end theirs."""

import subprocess
import sys

import pytest

from tests.envs.carla.which_server import lite_only

pytest.importorskip("carla")

BEGIN = """
from envs.carla.session import Session
from tests.envs.carla.which_server import config

session = Session(config(map="loop", traffic=2, obs="birdview"), "lite", has_lidar=False)
"""


def run(code: str) -> str:
    """What a session in a process says, which ends as `remote` does."""
    script = f"{BEGIN}{code}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@lite_only
def test_a_tick_that_waits_for_the_manager_who_waits_for_it_goes_on() -> None:
    """Others who ask the manager for turns take its answer from our tick, as the client's own race does."""
    said = run("""
import contextlib, threading
from envs.carla import traffic
from envs.carla.ports import TRAFFIC_OFFSET

traffic.PATIENCE_S = 1.0

def disturb():
    with contextlib.suppress(OSError):
        traffic.ask(session.server.client_port + TRAFFIC_OFFSET, *[("synchronous_tick", [])] * 20)

session.begin(6)
for _ in range(3):
    other = threading.Thread(target=disturb)
    other.start()
    while other.is_alive():
        session.step(*session.guide())
    for _ in range(3):
        session.step(*session.guide())
session.close()
print("went on")
""")
    assert "went on" in said


@lite_only
def test_the_manager_has_had_a_turn_before_the_first_car_is_its() -> None:
    """A turn that it began on its own may end later, and would take a car that it does not know yet for gone."""
    said = run("""
from envs.carla.traffic import Traffic

did = []
for name in ("tick", "drive"):
    def spied(traffic, *args, name=name, method=getattr(Traffic, name)):
        result = method(traffic, *args)
        did.append(name)
        return result
    setattr(Traffic, name, spied)
session.begin(6)
session.close()
print(*did)
""")
    assert said.split() == ["tick", "drive", "drive", "tick"]
