"""The way to drive: a polyline along a lane's middle, open (a route) or closed (a circuit).

Positions are followed, not searched: a place on the path is found from the last one by walking along the segments, so
that neither a bridge nor a short cut across a bend makes the car jump ahead. All numbers are Python floats, because a
place is looked up at every simulator tick.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.errors import check


class Place(NamedTuple):
    """Where a point lies beside a path."""

    segment: int
    """counted on round after round on a closed path"""
    s_m: float
    """arc length from the start of the path, likewise"""
    lat_m: float
    """beside the path, positive to the right"""
    yaw_rad: float
    """direction of the path there"""


class Path:
    """A lane's middle line, with the room on both sides.

    Args:
        points: (n, 3) x, y, z in metres, about one metre apart; a closed path does not repeat its first point.
        left_m: (n,) from the line to the road's edge on the left.
        right_m: (n,) likewise on the right.
        lane_m: (n,) width of the lane.
        is_closed: the last point is followed by the first.

    Raises:
        UserError: it has fewer than four points.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        left_m: NDArray[np.float64],
        right_m: NDArray[np.float64],
        lane_m: NDArray[np.float64],
        is_closed: bool,
    ) -> None:
        check(len(points) >= 4, f"a path needs at least 4 points; got {len(points)}.")
        self.points, self.is_closed = points, is_closed
        self.left_m, self.right_m, self.lane_m = left_m, right_m, lane_m
        ahead = np.roll(points, -1, axis=0) if is_closed else points[1:]
        steps = ahead[:, :2] - points[: len(ahead), :2]
        lengths = np.hypot(*steps.T)
        self.num_segments = len(steps)
        self.s_m: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(lengths)])
        self.length_m = float(self.s_m[-1])
        self.yaws = _vertex_yaws(steps, is_closed)
        self._segments = list(
            zip(
                points[: len(steps), 0].tolist(),
                points[: len(steps), 1].tolist(),
                (steps[:, 0] / lengths).tolist(),
                (steps[:, 1] / lengths).tolist(),
                lengths.tolist(),
                self.s_m.tolist(),
            )
        )
        self._turns = _turns(self.yaws).tolist()
        self._yaws = self.yaws.tolist()

    def curvature(self) -> NDArray[np.float64]:
        """1 / radius at each point (n,), signed like the yaw, smoothed over about five metres."""
        bend = _turns(self.yaws)[: self.num_segments] / np.diff(self.s_m)
        if not self.is_closed:
            bend = np.append(bend, bend[-1])
        width = 5
        window = np.ones(width) / width
        mode = "wrap" if self.is_closed else "edge"
        return np.convolve(np.pad(bend, width // 2, mode=mode), window, "valid")

    def locate(self, x: float, y: float, near: int) -> Place:
        """The place of (x, y), walking from a segment on, at most twenty segments far."""
        last = near
        for _ in range(20):
            along, length = self._along(x, y, near)
            beyond = near + (1 if along > length else -1 if along < 0 else 0)
            if beyond in (near, last) or not (self.is_closed or 0 <= beyond < self.num_segments):
                break
            last, near = near, beyond
        along, length = self._along(x, y, near)
        lap, i = divmod(near, self.num_segments)
        x0, y0, dx, dy, _, s = self._segments[i]
        along = min(max(along, 0.0), length)
        yaw = self._yaws[i] + along / length * self._turns[i]
        return Place(near, lap * self.length_m + s + along, (y - y0) * dx - (x - x0) * dy, yaw)

    def _along(self, x: float, y: float, segment: int) -> tuple[float, float]:
        """How far along a segment (x, y) lies, and the segment's length."""
        x0, y0, dx, dy, length, _ = self._segments[segment % self.num_segments]
        return (x - x0) * dx + (y - y0) * dy, length

    def at(self, s_m: float) -> tuple[float, float]:
        """x, y at an arc length; an open path goes straight on beyond its end."""
        if self.is_closed:
            s_m %= self.length_m
        i = min(max(int(np.searchsorted(self.s_m, s_m, "right")) - 1, 0), self.num_segments - 1)
        x, y, dx, dy, _, s = self._segments[i]
        return x + dx * (s_m - s), y + dy * (s_m - s)

    def line(self) -> NDArray[np.float64]:
        """x, y of its points (n, 2), and the first again if it is closed."""
        points = self.points[:, :2]
        return np.concatenate([points, points[:1]]) if self.is_closed else points


def wrap(angle_rad: float) -> float:
    """The angle within [-pi, pi)."""
    return (angle_rad + math.pi) % (2 * math.pi) - math.pi


def _vertex_yaws(steps: NDArray[np.float64], is_closed: bool) -> NDArray[np.float64]:
    """Direction at each point: that of the two steps around it."""
    unit = steps / np.hypot(*steps.T)[:, None]
    if is_closed:
        mean = unit + np.roll(unit, 1, axis=0)
    else:
        mean = np.concatenate([unit[:1], unit[1:] + unit[:-1], unit[-1:]])
    return np.arctan2(mean[:, 1], mean[:, 0])


def _turns(yaws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of direction from each point to the next, with the last to the first."""
    return (np.diff(yaws, append=yaws[:1]) + np.pi) % (2 * np.pi) - np.pi
