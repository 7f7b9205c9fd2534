"""The real client: every sensor, its frames, and the same bits from the same inputs."""

import hashlib
import math
import queue
import time

import numpy as np
import pytest

from tests.envs.carla.lite.server_process import LiteServer, lite_only

carla = pytest.importorskip("carla")
MODEL3 = "vehicle.tesla.model3"
WAIT_S = 10.0


def pixels(image):
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)


def camera(spawn, kind, vehicle, **attributes):
    size = {"image_size_x": 96, "image_size_y": 64, **attributes}
    return spawn(f"sensor.camera.{kind}", parent=vehicle, **size)


def test_a_picture_belongs_to_its_tick(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    images = listen(camera(spawn, "rgb", vehicle))
    image = None
    for _ in range(30):
        frame = synchronous.tick()
        image = images.get(timeout=WAIT_S)
        assert image.frame == frame
        assert image.timestamp == pytest.approx(synchronous.get_snapshot().elapsed_seconds)
    assert image is not None
    assert (image.width, image.height, image.fov) == (96, 64, 90.0)
    assert pixels(image).std() > 5
    assert images.empty()


def test_the_first_frame_after_listen_is_never_lost(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    for _ in range(15):
        sensor = camera(spawn, "rgb", vehicle, image_size_x=16, image_size_y=16)
        images = listen(sensor)
        frame = synchronous.tick()
        assert images.get(timeout=WAIT_S).frame == frame
        sensor.stop()


def test_sensor_tick_counts_from_the_first_picture(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    images = listen(camera(spawn, "rgb", vehicle, sensor_tick=0.15))
    frames = [synchronous.tick() for _ in range(10)]
    expected = frames[::3]
    assert [images.get(timeout=WAIT_S).frame for _ in expected] == expected
    time.sleep(0.1)
    assert images.empty()


def test_labels_and_depth(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    labels, depths = (
        listen(camera(spawn, "semantic_segmentation", vehicle)),
        listen(camera(spawn, "depth", vehicle)),
    )
    for _ in range(20):
        synchronous.tick()
    while not (labels.qsize() == depths.qsize() == 20):
        time.sleep(0.01)
    seen = pixels(labels.queue[-1])[..., 2]
    assert {carla.CityObjectLabel.Roads, carla.CityObjectLabel.Sky} <= {
        carla.CityObjectLabel(int(i)) for i in set(seen.ravel())
    }
    blue, green, red = (pixels(depths.queue[-1])[..., i].astype(np.float64) for i in range(3))
    metres = (red + 256 * green + 65536 * blue) / (2**24 - 1) * 1000
    road_m = metres[-1, 48]
    assert seen[-1, 48] == 1
    assert 1.5 < road_m < 5.0
    assert metres[0].max() > 500


def test_no_rendering_stops_the_cameras_and_nothing_else(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    images, places = listen(camera(spawn, "rgb", vehicle)), listen(spawn("sensor.other.gnss", parent=vehicle))
    settings = synchronous.get_settings()
    settings.no_rendering_mode = True
    synchronous.apply_settings(settings)
    before, frame = images.qsize(), 0
    for _ in range(3):
        frame = synchronous.tick()
    while not places.queue or places.queue[-1].frame < frame:
        time.sleep(0.01)
    assert images.qsize() <= before + 1


def test_a_collision_is_reported_in_the_tick_in_which_it_happens(synchronous, spawn, listen):
    points = synchronous.get_map().get_spawn_points()
    forward = points[0].get_forward_vector()
    target = carla.Transform(
        points[0].location + carla.Location(forward.x * 12, forward.y * 12, 0), points[0].rotation
    )
    hitting, standing = spawn(MODEL3), spawn(MODEL3, transform=target)
    events = listen(spawn("sensor.other.collision", parent=hitting))
    speeds, frame = [], 0
    hitting.apply_control(carla.VehicleControl(throttle=1.0))
    for _ in range(100):
        frame = synchronous.tick()
        speeds.append(math.hypot(hitting.get_velocity().x, hitting.get_velocity().y))
        if speeds[-1] < 0.7 * max(speeds):
            break
    event = events.get(timeout=WAIT_S)
    assert event.frame == frame
    assert event.actor.id == hitting.id
    assert event.other_actor.id == standing.id
    impulse = event.normal_impulse
    assert impulse.x * forward.x + impulse.y * forward.y < -1000


def test_lane_invasion(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    events = listen(spawn("sensor.other.lane_invasion", parent=vehicle))
    for _ in range(5):
        synchronous.tick()
    right = synchronous.get_map().get_spawn_points()[0].get_right_vector()
    vehicle.enable_constant_velocity(carla.Vector3D(0, -3, 0))
    for _ in range(40):
        synchronous.tick()
    assert right is not None
    assert events.get(timeout=WAIT_S).crossed_lane_markings


def test_imu_and_gnss(synchronous, spawn, listen):
    vehicle = spawn(MODEL3)
    readings = listen(spawn("sensor.other.imu", parent=vehicle))
    places = listen(spawn("sensor.other.gnss", parent=vehicle))
    for _ in range(40):
        synchronous.tick()
    last = [readings.get(timeout=WAIT_S) for _ in range(40)][-1]
    assert last.accelerometer.z == pytest.approx(9.81, abs=0.2)
    assert abs(last.gyroscope.z) < 0.01
    yaw = math.radians(vehicle.get_transform().rotation.yaw)
    assert last.compass == pytest.approx((yaw + math.pi / 2) % (2 * math.pi), abs=0.05)
    place = [places.get(timeout=WAIT_S) for _ in range(40)][-1]
    expected = synchronous.get_map().transform_to_geolocation(
        vehicle.get_transform().transform(carla.Location(1.5, 0, 2.4))
    )
    assert place.latitude == pytest.approx(expected.latitude, abs=1e-6)
    assert place.longitude == pytest.approx(expected.longitude, abs=1e-6)


def test_rays_see_what_stands_ahead(synchronous, spawn, listen):
    points = synchronous.get_map().get_spawn_points()
    forward = points[0].get_forward_vector()
    ahead = carla.Transform(
        points[0].location + carla.Location(forward.x * 15, forward.y * 15, 0), points[0].rotation
    )
    vehicle, other = spawn(MODEL3), spawn(MODEL3, transform=ahead)
    low = carla.Transform(carla.Location(x=2.0, z=1.0))
    lidar = listen(spawn("sensor.lidar.ray_cast", parent=vehicle, range=50, dropoff_general_rate=0))
    semantic = listen(
        spawn("sensor.lidar.ray_cast_semantic", parent=vehicle, range=50, rotation_frequency=20)
    )
    radar = listen(spawn("sensor.other.radar", parent=vehicle, transform=low))
    obstacle = listen(spawn("sensor.other.obstacle", parent=vehicle, transform=low, distance=30))
    frame = [synchronous.tick() for _ in range(5)][-1]
    for measured in (lidar, semantic, radar, obstacle):
        assert [measured.get(timeout=WAIT_S).frame for _ in range(4)][-1] == frame - 1
    points_of = semantic.get(timeout=WAIT_S)
    assert other.id in {point.object_idx for point in points_of}
    assert {point.object_tag for point in points_of} >= {1, 14}
    assert sum(lidar.queue[0].get_point_count(i) for i in range(lidar.queue[0].channels)) == len(
        lidar.queue[0]
    )
    assert any(
        8 < detection.depth < 15 and abs(detection.velocity) < 0.5 for detection in radar.get(timeout=WAIT_S)
    )
    seen = obstacle.get(timeout=WAIT_S)
    assert seen.other_actor.id == other.id
    assert 8 < seen.distance < 14


def test_the_imu_feels_the_gravity_that_is_set(synchronous, spawn, listen):
    """The client does not wait for the call; the next one that it waits for comes after it."""
    vehicle = spawn(MODEL3)
    for _ in range(20):
        synchronous.tick()
    readings = listen(spawn("sensor.other.imu", parent=vehicle))
    assert synchronous.get_imui_sensor_gravity() == pytest.approx(9.81, abs=0.01)
    try:
        for gravity_mps2 in (9.81, 1.62):
            synchronous.set_imui_sensor_gravity(gravity_mps2)
            assert synchronous.get_imui_sensor_gravity() == pytest.approx(gravity_mps2)
            synchronous.tick()
            assert readings.get(timeout=WAIT_S).accelerometer.z == pytest.approx(gravity_mps2, abs=0.2)
    finally:
        synchronous.set_imui_sensor_gravity(9.81)


def episode(client, ticks=60):
    """One drive; a digest of every picture, lidar point and pose."""
    world = client.reload_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    world.set_weather(carla.WeatherParameters.CloudySunset)
    library, points = world.get_blueprint_library(), world.get_map().get_spawn_points()
    vehicle = world.spawn_actor(library.find(MODEL3), points[0])
    world.spawn_actor(library.find("vehicle.audi.tt"), points[1])
    sensors = []
    for kind in ("sensor.camera.rgb", "sensor.lidar.ray_cast", "sensor.other.imu"):
        blueprint = library.find(kind)
        if "camera" in kind:
            blueprint.set_attribute("image_size_x", "48")
            blueprint.set_attribute("image_size_y", "48")
        sensor, measured = (
            world.spawn_actor(blueprint, carla.Transform(carla.Location(1.5, 0, 2.4)), vehicle),
            queue.Queue(),
        )
        sensor.listen(measured.put)
        sensors.append((sensor, measured))
    digest = hashlib.sha256()
    start_s = world.get_snapshot().elapsed_seconds
    for i in range(ticks):
        vehicle.apply_control(carla.VehicleControl(throttle=0.8, steer=0.3 * math.sin(i / 5)))
        world.tick()
        for _, measured in sensors:
            measurement = measured.get(timeout=WAIT_S)
            content = (
                measurement.raw_data
                if hasattr(measurement, "raw_data")
                else str(measurement.accelerometer).encode()
            )
            digest.update(bytes(content))
        snapshot = world.get_snapshot()
        digest.update(
            f"{snapshot.elapsed_seconds - start_s:.6f}{vehicle.get_transform()}{vehicle.get_velocity()}".encode()
        )
    for sensor, _ in sensors:
        sensor.stop()
    client.reload_world()
    return digest.hexdigest()


@lite_only
def test_the_same_inputs_give_the_same_bits(client):
    """After a reload, and in another process."""
    first = episode(client)
    assert episode(client) == first
    with LiteServer() as other:
        elsewhere = carla.Client("127.0.0.1", other.port)
        elsewhere.set_timeout(WAIT_S)
        assert episode(elsewhere) == first
