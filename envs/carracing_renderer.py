"""CarRacing's frames at any size, tens of times faster than gymnasium draws them, and close to its pixels.

`begin` paints the track once; `draw` is one warp of that picture, the car's sprites and the strip's bars. The three
parts live in carracing_texture.py, carracing_car.py and carracing_hud.py; docs/rendering.md shows how close it comes.
"""

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from gymnasium.envs.box2d.car_racing import SCALE, WINDOW_H, WINDOW_W, ZOOM

from envs.carracing_car import CarSprites
from envs.carracing_hud import STRIP, Hud
from envs.carracing_texture import COARSENING, FULL_ZOOM, Canvas, Colors, TrackTexture, inverse_map

if TYPE_CHECKING:
    from envs.carracing import CarRacing

REACH = 790.0
"""Screen pixels from the car to the frame's far corners."""
ROAD_ROWS = WINDOW_H - STRIP
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

hud_of = functools.cache(Hud)
sprites_of = functools.lru_cache(maxsize=256)(CarSprites)


def zoom_at(t: float) -> float:
    """Gymnasium's zoom at time t in seconds, screen pixels a unit: it grows for one second, then stays."""
    return FULL_ZOOM if t >= 1 else 0.1 * SCALE * max(1 - t, 0) + ZOOM * SCALE * min(t, 1)


class View(NamedTuple):
    """Where the camera is: over the car's place, turned with it, at a zoom in screen pixels a unit."""

    x: float
    y: float
    angle: float
    zoom: float


class Renderer:
    """Draws one env's frames.

    Args:
        size: width and height of the frames, pixels, a multiple of 8.
        crop_hud: show only the rows above the strip, stretched to the frame.
        skip_zoom: draw the first second at full zoom.
    """

    def __init__(self, size: int, crop_hud: bool = False, skip_zoom: bool = False) -> None:
        self._size, self._skip_zoom = size, skip_zoom
        self._road_height = size if crop_hud else size * 7 // 8
        self._pixel = WINDOW_W / size, ROAD_ROWS / self._road_height
        self._hud = None if crop_hud else hud_of(size)
        self._texture: TrackTexture | None = None

    def begin(self, env: "CarRacing") -> None:
        """Paint the track of a new episode."""
        quads = np.array([polygon for polygon, _ in env.road_poly], np.float64)
        shades = np.array([color for _, color in env.road_poly], np.float64)
        is_tile = np.array([isinstance(color, np.ndarray) for _, color in env.road_poly])
        colors = Colors(env.road_color, env.bg_color, env.grass_color)
        self._texture = TrackTexture(quads, shades, is_tile, colors, self._size)

    def draw(self, env: "CarRacing") -> np.ndarray:
        """The frame of an env's state, uint8 (size, size, 3), a new array."""
        assert self._texture is not None
        assert env.car is not None
        texture, size = self._texture, self._size
        for tile in env.touched:
            texture.repaint(tile)
        env.touched.clear()
        hull, wheels = env.car.hull, env.wheels
        place = hull.position
        x, y = place.x, place.y
        zoom = FULL_ZOOM if self._skip_zoom else zoom_at(env.t)
        frame = np.empty((size, size, 3), np.uint8)
        road = frame[: self._road_height]
        view = View(x, y, hull.angle, zoom)
        if zoom != FULL_ZOOM:
            road[:] = self._zooming(view)
        elif texture.fine.holds(x, y, REACH / zoom):
            texture.drop_coarse()
            self._warp(texture.fine, view, road)
        else:
            self._warp(texture.coarse, view, road)
            self._warp(texture.fine, view, road, cv2.BORDER_TRANSPARENT)
        angles = tuple([wheel.joint.angle for wheel in wheels])
        sprites = sprites_of(size, self._road_height, ROAD_ROWS, zoom)
        sprites.draw(road, angles, tuple([wheel.phase for wheel in wheels]))
        if self._hud is not None:
            velocity = hull.linearVelocity
            speed = math.hypot(velocity.x, velocity.y)
            columns = (speed, *[wheel.omega for wheel in wheels])
            self._hud.draw(frame[self._road_height :], columns, (angles[0], hull.angularVelocity), env.reward)
        return frame

    def _warp(
        self, canvas: Canvas, view: View, out: np.ndarray, border: int = cv2.BORDER_CONSTANT, finer: int = 1
    ) -> None:
        pixel = self._pixel[0] / finer, self._pixel[1] / finer
        matrix = inverse_map(canvas, view.x, view.y, view.angle, view.zoom, pixel)
        cv2.warpAffine(
            canvas.image, matrix, (out.shape[1], out.shape[0]), dst=out, flags=_WARP, borderMode=border
        )

    def _zooming(self, view: View) -> np.ndarray:
        """The road while the camera still comes down: drawn larger and averaged."""
        texture = self._texture
        assert texture is not None
        away = FULL_ZOOM / view.zoom
        finer = max(1, math.ceil(away - 0.25))
        is_far = finer > COARSENING
        if is_far:
            finer = max(1, math.ceil(away / COARSENING - 0.25))
        large = np.empty((self._road_height * finer, self._size * finer, 3), np.uint8)
        is_inside = texture.fine.holds(view.x, view.y, REACH / view.zoom)
        if is_far or not is_inside:
            self._warp(texture.coarse, view, large, finer=finer)
        if not is_far:
            self._warp(texture.fine, view, large, cv2.BORDER_TRANSPARENT, finer)
        return cv2.resize(large, (self._size, self._road_height), interpolation=cv2.INTER_AREA)
