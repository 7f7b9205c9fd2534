"""The track as a picture: painted once an episode, warped once a frame.

A texel is so wide that a bilinear sample of an antialiased texture blurs about as much as the box that shrinks
gymnasium's 1000 x 800 picture to one pixel; so one plain warp at full zoom neither aliases nor smears. The fine
picture covers the track and what can be seen from it; a coarse one covers the whole playfield, for the first second's
zoom and for cars that leave the fine one. The grass repeats every 33.3 units, which is a whole number of texels.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from gymnasium.envs.box2d.car_racing import GRASS_DIM, PLAYFIELD, WINDOW_W, ZOOM
from gymnasium.envs.box2d.car_racing import SCALE as TRACK_SCALE

FULL_ZOOM = ZOOM * TRACK_SCALE
"""Screen pixels a unit of the world, once the zoom-in is over."""
PERIOD = 2 * GRASS_DIM
"""The grass pattern repeats after so many units."""
MARGIN = 60.0
"""Units around the track that belong to the fine picture; a frame's corners lie at most 48 from the car."""
COARSENING = 4
"""Fine texels a coarse one, each way."""
KERNEL = 1.73
"""A bilinear sample of box-filtered texels blurs like a box of so many texels."""
BLEED = 0.6
"""OpenCV draws antialiased polygons so many texels too wide on each side."""
DARKENING = 2
"""pygame's `smoothscale` loses so much of every channel; so do our colours."""
SHIFT = 4
"""Fractional bits of the coordinates that OpenCV is given."""


class Colors(NamedTuple):
    """What an episode is painted with, channels 0 to 255."""

    road: np.ndarray
    background: np.ndarray
    grass: np.ndarray


class Canvas(NamedTuple):
    """A picture of a part of the world: texel (row j, column i) covers x0 + [i, i + 1) * texel, and y alike."""

    image: np.ndarray
    x0: float
    y0: float
    texel: float

    def holds(self, x: float, y: float, radius: float) -> bool:
        """Whether the disc lies within the picture."""
        height, width = self.image.shape[:2]
        x, y = x - self.x0, y - self.y0
        return radius < x < width * self.texel - radius and radius < y < height * self.texel - radius


class TrackTexture:
    """The pictures of one track.

    Args:
        quads: what gymnasium draws, in its order: four corners each, float (n, 4, 2).
        shades: their colours, (n, 3).
        is_tile: which of them are tiles of the road, bool (n,); the others are kerbs.
        colors: of the rest.
        size: width of the frames, pixels.
    """

    def __init__(
        self, quads: np.ndarray, shades: np.ndarray, is_tile: np.ndarray, colors: Colors, size: int
    ) -> None:
        is_solid = (quads[:, :2] != quads[:, [1, 0]]).any((1, 2))  # some kerbs have no width
        quads, shades, is_tile = quads[is_solid], shades[is_solid], is_tile[is_solid]
        self._colors = colors
        texels = (
            PERIOD * FULL_ZOOM * size / (WINDOW_W * 0.9) * KERNEL
        )  # 0.9: a pixel's mean side over its width
        self._period = 2 * COARSENING * max(1, round(texels / (2 * COARSENING)))
        self.texel = PERIOD / self._period
        self._quads, self._tiles = quads, np.flatnonzero(is_tile)
        self.fine = self._ground(quads)
        for corners, color in zip(self._corners(quads, BLEED).tolist(), shades.tolist()):
            self._fill(corners, color, cv2.LINE_AA)
        self._coarse: Canvas | None = None

    def repaint(self, tile: int) -> None:
        """Give a tile the plain colour of the road, as a touched one has it."""
        quad = self._quads[self._tiles[tile]][None]
        self._fill(self._corners(quad, 1.0)[0].tolist(), self._colors.road.tolist(), cv2.LINE_8)

    @property
    def coarse(self) -> Canvas:
        """The whole playfield with a black rim, made when first asked for."""
        if self._coarse is None:
            self._coarse = self._shrink()
        return self._coarse

    def drop_coarse(self) -> None:
        """Free the coarse picture's memory."""
        self._coarse = None

    def _ground(self, quads: np.ndarray) -> Canvas:
        """Grass under the track and around it, in whole coarse texels."""
        step = COARSENING * self.texel
        last = round(2 * PLAYFIELD / step)
        low = np.floor((quads.min((0, 1)) - MARGIN + PLAYFIELD) / step).clip(0, last).astype(int) * COARSENING
        high = np.ceil((quads.max((0, 1)) + MARGIN + PLAYFIELD) / step).clip(0, last).astype(int) * COARSENING
        image = _grass(self._colors, self._period, tuple(low), tuple(high))
        x0, y0 = low * self.texel - PLAYFIELD
        return Canvas(image, float(x0), float(y0), self.texel)

    def _shrink(self) -> Canvas:
        texel = self.texel * COARSENING
        field = round(2 * PLAYFIELD / texel)
        rim = 2
        image = np.zeros((field + 2 * rim, field + 2 * rim, 3), np.uint8)
        image[rim:-rim, rim:-rim] = _grass(self._colors, self._period // COARSENING, (0, 0), (field, field))
        height, width = (side // COARSENING for side in self.fine.image.shape[:2])
        column, row = (round((at + PLAYFIELD) / texel) + rim for at in (self.fine.x0, self.fine.y0))
        small = cv2.resize(self.fine.image, (width, height), interpolation=cv2.INTER_AREA)
        image[row : row + height, column : column + width] = small
        return Canvas(image, -PLAYFIELD - rim * texel, -PLAYFIELD - rim * texel, texel)

    def _corners(self, quads: np.ndarray, inset: float) -> np.ndarray:
        """Quads (n, 4, 2) [left, right, right, left] made narrower by `inset` texels a side, in OpenCV's numbers."""
        across = quads[:, [1, 2]] - quads[:, [0, 3]]
        across *= inset * self.texel / np.linalg.norm(across, axis=2, keepdims=True)
        corners = quads + np.stack([across[:, 0], -across[:, 0], -across[:, 1], across[:, 1]], axis=1)
        texels = (corners - (self.fine.x0, self.fine.y0)) / self.texel - 0.5
        return np.rint(texels * 2**SHIFT).astype(np.int32)

    def _fill(self, corners: list, color: list, line: int) -> None:
        whole = [max(int(channel) - DARKENING, 0) for channel in color]
        cv2.fillConvexPoly(self.fine.image, np.array(corners, np.int32), whole, line, SHIFT)


def _grass(colors: Colors, period: int, low: tuple[int, int], high: tuple[int, int]) -> np.ndarray:
    """Texels [low, high) (x, y) of the playfield without its track, uint8 (h, w, 3)."""
    cell = np.empty((period, period, 3), np.uint8)
    background, grass = (np.maximum(np.trunc(color) - DARKENING, 0) for color in colors[1:])
    cell[:] = background
    cell[: period // 2, : period // 2] = grass
    (x0, y0), (x1, y1) = low, high
    image = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    band = np.tile(cell, (1, -(-x1 // period) - x0 // period, 1))[:, x0 % period :][:, : x1 - x0]
    for y in range(y0 - y0 % period, y1, period):
        top, bottom = max(y, y0), min(y + period, y1)
        image[top - y0 : bottom - y0] = band[top - y : bottom - y]
    return image


def inverse_map(
    canvas: Canvas, x: float, y: float, angle: float, zoom: float, pixel: tuple[float, float]
) -> np.ndarray:
    """The affine map from pixels of a frame to texels, (2, 3), for `cv2.warpAffine` with WARP_INVERSE_MAP.

    Args:
        canvas: where the texels are.
        x: the car's place, which lies in the middle of gymnasium's window and a quarter of it above the bottom.
        y: the same.
        angle: the car's heading, radians; it always points up.
        zoom: screen pixels a unit.
        pixel: width and height of a frame's pixel in screen pixels.
    """
    a, b = pixel[0] / zoom, pixel[1] / zoom
    left, top = 0.5 * a - 500.0 / zoom, 600.0 / zoom - 0.5 * b
    cos, sin = math.cos(angle) / canvas.texel, math.sin(angle) / canvas.texel
    return np.array(
        [
            [cos * a, sin * b, (x - canvas.x0) / canvas.texel + cos * left - sin * top - 0.5],
            [sin * a, -cos * b, (y - canvas.y0) / canvas.texel + sin * left + cos * top - 0.5],
        ]
    )
