"""Sky, daylight and fog as one multiplication and one addition of pictures, made once for a lens and a weather."""

import functools
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.lens import LensKey, lens
from envs.carla.lite.weather import Palette, Weather, palette

_STEPS = 512
_SUN_RADIUS_RAD = 0.035
"""Some times the true one: it should be seen in a small picture."""


class Backdrop(NamedTuple):
    """picture = ground * share / 255 + light; the share is nothing where the sky is."""

    share: NDArray[np.uint8]
    """(height, width, 3)."""
    light: NDArray[np.uint8]
    """(height, width, 3), RGB."""


@functools.lru_cache(maxsize=8)  # 12 MB each at 1920 x 1080
def backdrop(key: LensKey, weather: Weather) -> Backdrop:
    """What a weather does to the ground and the sky behind a lens."""
    index = _shades(key, palette(weather))
    share, light = _ramps(weather)
    return Backdrop(share[index], light[index])


def _shades(key: LensKey, look: Palette) -> NDArray[np.intp]:
    """Which row of the ramps every pixel shows, (height, width)."""
    optics = lens(key)
    across = np.arange(key.width, dtype=np.float32) + 0.5
    down = np.arange(key.height, dtype=np.float32)[:, None] + 0.5
    forward, right, up, inverse_depth = (
        across * u + (down * v + one)
        for u, v, one in np.stack([*optics.rays, optics.to_plane[2]]).astype(np.float32)
    )
    length = np.sqrt(forward * forward + right * right + up * up)
    is_sky = inverse_depth <= 0
    haze = look.haze(length / np.maximum(inverse_depth, np.float32(1e-6)))
    height = np.maximum(up / length, 0)
    return np.where(is_sky, height * (_STEPS - 1) + _STEPS, haze * (_STEPS - 1) + 0.5).astype(np.intp)


@functools.lru_cache(maxsize=32)
def _ramps(weather: Weather) -> Backdrop:
    """Of ground from clear to hidden, then of sky from the horizon to the zenith, (2 * _STEPS, 3)."""
    look = palette(weather)
    haze = np.linspace(0, 1, _STEPS)[:, None]
    height = 1 - np.exp(-3.5 * haze)
    sky = look.horizon + (look.zenith - look.horizon) * height
    share = np.concatenate([255 * look.gain * (1 - haze), np.zeros((_STEPS, 3))])
    light = np.concatenate([look.veil + (look.horizon - look.veil) * haze, sky])
    return Backdrop(*(np.rint(part).clip(0, 255).astype(np.uint8) for part in (share, light)))


def draw_sun(picture: NDArray[np.uint8], turn: NDArray, focal: float, look: Palette) -> None:
    """Draw the sun's disc, if it is up, not behind clouds and in front of the camera.

    Args:
        picture: to draw on, (height, width, 3), RGB.
        turn: the camera's axes as columns, (3, 3).
        focal: pixels.
        look: the weather's colours.
    """
    forward, right, up = (look.sun @ turn).tolist()
    if look.shadow < 0.05 or look.sun[2] < _SUN_RADIUS_RAD or forward < 0.1:
        return
    height, width = picture.shape[:2]
    u, v = width / 2 + focal * right / forward, height / 2 - focal * up / forward
    radius = _SUN_RADIUS_RAD * focal
    if -radius < u < width + radius and -radius < v < height + radius:
        cv2.circle(
            picture,
            (round(u * 16 - 8), round(v * 16 - 8)),
            round(radius * 16),
            look.sun_colour.tolist(),
            -1,
            cv2.LINE_AA,
            4,
        )
