"""How high the roads of a map lie."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.carla.lite.lanes import Lane
from envs.carla.lite.raster import Bounds

_CELL_M = 1.0
_MAX_CELLS = 4e6
_REACH_M = 3.0


class Heights:
    """The elevation of the nearest road; 0 everywhere on a flat map.

    A raster names a lane point near each cell, whose tangent is followed from there. Of two roads above each other
    one is taken: bridges are not modelled.
    """

    def __init__(self, lanes: list[Lane], bounds: Bounds) -> None:
        self.points = np.concatenate([lane.points for lane in lanes])
        """(n, 3), m"""
        self.is_flat = not self.points[:, 2].any()
        if self.is_flat:
            return
        x_min, y_min, x_max, y_max = bounds
        self.origin = x_min, y_min
        self.cell = max(_CELL_M, float(np.sqrt((x_max - x_min) * (y_max - y_min) / _MAX_CELLS)))
        tangents = np.concatenate([np.gradient(lane.points, axis=0) for lane in lanes])
        flat_lengths = np.linalg.norm(tangents[:, :2], axis=1, keepdims=True).clip(1e-6)
        self.tangents = tangents / flat_lengths
        """(n, 3), per metre driven on the flat"""
        self.shape = (int((y_max - y_min) / self.cell) + 1, int((x_max - x_min) / self.cell) + 1)
        self.nearest = self._nearest()
        """(rows, columns): index of a lane point nearby"""

    def at(self, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Elevation at places, m."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        if self.is_flat:
            return np.zeros(np.broadcast_shapes(x.shape, y.shape))
        index = self.nearest[self._cells(x, y)]
        point, tangent = self.points[index], self.tangents[index]
        along = (x - point[..., 0]) * tangent[..., 0] + (y - point[..., 1]) * tangent[..., 1]
        return point[..., 2] + along.clip(-_REACH_M, _REACH_M) * tangent[..., 2]

    def at_point(self, x: float, y: float) -> float:
        """As `at`, for one place in plain floats: the physics asks many times a tick."""
        if self.is_flat:
            return 0.0
        rows, columns = self.shape
        row = min(max(int((y - self.origin[1]) / self.cell), 0), rows - 1)
        column = min(max(int((x - self.origin[0]) / self.cell), 0), columns - 1)
        index = self.nearest.item(row, column)
        (px, py, pz), (tx, ty, tz) = self.points[index].tolist(), self.tangents[index].tolist()
        along = (x - px) * tx + (y - py) * ty
        return pz + min(max(along, -_REACH_M), _REACH_M) * tz

    def _cells(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        rows, columns = (
            np.clip((value - start) / self.cell, 0, size - 1).astype(np.int64)
            for value, start, size in zip((y, x), self.origin[::-1], self.shape)
        )
        return rows, columns

    def _nearest(self) -> NDArray:
        cells = self._cells(self.points[:, 0], self.points[:, 1])
        seeds = np.ones(self.shape, np.uint8)
        seeds[cells] = 0
        kind = cv2.DIST_LABEL_PIXEL
        _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=kind)
        labels = np.asarray(labels, np.int64)
        point_of_label = np.zeros(labels.max() + 1, np.int64)
        point_of_label[labels[cells]] = np.arange(len(self.points))
        return point_of_label[labels]
