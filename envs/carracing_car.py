"""The car as sprites: it always stands upright at one place of the frame, so only its wheels' pictures vary.

Each layer (the hull; a wheel at a steering angle and a phase of its white stripe) is drawn once as gymnasium draws
it, shrunk exactly, and kept as `keep` and `add`: frame = frame * keep + add. Layers never cover each other, since
the part of a wheel under the hull is left out; so their sum is the car.
"""

import functools
import math

import numpy as np
import pygame
from gymnasium.envs.box2d.car_dynamics import (
    SIZE,
    WHEEL_COLOR,
    WHEEL_R,
    WHEEL_W,
    WHEEL_WHITE,
    WHEELPOS,
)
from gymnasium.envs.box2d.car_racing import STATE_H, STATE_W, WINDOW_H, WINDOW_W

from envs.carracing_physics import HULL
from envs.carracing_texture import DARKENING, FULL_ZOOM

HULL_COLOR = (204, 0, 0)
STRIPE = 1.2
"""Radians of a wheel's turn that are white."""
REACH_X, REACH_Y = 90, 135
"""The car lies within these distances of its middle, in its own units."""
PHASES = 16
ANGLE_STEP = 0.06
"""Steering angles, radians, and phases are rounded: less than a fifth of a screen pixel."""
ZOOMING_PHASES, ZOOMING_ANGLE_STEP = 4, 0.3
"""The same while the car is still small."""


def shrinking(length: int, pixels: int, reference: int) -> np.ndarray:
    """The matrix that averages a line of window pixels into a frame's, float64 (pixels, length).

    Args:
        length: window pixels.
        pixels: the frame's.
        reference: gymnasium's own; a smaller frame is averaged from those, as `cv2.INTER_AREA` does.
    """
    if pixels >= reference:
        return _boxes(length, pixels)
    return _boxes(reference, pixels) @ _boxes(length, reference)


def _boxes(length: int, pixels: int) -> np.ndarray:
    edges = np.arange(pixels + 1) * (length / pixels)
    cells = np.arange(length)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return covered.clip(0) * (pixels / length)


class CarSprites:
    """The car in frames of one size at one zoom.

    Args:
        width: of the frame, pixels.
        height: of the frame, pixels.
        rows: rows of gymnasium's window that the frame shows, from its top.
        zoom: screen pixels a unit.
    """

    def __init__(self, width: int, height: int, rows: int, zoom: float) -> None:
        self._zoom = zoom
        pixel_x, pixel_y = WINDOW_W / width, rows / height
        reach_x, reach_y = REACH_X * SIZE * zoom + 12, REACH_Y * SIZE * zoom + 12
        middle_x, middle_y = WINDOW_W / 2, WINDOW_H * 3 / 4
        left, right = int((middle_x - reach_x) / pixel_x), int((middle_x + reach_x) / pixel_x) + 1
        top, bottom = int((middle_y - reach_y) / pixel_y), int((middle_y + reach_y) / pixel_y) + 1
        bottom = min(bottom, height)
        self._where = slice(top, bottom), slice(left, right)
        x0, x1 = math.floor((left - 1) * pixel_x), math.ceil((right + 1) * pixel_x)
        y0, y1 = math.floor((top - 1) * pixel_y), min(math.ceil((bottom + 1) * pixel_y), rows)
        self._window = pygame.Rect(x0, y0, x1 - x0, y1 - y0)
        across = shrinking(WINDOW_W, width, STATE_W)
        down = shrinking(rows, height, STATE_H * rows // WINDOW_H)
        self._across = np.ascontiguousarray(across[left:right, x0:x1])
        self._down = np.ascontiguousarray(down[top:bottom, y0:y1])
        full = zoom == FULL_ZOOM
        self._phases = PHASES if full else ZOOMING_PHASES
        self._step = ANGLE_STEP if full else ZOOMING_ANGLE_STEP
        self._wheel = functools.cache(self._draw_wheel)
        self._hull = self._draw_hull()

    def draw(self, frame: np.ndarray, angles: tuple[float, ...], phases: tuple[float, ...]) -> None:
        """Draw the car into a frame, in place.

        Args:
            frame: uint8 (height, width, 3).
            angles: of the four wheels against the hull, radians.
            phases: turns of the four wheels, radians.
        """
        per_radian = self._phases / (2 * math.pi)
        layers = self._hull
        for i in range(4):
            phase = int(phases[i] * per_radian // 1) % self._phases
            layers = layers + self._wheel(i, round(angles[i] / self._step), phase)
        region = frame[self._where]
        region[:] = region * layers[0] + layers[1]

    def _draw_hull(self) -> np.ndarray:
        surface = self._blank()
        self._paint_hull(surface, 1)
        keep, add = self._shrink(surface, (HULL_COLOR,))
        return np.stack([1 + keep, add + 0.5])  # so that casting to uint8 rounds

    def _draw_wheel(self, index: int, angle: int, phase: int) -> np.ndarray:
        surface = self._blank()
        x, y = WHEELPOS[index]
        cos, sin = math.cos(angle * self._step), math.sin(angle * self._step)

        def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
            return [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in points]

        self._polygon(surface, place(_band(WHEEL_R, -WHEEL_R)), 1)
        stripe = stripe_of((phase + 0.5) * 2 * math.pi / self._phases)
        if stripe:
            self._polygon(surface, place(_band(WHEEL_R * stripe[0], WHEEL_R * stripe[1])), 2)
        self._paint_hull(surface, 0)
        return self._shrink(surface, (WHEEL_COLOR, WHEEL_WHITE))

    def _blank(self) -> pygame.Surface:
        return pygame.Surface(self._window.size, depth=8)

    def _paint_hull(self, surface: pygame.Surface, index: int) -> None:
        for polygon in HULL:
            self._polygon(surface, [(float(x), float(y)) for x, y in polygon], index)

    def _polygon(self, surface: pygame.Surface, points: list, index: int) -> None:
        """Fill with a number, in whole window pixels, as gymnasium does before it turns the window over."""
        left, top = self._window.topleft
        pixels = []
        for x, y in points:
            column = math.floor(x * SIZE * self._zoom + WINDOW_W / 2)
            row = WINDOW_H - 1 - math.floor(y * SIZE * self._zoom + WINDOW_H / 4)
            pixels.append((column - left, row - top))
        pygame.draw.polygon(surface, index, pixels)

    def _shrink(self, surface: pygame.Surface, colors: tuple[tuple[int, int, int], ...]) -> np.ndarray:
        """Minus the cover of the numbers 1, 2 ... and their colours times it, float32 (2, h, w, 3)."""
        numbers = pygame.surfarray.array2d(surface).T
        keep = add = 0.0
        for i, color in enumerate(colors, start=1):
            cover = (self._down @ (numbers == i) @ self._across.T)[:, :, None]
            keep = keep - np.repeat(cover, 3, axis=2)
            add = add + cover * np.maximum(np.array(color) - DARKENING, 0)
        return np.stack([keep, add]).astype(np.float32)


def _band(top: float, bottom: float) -> list[tuple[float, float]]:
    return [(-WHEEL_W, top), (WHEEL_W, top), (WHEEL_W, bottom), (-WHEEL_W, bottom)]


def stripe_of(phase: float) -> tuple[float, float] | None:
    """Ends of a wheel's white stripe over its radius, or None where it is out of sight (gymnasium's rule)."""
    ends, hidden = [], 0
    for angle in (phase, phase + STRIPE):
        cos = math.cos(angle)
        if math.sin(angle) > 0:
            hidden += 1
            cos = math.copysign(1.0, cos)
        ends.append(cos)
    return None if hidden == 2 else (ends[0], ends[1])
