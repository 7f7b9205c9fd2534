"""Boxes as flat faces to paint: six sides each, and on vehicles windows, lamps and wheels; actors have a shadow.

A detail lies on a side and is painted right after it, so it shares the side's anchor: the point that sorts and culls.
"""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.boxes import PropLike

VEHICLES = frozenset((14, 15, 16, 18, 19))
"""CARLA's labels of cars, trucks, buses, motorcycles and bicycles."""
TRAFFIC_LIGHT = 7
PLAIN, LAMP, SHADOW = 0, 1, 2
"""Kinds of faces: lit by the sun; shining by itself in the dark; a shadow, which the RGB camera alone sees."""


class BoxLike(PropLike, Protocol):
    """What a prop of a map and a box of an actor have in common; metres and radians."""

    @property
    def colour(self) -> tuple[int, int, int]: ...  # noqa: D102


class Faces(NamedTuple):
    """n faces in one array, a column each, since the painter takes and joins faces many times a second."""

    table: NDArray
    """(27, n): four corners around the face, normal, and the rows that the properties name."""

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4, 3, n), metres."""
        return self.table[:12].reshape(4, 3, -1)

    @property
    def normals(self) -> NDArray[np.float64]:
        """Outward unit vectors, (3, n)."""
        return self.table[12:15]

    @property
    def anchors(self) -> NDArray[np.float64]:
        """Middle of the side on which the face lies, (3, n), metres."""
        return self.table[15:18]

    @property
    def spheres(self) -> NDArray[np.float64]:
        """Anchors, the radius around them that holds the side, and `reach`, (5, n), metres.

        A picture shows the face up to reach times focal length (pixels): beyond, it is too small to matter.
        """
        return self.table[15:20]

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Normal times any point of the face, (n,)."""
        return self.table[20]

    @property
    def layers(self) -> NDArray[np.float64]:
        """0 for sides, 1 for what lies upon them, (n,)."""
        return self.table[21]

    @property
    def colours(self) -> NDArray[np.float64]:
        """RGB by day, 0 to 255, (3, n)."""
        return self.table[22:25]

    @property
    def labels(self) -> NDArray[np.float64]:
        """CityObjectLabel, (n,)."""
        return self.table[25]

    @property
    def kinds(self) -> NDArray[np.float64]:
        """PLAIN, LAMP or SHADOW, (n,)."""
        return self.table[26]

    def take(self, index: NDArray) -> "Faces":
        """Some of the faces, by number or by a mask."""
        return Faces(self.table[:, index])

    def moved(self, centre: tuple[float, float, float], yaw: float) -> "Faces":
        """The faces turned about the vertical axis and then moved."""
        cos, sin = math.cos(yaw), math.sin(yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        table = self.table.copy()
        vectors = table[:18].reshape(6, 3, -1)
        vectors[:] = turn @ vectors
        table[20] += np.array(centre) @ vectors[4]
        vectors[[0, 1, 2, 3, 5]] += np.array(centre)[:, None]
        return Faces(table)


def joined(parts: Iterable[Faces]) -> Faces:
    """All faces of several."""
    tables = [part.table for part in parts]
    if len(tables) == 1:
        return Faces(tables[0])
    return Faces(np.concatenate(tables, axis=1) if tables else np.empty((27, 0)))


_WHOLE = (-1, -1, 1, 1)


class _Patch(NamedTuple):
    """A rectangle on a side of a box."""

    side: int
    rectangle: tuple[float, float, float, float] = _WHOLE
    """Left, bottom, right, top as seen from outside, in half sizes."""
    colour: tuple[int, int, int] | None = None
    """None for the box's own."""
    kind: int = PLAIN


_FRONT, _REAR, _RIGHT, _LEFT, _TOP, _BOTTOM = range(6)
_NORMALS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
_ACROSS = np.array([[0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0.0]])
_ALONG = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0.0]])

_GLASS, _DARK, _RED, _PALE = (28, 34, 42), (22, 22, 24), (226, 30, 26), (255, 246, 214)
_SIDES = [_Patch(side) for side in range(6)]
_SIGNAL = [_Patch(_FRONT, kind=LAMP), *[_Patch(side, colour=_DARK) for side in range(1, 6)]]
_DETAILS = [
    _Patch(_REAR, (-0.78, 0.2, 0.78, 0.82), _GLASS),
    _Patch(_REAR, (-0.95, -0.25, -0.55, 0.05), _RED, LAMP),
    _Patch(_REAR, (0.55, -0.25, 0.95, 0.05), _RED, LAMP),
    _Patch(_REAR, (-1, -1, 1, -0.72), _DARK),
    _Patch(_FRONT, (-0.8, 0.15, 0.8, 0.82), _GLASS),
    _Patch(_FRONT, (-0.95, -0.3, -0.6, -0.02), _PALE, LAMP),
    _Patch(_FRONT, (0.6, -0.3, 0.95, -0.02), _PALE, LAMP),
    _Patch(_FRONT, (-1, -1, 1, -0.72), _DARK),
    *[_Patch(side, (-0.75, 0.2, 0.75, 0.82), _GLASS) for side in (_RIGHT, _LEFT)],
    *[_Patch(side, (x, -1, x + 0.3, -0.3), _DARK) for side in (_RIGHT, _LEFT) for x in (-0.78, 0.48)],
]
_SHADOW_GROWTH = 1.1
_LEAST_PX, _LEAST_DETAIL_PX = 0.3, 3.3
"""Sides whose radius is smaller than this in a picture are left out, and so are the details of hardly larger ones."""


def _column(
    patch: _Patch, extent: tuple[float, float, float], colour: tuple[int, int, int], label: int
) -> list:
    """One column of `Faces` for a box at the origin."""
    normal, across, along = _NORMALS[patch.side], _ACROSS[patch.side], _ALONG[patch.side]
    left, bottom, right, top = patch.rectangle
    around = ((left, bottom), (right, bottom), (right, top), (left, top))
    half = np.array(extent)
    anchor = normal * half
    corners = [(normal + u * across + v * along) * half for u, v in around]
    if patch.kind == SHADOW:
        corners = [point - (0, 0, 2 * extent[2]) for point in corners]
        anchor = anchor - (0, 0, 2 * extent[2])
    radius = float(np.linalg.norm(np.abs(across + along) * half)) * _SHADOW_GROWTH
    layer = patch.rectangle != _WHOLE
    look = *(patch.colour or colour), label, patch.kind
    reach = radius / (_LEAST_DETAIL_PX if layer else _LEAST_PX)
    return [*np.concatenate(corners), *normal, *anchor, radius, reach, normal @ corners[0], layer, *look]


@functools.lru_cache(maxsize=1024)
def _body(
    extent: tuple[float, float, float], colour: tuple[int, int, int], label: int, is_actor: bool
) -> Faces:
    """The faces of a box at the origin."""
    patches = _SIDES + _DETAILS if label in VEHICLES else _SIDES
    if label == TRAFFIC_LIGHT and is_actor:
        patches = _SIGNAL
    elif is_actor:
        grown = _SHADOW_GROWTH
        patches = [*patches, _Patch(_TOP, (-grown, -grown, grown, grown), (30, 31, 33), SHADOW)]
    return Faces(np.array([_column(patch, extent, colour, label) for patch in patches], np.float64).T.copy())


def faces_of(box: BoxLike, is_actor: bool) -> Faces:
    """The faces of one box in the world; an actor's throws a shadow, or shines if it is a traffic light."""
    body = _body(tuple(box.extent), tuple(box.colour), box.label, is_actor)
    return body.moved(box.centre, box.yaw)
