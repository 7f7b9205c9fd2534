"""The ground in a picture: warps of the map's own picture through a lens, coarser ones for what is far."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.lens import Lens
from envs.carla.lite.scene import Texture


def draw_ground(
    picture: NDArray[np.uint8],
    levels: list[Texture],
    optics: Lens,
    place: tuple[float, float, float],
    beyond: tuple[int, ...],
) -> None:
    """Draw the colours of the ground on the rows of a picture that show any; what it writes in the sky is rubbish.

    Args:
        picture: to draw on, (height, width, 3).
        levels: the ground, from fine to coarse, each half as fine as the one before.
        optics: the camera's.
        place: x, y and yaw of the camera.
        beyond: colour outside the map.
    """
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    width = picture.shape[1]
    matrices = optics.halvings @ to_texels(levels[0], place) @ optics.samples
    for (first, last, level, finer), matrix in zip(optics.bands, matrices):
        image, rows = levels[level].image, picture[first:last]
        size = (width, (last - first) * finer)
        if finer == 1:
            cv2.warpPerspective(image, matrix, size, rows, flags, cv2.BORDER_CONSTANT, beyond)
        else:
            tall = cv2.warpPerspective(image, matrix, size, None, flags, cv2.BORDER_CONSTANT, beyond)
            cv2.resize(tall, (width, last - first), rows, interpolation=cv2.INTER_AREA)


def to_texels(texture: Texture, place: tuple[float, float, float]) -> NDArray[np.float64]:
    """From a lens's plane to texels, counted at their centres, (3, 3); `place` is x, y and yaw of the camera."""
    x, y, yaw = place
    _, x0, y0, texel = texture
    cos, sin = math.cos(yaw) / texel, math.sin(yaw) / texel
    return np.array(
        [[cos, -sin, (x - x0) / texel - 0.5], [sin, cos, (y - y0) / texel - 0.5], [0.0, 0.0, 1.0]]
    )
