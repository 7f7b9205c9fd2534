"""The cameras: colours, labels, depth."""

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from envs.carla.lite import camera, wire
from envs.carla.lite.sensors import Sensor, Surroundings
from utils.errors import check


@dataclass(eq=False)
class Camera(Sensor):
    """The RGB camera."""

    kind = wire.RGB
    is_camera = True

    def check(self) -> None:
        """Refuse pictures that are empty or huge, and angles that are no view."""
        width, height, fov = self.number("image_size_x"), self.number("image_size_y"), self.number("fov")
        check(
            width >= 1 and height >= 1 and width * height <= wire.MAX_IMAGE_PIXELS,
            f"image_size_x and image_size_y must be positive and {wire.MAX_IMAGE_PIXELS} pixels at most together; "
            f"got {width:.0f} x {height:.0f}.",
        )
        check(1 <= fov <= 170, f"fov must lie between 1 and 170 degrees; got {fov}.")
        self.width, self.height, self.fov_deg = int(width), int(height), fov

    def measure(self, around: Surroundings) -> Iterator[bytes]:
        """One picture."""
        view = camera.CameraView(self.width, self.height, self.fov_deg, *self.pose)
        yield wire.image(self.picture(around, view), self.fov_deg)

    def picture(self, around: Surroundings, view: camera.CameraView) -> NDArray:
        """uint8 (H, W, 4), BGRA."""
        return camera.rgb(around.scene, view, around.boxes, around.world.weather)


@dataclass(eq=False)
class SemanticCamera(Camera):
    """Labels in the R byte."""

    kind = wire.SEMANTIC

    def picture(self, around: Surroundings, view: camera.CameraView) -> NDArray:
        """uint8 (H, W, 4)."""
        return camera.semantic(around.scene, view, around.boxes)


@dataclass(eq=False)
class DepthCamera(Camera):
    """Metres in 24 bits."""

    kind = wire.DEPTH

    def picture(self, around: Surroundings, view: camera.CameraView) -> NDArray:
        """uint8 (H, W, 4)."""
        return camera.depth(around.scene, view, around.boxes)
