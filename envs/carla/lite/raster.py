"""The ground from above: what lies where and in which colour, painted once a map."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.carla.lite.surfaces import TERRAIN, TERRAIN_COLOUR, Surface

Bounds = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max, m"""

_RESOLUTION_M = 0.1
_MAX_PIXELS = 40e6
_SHIFT = 4
"""fractional bits of cv2's coordinates"""
_GRAIN_SIDE = 256
_GRAIN = 7


class Ground:
    """A raster of labels and colours, row = y (south), column = x (east)."""

    def __init__(self, surfaces: list[Surface], bounds: Bounds) -> None:
        x_min, y_min, x_max, y_max = bounds
        self.origin = (x_min, y_min)
        """x and y of the outer corner of the first pixel, m"""
        area = (x_max - x_min) * (y_max - y_min)
        self.resolution = max(_RESOLUTION_M, float(np.sqrt(area / _MAX_PIXELS)))
        """m per pixel"""
        shape = [int(np.ceil(side / self.resolution)) for side in (y_max - y_min, x_max - x_min)]
        self.labels = np.full(shape, TERRAIN, np.uint8)
        """(rows, columns): CARLA's CityObjectLabel"""
        self.colours = np.empty((*shape, 3), np.uint8)
        """(rows, columns, 3): RGB by day"""
        self.colours.reshape(shape[0], -1)[:] = (
            TERRAIN_COLOUR * shape[1]
        )  # by rows: much faster than by pixels
        for surface in surfaces:
            pixels = (surface.points - self.origin) / self.resolution - 0.5
            corners = [np.round(pixels * 2**_SHIFT).astype(np.int32)]
            cv2.fillPoly(self.labels, corners, surface.label, shift=_SHIFT)
            cv2.fillPoly(self.colours, corners, surface.colour, shift=_SHIFT)
        _add_grain(self.colours)

    def label_at(self, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Labels at places (m), uint8; Terrain outside the raster."""
        rows, columns = (
            np.floor((np.asarray(value) - start) / self.resolution).astype(np.int64)
            for value, start in zip((y, x), self.origin[::-1])
        )
        height, width = self.labels.shape
        is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = self.labels[np.where(is_inside, rows, 0), np.where(is_inside, columns, 0)]
        return np.where(is_inside, found, np.uint8(TERRAIN))


def _add_grain(colours: NDArray) -> None:
    """Faint noise, so that motion can be seen where nothing else is; one tile, repeated."""
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 2 * _GRAIN + 1, (_GRAIN_SIDE, _GRAIN_SIDE, 1)).astype(np.uint8)
    tile = np.repeat(tile, 3, axis=2)
    for row in range(0, colours.shape[0], _GRAIN_SIDE):
        for column in range(0, colours.shape[1], _GRAIN_SIDE):
            part = colours[row : row + _GRAIN_SIDE, column : column + _GRAIN_SIDE]
            part += tile[: part.shape[0], : part.shape[1]]
