import math

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.carla.lite.camera import CameraView, rgb, semantic
from envs.carla.lite.scene import Box
from envs.carla.lite.weather import Weather
from tests.envs.carla.lite.viewing import CAR, SKY, bare, car, project, view

NOON = Weather(sun_altitude_angle=60.0)
NIGHT = NOON._replace(sun_altitude_angle=-60.0)
SUNSET = NOON._replace(sun_altitude_angle=6.0)
RAIN = NOON._replace(cloudiness=90.0, precipitation=80.0, wetness=80.0)


def colours(weather: Weather, shot: CameraView = view(), boxes: tuple = ()) -> NDArray[np.float64]:  # noqa: B008
    """A picture, RGB."""
    return rgb(bare(), shot, boxes, weather)[..., 2::-1].astype(float)


def saturation(picture: NDArray) -> float:
    return float((picture.max(axis=-1) - picture.min(axis=-1)).mean() / picture.mean())


def ground() -> NDArray[np.bool_]:
    return semantic(bare(), view(), [])[..., 2] != SKY


def test_night_is_dark_but_for_lamps() -> None:
    boxes = (car(10, 1.75),)
    day, night = colours(NOON, boxes=boxes), colours(NIGHT, boxes=boxes)
    assert night.mean() < 0.3 * day.mean()
    assert night[ground()].mean() > 8  # the road can still be told from the verge
    is_car = semantic(bare(), view(), boxes)[..., 2] == CAR
    assert night[is_car][:, 0].max() > 200
    assert night[~is_car].max() < 100


def test_a_traffic_light_shows_its_colour_to_the_front_by_day_and_night() -> None:
    shot = view(z=4.5, pitch=0)
    for weather in (NOON, NIGHT):
        for yaw, is_front in ((math.pi, True), (0.0, False)):
            head = Box((9.0, 1.75, 5.0), yaw, (0.21, 0.26, 0.56), 7, (40, 230, 90), 5)
            red, green, _ = colours(weather, shot, (head,))[45, 48]
            assert (green > 150 and green > 2 * red) == is_front


def test_a_low_sun_is_warm() -> None:
    noon, sunset = colours(NOON)[ground()].mean(axis=0), colours(SUNSET)[ground()].mean(axis=0)
    assert sunset[0] / sunset[2] > 1.2 * noon[0] / noon[2]
    assert sunset.mean() < noon.mean()


def test_rain_and_wetness_are_darker_and_duller() -> None:
    dry, rain = colours(NOON)[ground()], colours(RAIN)[ground()]
    assert rain.mean() < 0.85 * dry.mean()
    assert saturation(rain) < 0.85 * saturation(dry)
    assert colours(NOON._replace(wetness=80.0))[ground()].mean() < dry.mean()
    clear_sky, rainy_sky = (colours(weather)[~ground()] for weather in (NOON, RAIN))
    assert saturation(rainy_sky) < 0.5 * saturation(clear_sky)


def test_fog_hides_what_is_far_and_more_with_distance_and_density() -> None:
    contrast = {}
    for density in (0.0, 30.0, 80.0):
        fog = NOON._replace(fog_density=density, fog_distance=5.0)
        for x in (8, 40, 90):
            boxes = (car(x, 1.75, label=15),)
            at = np.array(project(view(), np.array([[x - 2.4, 1.75, 0.35]]))[0], int)
            picture = colours(fog, boxes=boxes)
            horizon = picture[int(project(view(), np.array([[1e6, 1.75, 2.4]]))[0, 1]) - 1, 48]
            contrast[density, x] = np.abs(picture[at[1], at[0]] - horizon).mean()
    for density in (30.0, 80.0):
        assert contrast[density, 8] > contrast[density, 40] > contrast[density, 90] - 1
    for x in (40, 90):
        assert contrast[0.0, x] > contrast[30.0, x] > contrast[80.0, x] - 1
    assert contrast[80.0, 90] < 0.1 * contrast[0.0, 90]


def test_the_sun_s_azimuth_lights_one_side() -> None:
    box = car(12, 1.75, yaw=45)
    rear = np.array([[12 - 2.4 * math.cos(math.pi / 4) - 0.02, 1.75 - 2.4 * math.sin(math.pi / 4), 0.8]])
    u, v = project(view(), rear)[0].astype(int)
    behind, ahead = (NOON._replace(sun_azimuth_angle=at, sun_altitude_angle=20.0) for at in (-135.0, 45.0))
    lit, dark = (colours(weather, boxes=(box,))[v, u] for weather in (behind, ahead))
    assert lit.mean() > 1.15 * dark.mean()


def test_the_sun_is_seen_where_it_is() -> None:
    low = NOON._replace(sun_altitude_angle=15.0, sun_azimuth_angle=20.0)
    azimuth, altitude = math.radians(20), math.radians(15)
    flat = math.cos(altitude) * 1e7
    sun = np.array([[flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(altitude) * 1e7]])
    shot = view(size=(200, 200), pitch=0)
    u, v = project(shot, sun)[0].astype(int)
    seen, elsewhere = colours(low, shot), colours(low._replace(sun_azimuth_angle=200.0), shot)
    assert seen[v, u].mean() > elsewhere[v, u].mean() + 30
    clouds = low._replace(cloudiness=100.0)
    assert np.array_equal(colours(clouds, shot), colours(clouds._replace(sun_azimuth_angle=200.0), shot))


@pytest.mark.parametrize("value", [-1000.0, -1.0, 1000.0])
def test_values_beyond_the_ranges_are_drawn_as_the_nearest(value: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        for name in Weather._fields:
            picture = colours(NOON._replace(**{name: value}))
            assert picture.shape == (96, 96, 3)
        picture = colours(Weather(*[value] * 14))
    assert 0 < picture.mean() < 255
