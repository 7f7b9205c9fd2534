"""gymnasium's car and contacts, with the same arithmetic to the bit and without its NumPy scalars.

`Car.step` of gymnasium spends most of its time on NumPy calls with single numbers and on attributes of Box2D's Python
objects. Here the wheels' state lives in plain objects and floats; every operation and its order are gymnasium's, so
that every force is equal to the bit. Box2D itself does the rest.
"""

import functools
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from Box2D import b2FixtureDef, b2PolygonShape, b2RevoluteJointDef
from gymnasium.envs.box2d.car_dynamics import (
    ENGINE_POWER,
    FRICTION_LIMIT,
    HULL_POLY1,
    HULL_POLY2,
    HULL_POLY3,
    HULL_POLY4,
    SIZE,
    WHEEL_COLOR,
    WHEEL_MOMENT_OF_INERTIA,
    WHEEL_R,
    WHEEL_W,
    WHEELPOS,
    Car,
    Particle,
)
from gymnasium.envs.box2d.car_racing import FPS, FrictionDetector

if TYPE_CHECKING:
    from envs.carracing import CarRacing

HULL = (HULL_POLY1, HULL_POLY2, HULL_POLY3, HULL_POLY4)
DT = 1.0 / FPS
ENGINE = DT * ENGINE_POWER
GRIP = 205000 * SIZE * SIZE
GRASS_FRICTION = FRICTION_LIMIT * 0.6
ROAD_FRICTION = max(GRASS_FRICTION, FRICTION_LIMIT * 1.0)
BRAKE_FORCE = 15
LONGEST_SKID = 30


class Wheel:
    """One wheel's state, beside its Box2D body.

    Attributes:
        omega: angular speed, radians/s.
        phase: its turn, radians.
    """

    __slots__ = (
        "body",
        "brake",
        "gas",
        "joint",
        "omega",
        "phase",
        "radius",
        "skid_particle",
        "skid_start",
        "steer",
        "tiles",
    )

    def __init__(self, body: Any) -> None:
        self.body, self.joint, self.tiles, self.radius = body, body.joint, body.tiles, body.wheel_rad
        self.gas = self.brake = self.steer = self.phase = self.omega = 0.0
        self.skid_start: Any = None
        self.skid_particle: Particle | None = None


@functools.cache
def _fixtures() -> tuple[list[Any], Any]:
    """What the hull and a wheel are made of; once, since pybox2d never frees the shape of a `fixtureDef`."""

    def shape(points: list[tuple[int, int]]) -> Any:
        return b2PolygonShape(vertices=[(x * SIZE, y * SIZE) for x, y in points])

    hull = [b2FixtureDef(shape=shape(points), density=1.0) for points in HULL]
    corners = [(-WHEEL_W, WHEEL_R), (WHEEL_W, WHEEL_R), (WHEEL_W, -WHEEL_R), (-WHEEL_W, -WHEEL_R)]
    wheel = b2FixtureDef(
        shape=shape(corners), density=0.1, categoryBits=0x0020, maskBits=0x001, restitution=0.0
    )
    return hull, wheel


class SlimCar(Car):
    """Gymnasium's car, made anew for every episode without leaking memory."""

    def __init__(self, world: Any, angle: float, x: float, y: float) -> None:
        hull, wheel = _fixtures()
        self.world = world
        body: Any = world.CreateDynamicBody(position=(x, y), angle=angle, fixtures=hull)
        body.color = (0.8, 0.0, 0.0)
        self.hull = body
        self.fuel_spent = 0.0
        self.wheels = []
        for left, front in WHEELPOS:
            place = left * SIZE, front * SIZE
            body = world.CreateDynamicBody(position=(x + place[0], y + place[1]), angle=angle, fixtures=wheel)
            body.joint = world.CreateJoint(self._joint(body, place))
            body.wheel_rad, body.color, body.tiles = 1.0 * WHEEL_R * SIZE, WHEEL_COLOR, set()
            body.gas = body.brake = body.steer = body.phase = body.omega = 0.0
            body.userData = body
            self.wheels.append(body)
        self.drawlist = [*self.wheels, self.hull]
        self.particles = deque(maxlen=30)

    def _joint(self, wheel: Any, place: tuple[float, float]) -> Any:
        return b2RevoluteJointDef(
            bodyA=self.hull,
            bodyB=wheel,
            localAnchorA=place,
            localAnchorB=(0, 0),
            enableMotor=True,
            enableLimit=True,
            maxMotorTorque=180 * 900 * SIZE * SIZE,
            motorSpeed=0,
            lowerAngle=-0.4,
            upperAngle=0.4,
        )


class Drive:
    """What gymnasium's `Car.step` does, with floats.

    Args:
        car: gymnasium's car, of a new episode.
    """

    def __init__(self, car: Car) -> None:
        self._car = car
        self.wheels = tuple(Wheel(body) for body in car.wheels)

    def control(self, steer: float, gas: float, brake: float) -> None:
        """Set what the wheels are told: steering angle in radians, gas and brake in [0, 1]."""
        front_left, front_right, *rear = self.wheels
        front_left.steer = front_right.steer = steer
        gas = min(max(gas, 0.0), 1.0)
        for wheel in rear:
            diff = gas - wheel.gas
            wheel.gas += 0.1 if diff > 0.1 else diff
        for wheel in self.wheels:
            wheel.brake = brake

    def step(self) -> None:
        """Turn the wheels' state into forces for one step of 1/50 s."""
        for wheel in self.wheels:
            turn = wheel.steer - wheel.joint.angle
            speed = min(50.0 * abs(turn), 3.0)
            wheel.joint.motorSpeed = speed if turn >= 0 else -speed

            body = wheel.body
            side = body.GetWorldVector((1, 0))
            side_x, side_y = side.x, side.y
            forward_x, forward_y = -side_y, side_x
            velocity = body.linearVelocity
            velocity_x, velocity_y = velocity.x, velocity.y
            forward_speed = forward_x * velocity_x + forward_y * velocity_y
            side_speed = side_x * velocity_x + side_y * velocity_y

            omega = wheel.omega
            omega += ENGINE * wheel.gas / WHEEL_MOMENT_OF_INERTIA / (abs(omega) + 5.0)
            if wheel.brake >= 0.9:
                omega = 0.0
            elif wheel.brake > 0:
                slower = min(BRAKE_FORCE * wheel.brake, abs(omega))
                omega = omega - slower if omega > 0 else omega + slower
            wheel.phase += omega * DT

            along = (-forward_speed + omega * wheel.radius) * GRIP
            across = -side_speed * GRIP
            force = math.sqrt(along * along + across * across)
            limit = ROAD_FRICTION if wheel.tiles else GRASS_FRICTION
            if force > 2.0 * limit:
                self._skid(wheel)
            else:
                wheel.skid_start = wheel.skid_particle = None
            if force > limit:
                along, across = along / force * limit, across / force * limit
            wheel.omega = omega - DT * along * wheel.radius / WHEEL_MOMENT_OF_INERTIA
            body.ApplyForceToCenter(
                (across * side_x + along * forward_x, across * side_y + along * forward_y), True
            )

    def publish(self) -> None:
        """Write the state to the bodies, where gymnasium's drawing looks for it."""
        for wheel, body in zip(self.wheels, self._car.wheels):
            body.omega, body.phase, body.gas = wheel.omega, wheel.phase, wheel.gas

    def _skid(self, wheel: Wheel) -> None:
        """Leave a trace, as gymnasium does; `rgb_array` shows it."""
        is_grass, place, trace = not wheel.tiles, wheel.body.position, wheel.skid_particle
        if trace and trace.grass == is_grass and len(trace.poly) < LONGEST_SKID:
            trace.poly.append((place[0], place[1]))
        elif wheel.skid_start is None:
            wheel.skid_start = place
        else:
            wheel.skid_particle = self._car._create_particle(wheel.skid_start, place, is_grass)
            wheel.skid_start = None


class Contacts(FrictionDetector):
    """gymnasium's contact listener, which also tells the renderer which tiles have lost their shade."""

    env: "CarRacing"

    def _contact(self, contact: Any, begin: bool) -> None:
        for fixture in (contact.fixtureA, contact.fixtureB):
            tile = fixture.body.userData
            if tile and "road_friction" in tile.__dict__ and (tile.color != self.env.road_color).any():
                self.env.touched.append(tile.idx)
        super()._contact(contact, begin)
