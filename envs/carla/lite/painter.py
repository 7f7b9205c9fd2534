"""Faces to polygons: what a camera sees of them, from far to near, for any of the three pictures to fill.

The order is by distance of the sides' middles, which is right for boxes that are small beside their distance; a long
wall right behind a pole can be painted over it.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.faces import SHADOW, Faces

NEAR_M = 0.15
"""Nothing nearer is drawn."""
SHIFT = 4
"""Fractional bits of the corners that OpenCV is given."""
_FAR_PX = 30000.0
_FAT_PX = 0.45
"""OpenCV fills every pixel that a polygon's edge touches: so much too far on all sides."""
_LAYER_M, _UNDER_ALL_M = 1e-4, 1e6


class Painted(NamedTuple):
    """n polygons from far to near, and their faces."""

    polygons: list[NDArray[np.int32]]
    """Corners (k, 2) in pixels times 2**SHIFT, pixel centres at whole numbers, as OpenCV wants them."""
    faces: Faces
    distances: NDArray
    """From the camera to each polygon's side, along the ground, metres, (n,)."""
    corner_depths: NDArray
    """Along the camera's axis, metres, at least NEAR_M, (4, n)."""


def visible(faces: Faces, camera: NDArray, turn: NDArray, size: tuple[int, int], focal: float) -> Painted:
    """The faces that a camera sees.

    Args:
        faces: of all boxes.
        camera: its place, (3,).
        turn: its axes as columns, (3, 3).
        size: width and height of the picture, pixels.
        focal: pixels.
    """
    faces, away = _in_view(faces, camera, turn, size, focal)
    corners = turn.T @ (faces.corners - camera[:, None])
    forward = corners[:, 0]
    depths = np.maximum(forward, NEAR_M)
    pixels = _project(depths, corners[:, 1:], size, focal)
    inwards = pixels.sum(axis=0) / 4 - pixels
    pixels += np.minimum(np.maximum(inwards, -_FAT_PX), _FAT_PX)
    polygons = list(_fixed_point(pixels).transpose(2, 0, 1).copy())
    for index in np.flatnonzero((forward < NEAR_M).any(axis=0)).tolist():
        polygons[index] = _cut(corners[:, :, index], size, focal)
    return Painted(polygons, faces, away, depths)


def _in_view(
    faces: Faces, camera: NDArray, turn: NDArray, size: tuple[int, int], focal: float
) -> tuple[Faces, NDArray]:
    """Faces that look at the camera and may lie in its view, from far to near, and their distances."""
    planes = _frustum(size, focal).copy()
    planes[:, :3] = planes[:, :3] @ turn.T
    margins = planes @ faces.spheres - (planes[:, :3] @ camera)[:, None]
    keep = (margins > 0).all(axis=0) & (camera @ faces.normals > faces.offsets)
    index = np.flatnonzero(keep)
    away = np.hypot(faces.anchors[0, index] - camera[0], faces.anchors[1, index] - camera[1])
    below = _LAYER_M * faces.layers[index] - _UNDER_ALL_M * (faces.kinds[index] == SHADOW)
    order = np.argsort(below - away, kind="stable")
    return faces.take(index[order]), away[order]


@functools.lru_cache(maxsize=64)
def _frustum(size: tuple[int, int], focal: float) -> NDArray:
    """What makes (forward, right, up, radius, reach) of a visible sphere's middle positive, (6, 5)."""
    right, up = size[0] / (2 * focal), size[1] / (2 * focal)
    beside, over = math.hypot(1, right), math.hypot(1, up)
    return np.array(
        [
            [1, 0, 0, 1, 0],
            [right, 1, 0, beside, 0],
            [right, -1, 0, beside, 0],
            [up, 0, 1, over, 0],
            [up, 0, -1, over, 0],
            [-1, 0, 0, 0, focal],
        ]
    )


def _project(forward: NDArray, across: NDArray, size: tuple[int, int], focal: float) -> NDArray:
    """Pixels (k, 2, n), whole at pixels' centres, of points that far ahead (k, n), right and up (k, 2, n)."""
    pixels = across * (focal / forward)[:, None]
    pixels[:, 1] *= -1
    pixels += np.array([[size[0] / 2 - 0.5], [size[1] / 2 - 0.5]])
    return pixels


def _fixed_point(pixels: NDArray) -> NDArray[np.int32]:
    return np.rint(np.minimum(np.maximum(pixels, -_FAR_PX), _FAR_PX) * (1 << SHIFT)).astype(np.int32)


def _cut(corners: NDArray, size: tuple[int, int], focal: float) -> NDArray[np.int32]:
    """The part of a polygon (k, 3), in the camera's axes, that lies beyond NEAR_M."""
    kept = []
    points = corners.tolist()
    for here, there in zip(points, [*points[1:], points[0]]):
        if here[0] >= NEAR_M:
            kept.append(here)
        if (here[0] >= NEAR_M) != (there[0] >= NEAR_M):
            share = (NEAR_M - here[0]) / (there[0] - here[0])
            kept.append([a + share * (b - a) for a, b in zip(here, there)])
    points = np.array(kept).reshape(-1, 3, 1)
    return _fixed_point(_project(points[:, 0], points[:, 1:], size, focal)[..., 0])
