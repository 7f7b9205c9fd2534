"""Scenes and arithmetic for the tests of cameras and rays, written another way than the code under test."""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.camera import CameraView
from envs.carla.lite.maps import load_map
from envs.carla.lite.roadmap import RoadMap, parse
from envs.carla.lite.scene import Box, Scene
from tests.envs.carla.lite.handmade import document, geometry

CAR, ROADS, TERRAIN, SKY = 14, 1, 10, 11
GRADE = 0.08


@functools.cache
def loop() -> Scene:
    """The shipped loop."""
    return Scene(load_map("loop"))


@functools.cache
def town() -> Scene:
    """The shipped town."""
    return Scene(load_map("town"))


@functools.cache
def bare() -> Scene:
    """A straight road along x, 400 m long, without scenery."""
    return Scene(_without_props(document(geometry("<line/>", 400, 0, -200, 0, 0), 400)))


@functools.cache
def slope() -> Scene:
    """The same road, steadily uphill."""
    elevation = f'<elevation s="0" a="0" b="{GRADE}" c="0" d="0"/>'
    return Scene(_without_props(document(geometry("<line/>", 400, 0, -200, 0, 0), 400, elevation=elevation)))


def _without_props(xodr: str) -> RoadMap:
    roadmap = parse(xodr)
    roadmap.props.clear()
    return roadmap


def view(
    x: float = 0.0,
    y: float = 1.75,
    z: float = 2.4,
    pitch: float = -10.0,
    yaw: float = 0.0,
    roll: float = 0.0,
    size: tuple[int, int] = (96, 96),
    fov: float = 90.0,
) -> CameraView:
    """A camera on the straight road; angles in degrees."""
    return CameraView(*size, fov, x, y, z, math.radians(pitch), math.radians(yaw), math.radians(roll))


def car(
    x: float, y: float, yaw: float = 0.0, actor_id: int = 7, label: int = CAR, length: float = 2.4
) -> Box:
    """A red car on flat ground; yaw in degrees."""
    return Box((x, y, 0.75), math.radians(yaw), (length, 1.0, 0.75), label, (220, 20, 20), actor_id)


def corners(box: Box) -> NDArray[np.float64]:
    """The eight corners of a box, (8, 3)."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
    ahead = np.array([math.cos(box.yaw), math.sin(box.yaw), 0.0])
    aside = np.array([-math.sin(box.yaw), math.cos(box.yaw), 0.0])
    across = np.stack([ahead, aside, [0.0, 0.0, 1.0]])
    return np.array(box.centre) + (signs * np.array(box.extent)) @ across


def to_camera(shot: CameraView, points: NDArray) -> NDArray[np.float64]:
    """Points (n, 3) of the world in a camera's axes: turned back by yaw, then pitch, then roll."""
    x, y, z = (np.atleast_2d(points) - (shot.x, shot.y, shot.z)).T
    x, y = _turned(x, y, -shot.yaw)
    x, z = _turned(x, z, -shot.pitch)
    z, y = _turned(z, y, -shot.roll)
    return np.stack([x, y, z], axis=1)


def to_world(shot: CameraView, points: NDArray) -> NDArray[np.float64]:
    """The inverse of `to_camera`."""
    x, y, z = np.atleast_2d(points).T
    z, y = _turned(z, y, shot.roll)
    x, z = _turned(x, z, shot.pitch)
    x, y = _turned(x, y, shot.yaw)
    return np.stack([x + shot.x, y + shot.y, z + shot.z], axis=1)


def project(shot: CameraView, points: NDArray) -> NDArray[np.float64]:
    """Where points (n, 3) appear, (n, 2): 0, 0 is the outer corner of the first pixel."""
    depth, right, up = to_camera(shot, points).T
    focal = shot.width / 2 / math.tan(math.radians(shot.fov_deg) / 2)
    return np.stack([shot.width / 2 + focal * right / depth, shot.height / 2 - focal * up / depth], axis=1)


def pixel_rays(shot: CameraView) -> NDArray[np.float64]:
    """Through every pixel's middle, in the camera's axes, (height * width, 3); a step of 1 goes 1 m deep."""
    focal = shot.width / 2 / math.tan(math.radians(shot.fov_deg) / 2)
    v, u = np.mgrid[: shot.height, : shot.width] + 0.5
    right, up = (u - shot.width / 2) / focal, (shot.height / 2 - v) / focal
    return np.stack([np.ones_like(u), right, up], axis=-1).reshape(-1, 3)


def metres(picture: NDArray) -> NDArray[np.float64]:
    """A depth picture decoded as CARLA's documentation says, (height, width)."""
    blue, green, red = (picture[..., i].astype(np.float64) for i in range(3))
    return 1000 * (red + 256 * green + 65536 * blue) / (256**3 - 1)


def _turned(a: NDArray, b: NDArray, angle: float) -> tuple[NDArray, NDArray]:
    return math.cos(angle) * a - math.sin(angle) * b, math.sin(angle) * a + math.cos(angle) * b
