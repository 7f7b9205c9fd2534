"""Upright boxes that turn about z: whether two of them overlap, and a grid to find those of a map."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

_CELL_M = 16.0


class Shape(NamedTuple):
    """An oriented box; `cos` and `sin` are of its yaw."""

    x: float
    y: float
    cos: float
    sin: float
    half_length: float
    half_width: float
    low: float
    high: float

    @property
    def reach(self) -> tuple[float, float]:
        """Half sizes of the box along the axes that holds this one."""
        length, width = self.half_length, self.half_width
        cos, sin = abs(self.cos), abs(self.sin)
        return length * cos + width * sin, length * sin + width * cos


class PropLike(Protocol):
    """An upright box of the map, as `roadmap.Prop` is."""

    @property
    def centre(self) -> tuple[float, float, float]: ...  # noqa: D102
    @property
    def yaw(self) -> float: ...  # noqa: D102
    @property
    def extent(self) -> tuple[float, float, float]: ...  # noqa: D102
    @property
    def label(self) -> int: ...  # noqa: D102


class PropGrid:
    """The map's props by the cells of a grid, made once per map."""

    def __init__(self, props: Iterable[PropLike] = ()) -> None:
        self.props = list(props)
        self.shapes = [_prop_shape(prop) for prop in self.props]
        self._cells: dict[tuple[int, int], list[int]] = {}
        for index, shape in enumerate(self.shapes):
            for cell in _cells(shape):
                self._cells.setdefault(cell, []).append(index)

    def near(self, shape: Shape) -> list[int]:
        """Numbers of the props whose cells a box touches, sorted."""
        cells = self._cells
        found: set[int] = set()
        for cell in _cells(shape):
            if cell in cells:
                found.update(cells[cell])
        return sorted(found)


def overlap(one: Shape, two: Shape) -> tuple[float, float, float, float, float] | None:
    """How two boxes overlap: normal x and y (from two to one), depth, contact point x and y; None if they do not."""
    if one.low >= two.high or two.low >= one.high:
        return None
    dx, dy = one.x - two.x, one.y - two.y
    cos = one.cos * two.cos + one.sin * two.sin
    sin = one.cos * two.sin - one.sin * two.cos
    cos, sin = abs(cos), abs(sin)
    depth, nx, ny = math.inf, 0.0, 0.0
    for near, far in ((one, two), (two, one)):
        for ax, ay, half, other in (
            (near.cos, near.sin, near.half_length, far.half_length * cos + far.half_width * sin),
            (-near.sin, near.cos, near.half_width, far.half_length * sin + far.half_width * cos),
        ):
            along = dx * ax + dy * ay
            gap = half + other - abs(along)
            if gap <= 0:
                return None
            if gap < depth:
                depth = gap
                nx, ny = (ax, ay) if along >= 0 else (-ax, -ay)
    return nx, ny, depth, *_middle(one, two)


def _middle(one: Shape, two: Shape) -> tuple[float, float]:
    """The middle of the corners of either box that lie in the other; if none does, of the two centres."""
    points = [p for p in _corners(one) if _holds(two, p)] + [p for p in _corners(two) if _holds(one, p)]
    points = points or [(one.x, one.y), (two.x, two.y)]
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)


def _corners(shape: Shape) -> list[tuple[float, float]]:
    lx, ly = shape.half_length * shape.cos, shape.half_length * shape.sin
    wx, wy = -shape.half_width * shape.sin, shape.half_width * shape.cos
    signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    return [(shape.x + i * lx + j * wx, shape.y + i * ly + j * wy) for i, j in signs]


def _holds(shape: Shape, point: tuple[float, float]) -> bool:
    dx, dy = point[0] - shape.x, point[1] - shape.y
    along, across = dx * shape.cos + dy * shape.sin, dy * shape.cos - dx * shape.sin
    return abs(along) <= shape.half_length and abs(across) <= shape.half_width


def _prop_shape(prop: PropLike) -> Shape:
    (x, y, z), (length, width, height) = prop.centre, prop.extent
    return Shape(x, y, math.cos(prop.yaw), math.sin(prop.yaw), length, width, z - height, z + height)


def _cells(shape: Shape) -> list[tuple[int, int]]:
    rx, ry = shape.reach
    columns = range(math.floor((shape.x - rx) / _CELL_M), math.floor((shape.x + rx) / _CELL_M) + 1)
    rows = range(math.floor((shape.y - ry) / _CELL_M), math.floor((shape.y + ry) / _CELL_M) + 1)
    return [(column, row) for column in columns for row in rows]
