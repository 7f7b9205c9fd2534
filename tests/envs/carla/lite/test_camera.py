import math

import cv2
import numpy as np
import pytest

from envs.carla.lite.camera import CameraView, depth, rgb, semantic
from envs.carla.lite.rays import cast
from envs.carla.lite.roadmap import parse
from envs.carla.lite.scene import Box, Scene
from envs.carla.lite.weather import Weather
from tests.envs.carla.lite import viewing
from tests.envs.carla.lite.handmade import document, geometry
from tests.envs.carla.lite.viewing import CAR, SKY, bare, car, loop, metres, slope, town, view

QUANTUM_M = 1000 / (256**3 - 1)
POSES = {
    "car": view(),
    "rolled": view(roll=25, yaw=40),
    "upside down": view(z=30, pitch=-50, roll=170),
    "straight down": view(z=60, pitch=-90, yaw=30),
    "low and wide": view(z=0.5, pitch=0, fov=120, size=(64, 40)),
    "tele": view(pitch=-3, fov=20, size=(50, 80)),
    "large": view(size=(400, 300), yaw=-120),
}


@pytest.mark.parametrize("shot", POSES.values(), ids=POSES)
def test_depth_of_the_ground_is_exact_and_its_label_is_the_map_s(shot: CameraView) -> None:
    rays = viewing.pixel_rays(shot)
    far = metres(depth(bare(), shot, [])).ravel()
    places = viewing.to_world(shot, rays * far[:, None])
    is_sky = viewing.to_world(shot, rays)[:, 2] >= shot.z
    is_seen = ~is_sky & (far < 990)
    assert is_seen.any()
    slack = np.linalg.norm(rays, axis=1) * QUANTUM_M
    assert np.all(np.abs(places[is_seen, 2]) <= slack[is_seen])
    assert np.all(far[is_sky] > 999.99)
    labels = semantic(bare(), shot, [])[..., 2].ravel()
    assert np.all(labels[is_sky] == SKY)
    expected = bare().roadmap.ground.label_at(places[:, 0], places[:, 1])
    assert np.mean(labels[is_seen] == expected[is_seen]) > 0.99  # a texel's edge may be rounded either way


@pytest.mark.parametrize("shot", POSES.values(), ids=POSES)
def test_a_box_is_where_its_corners_are(shot: CameraView) -> None:
    ahead = viewing.to_world(shot, np.array([[12.0, 0.0, 0.0]]))[0] if shot.pitch > -1 else (1, 2, 0)
    box = car(ahead[0], ahead[1], yaw=35)
    hull = cv2.convexHull(viewing.project(shot, viewing.corners(box)).astype(np.float32))
    v, u = np.mgrid[: shot.height, : shot.width] + 0.5
    places = np.stack([u, v], axis=-1).reshape(-1, 2)
    inside = np.array([cv2.pointPolygonTest(hull, tuple(place), True) for place in places.tolist()])
    is_car = semantic(bare(), shot, [box])[..., 2].ravel() == CAR
    assert np.all(is_car[inside > 1])
    assert not np.any(is_car[inside < -1])
    assert (inside > 0).sum() > 5


def test_all_cameras_and_the_rays_see_the_same_world() -> None:
    """In the town, with cars, every picture agrees with rays through its pixels, but for edges."""
    scene, generator = town(), np.random.default_rng(0)
    spawns = scene.roadmap.spawn_points
    boxes = [
        Box((x, y, z + 0.75), yaw, (2.4, 1.0, 0.75), CAR, (220, 20, 20), i + 1)
        for i, (x, y, z, yaw) in enumerate(spawns[::4].tolist())
    ]
    num_red = num_red_cars = 0
    for x, y, z, yaw in spawns[generator.permutation(len(spawns))[:12]].tolist():
        shot = view(x + 0.5, y + 0.5, z + 2.4, yaw=math.degrees(yaw) + generator.normal(0, 40))
        others = [box for box in boxes if math.hypot(box.centre[0] - shot.x, box.centre[1] - shot.y) > 4]
        rays = viewing.pixel_rays(shot)
        directions = viewing.to_world(shot, rays) - (shot.x, shot.y, shot.z)
        hits = cast(scene, (shot.x, shot.y, shot.z), directions, 100, others)
        true = (hits.distance_m / np.linalg.norm(rays, axis=1)).reshape(96, 96)
        far = metres(depth(scene, shot, others))
        is_wrong = (np.abs(far - true) > 0.01 * true + 0.01) & np.isfinite(true)
        assert cv2.erode(is_wrong.astype(np.uint8), np.ones((3, 3))).sum() == 0
        labels = semantic(scene, shot, others)[..., 2]
        is_other = (labels != hits.label.reshape(96, 96)) & np.isfinite(true)
        assert is_other.mean() < 0.03
        picture = rgb(scene, shot, others, Weather()).astype(int)
        is_red = picture[..., 2] - picture[..., 1] > 90
        num_red += is_red.sum()
        num_red_cars += (labels[is_red] == CAR).sum()
    assert num_red_cars > 0.97 * num_red > 100


def test_what_is_near_hides_what_is_far() -> None:
    shot, near, far = view(), car(15, 1.75), car(40, 1.75, label=15, length=4)
    middle = viewing.project(shot, np.array([near.centre])).astype(int)[0]
    for boxes in ([near, far], [far, near]):
        assert semantic(bare(), shot, boxes)[middle[1], middle[0], 2] == CAR
    assert metres(depth(bare(), shot, [near, far]))[middle[1], middle[0]] == pytest.approx(12.6, abs=0.5)


def test_a_box_across_the_picture_s_plane_is_cut() -> None:
    """A wall that begins behind the camera fills its right side."""
    wall = Box((0.0, 4.0, 2.0), 0.0, (60.0, 0.5, 2.0), 4, (90, 90, 90), 1)
    shot = view(pitch=0)
    labels = semantic(bare(), shot, [wall])[..., 2]
    assert np.all(labels[40:56, 60:] == 4)
    assert not np.any(labels[:, :47] == 4)
    right = metres(depth(bare(), shot, [wall]))[48, 95]
    assert right == pytest.approx(1.75 / (47.5 / 48), rel=0.01)


def test_a_camera_does_not_see_the_car_that_carries_it() -> None:
    on_roof, inside = view(x=1.5), view(x=0.0, z=1.2)
    carrier, other = car(0, 1.75, actor_id=1), car(12, 1.75, actor_id=2)
    for shot in (on_roof, inside):
        assert np.array_equal(semantic(bare(), shot, [carrier, other]), semantic(bare(), shot, [other]))
    behind = view(x=-6, z=3)
    assert (semantic(bare(), behind, [carrier])[..., 2] == CAR).sum() > 100
    above = view(z=20, pitch=-90)
    assert (semantic(bare(), above, [carrier])[..., 2] == CAR).sum() > 20


def test_from_straight_above_forward_is_up_and_right_is_right() -> None:
    shot = view(y=0, z=40, pitch=-90)
    for box, side in ((car(15, 0), "up"), (car(0, 15), "right")):
        rows, columns = np.nonzero(semantic(bare(), shot, [box])[..., 2] == CAR)
        away = {"up": 48 - rows.mean(), "right": columns.mean() - 48}
        assert away.pop(side) == pytest.approx(48 * 15 / 39, abs=2)
        assert abs(next(iter(away.values()))) < 1.5


def test_on_a_slope_the_ground_is_the_road() -> None:
    pitch = math.degrees(math.atan(viewing.GRADE))
    for yaw in (0, 180, 90):
        shot = view(z=2.4 + 200 * viewing.GRADE, pitch=-10 + (pitch if yaw == 0 else -pitch), yaw=yaw)
        rays = viewing.pixel_rays(shot)
        far = metres(depth(slope(), shot, [])).ravel()
        places = viewing.to_world(shot, rays * far[:, None])[far < 50]
        assert len(places) > 1000
        assert np.abs(places[:, 2] - (places[:, 0] + 200) * viewing.GRADE).max() < 0.05


def test_colours_of_road_verge_and_sky() -> None:
    picture = rgb(bare(), view(), [], Weather()).astype(int)
    labels = semantic(bare(), view(), [])[..., 2]
    blue, green, red = (picture[..., i] for i in range(3))
    is_road, is_verge, is_sky = labels == 1, labels == 10, labels == SKY
    assert np.abs(blue - red)[is_road].mean() < 15  # grey
    assert np.all(green[is_verge] > blue[is_verge])
    assert np.all(blue[is_sky] >= red[is_sky])
    assert np.all(picture[..., 3] == 255)


def test_far_ground_is_averaged_rather_than_picked_at_random() -> None:
    """Driving on by a little changes a little: the dashes and grains far away do not flicker."""
    scene, (x, y, _, yaw) = loop(), loop().roadmap.spawn_points[0].tolist()
    shots = [view(x + d * math.cos(yaw), y + d * math.sin(yaw), yaw=math.degrees(yaw)) for d in (0, 0.4)]
    first, second = (rgb(scene, shot, [], Weather())[42:56].astype(int) for shot in shots)
    raw = [_picked(scene, shot)[42:56].astype(int) for shot in shots]
    assert np.abs(first - second).mean() < 0.7 * np.abs(raw[0] - raw[1]).mean()


def _picked(scene: Scene, shot: CameraView) -> np.ndarray:
    """The ground's colours at the pixels' middles, without any averaging."""
    far = metres(depth(scene, shot, [])).ravel()
    places = viewing.to_world(shot, viewing.pixel_rays(shot) * far[:, None])
    ground = scene.roadmap.ground
    columns, rows = ((places[:, :2] - ground.origin) / ground.resolution).astype(int).T
    height, width = ground.labels.shape
    return ground.colours[rows.clip(0, height - 1), columns.clip(0, width - 1)].reshape(96, 96, 3)


@pytest.mark.parametrize("shot", [view(), view(roll=20, yaw=50, size=(200, 150)), view(z=40, pitch=-70)])
def test_every_resolution_of_the_ground_lies_at_the_same_place(shot: CameraView) -> None:
    """Painted with ramps, the ground has the colour of its place in all rows, near and far."""
    roadmap = parse(document(geometry("<line/>", 400, 0, -200, 0, 0), 400))
    roadmap.props.clear()
    y = roadmap.ground.origin[1] + (np.arange(len(roadmap.ground.labels)) + 0.5) * roadmap.ground.resolution
    for channel, slope_per_m in enumerate((4, -4, 0)):  # two, since rounding brightens both
        ramp = (128 + slope_per_m * y).clip(0, 255).round().astype(np.uint8)
        roadmap.ground.colours[..., channel] = ramp[:, None]
    clear = Weather(fog_distance=1e9, sun_altitude_angle=60.0, cloudiness=0.0)
    picture = rgb(Scene(roadmap), shot, [], clear).reshape(-1, 4).astype(float)
    far = metres(depth(bare(), shot, [])).ravel()
    there = viewing.to_world(shot, viewing.pixel_rays(shot) * far[:, None])
    is_ramp = (np.abs(there[:, 1]) < 25) & (np.abs(there[:, 0]) < 190) & (far < 50)
    error = ((picture[:, 2] - picture[:, 1]) / 8 - there[:, 1])[is_ramp]
    assert is_ramp.sum() > 1000
    assert abs(error.mean()) < 0.03
    assert np.abs(error).max() < 0.6


def test_lines_are_bright_where_they_are_labelled() -> None:
    scene, (x, y, _, yaw) = loop(), loop().roadmap.spawn_points[0].tolist()
    shot = view(x, y, yaw=math.degrees(yaw), size=(64, 64))
    labels = semantic(scene, shot, [])[..., 2][36:]
    brightness = rgb(scene, shot, [], Weather())[36:, :, 2].astype(float)
    is_line = labels == 24
    is_inner = cv2.erode((labels == 1).astype(np.uint8), np.ones((3, 3))) > 0
    assert is_line.sum() > 30
    assert brightness[is_line].mean() > brightness[is_inner].mean() + 60


def test_same_inputs_same_bytes_whatever_was_drawn_before() -> None:
    boxes, shot, weather = [car(10, 1.75), car(14, -2, 170, 8)], view(roll=3), Weather(fog_density=30.0)
    fresh = Scene(bare().roadmap)
    expected = rgb(fresh, shot, boxes, weather)
    for other in POSES.values():
        rgb(fresh, other, boxes[:1], Weather(precipitation=80.0))
    assert np.array_equal(rgb(fresh, shot, boxes, weather), expected)
    assert np.array_equal(rgb(bare(), shot, boxes, weather), expected)


def test_pictures_have_the_size_asked_for() -> None:
    shot = view(size=(37, 21))
    for picture in (rgb(loop(), shot, [], Weather()), semantic(loop(), shot, []), depth(loop(), shot, [])):
        assert picture.shape == (21, 37, 4)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous


@pytest.mark.parametrize("shot", [view(z=-3), view(pitch=90), view(x=1e6), view(z=1e5), view(fov=179)])
def test_odd_places_are_drawn_too(shot: CameraView) -> None:
    with np.errstate(all="raise", under="ignore"):
        for picture in (
            rgb(loop(), shot, [], Weather()),
            semantic(loop(), shot, []),
            depth(loop(), shot, []),
        ):
            assert picture.shape == (96, 96, 4)


def test_rotations_are_carla_s() -> None:
    carla = pytest.importorskip("carla")
    shot = view(3, 4, 5, pitch=-20, yaw=110, roll=15)
    theirs = carla.Transform(carla.Location(3, 4, 5), carla.Rotation(pitch=-20, yaw=110, roll=15))
    points = np.array([[10.0, 0, 0], [10, 3, 0], [10, 3, 2]])
    moved = [theirs.transform(carla.Location(*point)) for point in points.tolist()]
    expected = np.array([[place.x, place.y, place.z] for place in moved])
    assert viewing.to_world(shot, points) == pytest.approx(expected, abs=1e-4)
