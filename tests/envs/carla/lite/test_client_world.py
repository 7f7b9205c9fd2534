"""The real client: connecting, settings, time, maps, episodes, two clients."""

import time

import pytest

from tests.envs.carla.lite.server_process import lite_only

carla = pytest.importorskip("carla")
SPACING_M = 2.0


def until(condition, seconds=10.0):
    """Wait for what comes in its own time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_versions_agree(client):
    assert client.get_server_version() == client.get_client_version()


def test_asynchronous_time_goes_on_by_itself(world):
    first = world.wait_for_tick(5.0)
    second = world.wait_for_tick(5.0)
    assert second.frame > first.frame
    assert second.elapsed_seconds > first.elapsed_seconds
    seen = []
    number = world.on_tick(lambda snapshot: seen.append(snapshot.frame))
    until(lambda: len(seen) >= 3)
    world.remove_on_tick(number)
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_synchronous_time_stands_until_it_is_told(synchronous):
    frames = [synchronous.tick() for _ in range(5)]
    assert frames == list(range(frames[0], frames[0] + 5))
    snapshot = synchronous.get_snapshot()
    assert snapshot.frame == frames[-1]
    assert snapshot.delta_seconds == pytest.approx(0.05)
    before = snapshot.elapsed_seconds
    time.sleep(0.1)
    synchronous.tick()
    assert synchronous.get_snapshot().elapsed_seconds == pytest.approx(before + 0.05)


def test_settings_come_back_as_they_were_given(synchronous):
    settings = synchronous.get_settings()
    settings.fixed_delta_seconds, settings.substepping = 0.1, True
    settings.max_substep_delta_time, settings.max_substeps = 0.02, 5
    synchronous.apply_settings(settings)
    got = synchronous.get_settings()
    assert got.synchronous_mode
    assert got.fixed_delta_seconds == pytest.approx(0.1)
    assert (got.max_substep_delta_time, got.max_substeps) == (pytest.approx(0.02), 5)
    synchronous.tick()
    assert synchronous.get_snapshot().delta_seconds == pytest.approx(0.1)


def test_the_map_is_the_one_that_the_client_computes_with(world):
    world_map = world.get_map()
    points = world_map.get_spawn_points()
    assert len(points) > 5
    for point in points:
        waypoint = world_map.get_waypoint(point.location)
        assert waypoint.lane_type == carla.LaneType.Driving
        assert waypoint.transform.location.distance(point.location) < 1.0
        turn = (waypoint.transform.rotation.yaw - point.rotation.yaw + 180) % 360 - 180
        assert abs(turn) < 2.0


def test_reload_world_begins_anew(client, world):
    library = world.get_blueprint_library()
    vehicle = world.spawn_actor(library.find("vehicle.tesla.model3"), world.get_map().get_spawn_points()[0])
    again = client.reload_world()
    assert again.id != world.id
    assert again.get_actor(vehicle.id) is None
    assert not again.get_actors().filter("vehicle.*")


def test_load_world_takes_every_map_of_the_list(client, world):
    maps = client.get_available_maps()
    for name in maps:
        loaded = client.load_world(name)
        assert loaded.get_map().name.split("/")[-1] == name.split("/")[-1]
        assert loaded.get_map().get_spawn_points()
    client.load_world(maps[0])


def test_an_unknown_map_is_an_error(client):
    with pytest.raises(RuntimeError):
        client.load_world("Town99")


def test_reload_keeps_settings_when_asked_to(client, synchronous):
    world = client.reload_world(False)
    assert world.get_settings().synchronous_mode
    assert not client.reload_world(True).get_settings().synchronous_mode


@lite_only
def test_a_map_of_the_clients_own_becomes_the_whole_world(client):
    """Physics, spawn points and pictures come from the text; here another loop than the server's."""
    from envs.carla.lite import maps

    name = client.get_world().get_map().name.split("/")[-1]
    world = client.generate_opendrive_world(maps.circuit(3), carla.OpendriveGenerationParameters())
    assert world.get_map().name.endswith("OpenDriveMap")
    here = maps.load_map("circuit", 3)
    points = world.get_map().get_spawn_points()
    assert len(points) == len(here.spawn_points)
    assert points[0].location.x == pytest.approx(here.spawn_points[0, 0], abs=1e-3)
    client.load_world(name)


@pytest.mark.parametrize("text", ["", "no xml", "<OpenDRIVE></OpenDRIVE>"])
def test_what_is_no_map_is_an_error(client, world, text):
    with pytest.raises(RuntimeError):
        client.generate_opendrive_world(text)
    assert client.get_world().id == world.id


def test_two_clients_see_the_same_world(client, address, synchronous):
    other = carla.Client(*address)
    other.set_timeout(10.0)
    theirs = other.get_world()
    assert theirs.id == synchronous.id
    library = synchronous.get_blueprint_library()
    point = synchronous.get_map().get_spawn_points()[0]
    vehicle = synchronous.spawn_actor(library.find("vehicle.tesla.model3"), point)
    frame = theirs.tick()
    until(lambda: synchronous.get_snapshot().frame == frame)
    assert theirs.get_actor(vehicle.id).get_location().distance(point.location) < 1.0
    other.get_world().get_actor(vehicle.id).destroy()
    synchronous.tick()
    assert synchronous.get_actors([vehicle.id]) is not None
    assert not synchronous.get_actors().filter("vehicle.*")


def test_clients_come_and_go(address, synchronous):
    for _ in range(20):
        client = carla.Client(*address)
        client.set_timeout(10.0)
        client.get_world().tick()


def test_weather(synchronous):
    synchronous.set_weather(carla.WeatherParameters.HardRainSunset)
    assert synchronous.get_weather() == carla.WeatherParameters.HardRainSunset


def test_things_of_the_map(synchronous):
    buildings = synchronous.get_level_bbs(carla.CityObjectLabel.Buildings)
    everything = synchronous.get_level_bbs(carla.CityObjectLabel.Any)
    assert 0 < len(buildings) < len(everything)
    objects = synchronous.get_environment_objects(carla.CityObjectLabel.Buildings)
    assert [each.bounding_box.location for each in objects] == [each.location for each in buildings]
    assert len(synchronous.get_names_of_all_objects()) == len(everything)
    synchronous.enable_environment_objects({each.id for each in objects}, True)
    synchronous.tick()
    assert len(synchronous.get_environment_objects(carla.CityObjectLabel.Buildings)) == len(objects)


def test_rays(synchronous):
    point = synchronous.get_map().get_spawn_points()[0].location
    above = carla.Location(point.x, point.y, 20.0)
    ground = synchronous.ground_projection(above, 100.0)
    assert ground.label == carla.CityObjectLabel.Roads
    assert ground.location.distance(point) < 1.0
    assert synchronous.project_point(above, carla.Vector3D(0, 0, 1), 50.0) is None
    hits = synchronous.cast_ray(above, carla.Location(point.x, point.y, -1.0))
    assert [hit.label for hit in hits] == [carla.CityObjectLabel.Roads]


def test_debug_shapes_are_taken(synchronous):
    here, there = carla.Location(0, 0, 1), carla.Location(5, 0, 1)
    debug = synchronous.debug
    debug.draw_point(here)
    debug.draw_line(here, there)
    debug.draw_arrow(here, there)
    debug.draw_box(carla.BoundingBox(here, carla.Vector3D(1, 1, 1)), carla.Rotation())
    debug.draw_string(here, "here")
    synchronous.tick()


def test_layers_are_taken(synchronous):
    synchronous.load_map_layer(carla.MapLayer.Buildings)


@lite_only
def test_no_files_are_needed(client):
    assert client.get_required_files() == []


@lite_only
def test_what_is_not_supported_says_so(client, world):
    with pytest.raises(RuntimeError, match=r"start_recorder.*not supported"):
        client.start_recorder("recording.log")
    with pytest.raises(RuntimeError, match=r"unload_map_layer.*not supported"):
        world.unload_map_layer(carla.MapLayer.Buildings)
