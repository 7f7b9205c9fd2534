"""The cameras: colours, labels and depth of the same geometry.

The ground is a warp of the map's picture, and what stands on it is painted as polygons from far to near. All ground
is taken for the plane that touches it at the camera. A camera on a vehicle does not see that vehicle: the one whose
box holds the camera or is right below it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.backdrop import backdrop, draw_sun
from envs.carla.lite.faces import LAMP, SHADOW, faces_of, joined
from envs.carla.lite.ground import draw_ground, to_texels
from envs.carla.lite.lens import LensKey, lens, sample_points
from envs.carla.lite.painter import SHIFT, Painted, visible
from envs.carla.lite.pose import axes
from envs.carla.lite.scene import SIGHT_M, Box, Scene
from envs.carla.lite.weather import Palette, Weather, palette

TERRAIN, SKY = 10, 11
FARTHEST_M = 1000.0
"""The depth camera's largest value, and the sky's."""
_MAST_M = 2.0
"""A camera within so many metres above a vehicle's roof is mounted on it."""


class CameraView(NamedTuple):
    """A camera: pixels, horizontal field of view in degrees, place in metres, rotation in radians."""

    width: int
    height: int
    fov_deg: float
    x: float
    y: float
    z: float
    pitch: float
    yaw: float
    roll: float


def rgb(scene: Scene, view: CameraView, boxes: Sequence[Box], weather: Weather) -> NDArray[np.uint8]:
    """Colours, uint8 (height, width, 4), BGRA."""
    key, look = _lens_key(scene, view), palette(weather)
    optics, behind = lens(key), backdrop(key, weather)
    turn = axes(view.pitch, view.yaw, view.roll)
    picture = np.empty((view.height, view.width, 3), np.uint8)
    draw_ground(picture, scene.colours, optics, (view.x, view.y, view.yaw), scene.verge)
    cv2.multiply(picture, behind.share, dst=picture, scale=1 / 255)
    cv2.add(picture, behind.light, dst=picture)
    draw_sun(picture, turn, optics.focal, look)
    seen = _see(scene, view, boxes, turn, optics.focal, shadows=True)
    for polygon, colour in zip(seen.polygons, _shades(seen, look)):
        cv2.fillConvexPoly(picture, polygon, colour, cv2.LINE_8, SHIFT)
    result = np.empty((view.height, view.width, 4), np.uint8)
    cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA, result)
    return result


def semantic(scene: Scene, view: CameraView, boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """CityObjectLabels, uint8 (height, width, 4): the label in the R byte (index 2)."""
    optics = lens(_lens_key(scene, view))
    matrix = to_texels(scene.labels, (view.x, view.y, view.yaw)) @ optics.to_plane @ sample_points()
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    size = (view.width, view.height)
    labels = cv2.warpPerspective(
        scene.labels.image, matrix, size, None, flags, cv2.BORDER_CONSTANT, (TERRAIN,)
    )
    labels[_over_picture(optics.to_plane[2], view) <= 0] = SKY
    seen = _see(scene, view, boxes, axes(view.pitch, view.yaw, view.roll), optics.focal)
    for polygon, label in zip(seen.polygons, seen.faces.labels.tolist()):
        cv2.fillConvexPoly(labels, polygon, (label,), cv2.LINE_8, SHIFT)
    picture = np.zeros((view.height, view.width, 4), np.uint8)
    picture[..., 2], picture[..., 3] = labels, 255
    return picture


def depth(scene: Scene, view: CameraView, boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """Metres along the camera's axis in CARLA's coding, uint8 (height, width, 4), BGRA.

    (R + 256 G + 65536 B) / (2^24 - 1) * 1000 m; 1000 m is the sky and all that is farther.
    """
    metres = depth_m(scene, view, boxes)
    code = np.rint(metres * ((2**24 - 1) / FARTHEST_M)).astype(np.uint32)
    picture = np.empty((view.height, view.width, 4), np.uint8)
    picture[..., 2], picture[..., 1], picture[..., 0] = code & 255, code >> 8 & 255, code >> 16
    picture[..., 3] = 255
    return picture


def depth_m(scene: Scene, view: CameraView, boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Metres along the camera's axis, float (height, width), at most FARTHEST_M."""
    optics = lens(_lens_key(scene, view))
    nearness = _over_picture(optics.to_plane[2], view)
    metres = 1 / np.maximum(nearness, 1 / FARTHEST_M)
    turn = axes(view.pitch, view.yaw, view.roll)
    seen = _see(scene, view, boxes, turn, optics.focal)
    if not seen.polygons:
        return metres
    which = np.full((view.height, view.width), -1, np.int32)
    for index, polygon in enumerate(seen.polygons):
        cv2.fillConvexPoly(which, polygon, (index,), cv2.LINE_8, SHIFT)
    rows, columns = np.nonzero(which >= 0)
    face = which[rows, columns]
    # on a face's plane 1 / depth is linear in the picture: (normal . ray) / (offset - normal . camera)
    through = axes(0, view.yaw, 0) @ optics.rays
    normals, offsets = seen.faces.normals, seen.faces.offsets
    planes = through.T @ normals / (offsets - np.array([view.x, view.y, view.z]) @ normals)
    u, v, one = planes[:, face]
    inverse = u * (columns + 0.5) + v * (rows + 0.5) + one
    farthest = 1 / seen.corner_depths.max(axis=0)[face]
    nearest = 1 / seen.corner_depths.min(axis=0)[face]
    metres[rows, columns] = np.minimum(1 / inverse.clip(farthest, nearest), FARTHEST_M)
    return metres


def _lens_key(scene: Scene, view: CameraView) -> LensKey:
    """What the lens depends on, rounded: a turning car's pitch and height differ in their last bits every tick."""
    plane = scene.plane_at(view.x, view.y)
    cos, sin = math.cos(view.yaw), math.sin(view.yaw)
    ahead = round(cos * plane.rise_x + sin * plane.rise_y, 6)
    aside = round(cos * plane.rise_y - sin * plane.rise_x, 6)
    pitch, roll, above = round(view.pitch, 7), round(view.roll, 7), round(view.z - plane.height, 5)
    texel = scene.labels.texel
    return LensKey(view.width, view.height, view.fov_deg, pitch, roll, above, (ahead, aside), texel)


def _over_picture(row: NDArray, view: CameraView) -> NDArray[np.float64]:
    """What is linear in a picture's place, at every pixel's centre, (height, width)."""
    across, down = np.arange(view.width) + 0.5, np.arange(view.height) + 0.5
    return (row[0] * across + row[2]) + (row[1] * down)[:, None]


def _see(
    scene: Scene, view: CameraView, boxes: Sequence[Box], turn: NDArray, focal: float, shadows: bool = False
) -> Painted:
    """The polygons of props and boxes."""
    others = [faces_of(box, is_actor=True) for box in boxes if _may_show(box, view)]
    faces = joined([scene.props_near(view.x, view.y, view.z), *others])
    if not shadows:
        faces = faces.take(faces.kinds != SHADOW)
    return visible(faces, np.array([view.x, view.y, view.z]), turn, (view.width, view.height), focal)


def _may_show(box: Box, view: CameraView) -> bool:
    """Whether a box may be in a picture: it is not far off, not behind the camera, and does not carry it."""
    x, y, z = box.centre
    length, width, height = box.extent
    dx, dy, dz = x - view.x, y - view.y, z - view.z
    size = length + width + height
    flat = math.cos(view.pitch)
    ahead = flat * (math.cos(view.yaw) * dx + math.sin(view.yaw) * dy) + math.sin(view.pitch) * dz
    if ahead < -size or dx * dx + dy * dy > (SIGHT_M + size) ** 2:
        return False
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    is_over = abs(cos * dx + sin * dy) <= length and abs(cos * dy - sin * dx) <= width
    return not (is_over and -height <= -dz <= height + _MAST_M)


def _shades(seen: Painted, look: Palette) -> list[list[float]]:
    """RGB of every polygon in this light."""
    faces = seen.faces
    facing = np.maximum(look.sun @ faces.normals, 0)
    colours = faces.colours * (look.gain[:, None] * (1 - look.shadow * (1 - facing)))
    if look.is_dark:
        colours = np.where(faces.kinds == LAMP, faces.colours, colours)
    hidden = look.haze(seen.distances)
    colours = (colours + look.veil[:, None]) * (1 - hidden) + look.horizon[:, None] * hidden
    return colours.T.tolist()
