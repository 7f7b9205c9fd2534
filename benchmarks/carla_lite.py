"""The lite CARLA server: ticks per second through the real `carla` client, both on one core.

Each step is a control, a tick, the frame of that tick, the pose and a waypoint lookup, as an agent needs them. The
peer is the same loop without a camera: what the protocol, the physics and the client cost alone.
"""

import importlib
import math
import os
import platform
import queue
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import timing
from envs.carla.ports import PortBlock
from utils import cli
from utils.errors import check

START_S = 60.0
SPEED_MPS = 7.0


@dataclass(frozen=True)
class CarlaBenchmark(timing.BenchConfig):
    """What is measured."""

    ticks: int = 1000
    """ticks of a run"""
    soak: int | None = None
    """also watch the memory over so many ticks"""


@contextmanager
def connected() -> Iterator[tuple[Any, int]]:
    """A client of a fresh lite server and the server's process; both on the last core that we may use."""
    carla = importlib.import_module("envs.carla.api").carla
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    with PortBlock() as block:
        flags = ["--port", str(block.port), "--parent", str(os.getpid())]
        server = subprocess.Popen(
            [sys.executable, "-m", "envs.carla.lite", *flags], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            check(server.stdout.readline(), "the lite server did not start.")
            client = carla.Client("127.0.0.1", block.port)
            client.set_timeout(START_S)
            yield client, server.pid
        finally:
            server.kill()
            server.communicate()
            os.sched_setaffinity(0, cores)


class Driver:
    """Follows the lane, with or without a camera.

    Args:
        client: of the server.
        size: of the frames; 0 for no camera.
    """

    def __init__(self, client: Any, size: int) -> None:
        self._carla = carla = importlib.import_module("envs.carla.api").carla
        self._world = world = client.get_world()
        settings = world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
        world.apply_settings(settings)
        self._map = world.get_map()
        library, self._start = world.get_blueprint_library(), self._map.get_spawn_points()[0]
        self._car = world.spawn_actor(library.find("vehicle.tesla.model3"), self._start)
        self._frames: queue.Queue[Any] = queue.Queue()
        self._camera = None
        if size:
            blueprint = library.find("sensor.camera.rgb")
            blueprint.set_attribute("image_size_x", str(size))
            blueprint.set_attribute("image_size_y", str(size))
            mount = carla.Transform(carla.Location(x=1.5, z=2.4))
            self._camera = world.spawn_actor(blueprint, mount, attach_to=self._car)
            self._camera.listen(self._frames.put)
        world.tick()
        if size:
            self._frames.get(timeout=START_S)

    def step(self) -> None:
        """Control, tick, frame, pose, waypoint."""
        pose = self._car.get_transform()
        lane = self._map.get_waypoint(pose.location).transform
        aside = (pose.location - lane.location).dot(lane.get_right_vector())
        turn = math.remainder(lane.rotation.yaw - pose.rotation.yaw, 360.0)
        steer = min(max(0.03 * turn - 0.2 * aside, -1.0), 1.0)
        throttle = 0.5 if self._car.get_velocity().length() < SPEED_MPS else 0.0
        self._car.apply_control(self._carla.VehicleControl(throttle, steer))
        frame = self._world.tick()
        if self._camera is not None:
            image = self._frames.get(timeout=START_S)
            check(image.frame == frame, f"the frame of tick {image.frame} came at tick {frame}.")

    def close(self) -> None:
        """Leave the world empty."""
        if self._camera is not None:
            self._camera.stop()
            self._camera.destroy()
        self._car.destroy()


def driving(client: Any, size: int, ticks: int) -> timing.Work:
    """Work that drives so many ticks."""

    def drive() -> int:
        driver = Driver(client, size)
        for _ in range(ticks):
            driver.step()
        driver.close()
        return ticks

    return drive


def memory_mb(pid: int) -> float:
    """What a process holds in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(client: Any, pid: int, ticks: int) -> dict[str, Any]:
    """Memory of server and client at eleven moments of a long drive of many episodes."""
    held = []
    begin = time.perf_counter()
    for _ in range(11):
        held.append((round(memory_mb(pid), 1), round(memory_mb(os.getpid()), 1)))
        for _ in range(4):
            driving(client, 96, ticks // 40)()
    seconds = time.perf_counter() - begin
    return {
        "server_mb": [one for one, _ in held],
        "client_mb": [two for _, two in held],
        "soak_s": round(seconds),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    config = cli.parse(CarlaBenchmark, argv, prog="python -m benchmarks.carla_lite", description=__doc__)
    with connected() as (client, pid):
        works = {size: driving(client, size, config.ticks) for size in (0, 96, 64)}
        rates = timing.compare_all({str(size): work for size, work in works.items()}, config.runs)
        more = soak(client, pid, config.soak) if config.soak else {}
    peer = rates.pop("0")
    rows = [timing.row(f"{size}x{size} RGB, one core", rate, peer) for size, rate in rates.items()]
    timing.report(
        rows,
        config.json,
        ticks_per_s=rows[0]["ours_per_s"],
        peer="the same loop without a camera",
        python=platform.python_version(),
        **more,
    )
    if more and not config.json:
        print(more)


if __name__ == "__main__":
    cli.run(main)
