"""What is in the world: vehicles, walkers, sensors, traffic lights, props and the spectator.

An actor knows its place (`pose`: metres, radians) and packs its own record of the world state.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from envs.carla.lite import wire
from envs.carla.lite.ackermann import AckermannController, AckermannTarget
from envs.carla.lite.blueprints import Blueprint
from envs.carla.lite.collisions import Body
from envs.carla.lite.lights import TrafficLights
from envs.carla.lite.pose import Pose
from envs.carla.lite.signals import Signal
from envs.carla.lite.vehicle import Field
from envs.carla.lite.vehicle_spec import VehicleSpec
from envs.carla.lite.vehicle_state import Control, VehicleState, angular_velocity

ORIGIN = Pose(0.0, 0.0, 0.0)
STILL: wire.Motion = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
SPEED_LIMIT_KMH = 30.0
REACH_M = 8.0
"""A vehicle is at a light when its origin is so near before the end of a lane that the light governs."""
HEAD_M, HEAD_EXTENT = 5.0, (0.2, 0.25, 0.55)
"""Height of a traffic light's head over the foot of its pole, and its half sizes, as `scenery` puts it there."""
TRIGGER_EXTENT = (REACH_M / 2, 1.75, 1.0)


@dataclass(eq=False)
class Actor:
    """Anything with an id; this class itself is what only stands there: a prop, the spectator."""

    id: int
    blueprint: Blueprint
    attributes: dict[str, str]
    """every attribute's value, by name"""
    pose: Pose
    parent: "Actor | None" = None
    mount: Pose = ORIGIN
    """place and attitude as seen from the parent"""
    body: Body | None = None
    """what others bump into; None for what has no body"""
    has_collisions: bool = True
    stream_id: int = 0
    """0: it has no stream"""

    @property
    def extent(self) -> tuple[float, float, float]:
        """Half sizes of its box, m."""
        return self.blueprint.extent

    @property
    def box_centre(self) -> tuple[float, float, float]:
        """Centre of its box, from its origin."""
        return (0.0, 0.0, self.extent[2])

    def move(self, pose: Pose) -> None:
        """Put it elsewhere."""
        self.pose = pose
        if self.body is not None:
            state = self.body.state
            state.x, state.y, state.z, state.yaw = pose.x, pose.y, self.foot_m, pose.yaw

    @property
    def foot_m(self) -> float:
        """Height of the underside of its box."""
        return self.pose.z + self.box_centre[2] - self.extent[2]

    def follow_body(self) -> None:
        """Take the place over to which the physics or others have pushed its body."""

    def motion(self) -> wire.Motion:
        """Velocity, angular velocity (roll, pitch, yaw rate) and acceleration; m, s, radians."""
        return STILL

    def record(self) -> bytes:
        """Its state, as clients get it each tick."""
        return wire.actor_record(self.id, self.pose, self.motion())

    def description(self) -> list[Any]:
        """`ActorDescription`."""
        known = self.blueprint.by_name
        values = [[name, known[name].type_code, value] for name, value in self.attributes.items()]
        return [self.blueprint.uid, self.blueprint.id, values]

    def bounding_box(self) -> list[Any]:
        """`BoundingBox`, from the actor's origin."""
        return [self.box_centre, self.extent, (0.0, 0.0, 0.0), self.id]


@dataclass(eq=False)
class Vehicle(Actor):
    """A car, lorry, motorcycle or bicycle."""

    spec: VehicleSpec = field(kw_only=True)
    state: VehicleState = field(kw_only=True)
    control: Control = field(default_factory=Control)
    target: AckermannTarget | None = None
    """what drives it in place of a control"""
    pilot: AckermannController = field(default_factory=AckermannController)
    light_flags: int = 0
    at_light: "TrafficLight | None" = None

    def move(self, pose: Pose) -> None:
        """Put it elsewhere; it keeps its speed."""
        state = self.state
        state.x, state.y, state.z, state.pitch, state.yaw, state.roll = self.pose = pose

    def stop_at(self, pose: Pose) -> None:
        """Put it there, at rest and free of pushes."""
        fresh = VehicleState(is_simulated=self.state.is_simulated, has_gravity=self.state.has_gravity)
        vars(self.state).update(vars(fresh))
        self.move(pose)

    def refit(self, spec: VehicleSpec) -> None:
        """Make it of other parts."""
        self.spec = spec
        if self.body is not None:
            self.body.mass_kg, self.body.yaw_inertia = spec.mass_kg, spec.yaw_inertia

    def follow_body(self) -> None:
        """Take the pose over from the physics."""
        state = self.state
        self.pose = Pose(state.x, state.y, state.z, state.pitch, state.yaw, state.roll)

    def motion(self) -> wire.Motion:
        """As the physics has it."""
        s = self.state
        return (s.vx, s.vy, s.vz, *angular_velocity(s), s.ax, s.ay, s.az)

    def record(self) -> bytes:
        """With the control, as clients read it back, and the traffic light that it stands at."""
        c = self.control
        gear = c.gear if c.manual_gear_shift else self.state.gear
        control = (c.throttle, c.steer, c.brake, c.hand_brake, c.reverse, c.manual_gear_shift, gear)
        light = (self.at_light.id, self.at_light.state) if self.at_light else None
        return wire.vehicle_record(self.id, self.pose, self.motion(), control, SPEED_LIMIT_KMH, light)


@dataclass(eq=False)
class Walker(Actor):
    """A pedestrian: an upright box that goes where it is told and looks at nothing; its origin is its middle."""

    direction: tuple[float, float, float] = (1.0, 0.0, 0.0)
    speed_mps: float = 0.0
    jump: bool = False

    @property
    def box_centre(self) -> tuple[float, float, float]:
        """Its origin."""
        return (0.0, 0.0, 0.0)

    def head_for(self, yaw: float, speed_mps: float) -> None:
        """Walk in a direction."""
        self.direction, self.speed_mps = (math.cos(yaw), math.sin(yaw), 0.0), speed_mps

    def velocity(self) -> tuple[float, float]:
        """Along x and y."""
        length = math.hypot(*self.direction[:2])
        scale = self.speed_mps / length if length > 0 else 0.0
        return self.direction[0] * scale, self.direction[1] * scale

    def walk(self, dt: float, height: Field) -> None:
        """Go on for a moment, on the ground."""
        assert self.body is not None
        state, (vx, vy) = self.body.state, self.velocity()
        state.x += vx * dt
        state.y += vy * dt
        state.z = height(state.x, state.y)

    def follow_body(self) -> None:
        """It can be pushed along the ground."""
        assert self.body is not None
        state = self.body.state
        self.pose = self.pose._replace(x=state.x, y=state.y, z=state.z + self.extent[2])

    def motion(self) -> wire.Motion:
        """Its walking speed."""
        return (*self.velocity(), *STILL[2:])

    def record(self) -> bytes:
        """With its control."""
        control = (*self.direction, self.speed_mps, self.jump)
        return wire.walker_record(self.id, self.pose, self.motion(), control)


@dataclass(eq=False)
class TrafficLight(Actor):
    """One signal of the map; its origin is the foot of its pole."""

    signal: Signal = field(kw_only=True)
    lights: TrafficLights = field(kw_only=True)
    trigger: Pose = field(kw_only=True)
    """middle of the place where vehicles obey it"""

    @property
    def state(self) -> int:
        """CARLA's number: red 0, yellow 1, green 2, off 3, unknown 4."""
        return int(self.lights.light(self.id).state)

    def record(self) -> bytes:
        """With its phase."""
        light, times = self.lights.light(self.id), self.lights.times(self.id)
        seconds = (times.green, times.yellow, times.red, light.elapsed_s)
        frozen = self.lights.is_frozen(self.id)
        name, group = self.signal.signal_id, self.signal.group
        return wire.light_record(self.id, self.pose, name, seconds, group, frozen, int(light.state))

    def bounding_box(self) -> list[Any]:
        """`BoundingBox` of the place where vehicles obey it, from the actor's origin."""
        dx, dy = self.trigger.x - self.pose.x, self.trigger.y - self.pose.y
        cos, sin = math.cos(self.pose.yaw), math.sin(self.pose.yaw)
        centre = (dx * cos + dy * sin, dy * cos - dx * sin, self.trigger.z - self.pose.z)
        turn = (0.0, wire.to_degrees(math.remainder(self.trigger.yaw - self.pose.yaw, 2 * math.pi)), 0.0)
        return [centre, TRIGGER_EXTENT, turn, self.id]

    def lamp_boxes(self) -> list[list[Any]]:
        """`BoundingBox`es of the head, in the world."""
        pose = self.pose
        return [
            [(pose.x, pose.y, pose.z + HEAD_M), HEAD_EXTENT, (0.0, wire.to_degrees(pose.yaw), 0.0), self.id]
        ]


def attach(parent: Pose, mount: Pose) -> Pose:
    """The pose in the world of what is mounted on a parent."""
    x, y, z, pitch, yaw, roll = parent
    if pitch == 0.0 and roll == 0.0:
        cos, sin = math.cos(yaw), math.sin(yaw)
        x, y = x + cos * mount.x - sin * mount.y, y + sin * mount.x + cos * mount.y
        yaw = math.remainder(yaw + mount.yaw, 2 * math.pi)
        return Pose(x, y, z + mount.z, mount.pitch, yaw, mount.roll)
    rows = rotation(pitch, yaw, roll)
    px, py, pz = (row[0] * mount.x + row[1] * mount.y + row[2] * mount.z for row in rows)
    own = rotation(mount.pitch, mount.yaw, mount.roll)
    turn = [[sum(row[k] * own[k][j] for k in range(3)) for j in range(3)] for row in rows]
    pitch = math.asin(min(max(turn[2][0], -1.0), 1.0))
    yaw, roll = math.atan2(turn[1][0], turn[0][0]), math.atan2(-turn[2][1], turn[2][2])
    return Pose(x + px, y + py, z + pz, pitch, yaw, roll)


def rotation(pitch: float, yaw: float, roll: float) -> tuple[tuple[float, float, float], ...]:
    """Rows of the matrix whose columns are the forward, right and up vectors; `pose.axes` in plain floats."""
    cp, sp, cy, sy = math.cos(pitch), math.sin(pitch), math.cos(yaw), math.sin(yaw)
    cr, sr = math.cos(roll), math.sin(roll)
    return (
        (cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr),
        (cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr),
        (sp, -cp * sr, cp * cr),
    )
