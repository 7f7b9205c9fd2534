"""Paths of known shape."""

import numpy as np

from envs.carla.path import Path

LANE_M = 4.0


def ring(radius_m: float = 50.0, num: int = 314, turn: int = 1) -> Path:
    """A circle that starts at (radius, 0) going south; turn 1 is to the right, with the middle at (0, 0)."""
    angle = np.linspace(0, 2 * np.pi, num, endpoint=False)
    points = np.stack([radius_m * np.cos(angle), turn * radius_m * np.sin(angle), np.zeros(num)], axis=1)
    return _path(points, True)


def straight(length_m: int = 100) -> Path:
    """East from the origin."""
    points = np.zeros((length_m + 1, 3))
    points[:, 0] = np.arange(length_m + 1)
    return _path(points, False)


def wavy() -> Path:
    """A closed road with bends to both sides, about 370 m."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 50 + 10 * np.cos(3 * angle)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(400)], axis=1)
    return _path(points, True)


def _path(points: np.ndarray, is_closed: bool) -> Path:
    num = len(points)
    half, left = np.full(num, LANE_M / 2), np.full(num, 1.5 * LANE_M)
    return Path(points, left, half, np.full(num, LANE_M), is_closed)
