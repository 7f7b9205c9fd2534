"""Boxes as arrays, for rays to meet."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.faces import BoxLike


class Solids(NamedTuple):
    """m upright boxes."""

    centre: NDArray
    """(m, 3), metres."""
    cos: NDArray
    sin: NDArray
    """(m,): of the yaw."""
    extent: NDArray
    """Half sizes, (m, 3), metres."""
    label: NDArray
    actor_id: NDArray
    """(m,): 0 for props of the map."""

    def take(self, index: NDArray) -> "Solids":
        """Some of the boxes."""
        return Solids(*[field[index] for field in self])

    def and_then(self, other: "Solids") -> "Solids":
        """These boxes and others."""
        return Solids(*[np.concatenate(pair) for pair in zip(self, other)])

    def grown(self, metres: float) -> "Solids":
        """The boxes, larger on every side."""
        return self._replace(extent=self.extent + metres)


def solids_of(boxes: Sequence[BoxLike], actor_ids: Sequence[int]) -> Solids:
    """Boxes and whom they belong to, as arrays."""
    yaw = np.array([box.yaw for box in boxes], np.float64)
    return Solids(
        np.array([box.centre for box in boxes], np.float64).reshape(-1, 3),
        np.cos(yaw),
        np.sin(yaw),
        np.array([box.extent for box in boxes], np.float64).reshape(-1, 3),
        np.array([box.label for box in boxes], np.uint8),
        np.array(actor_ids, np.int64),
    )
