"""What the tyres of a bicycle model do against sideways slip."""

import math

from envs.carla.lite.vehicle_spec import GRAVITY_MPS2, VehicleSpec

_CREEP_MPS = 0.5
"""below this speed slip angles are taken as if it were this one"""
_TINY = 1e-9


def loads(spec: VehicleSpec, forward_mps2: float) -> tuple[float, float]:
    """What the front and the rear axle carry, N; braking loads the front."""
    weight = spec.mass_kg * GRAVITY_MPS2
    shifted = spec.mass_kg * spec.cg_height_m * forward_mps2
    front = (weight * spec.rear_axle_m - shifted) / spec.wheelbase_m
    front = within(front, 0.95 * weight)
    return max(front, 0.05 * weight), min(weight - front, 0.95 * weight)


def corner(
    spec: VehicleSpec,
    motion: tuple[float, float, float],
    wheel: float,
    front: tuple[float, float],
    rear: tuple[float, float],
    dt: float,
) -> tuple[float, float, float, tuple[float, float]]:
    """Let the tyres push against their sideways slip.

    The unknowns are the impulses of both axles. Each equals stiffness x slip angle x dt at the end of the step, and
    the slips at the end follow from the impulses: two linear equations. An impulse above the tyre's limit is cut to
    it, and the other axle's is found again.

    Args:
        spec: sizes and weights.
        motion: speed forward, speed to the right, yaw rate.
        wheel: angle of the front wheels.
        front: cornering stiffness (N/rad) and limit (N) of the front axle.
        rear: those of the rear axle.
        dt: length of the step, s.

    Returns:
        the new motion, and the side forces of both axles in N.
    """
    forward, right, rate = motion
    cos, sin = math.cos(wheel), math.sin(wheel)
    a, b, mass, inertia = spec.front_axle_m, spec.rear_axle_m, spec.mass_kg, spec.yaw_inertia
    side = right + a * rate
    slip_front = side * cos - forward * sin
    slip_rear = right - b * rate
    rolls_front = max(abs(forward * cos + side * sin), _CREEP_MPS)
    rolls_rear = max(abs(forward), _CREEP_MPS)

    # what one N s at an axle changes of the slip at either
    both = cos / mass - a * b * cos / inertia
    at_front = 1 / mass + a * a * cos * cos / inertia + rolls_front / (front[0] * dt + _TINY)
    at_rear = 1 / mass + b * b / inertia + rolls_rear / (rear[0] * dt + _TINY)
    det = at_front * at_rear - both * both
    push_front = (slip_rear * both - slip_front * at_rear) / det
    push_rear = (slip_front * both - slip_rear * at_front) / det
    most_front, most_rear = front[1] * dt, rear[1] * dt
    if abs(push_front) > most_front:
        push_front = within(push_front, most_front)
        push_rear = within(-(slip_rear + both * push_front) / at_rear, most_rear)
    elif abs(push_rear) > most_rear:
        push_rear = within(push_rear, most_rear)
        push_front = within(-(slip_front + both * push_rear) / at_front, most_front)

    forward -= push_front * sin / mass
    right += (push_front * cos + push_rear) / mass
    rate += (a * cos * push_front - b * push_rear) / inertia
    return forward, right, rate, (push_front / dt, push_rear / dt)


def within(value: float, bound: float) -> float:
    """A value cut to -bound ... bound."""
    return min(max(value, -bound), bound)
