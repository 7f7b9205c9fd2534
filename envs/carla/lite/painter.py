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
_FAR_PX = 1e7
"""Corners are not drawn farther out; times 2**SHIFT it fits into 32 bits."""
_DOWN = np.array([[1.0], [-1.0]])
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
    pixels = corners[:, 1:] * (focal / depths)[:, None] * _DOWN + [[size[0] / 2 - 0.5], [size[1] / 2 - 0.5]]
    inwards = pixels.sum(axis=0) / 4 - pixels
    pixels += np.minimum(np.maximum(inwards, -_FAT_PX), _FAT_PX)
    fixed = np.rint(np.minimum(np.maximum(pixels, -_FAR_PX), _FAR_PX) * (1 << SHIFT)).astype(np.int32)
    polygons = list(fixed.transpose(2, 0, 1).copy())
    for index in np.flatnonzero((forward < NEAR_M).any(axis=0)).tolist():
        polygons[index] = _cut(corners[:, :, index].tolist(), size, focal)
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


def _cut(corners: list[list[float]], size: tuple[int, int], focal: float) -> NDArray[np.int32]:
    """The part of a polygon (k points: forward, right, up) that lies beyond NEAR_M."""
    kept = []
    for (ahead, right, up), (ahead2, right2, up2) in zip(corners, [*corners[1:], corners[0]]):
        if ahead >= NEAR_M:
            kept.append((ahead, right, up))
        if (ahead >= NEAR_M) != (ahead2 >= NEAR_M):
            share = (NEAR_M - ahead) / (ahead2 - ahead)
            kept.append((NEAR_M, right + share * (right2 - right), up + share * (up2 - up)))
    u, v, one = size[0] / 2 - 0.5, size[1] / 2 - 0.5, 1 << SHIFT
    pixels = [(u + focal * right / ahead, v - focal * up / ahead) for ahead, right, up in kept]
    return np.array(
        [[round(min(max(at, -_FAR_PX), _FAR_PX) * one) for at in pixel] for pixel in pixels], np.int32
    ).reshape(-1, 2)
