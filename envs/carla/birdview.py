"""Birdview: the map from above, drawn by us from waypoints and actors, so that any server will do.

Roads and lane marks are painted once a map into a texture, the route once an episode; a frame is that texture
warped into the car's own view, with the other vehicles as boxes. The car looks up, from three quarters of the height.

Axes: n points; texture rows are y (south), columns x (east), as in CARLA.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

VIEW_M = 40.0
"""width and height of what a frame shows"""
EGO_ROW = 0.75
"""the car's place from the top, as a share of the height"""
STEP_M = 1.0
"""distance of the waypoints from which lanes are painted"""
MOST_PIXELS = 16e6
"""a texture's most pixels: towns are painted more coarsely than circuits"""

GROUND, ROAD, MARK, MIDDLE = (42, 74, 40), (96, 96, 100), (220, 220, 220), (222, 184, 60)
ROUTE, EGO, VEHICLE = (60, 110, 220), (220, 50, 47), (240, 150, 60)


class Boxed(NamedTuple):
    """A vehicle from above."""

    x: float
    y: float
    yaw_rad: float
    half_length_m: float
    half_width_m: float


class Texture:
    """A map's roads from above, RGB.

    Args:
        lanes: of the map, see `lanes_of`.
        size: of the frames; the texture is a little finer than they are, unless the map is too large for it.
    """

    def __init__(self, lanes: "list[Strip]", size: int) -> None:
        points = np.concatenate([lane.points for lane in lanes])
        low, high = points.min(0) - VIEW_M, points.max(0) + VIEW_M
        self.pixel_m = max(VIEW_M / size / 1.5, math.sqrt(float(np.prod(high - low)) / MOST_PIXELS))
        self.origin = low
        columns, rows = np.ceil((high - low) / self.pixel_m).astype(int)
        self.pixels: NDArray[np.uint8] = np.full((rows, columns, 3), GROUND, np.uint8)
        for lane in lanes:
            self.line(lane.points, ROAD, max(1, round(float(lane.width.mean()) / self.pixel_m)))
        for lane in lanes:
            if not lane.in_junction:
                self.line(lane.edge(-1), MIDDLE if lane.by_middle else MARK)
                self.line(lane.edge(1), MARK)

    def line(self, points: NDArray[np.float64], colour: tuple[int, int, int], thickness: int = 1) -> None:
        """Paint a line through points (n, 2)."""
        scaled = np.round((points - self.origin) / self.pixel_m * 16).astype(np.int32)
        cv2.polylines(self.pixels, [scaled], False, colour, thickness, cv2.LINE_AA, shift=4)

    def with_route(self, points: NDArray[np.float64]) -> "Texture":
        """A copy with a route through points (n, 2)."""
        copy = object.__new__(Texture)
        copy.pixel_m, copy.origin, copy.pixels = self.pixel_m, self.origin, self.pixels.copy()
        copy.line(points, ROUTE, max(1, round(0.8 / self.pixel_m)))
        return copy


class Strip(NamedTuple):
    """One lane's middle line."""

    points: NDArray[np.float64]
    """(n, 2) x, y"""
    yaw: NDArray[np.float64]
    """(n,)"""
    width: NDArray[np.float64]
    """(n,)"""
    by_middle: bool
    """its left edge parts the directions"""
    in_junction: bool

    def edge(self, side: int) -> NDArray[np.float64]:
        """Its left (-1) or right (1) edge (n, 2)."""
        right = np.stack([-np.sin(self.yaw), np.cos(self.yaw)], axis=1)
        return self.points + side * self.width[:, None] / 2 * right


def lanes_of(town: Any) -> list[Strip]:
    """The lanes of a carla.Map, each in its direction of travel."""
    groups: dict[tuple[int, int, int], list[Any]] = defaultdict(list)
    for waypoint in town.generate_waypoints(STEP_M):
        groups[waypoint.road_id, waypoint.section_id, waypoint.lane_id].append(waypoint)
    strips = []
    for (_, _, lane_id), waypoints in groups.items():
        waypoints.sort(key=lambda waypoint: waypoint.s, reverse=lane_id > 0)
        last = waypoints[-1]
        waypoints += last.next(STEP_M)[:1]
        poses = [waypoint.transform for waypoint in waypoints]
        strips.append(
            Strip(
                np.array([(pose.location.x, pose.location.y) for pose in poses]),
                np.radians([pose.rotation.yaw for pose in poses]),
                np.array([waypoint.lane_width for waypoint in waypoints]),
                abs(lane_id) == 1,
                last.is_junction,
            )
        )
    return strips


def draw(texture: Texture, size: int, ego: Boxed, others: Iterable[Boxed] = ()) -> NDArray[np.uint8]:
    """A frame (size, size, 3) with the car pointing up."""
    scale = size / VIEW_M
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    column, row = size / 2, EGO_ROW * size
    # The inverse map: a frame's pixel lies (row - y) / scale ahead of the car and (x - column) / scale to its right.
    world = np.array(
        [
            [-sin / scale, -cos / scale, ego.x + (cos * row + sin * column) / scale],
            [cos / scale, -sin / scale, ego.y + (sin * row - cos * column) / scale],
        ]
    )
    world[:, 2] -= texture.origin
    frame = cv2.warpAffine(
        texture.pixels,
        world / texture.pixel_m,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderValue=GROUND,
    )
    for box, colour in [*((other, VEHICLE) for other in others), (ego, EGO)]:
        east, south = box.x - ego.x, box.y - ego.y
        if abs(east) + abs(south) > 2 * VIEW_M:
            continue
        forward, sideways = east * cos + south * sin, -east * sin + south * cos
        corners = _corners(box, box.yaw_rad - ego.yaw_rad) + np.array([sideways, -forward])
        pixels = np.round((corners * scale + np.array([column, row])) * 16).astype(np.int32)
        cv2.fillConvexPoly(frame, pixels, colour, cv2.LINE_AA, shift=4)
    return frame  # type: ignore[return-value]


def _corners(box: Boxed, turn_rad: float) -> NDArray[np.float64]:
    """Corners (4, 2) in metres right of and below the box's middle, for a box turned to the right from "up"."""
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    ahead, right = signs[:, 0] * box.half_length_m, signs[:, 1] * box.half_width_m
    return np.stack([ahead * sin + right * cos, -ahead * cos + right * sin], axis=1)
