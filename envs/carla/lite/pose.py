"""Where a sensor is and where it looks: positions in metres, angles in radians, axes x forward, y right, z up."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pose(NamedTuple):
    """A place in metres and a rotation in radians; pitch grows upwards, yaw and roll to the right."""

    x: float
    y: float
    z: float
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0


def axes(pitch: float, yaw: float, roll: float) -> NDArray[np.float64]:
    """The rotation as a matrix, (3, 3): its columns are the forward, right and up vectors in the world."""
    cp, sp = math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    cr, sr = math.cos(roll), math.sin(roll)
    return np.array(
        [
            [cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr],
            [cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr],
            [sp, -cp * sr, cp * cr],
        ]
    )
