"""The black strip below the road: speed, wheel speeds, steering, spin and the score, pixel for pixel as gymnasium's.

gymnasium draws the strip in whole pixels of a 1000 x 800 window and shrinks it. There are few such pictures of each
bar, so each is drawn and shrunk once; a frame only looks them up.
"""

import functools
import math

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import STATE_H, STATE_W, WINDOW_H, WINDOW_W

from envs.carracing_car import shrinking
from envs.carracing_texture import DARKENING

STRIP = WINDOW_H // 8
"""Height of the strip in gymnasium's window."""
UNIT_X, UNIT_Y = WINDOW_W // 40, WINDOW_H // 40
"""gymnasium lays the strip out in these steps."""
COLUMNS = (
    (5, 0.02, (255, 255, 255)),
    (7, 0.01, (0, 0, 255)),
    (8, 0.01, (0, 0, 255)),
    (9, 0.01, (51, 0, 255)),
    (10, 0.01, (51, 0, 255)),
)
"""Upright bars: place, scale, colour of the speed and of the four wheels' speeds."""
ROWS = ((20, -10.0, (0, 255, 0)), (30, -0.8, (255, 0, 0)))
"""Lying bars: place, scale, colour of the steering angle and the spin."""
SCORE_CENTER = (60, 50)
FONT_SIZE = 42
THRESHOLD = 1e-4
"""Smaller values are not drawn."""

Patch = tuple[slice, np.ndarray]
"""Columns of the strip and what to add to them."""


class Hud:
    """Draws the strip for frames of one width.

    Args:
        size: width of the frames; the strip is an eighth of it high.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.height = size // 8
        self._across = shrinking(WINDOW_W, size, STATE_W)
        self._down = shrinking(STRIP, self.height, STATE_H // 8)
        self._column = functools.cache(self._draw_column)
        self._row = functools.cache(self._draw_row)
        self._score = functools.cache(self._draw_score)
        self._font: pygame.font.Font | None = None

    def draw(
        self, strip: np.ndarray, columns: tuple[float, ...], rows: tuple[float, float], score: float
    ) -> None:
        """Draw one strip.

        Args:
            strip: where to, uint8 (size / 8, size, 3).
            columns: the car's speed and its wheels' angular speeds.
            rows: the front wheel's steering angle and the car's angular speed.
            score: the return so far.
        """
        where, patch = self._score(f"{score:04.0f}")
        strip[:] = 0
        strip[:, where] = patch
        for i, value in enumerate(columns):
            if abs(value) > THRESHOLD:
                top = math.trunc(STRIP - UNIT_Y - UNIT_Y * COLUMNS[i][1] * value)
                where, patch = self._column(i, min(max(top, 0), STRIP - 1))
                strip[:, where] += patch
        for i, value in enumerate(rows):
            if abs(value) > THRESHOLD:
                end = math.trunc(UNIT_X * (ROWS[i][0] + ROWS[i][1] * value))
                where, patch = self._row(i, min(max(end, 0), WINDOW_W - 1))
                strip[:, where] |= patch

    def _draw_column(self, index: int, top: int) -> Patch:
        place, _, color = COLUMNS[index]
        bottom = STRIP - UNIT_Y
        is_covered = 0 < index < len(COLUMNS) - 1  # the next bar paints over the shared line
        right = (place + 1) * UNIT_X + (0 if is_covered else 1)
        return self._bar(min(top, bottom), max(top, bottom) + 1, place * UNIT_X, right, color)

    def _draw_row(self, index: int, end: int) -> Patch:
        place, _, color = ROWS[index]
        start = place * UNIT_X
        return self._bar(UNIT_Y, 3 * UNIT_Y + 1, min(start, end), max(start, end) + 1, color)

    def _bar(self, top: int, bottom: int, left: int, right: int, color: tuple[int, int, int]) -> Patch:
        """A rectangle of whole window pixels."""
        cover = np.outer(self._down[:, top:bottom].sum(1), self._across[:, left:right].sum(1))
        return self._patch(cover[:, :, None] * color)

    def _draw_score(self, text: str) -> Patch:
        if self._font is None:
            pygame.font.init()
            self._font = pygame.font.Font(pygame.font.get_default_font(), FONT_SIZE)
        image = self._font.render(text, True, (255, 255, 255), (0, 0, 0))
        place = image.get_rect()
        place.center = SCORE_CENTER
        place = place.clip(pygame.Rect(0, 0, WINDOW_W, STRIP))
        grey = pygame.surfarray.array3d(image)[-place.width :, : place.height, 0]
        down, across = self._down[:, place.top : place.bottom], self._across[:, place.left : place.right]
        mean = down @ grey.T.astype(np.float64) @ across.T
        return self._patch(np.repeat(mean[:, :, None], 3, axis=2))

    def _patch(self, mean: np.ndarray) -> Patch:
        """Keep the columns that are not black.

        Rounded down, so that bars which share a pixel cannot sum up to more than 255.
        """
        small = (mean + 1e-3 - DARKENING).clip(0).astype(np.uint8)
        used = np.flatnonzero(small.any((0, 2)))
        where = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        return where, np.ascontiguousarray(small[:, where])
