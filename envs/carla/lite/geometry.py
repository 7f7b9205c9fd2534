"""The curves of OpenDRIVE's reference lines, in CARLA's axes (y to the right, yaw grows to the right).

Every curve is walked by its arc length. Formulas are the usual ones of each curve; the spiral is integrated
numerically, because Gauss-Legendre quadrature of the heading is shorter than Fresnel functions and as exact.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["curve", "cubic"]

_CUBIC_STEP_M, _CUBIC_MAX_STEPS = 0.1, 20_000


@dataclass(frozen=True)
class Geometry:
    """One piece of a reference line."""

    s: float
    """where it begins on its road, m"""
    x: float
    """start, m"""
    y: float
    """start, m"""
    yaw: float
    """heading at the start, rad"""
    length: float
    """arc length, m"""
    kind: Kind
    """"curve": curvature linear in arc length (line, arc, spiral); "cubic": u and v are cubics of a parameter"""
    params: tuple[float, ...]
    """curve: curvature at start and end, 1/m. cubic: four coefficients of u, four of v, last parameter (or inf)"""

    def is_straight(self) -> bool:
        """Whether it is a line."""
        return self.kind == "curve" and self.params == (0.0, 0.0)

    def trace(self, along: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """x, y (m) and yaw (rad) at these arc lengths (m, from this piece's start)."""
        walk = _walk_curve if self.kind == "curve" else _walk_cubic
        u, v, turn = walk(self, along)
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return self.x + u * cos - v * sin, self.y + u * sin + v * cos, self.yaw + turn


def _walk_curve(geometry: Geometry, along: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A line, an arc or a clothoid from the origin along +u."""
    start, end = geometry.params
    if start == end:  # the chord of an arc; a line is the arc without curvature
        half = start * along / 2
        chord = along * np.sinc(half / np.pi)
        return chord * np.cos(half), chord * np.sin(half), 2 * half
    rate = (end - start) / max(geometry.length, 1e-9)
    swing = max(abs(start), abs(end)) * geometry.length
    nodes, weights = quadrature(16 + int(2 * swing))
    reach = along[:, None] * (nodes + 1) / 2
    turn = reach * (start + rate * reach / 2)
    half_weights = weights / 2
    u, v = along * (np.cos(turn) @ half_weights), along * (np.sin(turn) @ half_weights)
    return u, v, along * (start + rate * along / 2)


@cache
def quadrature(num_nodes: int) -> tuple[NDArray, NDArray]:
    """Nodes and weights of Gauss and Legendre, for -1 to 1."""
    return np.polynomial.legendre.leggauss(num_nodes)


def _walk_cubic(geometry: Geometry, along: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A parametric cubic; the parameter is found from the arc length."""
    *coefficients, last = geometry.params
    u, v = np.polynomial.Polynomial(coefficients[:4]), np.polynomial.Polynomial(coefficients[4:])
    du, dv = u.deriv(), v.deriv()
    end = 2 * geometry.length if np.isinf(last) else last  # twice: a curve may be shorter than its parameter
    end_m = max(end, geometry.length)
    p = np.linspace(0, end, int(np.clip(end_m / _CUBIC_STEP_M, 16, _CUBIC_MAX_STEPS)) + 1)
    chords = np.hypot(np.diff(u(p)), np.diff(v(p)))
    walked = np.concatenate(([0.0], np.cumsum(chords)))
    if not np.isinf(last):  # the last parameter is the piece's end, whatever its length says
        walked *= geometry.length / max(walked[-1], 1e-9)
    p = np.interp(along, walked, p)
    return u(p), v(p), np.arctan2(dv(p), du(p))
