"""Collisions: bodies that overlap are found, and pushed apart with impulses.

Every body is an oriented box in the plane with a height; two touch where their boxes and their heights overlap.
Where they do, one contact point with one normal stands for the whole contact. Results depend on the bodies' ids and
places, never on the order in which they are listed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envs.carla.lite.boxes import PropGrid, Shape, overlap
from envs.carla.lite.vehicle_state import VehicleState

__all__ = ["Body", "Contact", "PropGrid", "find_contacts", "resolve"]

_RESTITUTION = 0.1
_FRICTION = 0.4
_SWEEPS = 4
"""times that all contacts are solved in turn, for cars in a row"""
_SLOP_M = 0.005
"""overlap that is left, so that bodies at rest stay in touch"""


@dataclass
class Body:
    """An actor that collides. Its box stands on `state.z`; `resolve` changes `state`."""

    actor_id: int
    label: int
    state: VehicleState
    extent: tuple[float, float, float]
    mass_kg: float
    """math.inf for what nothing moves"""
    yaw_inertia: float = math.inf

    def shape(self) -> Shape:
        """The box where it is now."""
        state, (length, width, height) = self.state, self.extent
        cos, sin = math.cos(state.yaw), math.sin(state.yaw)
        return Shape(state.x, state.y, cos, sin, length, width, state.z, state.z + 2 * height)


@dataclass
class Contact:
    """A body that touches another one or a prop of the map."""

    actor_id: int
    other_id: int
    """0 for a prop of the map"""
    other_label: int
    normal: tuple[float, float, float]
    """unit vector that points from the other to the actor"""
    impulse: tuple[float, float, float]
    """what the actor got, N s; zero until `resolve`"""
    depth: float
    """m"""
    point: tuple[float, float] = (0.0, 0.0)
    prop: int = -1
    """number of the prop in the map's list"""


NO_PROPS = PropGrid()


def find_contacts(bodies: Sequence[Body], props: PropGrid = NO_PROPS) -> list[Contact]:
    """All contacts, sorted by the ids; a pair of bodies is there once, under the smaller id."""
    items = sorted(((body, body.shape()) for body in bodies), key=lambda item: item[0].actor_id)
    contacts = []
    for body, shape in items:
        if body.mass_kg == math.inf:
            continue
        for index in props.near(shape):
            touch = overlap(shape, props.shapes[index])
            if touch is not None:
                label = props.props[index].label
                contacts.append(_contact(body.actor_id, 0, label, touch, index))
    for (one, shape), (two, other) in _pairs(items):
        touch = overlap(shape, other)
        if touch is not None and min(one.mass_kg, two.mass_kg) < math.inf:
            contacts.append(_contact(one.actor_id, two.actor_id, two.label, touch))
    contacts.sort(key=lambda contact: (contact.actor_id, contact.other_id, contact.prop))
    return contacts


def resolve(bodies: Sequence[Body], contacts: Sequence[Contact], dt: float = math.inf) -> list[Contact]:
    """Push the bodies of the contacts apart and change their velocities.

    Args:
        bodies: all of `find_contacts`.
        contacts: what that found.
        dt: length of the step, s, in which the accelerations show the blow; without it they do not.

    Returns:
        the contacts with their impulses, for a pair of bodies one for each of the two: what collision sensors report.
    """
    by_id = {body.actor_id: body for body in bodies}
    pairs = [(by_id[contact.actor_id], by_id.get(contact.other_id), contact) for contact in contacts]
    bounces = [-_RESTITUTION * min(_closing(*pair), 0.0) for pair in pairs]
    pushes = [(0.0, 0.0)] * len(pairs)
    for _ in range(_SWEEPS):
        for i, pair in enumerate(pairs):
            pushes[i] = _push_apart(*pair, bounces[i], pushes[i])
    events = []
    for (one, two, contact), (along, across) in zip(pairs, pushes):
        _separate(one, two, contact)
        nx, ny, _ = contact.normal
        contact.impulse = (nx * along - ny * across, ny * along + nx * across, 0.0)
        events.append(contact)
        if two is not None:
            events.append(_mirrored(contact, one))
    for event in events:
        body = by_id[event.actor_id]
        body.state.ax += event.impulse[0] / body.mass_kg / dt
        body.state.ay += event.impulse[1] / body.mass_kg / dt
    return events


def _pairs(items: list[tuple[Body, Shape]]) -> Iterable[tuple[tuple[Body, Shape], tuple[Body, Shape]]]:
    """Pairs of bodies that could touch: those whose spans along x overlap, smaller id first."""
    spans = sorted(
        (shape.x - shape.reach[0], shape.x + shape.reach[0], i) for i, (_, shape) in enumerate(items)
    )
    for i, (_, end, one) in enumerate(spans):
        for start, _, two in spans[i + 1 :]:
            if start >= end:
                break
            yield items[min(one, two)], items[max(one, two)]


def _contact(
    one: int, two: int, label: int, touch: tuple[float, float, float, float, float], prop: int = -1
) -> Contact:
    nx, ny, depth, x, y = touch
    return Contact(one, two, label, (nx, ny, 0.0), (0.0, 0.0, 0.0), depth, (x, y), prop)


def _mirrored(contact: Contact, one: Body) -> Contact:
    nx, ny, _ = contact.normal
    ix, iy, _ = contact.impulse
    normal, impulse = (-nx, -ny, 0.0), (-ix, -iy, 0.0)
    return Contact(contact.other_id, one.actor_id, one.label, normal, impulse, contact.depth, contact.point)


def _velocity(body: Body | None, contact: Contact) -> tuple[float, float]:
    """Of the body at the contact point, along the normal and across it (the normal turned by 90 degrees)."""
    if body is None:
        return 0.0, 0.0
    state, (nx, ny, _) = body.state, contact.normal
    vx = state.vx - state.yaw_rate * (contact.point[1] - state.y)
    vy = state.vy + state.yaw_rate * (contact.point[0] - state.x)
    return vx * nx + vy * ny, vy * nx - vx * ny


def _closing(one: Body, two: Body | None, contact: Contact) -> float:
    """Speed along the normal; negative while they approach."""
    return _velocity(one, contact)[0] - _velocity(two, contact)[0]


def _ease(body: Body | None, contact: Contact) -> tuple[float, float]:
    """What one N s at the contact point, along or across, changes of the body's speed there."""
    if body is None or body.mass_kg == math.inf:
        return 0.0, 0.0
    nx, ny, _ = contact.normal
    rx, ry = contact.point[0] - body.state.x, contact.point[1] - body.state.y
    arm, lever = rx * ny - ry * nx, rx * nx + ry * ny
    return (
        1 / body.mass_kg + arm * arm / body.yaw_inertia,
        1 / body.mass_kg + lever * lever / body.yaw_inertia,
    )


def _push_apart(
    one: Body, two: Body | None, contact: Contact, bounce: float, so_far: tuple[float, float]
) -> tuple[float, float]:
    """One turn of a contact; the pushes so far, along the normal and across, with this turn's."""
    ease_one, ease_two = _ease(one, contact), _ease(two, contact)
    along_one, across_one = _velocity(one, contact)
    along_two, across_two = _velocity(two, contact)
    along = max(so_far[0] + (bounce - along_one + along_two) / (ease_one[0] + ease_two[0]), 0.0)
    across = so_far[1] - (across_one - across_two) / (ease_one[1] + ease_two[1])
    across = min(max(across, -_FRICTION * along), _FRICTION * along)
    _hit(one, contact, along - so_far[0], across - so_far[1])
    _hit(two, contact, so_far[0] - along, so_far[1] - across)
    return along, across


def _hit(body: Body | None, contact: Contact, along: float, across: float) -> None:
    if body is None or body.mass_kg == math.inf:
        return
    state, (nx, ny, _) = body.state, contact.normal
    px, py = nx * along - ny * across, ny * along + nx * across
    state.vx += px / body.mass_kg
    state.vy += py / body.mass_kg
    rx, ry = contact.point[0] - state.x, contact.point[1] - state.y
    state.yaw_rate += (rx * py - ry * px) / body.yaw_inertia


def _separate(one: Body, two: Body | None, contact: Contact) -> None:
    """Move the bodies out of each other, the lighter one further."""
    weight_one = 1 / one.mass_kg
    weight_two = 0.0 if two is None else 1 / two.mass_kg
    by = max(contact.depth - _SLOP_M, 0.0) / (weight_one + weight_two)
    nx, ny, _ = contact.normal
    one.state.x += nx * by * weight_one
    one.state.y += ny * by * weight_one
    if two is not None:
        two.state.x -= nx * by * weight_two
        two.state.y -= ny * by * weight_two
