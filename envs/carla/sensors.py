"""Sensors of the car. A sensor gives the data of the tick that it is asked for, or an error; never late data.

Each sensor has a queue of its own, filled by the client's threads.
"""

import contextlib
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.carla.api import carla

CAMERA_POSE = (0.9, 0.0, 1.6, -12.0)
"""x, y, z from the car's middle in metres, pitch in degrees: behind the windscreen, looking at the road ahead"""
FIELD_OF_VIEW_DEG = 90.0
LIDAR_SECTORS, LIDAR_RANGE_M, LIDAR_HEIGHT_M = 36, 40.0, 1.8
GROUND_M = 0.3
"""lidar points so low above the road are the road"""
IMPACT_WAIT_S = 0.5


class Lost(Exception):
    """The server, or one of its sensors, did not answer in time."""


class Feed:
    """The data that a sensor sends, from now on.

    Args:
        sensor: a carla.Sensor.
        name: for messages.
    """

    def __init__(self, sensor: Any, name: str) -> None:
        self._sensor, self._name = sensor, name
        self._queue: SimpleQueue[Any] = SimpleQueue()
        sensor.listen(self._queue.put)

    def at(self, frame: int, timeout_s: float) -> Any:
        """The data of one tick, waiting for it; older data is dropped.

        Raises:
            Lost: it did not come in time, or was left out.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                data = self._queue.get(timeout=max(deadline - time.monotonic(), 0.0))
            except Empty:
                raise Lost(f"the {self._name} sent nothing for tick {frame} within {timeout_s:g} s") from None
            if data.frame == frame:
                return data
            if data.frame > frame:
                raise Lost(f"the {self._name} left out tick {frame}")

    def stop(self) -> None:
        """Hear no more; needs no answer of the server."""
        if self._sensor.is_listening():
            with contextlib.suppress(RuntimeError):  # the client may be closing a cut stream already
                self._sensor.stop()


Attach = Callable[[str, dict[str, Any], Any], Feed]
"""(blueprint id, attributes, transform) -> the sensor's data"""


class Camera:
    """A front camera, colour or semantic classes.

    Args:
        attach: to the car.
        size: of the picture.
        is_semantic: show classes, as colours.
        every_s: time between pictures; 0 for one a tick.
    """

    def __init__(self, attach: Attach, size: int, is_semantic: bool, every_s: float) -> None:
        self._is_semantic, self._size = is_semantic, size
        x, y, z, pitch = CAMERA_POSE
        pose = carla.Transform(carla.Location(x, y, z), carla.Rotation(pitch=pitch))
        kind = "semantic_segmentation" if is_semantic else "rgb"
        wanted = {
            "image_size_x": size,
            "image_size_y": size,
            "fov": FIELD_OF_VIEW_DEG,
            "sensor_tick": every_s,
        }
        self.feed = attach(f"sensor.camera.{kind}", wanted, pose)

    def picture(self, frame: int, timeout_s: float) -> NDArray[np.uint8]:
        """The picture of a tick, RGB (size, size, 3).

        Raises:
            Lost: see Feed.at.
        """
        image = self.feed.at(frame, timeout_s)
        if self._is_semantic:
            image.convert(carla.ColorConverter.CityScapesPalette)
        size = self._size
        pixels = np.frombuffer(image.raw_data, np.uint8)
        if pixels.size != size * size * 4:
            raise Lost(f"the camera sent {pixels.size} bytes for a {size}x{size} picture")
        return cv2.cvtColor(pixels.reshape(size, size, 4), cv2.COLOR_BGRA2RGB)  # type: ignore[return-value]


class Bumper:
    """Crashes.

    An event may come a little after its tick. So that the same episode always ends at the same tick, a crash is what
    both shakes the car (its speed changes by more than tyres can do) and sends an event, which is then waited for.
    """

    JOLT_MPS2 = 20.0
    """change of horizontal velocity that only a crash can cause"""

    def __init__(self, attach: Attach, delta_s: float) -> None:
        self._jolt_mps = self.JOLT_MPS2 * delta_s
        self.feed = attach("sensor.other.collision", {}, carla.Transform())

    def impulse_ns(self, frame: int, jolt_mps: float) -> float:
        """The impulse of a crash in a tick, in newton seconds; 0 without one."""
        if jolt_mps < self._jolt_mps:
            return 0.0
        try:
            return float(self.feed.at(frame, IMPACT_WAIT_S).normal_impulse.length())
        except Lost:
            return 0.0  # a kerb or a landing


class Lidar:
    """The free way in each direction, from one turn of a lidar a tick."""

    def __init__(self, attach: Attach, delta_s: float, every_s: float) -> None:
        pose = carla.Transform(carla.Location(z=LIDAR_HEIGHT_M))
        wanted = {
            "channels": 8,
            "range": LIDAR_RANGE_M,
            "points_per_second": round(8 * 360 / delta_s),
            "rotation_frequency": 1 / delta_s,
            "upper_fov": 2.0,
            "lower_fov": -20.0,
            "sensor_tick": every_s,
        }
        self.feed = attach("sensor.lidar.ray_cast", wanted, pose)

    def free_m(self, frame: int, timeout_s: float) -> NDArray[np.float32]:
        """Distance of the nearest thing in each sector (LIDAR_SECTORS,), clockwise from straight behind.

        Raises:
            Lost: see Feed.at.
        """
        data = self.feed.at(frame, timeout_s)
        return sectors(np.frombuffer(data.raw_data, np.float32).reshape(-1, 4)[:, :3])


def sectors(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest of lidar points (n, 3) in each sector, in metres; LIDAR_RANGE_M where there is none."""
    points = points[points[:, 2] > GROUND_M - LIDAR_HEIGHT_M]
    angle = np.arctan2(points[:, 1], points[:, 0]) + np.pi
    sector = np.minimum((angle / (2 * np.pi) * LIDAR_SECTORS).astype(int), LIDAR_SECTORS - 1)
    free = np.full(LIDAR_SECTORS, LIDAR_RANGE_M, np.float32)
    np.minimum.at(free, sector, np.hypot(points[:, 0], points[:, 1]))
    return free
