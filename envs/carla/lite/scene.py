"""One map made ready for the sensors: its ground at several resolutions, and its props near any place."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.faces import Faces, faces_of, joined
from envs.carla.lite.lens import COARSEST
from envs.carla.lite.solids import solids_of

if TYPE_CHECKING:
    from envs.carla.lite.roadmap import RoadMap

SIGHT_M = 130.0
"""The cameras see props so far at least."""
CELL_M = (16.0, 16.0, 4.0)
"""Cameras within one such cell share a list of props."""
_MAX_CELLS = 128


@dataclass(frozen=True)
class Box:
    """An actor as the sensors see it: an upright box, metres and radians."""

    centre: tuple[float, float, float]
    yaw: float
    extent: tuple[float, float, float]
    """Half sizes: length, width, height."""
    label: int
    """CityObjectLabel."""
    colour: tuple[int, int, int]
    """RGB."""
    actor_id: int


class Plane(NamedTuple):
    """The ground near a sensor: z = height at the sensor's x and y, and how it rises along x and y."""

    height: float
    rise_x: float = 0.0
    rise_y: float = 0.0


class Texture(NamedTuple):
    """A picture of the ground: the texel in row j, column i covers x0 + [i, i + 1) * texel, and y alike."""

    image: NDArray
    x0: float
    y0: float
    texel: float


class Scene:
    """What the sensors of one map share.

    Args:
        roadmap: the map; it is not changed.
    """

    def __init__(self, roadmap: "RoadMap") -> None:
        self.roadmap = roadmap
        ground = roadmap.ground
        x0, y0 = ground.origin
        self.labels = Texture(ground.labels, x0, y0, ground.resolution)
        self.colours = _halvings(Texture(ground.colours, x0, y0, ground.resolution))
        self.verge = tuple(int(channel) for channel in np.median(ground.colours[0], axis=0))
        """RGB of the ground beyond the map: the usual colour of its edge."""
        self._faces = joined(faces_of(prop, is_actor=False) for prop in roadmap.props)
        self.solids = solids_of(roadmap.props, [0] * len(roadmap.props))
        self._near: dict[tuple[int, ...], Faces] = {}

    def props_near(self, x: float, y: float, z: float) -> Faces:
        """The faces of the props within SIGHT_M of a place that may be seen from there, and some others."""
        cell = tuple(math.floor(value / size) for value, size in zip((x, y, z), CELL_M))
        if cell not in self._near:
            if len(self._near) >= _MAX_CELLS:  # a spectator may fly anywhere
                self._near.clear()
            self._near[cell] = self._seen_from((np.array(cell) + 0.5) * CELL_M)
        return self._near[cell]

    def _seen_from(self, middle: NDArray) -> Faces:
        """The faces that are near enough and look towards any point of a cell."""
        faces, half = self._faces, np.array(CELL_M) / 2
        away = np.hypot(*(faces.anchors[:2] - middle[:2, None]))
        is_near = away < SIGHT_M + math.hypot(*half[:2]) + faces.spheres[3]
        looks = middle @ faces.normals + half @ np.abs(faces.normals) > faces.offsets
        return faces.take(np.flatnonzero(is_near & looks))

    def plane_at(self, x: float, y: float) -> Plane:
        """The plane that touches the ground at a place: cameras and rays take all ground for it."""
        if self.roadmap.is_flat:
            return Plane(0.0)
        step = 1.0
        around = self.roadmap.height_at(
            np.array([x, x - step, x + step, x, x]), np.array([y, y, y, y - step, y + step])
        )
        height, west, east, north, south = (float(value) for value in around)
        return Plane(height, (east - west) / (2 * step), (south - north) / (2 * step))


def _halvings(finest: Texture) -> list[Texture]:
    """The picture and its smaller copies; a texel of each is the mean of four of the one before."""
    levels = [finest]
    for _ in range(COARSEST):
        image, x0, y0, texel = levels[-1]
        height, width = (side // 2 * 2 for side in image.shape[:2])
        half = cv2.resize(image[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(Texture(np.asarray(half), x0, y0, 2 * texel))
    return levels
