"""Drives autopilot cars with the client's Traffic Manager; a script, because a Traffic Manager may abort its process.

    python autopilot.py HOST PORT MANAGER_PORT

Prints, as JSON, how far each car went and how far from its lane's middle it was at most, in metres.
"""

import json
import os
import sys
from typing import Any

import carla


def main(host: str, port: int, manager_port: int) -> None:
    """Drive three cars for 120 ticks."""
    client = carla.Client(host, port)
    client.set_timeout(20.0)
    world = client.get_world()
    world_map = world.get_map()
    manager = client.get_trafficmanager(manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(0)
    blueprint = world.get_blueprint_library().find("vehicle.lincoln.mkz_2020")
    future: Any = carla.command.FutureActor
    autopilot = carla.command.SetAutopilot(future, True, manager_port)
    spawns = [
        carla.command.SpawnActor(blueprint, point).then(autopilot)
        for point in world_map.get_spawn_points()[:30:10]
    ]
    ids = [result.actor_id for result in client.apply_batch_sync(spawns, True)]
    cars = [world.get_actor(each) for each in ids]
    places, far, astray = [car.get_location() for car in cars], [0.0] * 3, [0.0] * 3
    for _ in range(120):
        world.tick()
        for i, car in enumerate(cars):
            here = car.get_location()
            lane = world_map.get_waypoint(here).transform.location
            far[i] += here.distance(places[i])
            astray[i] = max(astray[i], here.distance_2d(lane))
            places[i] = here
    print(json.dumps({"far_m": far, "astray_m": astray}), flush=True)
    manager.shut_down()
    os._exit(0)  # the manager's threads may outlive it and abort


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
