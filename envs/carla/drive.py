"""One episode: a car with its sensors on a path, and what its ticks mean for the task."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.carla import birdview, routes, tasks
from envs.carla.api import carla
from envs.carla.config import DELTA_S, CarlaConfig
from envs.carla.guide import Car, Guide
from envs.carla.path import Place, wrap
from envs.carla.sensors import Bumper, Camera, Lidar, Lost
from envs.carla.world import World
from utils import seeding

SETTLING_TICKS = 4
"""before an episode is laid out from where the car is. It is still falling then, and for the first few ticks of the
episode: a spawn point is 0.5 m above the road, and LIFT_M comes on top"""
FIRST_TRIES, FIRST_WAIT_S = 5, 1.0
"""ticks on which the first picture is hoped for, and how long"""
SIGHT_M = 40.0
"""how far ahead the guide looks for other cars"""
APART_M = 15.0
"""traffic starts at least so far from our car"""


STATE = ("speed_mps", "steer", "lat_err_m", "head_err_rad", "progress", "damage", "on_track")
"""what the numbers of `Drive.vector` are; progress is the share of the path, damage and on_track lie in [0, 1]"""


class Outcome(NamedTuple):
    """What an action led to."""

    reward: float
    raw: NDArray[np.float64]
    """terms of the reward, unweighted, summed over the action's ticks, in the order of tasks.TERMS"""
    ending: tasks.Ending


class Drive:
    """An episode, which is a function of the world and the seed.

    Args:
        world: where; the drive takes it over.
        config: what to drive.
        seed: of the map, the start, the route and the traffic.
        has_lidar: attach one.

    Raises:
        UserError: what was asked for cannot be had.
        Lost: a sensor does not answer, also in the methods; the client's own RuntimeError: the server does not.

    Attributes:
        image: the last frame, uint8 (size, size, 3).
        free_m: the lidar's distances, float32 (LIDAR_SECTORS,); none without a lidar.
        state: what reward and endings depend on.
    """

    def __init__(self, world: World, config: CarlaConfig, seed: int, has_lidar: bool) -> None:
        self._world, self._config = world, config
        world.clear()
        world.load(config.map, seed)
        rng = seeding.rng(seed, "carla")
        starts = [world.starts[i] for i in rng.permutation(len(world.starts))]
        self._car = world.spawn_car(starts)
        lock_deg = self._car.get_physics_control().wheels[0].max_steer_angle
        self._wheel_deg = min(config.wheel_deg, lock_deg)
        self._gear = self._wheel_deg / lock_deg
        self._control(0.0, 0.0, 1.0)
        for _ in range(SETTLING_TICKS):
            world.tick()
        self._plan(rng)
        here = self._car.get_location()
        world.add_traffic([start for start in starts if start.location.distance(here) > APART_M], rng)
        self._equip(has_lidar)
        self._begin()

    def step(self, steer: float, gas: float, brake: float) -> Outcome:
        """Hold an action for `action_repeat` ticks: all are simulated, but none counts after the episode's end."""
        reward, raw, ending = 0.0, np.zeros(len(tasks.TERMS)), tasks.GOES_ON
        self._control(steer, gas, brake)
        for _ in range(self._config.action_repeat):
            before = self.state
            after = self._tick(steer)
            if ending.reason:
                continue
            terms = tasks.raw_terms(before, after, self._rules)
            raw += terms
            reward += sum(tasks.weighted(terms, self._rules.weights))
            ending, self.state = tasks.ending(after, self._rules), after
        self._look(self._config.tick_timeout_s)
        return Outcome(reward, raw, ending)

    def guide(self) -> tuple[float, float, float]:
        """What the pure-pursuit driver would do now: steer, gas, brake."""
        return self._guide.act(*self._pose, self.state.speed_mps, self._place, self._gap_m())

    def vector(self) -> NDArray[np.float32]:
        """The car's state, float32 (7,), in the order of `STATE`."""
        state = self.state
        share = state.progress_m / self._rules.length_m
        numbers = (state.speed_mps, state.steer, state.lat_err_m, state.head_err_rad, share, state.damage)
        return np.array([*numbers, float(state.on_track)], np.float32)

    def _control(self, steer: float, gas: float, brake: float) -> None:
        self._car.apply_control(carla.VehicleControl(gas, self._gear * steer, brake))

    def _plan(self, rng: np.random.Generator) -> None:
        """Lay the path from where the car stands."""
        config, town, car = self._config, self._world.town, self._car
        here = town.get_waypoint(car.get_location())
        path = routes.circuit(here) if config.task == "circuit" else routes.route(here, config.route_m, rng)
        self._path = path
        self._rules = tasks.Rules(
            path.length_m,
            path.is_closed,
            config.max_steps,
            round(config.stuck_s / DELTA_S),
            config.off_road_m,
            tasks.weights_from(config.weights),
        )
        body = car.bounding_box.extent
        self._half_m = (body.x, body.y)
        self._guide = Guide(path, Car(1.2 * body.x, math.radians(self._wheel_deg)))

    def _equip(self, has_lidar: bool) -> None:
        """Attach the sensors."""
        world, config = self._world, self._config

        def attach(*args: Any) -> Any:
            return world.attach(self._car, *args)

        # Our lite server counts sensor_tick in whole ticks. The simulator's may slip by one, so that there a picture
        # is taken at every tick.
        every_s = config.action_repeat * DELTA_S if world.is_lite else 0.0
        self._bumper = Bumper(attach, DELTA_S)
        self._camera = self._texture = self._lidar = None
        if config.obs == "birdview":
            self._texture = world.texture().with_route(self._path.line())
        else:
            self._camera = Camera(attach, config.size, config.obs == "semantic", every_s)
        if has_lidar:
            self._lidar = Lidar(attach, DELTA_S, every_s)

    def _begin(self) -> None:
        """The tick of the first frame. Sensors begin to listen in the background and may miss the first ticks."""
        self._velocity = (0.0, 0.0)
        self._place = Place(0, 0.0, 0.0, 0.0)
        self.free_m = np.zeros(0, np.float32)
        timeout_s = self._config.tick_timeout_s
        for tries_left in reversed(range(FIRST_TRIES)):
            self.state = tasks.DriveState()
            reading = self._tick(0.0)
            self.state = reading._replace(tick=0, progress_m=0.0, mark_m=0.0, mark_tick=0, impulse_ns=0.0)
            try:
                self._look(min(FIRST_WAIT_S, timeout_s) if tries_left else timeout_s)
                return
            except Lost:
                if not tries_left:
                    raise

    def _tick(self, steer: float) -> tasks.DriveState:
        """Advance the simulator; the state after that."""
        self._frame = self._world.tick()
        pose, velocity = self._car.get_transform(), self._car.get_velocity()
        x, y, yaw = pose.location.x, pose.location.y, math.radians(pose.rotation.yaw)
        vx, vy = velocity.x, velocity.y
        jolt = math.hypot(vx - self._velocity[0], vy - self._velocity[1])
        path = self._path
        place = path.locate(x, y, self._place.segment)
        self._pose, self._velocity, self._place = (x, y, yaw), (vx, vy), place
        point = place.segment % path.num_segments
        room_m = path.right_m[point] if place.lat_m > 0 else path.left_m[point]
        reading = tasks.DriveState(
            speed_mps=math.hypot(vx, vy),
            lat_err_m=place.lat_m,
            head_err_rad=wrap(yaw - place.yaw_rad),
            lane_m=float(path.lane_m[point]),
            beyond_m=max(abs(place.lat_m) - float(room_m), 0.0),
            steer=steer,
            impulse_ns=self._bumper.impulse_ns(self._frame, jolt),
        )
        return tasks.advance(self.state, place.s_m, reading)

    def _look(self, timeout_s: float) -> None:
        """The frame of this tick, and the lidar's turn."""
        if self._camera is not None:
            self.image = self._camera.picture(self._frame, timeout_s)
        elif self._texture is not None:
            others = [_boxed(other) for other in self._world.others]
            ego = birdview.Boxed(*self._pose, *self._half_m)
            self.image = birdview.draw(self._texture, self._config.size, ego, others)
        if self._lidar is not None:
            self.free_m = self._lidar.free_m(self._frame, timeout_s)

    def _gap_m(self) -> float:
        """Distance along the path to the next car in our lane."""
        gap, points = math.inf, self._path.points[:, :2]
        for car in self._world.others:
            place = car.get_location()
            away = np.hypot(*(points - np.array([place.x, place.y])).T)
            nearest = int(away.argmin())
            ahead = float(self._path.s_m[nearest]) - self._place.s_m
            if self._path.is_closed:
                ahead %= self._path.length_m
            if away[nearest] < 2.0 and 0 < ahead < min(gap, SIGHT_M):
                gap = ahead
        return gap


def _boxed(car: Any) -> birdview.Boxed:
    pose, body = car.get_transform(), car.bounding_box.extent
    return birdview.Boxed(pose.location.x, pose.location.y, math.radians(pose.rotation.yaw), body.x, body.y)
