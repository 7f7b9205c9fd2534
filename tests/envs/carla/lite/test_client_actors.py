"""The real client: blueprints, spawning, driving, pushing, batches."""

import math

import pytest

from tests.envs.carla.lite.server_process import lite_only

carla = pytest.importorskip("carla")
MODEL3 = "vehicle.tesla.model3"


def drive(world, vehicle, ticks, **control):
    vehicle.apply_control(carla.VehicleControl(**control))
    for _ in range(ticks):
        world.tick()


def speed_mps(vehicle):
    return vehicle.get_velocity().length()


def test_blueprints_have_what_clients_look_for(synchronous):
    library = synchronous.get_blueprint_library()
    assert len(library.filter("vehicle.*")) > 5
    assert len(library.filter("walker.*")) > 0
    blueprint = library.find(MODEL3)
    assert blueprint.get_attribute("number_of_wheels").as_int() == 4
    assert blueprint.get_attribute("color").recommended_values
    camera = library.find("sensor.camera.rgb")
    camera.set_attribute("fov", "110")
    assert camera.get_attribute("fov").as_float() == 110.0


def test_a_spawned_vehicle_stands_where_it_was_put(synchronous, spawn):
    point = synchronous.get_map().get_spawn_points()[3]
    vehicle = spawn(MODEL3, place=3, role_name="hero")
    assert vehicle.attributes["role_name"] == "hero"
    assert vehicle.type_id == MODEL3
    for _ in range(20):
        synchronous.tick()
    assert (
        math.hypot(vehicle.get_location().x - point.location.x, vehicle.get_location().y - point.location.y)
        < 0.1
    )
    assert abs(vehicle.get_transform().rotation.yaw - point.rotation.yaw) < 0.5
    assert speed_mps(vehicle) < 0.1
    assert vehicle.bounding_box.extent.x > vehicle.bounding_box.extent.y > 0.5


def test_a_place_that_is_taken_is_refused(synchronous, spawn):
    spawn(MODEL3)
    point = synchronous.get_map().get_spawn_points()[0]
    blueprint = synchronous.get_blueprint_library().find(MODEL3)
    assert synchronous.try_spawn_actor(blueprint, point) is None
    with pytest.raises(RuntimeError, match="collision"):
        synchronous.spawn_actor(blueprint, point)


def test_throttle_brake_reverse(synchronous, spawn):
    vehicle = spawn(MODEL3)
    forward = synchronous.get_map().get_spawn_points()[0].get_forward_vector()
    drive(synchronous, vehicle, 60, throttle=0.7)
    assert vehicle.get_velocity().dot(forward) > 4.0
    assert vehicle.get_control().throttle == pytest.approx(0.7)
    drive(synchronous, vehicle, 60, brake=1.0)
    assert speed_mps(vehicle) < 0.3
    drive(synchronous, vehicle, 40, throttle=0.5, reverse=True)
    assert vehicle.get_velocity().dot(forward) < -0.5


def test_steering_to_the_right_lets_yaw_grow(synchronous, spawn):
    vehicle = spawn(MODEL3)
    yaw = vehicle.get_transform().rotation.yaw
    drive(synchronous, vehicle, 40, throttle=0.5)
    yaw = vehicle.get_transform().rotation.yaw
    drive(synchronous, vehicle, 10, throttle=0.5, steer=0.3)
    assert 1 < (vehicle.get_transform().rotation.yaw - yaw + 180) % 360 - 180 < 90
    assert vehicle.get_angular_velocity().z > 1
    assert vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel) > 1


def test_teleports_velocities_and_pushes(synchronous, spawn):
    points = synchronous.get_map().get_spawn_points()
    vehicle = spawn(MODEL3)
    vehicle.set_transform(points[5])
    for _ in range(20):
        synchronous.tick()
    assert vehicle.get_location().distance(points[5].location) < 1.0
    forward = points[5].get_forward_vector()
    vehicle.set_target_velocity(carla.Vector3D(forward.x * 8, forward.y * 8, 0))
    synchronous.tick()
    assert speed_mps(vehicle) == pytest.approx(8.0, abs=1.0)
    vehicle.enable_constant_velocity(carla.Vector3D(5, 0, 0))
    for _ in range(5):
        synchronous.tick()
    assert speed_mps(vehicle) == pytest.approx(5.0, abs=0.3)
    vehicle.disable_constant_velocity()
    vehicle.set_target_velocity(carla.Vector3D())
    synchronous.tick()
    mass = vehicle.get_physics_control().mass
    vehicle.add_impulse(carla.Vector3D(forward.x * 3 * mass, forward.y * 3 * mass, 0))
    synchronous.tick()
    assert 1.0 < speed_mps(vehicle) < 4.0
    vehicle.set_location(points[6].location)
    synchronous.tick()
    assert vehicle.get_location().distance(points[6].location) < 1.5


def test_without_physics_it_stays(synchronous, spawn):
    vehicle = spawn(MODEL3)
    for _ in range(20):
        synchronous.tick()
    here = vehicle.get_location()
    vehicle.set_simulate_physics(False)
    drive(synchronous, vehicle, 20, throttle=1.0)
    assert vehicle.get_location().distance(here) < 0.01
    vehicle.set_simulate_physics(True)
    drive(synchronous, vehicle, 40, throttle=1.0)
    assert vehicle.get_location().distance(here) > 1.0


@pytest.mark.parametrize("is_solid", [True, False])
def test_a_car_drives_through_one_without_collisions(synchronous, spawn, is_solid):
    vehicle, start = spawn(MODEL3), synchronous.get_map().get_spawn_points()[0]
    ahead = synchronous.get_map().get_waypoint(start.location).next(10.0)[0].transform
    ahead.location.z += 0.3
    other = spawn(MODEL3, transform=ahead)
    other.set_simulate_physics(False)
    other.set_collisions(is_solid)
    way = ahead.location - start.location
    drive(synchronous, vehicle, 120, throttle=0.6)
    driven = vehicle.get_location() - start.location
    is_past = driven.x * way.x + driven.y * way.y > 14.0 * math.hypot(way.x, way.y)
    assert is_past is not is_solid


@pytest.mark.parametrize("has_gravity", [True, False])
def test_a_car_in_the_air_falls_unless_gravity_is_off(synchronous, spawn, has_gravity):
    vehicle = spawn(MODEL3)
    for _ in range(20):
        synchronous.tick()
    up = vehicle.get_transform()
    up.location.z += 10.0
    vehicle.set_enable_gravity(has_gravity)
    vehicle.set_transform(up)
    synchronous.tick()
    height_m = vehicle.get_location().z
    for _ in range(10):
        synchronous.tick()
    fallen_m = height_m - vehicle.get_location().z
    assert (fallen_m > 0.5) if has_gravity else abs(fallen_m) < 0.1


def test_a_force_pushes_and_an_angular_impulse_spins(synchronous, spawn):
    vehicle, forward = spawn(MODEL3), synchronous.get_map().get_spawn_points()[0].get_forward_vector()
    for _ in range(10):
        synchronous.tick()
    force_n = 40.0 * vehicle.get_physics_control().mass  # 2 m/s in a tick, 0.4 m/s in a substep
    vehicle.add_force(carla.Vector3D(forward.x * force_n, forward.y * force_n, 0))
    synchronous.tick()
    assert 0.2 < vehicle.get_velocity().dot(forward) < 4.0
    vehicle.add_angular_impulse(carla.Vector3D(0, 0, 20000.0))
    synchronous.tick()
    assert vehicle.get_angular_velocity().z > 1.0


def test_calls_about_looks_are_taken(synchronous, spawn):
    vehicle = spawn(MODEL3)
    vehicle.set_wheel_steer_direction(carla.VehicleWheelLocation.FL_Wheel, 20.0)
    vehicle.show_debug_telemetry(True)
    vehicle.show_debug_telemetry(False)
    synchronous.set_annotations_traverse_translucency(True)
    frame = synchronous.tick()
    drive(synchronous, vehicle, 20, throttle=0.6)
    assert synchronous.get_snapshot().frame == frame + 20
    assert speed_mps(vehicle) > 0.5


@lite_only
def test_absurd_pushes_end_no_world(synchronous, spawn):
    vehicle = spawn(MODEL3)
    for _ in range(5):
        vehicle.add_impulse(carla.Vector3D(1e38, 1e38, 1e38))
        vehicle.add_torque(carla.Vector3D(0, 0, 1e38))
        vehicle.set_target_angular_velocity(carla.Vector3D(0, 0, 1e38))
        synchronous.tick()
    assert math.isfinite(vehicle.get_location().x)
    assert speed_mps(vehicle) < 1000


def test_physics_control_comes_back_and_takes_effect(synchronous, spawn):
    vehicle = spawn(MODEL3)
    physics = vehicle.get_physics_control()
    assert len(physics.wheels) == 4
    physics.mass = 3000.0
    wheels = physics.wheels
    for wheel in wheels:
        wheel.tire_friction = 0.5
    physics.wheels = wheels
    vehicle.apply_physics_control(physics)
    synchronous.tick()
    got = vehicle.get_physics_control()
    assert got.mass == pytest.approx(3000.0)
    assert got.wheels[0].tire_friction == pytest.approx(0.5)


def test_ackermann_control_reaches_its_speed(synchronous, spawn):
    vehicle = spawn(MODEL3)
    settings = vehicle.get_ackermann_controller_settings()
    assert settings.speed_kp > 0
    vehicle.apply_ackermann_controller_settings(settings)
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(speed=4.0))
    for _ in range(500):
        synchronous.tick()
    assert speed_mps(vehicle) == pytest.approx(4.0, abs=1.0)


def test_telemetry_and_lamps(synchronous, spawn):
    vehicle = spawn(MODEL3)
    drive(synchronous, vehicle, 40, throttle=0.6)
    telemetry = vehicle.get_telemetry_data()
    assert telemetry.speed == pytest.approx(speed_mps(vehicle), abs=0.5)
    assert len(telemetry.wheels) == 4
    lamps = carla.VehicleLightState(carla.VehicleLightState.LowBeam | carla.VehicleLightState.Fog)
    vehicle.set_light_state(lamps)
    assert vehicle.get_light_state() == lamps
    synchronous.tick()
    assert synchronous.get_vehicles_light_states()[vehicle.id] == lamps


def test_walkers_walk(synchronous, spawn):
    point = synchronous.get_map().get_spawn_points()[2]
    point.location.z += 1.0
    walker = spawn("walker.pedestrian.0001", transform=point)
    synchronous.tick()
    here = walker.get_location()
    walker.apply_control(carla.WalkerControl(carla.Vector3D(1, 0, 0), 2.0))
    for _ in range(20):
        synchronous.tick()
    there = walker.get_location()
    assert there.x - here.x == pytest.approx(2.0, abs=0.4)
    assert walker.get_control().speed == pytest.approx(2.0)


def test_props_and_the_spectator(synchronous, spawn):
    prop = spawn("static.prop.streetbarrier", place=4)
    synchronous.tick()
    assert prop.get_location().distance(synchronous.get_map().get_spawn_points()[4].location) < 1.0
    spectator = synchronous.get_spectator()
    spectator.set_transform(carla.Transform(carla.Location(1, 2, 30), carla.Rotation(pitch=-90)))
    synchronous.tick()
    assert spectator.get_location().distance(carla.Location(1, 2, 30)) < 0.01
    assert spectator.get_transform().rotation.pitch == pytest.approx(-90)


def test_what_is_attached_moves_along(synchronous, spawn):
    vehicle = spawn(MODEL3)
    transform = carla.Transform(carla.Location(x=1.0, y=0.5, z=2.0), carla.Rotation(yaw=30.0, pitch=-10.0))
    camera = spawn("sensor.camera.rgb", parent=vehicle, transform=transform)
    assert camera.parent.id == vehicle.id
    drive(synchronous, vehicle, 60, throttle=0.6, steer=0.2)
    pose = vehicle.get_transform()
    expected = pose.transform(carla.Location(x=1.0, y=0.5, z=2.0))
    assert camera.get_location().distance(expected) < 0.01
    turn = camera.get_transform().rotation.yaw - pose.rotation.yaw - 30.0
    assert abs((turn + 180) % 360 - 180) < 0.1
    assert camera.get_transform().rotation.pitch == pytest.approx(-10.0, abs=0.01)


def test_destroying(synchronous, spawn):
    vehicle = spawn(MODEL3)
    synchronous.tick()
    assert synchronous.get_actor(vehicle.id) is not None
    assert vehicle.destroy()
    synchronous.tick()
    assert not synchronous.get_actors().filter("vehicle.*")


def test_batches(client, synchronous):
    library, points = synchronous.get_blueprint_library(), synchronous.get_map().get_spawn_points()
    command = carla.command
    control = command.ApplyVehicleControl(command.FutureActor, carla.VehicleControl(throttle=0.5))
    spawns = [command.SpawnActor(library.find(MODEL3), point).then(control) for point in points[:3]]
    results = client.apply_batch_sync([*spawns, spawns[0]], True)
    ids = [result.actor_id for result in results[:3]]
    assert not any(result.error for result in results[:3])
    assert "collision" in results[3].error
    assert [actor.get_control().throttle for actor in synchronous.get_actors(ids)] == [0.5] * 3
    moves = [
        command.ApplyTransform(ids[0], points[5]),
        command.ApplyTargetVelocity(ids[1], carla.Vector3D(1, 0, 0)),
        command.ApplyImpulse(ids[1], carla.Vector3D(1, 0, 0)),
        command.ApplyForce(ids[1], carla.Vector3D(1, 0, 0)),
        command.ApplyTorque(ids[1], carla.Vector3D(0, 0, 1)),
        command.SetSimulatePhysics(ids[2], False),
        command.SetEnableGravity(ids[2], True),
        command.SetVehicleLightState(ids[2], carla.VehicleLightState(carla.VehicleLightState.Fog)),
    ]
    assert not any(result.error for result in client.apply_batch_sync(moves, True))
    assert synchronous.get_actor(ids[0]).get_location().distance(points[5].location) < 1.5
    results = client.apply_batch_sync([command.DestroyActor(each) for each in [*ids, ids[0]]], True)
    assert [bool(result.error) for result in results] == [False, False, False, True]


def test_a_batch_that_nobody_waits_for_can_tick(client, synchronous, spawn):
    vehicle = spawn(MODEL3)
    frame = synchronous.tick()
    client.apply_batch(
        [carla.command.ApplyVehicleControl(vehicle.id, carla.VehicleControl(throttle=0.5))], True
    )
    assert synchronous.tick() == frame + 2
