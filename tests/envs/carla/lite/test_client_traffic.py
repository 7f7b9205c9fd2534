"""The real client: its Traffic Manager with autopilot cars, and traffic lights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs.carla.ports import TRAFFIC_OFFSET
from tests.envs.carla.lite.server_process import lite_only

carla = pytest.importorskip("carla")
SCRIPT = Path(__file__).with_name("autopilot.py")


@pytest.fixture
def town(client, synchronous):
    """A synchronous town; the map from before afterwards."""
    before = synchronous.get_map().name.split("/")[-1]
    if not os.environ.get("CARLA_HOST"):
        client.load_world("town", False)
    yield client.get_world()
    if not os.environ.get("CARLA_HOST"):
        client.load_world(before)


def test_autopilot_cars_keep_their_lanes(town, address):
    host, port = address
    command = [sys.executable, str(SCRIPT), host, str(port), str(port + TRAFFIC_OFFSET)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    driven = json.loads(done.stdout.splitlines()[-1])
    assert max(driven["astray_m"]) < 1.5
    assert sum(far > 10 for far in driven["far_m"]) >= 2  # one may wait at a red light
    for car in town.get_actors().filter("vehicle.*"):
        car.destroy()


def test_lights_take_turns(town):
    lights = list(town.get_actors().filter("traffic.traffic_light"))
    assert len(lights) >= 4
    light = lights[0]
    group = light.get_group_traffic_lights()
    assert light.id in {each.id for each in group}
    town.tick()
    states = {each.id: [] for each in group}
    for each in group:
        each.set_green_time(1.0)
        each.set_yellow_time(0.5)
        each.set_red_time(0.5)
    assert light.get_green_time() >= 1.0
    for _ in range(300):
        town.tick()
        greens = 0
        for each in group:
            states[each.id].append(each.state)
            greens += each.state == carla.TrafficLightState.Green
        assert greens < len(group)
    for seen in states.values():
        assert {carla.TrafficLightState.Red, carla.TrafficLightState.Green} <= set(seen)
    town.reset_all_traffic_lights()


def test_a_light_can_be_set_and_frozen(town):
    light = town.get_actors().filter("traffic.traffic_light")[0]
    light.freeze(True)
    light.set_state(carla.TrafficLightState.Yellow)
    for _ in range(200):
        town.tick()
    assert light.state == carla.TrafficLightState.Yellow
    assert light.is_frozen()
    light.freeze(False)
    town.freeze_all_traffic_lights(True)
    town.tick()
    assert light.is_frozen()
    town.freeze_all_traffic_lights(False)
    light.reset_group()
    town.tick()
    assert not light.is_frozen()


def test_lights_know_their_lanes(town):
    for light in town.get_actors().filter("traffic.traffic_light"):
        waypoints = light.get_stop_waypoints()
        assert waypoints
        assert light.get_opendrive_id()
        assert town.get_traffic_light_from_opendrive_id(light.get_opendrive_id()).id == light.id
        assert len(light.get_light_boxes()) >= 1


@lite_only
def test_a_car_at_a_light_knows_it(town):
    light = town.get_actors().filter("traffic.traffic_light")[0]
    stop = light.get_stop_waypoints()[0]
    back = stop.previous(4.0)[0].transform
    back.location.z += 0.2
    car = town.spawn_actor(town.get_blueprint_library().find("vehicle.tesla.model3"), back)
    town.tick()
    town.tick()
    assert car.is_at_traffic_light()
    assert car.get_traffic_light().id == light.id
    assert car.get_traffic_light_state() == light.state
    car.destroy()
