"""What a camera's picture has to do with the ground plane, whatever the place and the heading: worked out once, kept.

Pixels are squares, (0, 0) the top left corner of the picture; pixel (row j, column i) is sampled at (i + .5, j + .5).
A ray's direction is (1, right, up) in the camera's axes, so that going along it by t changes the depth by t.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.pose import axes

NEAREST_HEIGHT_M = 0.05
"""A camera below the ground is treated as one right above it."""
FINER, _STRETCHED = 3, 3
"""Rows where a pixel is so many times longer on the ground than wide are drawn so many times higher and averaged."""
COARSEST = 3
"""The ground is never taken from a picture halved more often."""


class Band(NamedTuple):
    """Rows of the picture that are taken from one resolution of the ground."""

    first: int
    last: int
    level: int
    """How often the ground's picture is to be halved for them."""
    finer: int
    """Samples above each other in one pixel."""


class Lens(NamedTuple):
    """A picture's geometry over a plane, for a camera above (0, 0) with yaw 0."""

    rays: NDArray
    """(3, 3): times (u, v, 1) gives the direction of the ray through a point of the picture."""
    to_plane: NDArray
    """(3, 3): times (u, v, 1) gives where that ray meets the plane, as homogeneous (x, y, w); w is 1 / depth."""
    focal: float
    """Pixels."""
    bands: tuple[Band, ...]
    """From top to bottom; rows of sky only are in none."""
    samples: NDArray
    """(bands, 3, 3): `to_plane` for (column, row) of the samples of a band, counted at their centres."""
    halvings: NDArray
    """(bands, 3, 3): from texels of the finest picture to those of the band's level, counted likewise."""


class LensKey(NamedTuple):
    """All that a lens depends on."""

    width: int
    height: int
    """Pixels."""
    fov_deg: float
    """Horizontal field of view."""
    pitch: float
    roll: float
    """Radians; pitch grows upwards, roll to the right."""
    above: float
    """Metres from the plane up to the camera."""
    rise: tuple[float, float] = (0.0, 0.0)
    """How steeply the plane rises along x and y when the camera's yaw is taken as 0."""
    texel: float = 0.1
    """Metres a texel of the ground's finest picture."""


@functools.lru_cache(maxsize=256)
def lens(key: LensKey) -> Lens:
    """The geometry of a camera."""
    width, height = key.width, key.height
    focal = width / (2 * math.tan(math.radians(key.fov_deg) / 2))
    through = np.array([[0, 0, focal], [1, 0, -width / 2], [0, -1, height / 2]]) / focal
    rays = axes(key.pitch, 0.0, key.roll) @ through
    towards = np.array([key.rise[0], key.rise[1], -1.0]) @ rays
    inverse_depth = towards / max(key.above, NEAREST_HEIGHT_M)
    to_plane = np.stack([rays[0], rays[1], inverse_depth])
    bands = _bands(key, focal, inverse_depth)
    samples = [to_plane @ sample_points(band.first, band.finer) for band in bands]
    halvings = []
    for band in bands:
        share = 0.5**band.level
        shift = share / 2 - 0.5
        halvings.append([[share, 0, shift], [0, share, shift], [0, 0, 1]])
    shape = (-1, 3, 3)
    return Lens(
        rays, to_plane, focal, bands, np.reshape(samples, shape), np.reshape(np.array(halvings, float), shape)
    )


def sample_points(first: int = 0, finer: int = 1) -> NDArray[np.float64]:
    """From (column, row) of samples, counted at their centres, to points of the picture, (3, 3).

    Args:
        first: the picture's row where row 0 is.
        finer: rows to one row of the picture.
    """
    return np.array([[1.0, 0.0, 0.5], [0.0, 1 / finer, first + 0.5 / finer], [0.0, 0.0, 1.0]])


def _bands(key: LensKey, focal: float, inverse_depth: NDArray) -> tuple[Band, ...]:
    rows = np.arange(key.height) + 0.5
    left, middle, right = (
        inverse_depth[0] * u + inverse_depth[1] * rows + inverse_depth[2]
        for u in (0.5, key.width / 2, key.width - 0.5)
    )
    nearest = np.maximum(left, right)
    shows_ground = np.flatnonzero(nearest > 0)
    depth = 1 / np.maximum(np.where(middle > 0, middle, nearest), 1e-4)
    wide = depth / focal
    long = np.maximum(wide, abs(inverse_depth[1]) * depth**2)
    finer = np.where(long > _STRETCHED * wide, FINER, 1)
    metres = np.sqrt(wide * np.maximum(wide, long / finer))
    levels = np.rint(np.log2(metres / key.texel)).clip(0, COARSEST).astype(int)
    bands: list[Band] = []
    for row in shows_ground.tolist():
        look = int(levels[row]), int(finer[row])
        if bands and bands[-1][2:] == look:
            bands[-1] = bands[-1]._replace(last=row + 1)
        else:
            bands.append(Band(row, row + 1, *look))
    return tuple(bands)
