"""What the weather and the sun do to colours: one palette a weather, worked out once and kept.

Qualitative only: night is dark and blue, a low sun is warm, clouds and rain are grey, wet ground is dark, and fog
hides what is far. Clouds, rain drops, puddles and reflections are not drawn.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Weather(NamedTuple):
    """CARLA's fourteen weather parameters in the order of the wire; percentages, degrees and metres as there."""

    cloudiness: float = 5.0
    precipitation: float = 0.0
    precipitation_deposits: float = 0.0
    wind_intensity: float = 10.0
    sun_azimuth_angle: float = -1.0
    sun_altitude_angle: float = 45.0
    fog_density: float = 2.0
    fog_distance: float = 0.75
    fog_falloff: float = 0.1
    wetness: float = 0.0
    scattering_intensity: float = 1.0
    mie_scattering_scale: float = 0.03
    rayleigh_scattering_scale: float = 0.0331
    dust_storm: float = 0.0


class Palette(NamedTuple):
    """What the painter needs to know; colours are RGB floats, 0 to 255."""

    gain: NDArray[np.float64]
    """Share of its daylight colour that a surface shows, per channel (3,), at most 1."""
    veil: NDArray[np.float64]
    """Grey added to every surface, (3,): the dullness of rain."""
    zenith: NDArray[np.float64]
    horizon: NDArray[np.float64]
    """Colours of the sky overhead and of the haze, (3,)."""
    sun: NDArray[np.float64]
    """Unit vector towards the sun, (3,)."""
    sun_colour: NDArray[np.float64]
    shadow: float
    """How much darker a face is that looks away from the sun; 0 under clouds and at night."""
    haze_per_m: float
    haze_start_m: float
    is_dark: bool
    """Whether lamps outshine the daylight."""

    def haze(self, distance_m: NDArray) -> NDArray:
        """How much of what is so far away is hidden, 0 to 1, any shape."""
        return 1 - np.exp(np.minimum(self.haze_start_m - distance_m, 0) * self.haze_per_m)


_ALTITUDE_DEG = (-15, -4, 3, 12, 35)
_GAIN = ((0.24, 0.26, 0.36), (0.32, 0.31, 0.40), (0.72, 0.56, 0.46), (0.98, 0.84, 0.70), (1, 1, 1))
_ZENITH = ((7, 9, 20), (30, 36, 70), (84, 96, 142), (92, 128, 184), (82, 138, 208))
_HORIZON = ((18, 21, 34), (92, 74, 88), (236, 150, 98), (240, 200, 158), (198, 216, 232))
_SHADOW = (0, 0, 0.25, 0.4, 0.42)
_MURK = (0.62, 0.64, 0.66)


def _by_altitude(table: tuple, altitude_deg: float) -> NDArray[np.float64]:
    columns = np.asarray(table, np.float64).T.reshape(-1, len(_ALTITUDE_DEG))
    return np.array([np.interp(altitude_deg, _ALTITUDE_DEG, column) for column in columns])


@functools.lru_cache(maxsize=64)
def palette(weather: Weather) -> Palette:
    """The colours of a weather; parameters outside CARLA's ranges are taken as the nearest end."""
    share = [min(max(value / 100, 0.0), 1.0) for value in weather]
    clouds, rain, puddles, fog, wet, dust = share[0], share[1], share[2], share[6], share[9], share[13]
    altitude = min(max(weather.sun_altitude_angle, -90.0), 90.0)
    light = _by_altitude(_GAIN, altitude)
    brightness = float(light.mean())
    grey = 255 * brightness * np.array(_MURK) * (1 - 0.25 * rain)
    overcast = min(1.0, 0.95 * clouds**2 + 0.6 * rain)
    murky = max(overcast, min(1.0, fog**0.4))
    zenith = (1 - murky) * _by_altitude(_ZENITH, altitude) + murky * grey
    horizon = (1 - murky) * _by_altitude(_HORIZON, altitude) + murky * grey * 1.1
    sand = brightness * np.array([196.0, 164, 118])
    zenith, horizon = ((1 - 0.8 * dust) * colour + 0.8 * dust * sand for colour in (zenith, horizon))
    gain = light + overcast * (brightness - light)
    gain = gain * (1 - 0.22 * overcast) * (1 - 0.28 * max(wet, puddles, rain))
    dullness = 0.22 * max(rain, 0.5 * wet)
    azimuth, height = math.radians(weather.sun_azimuth_angle), math.radians(altitude)
    sun = np.array(
        [math.cos(height) * math.cos(azimuth), math.cos(height) * math.sin(azimuth), math.sin(height)]
    )
    return Palette(
        gain=gain * (1 - dullness),
        veil=dullness * 0.6 * grey,
        zenith=zenith,
        horizon=horizon.clip(0, 255),
        sun=sun,
        sun_colour=np.array([255.0, 250 - 40 * (altitude < 20), 225 - 80 * (altitude < 20)]),
        shadow=float(_by_altitude(_SHADOW, altitude)[0]) * (1 - murky),
        haze_per_m=0.0007 + 0.05 * fog**1.3 + 0.006 * rain + 0.05 * dust,
        haze_start_m=max(weather.fog_distance, 0.0),
        is_dark=brightness < 0.45,
    )
