"""Rays against the ground's plane and the boxes on it, exact and many at once: lidar, radar, obstacles, `cast_ray`.

As for the cameras, all ground is the plane that touches it at the sensor. A ray that begins inside a box does not
meet that box.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.carla.lite.solids import Solids, solids_of

if TYPE_CHECKING:
    from envs.carla.lite.scene import Box, Scene

_CHUNK = 8192
"""Rays at a time: bounds the memory."""


class Hits(NamedTuple):
    """The first thing that each of n rays meets."""

    distance_m: NDArray
    """(n,); infinite where the ray meets nothing within its reach."""
    label: NDArray
    """(n,): CityObjectLabel, 0 where nothing was met."""
    actor_id: NDArray
    """(n,): 0 for the map and where nothing was met."""
    cos_incidence: NDArray
    """(n,): of the angle between the ray and the surface's normal, 0 to 1."""


def cast(
    scene: "Scene",
    origin: ArrayLike,
    directions: ArrayLike,
    max_m: float,
    boxes: Sequence["Box"],
    *,
    ground: bool = True,
    props: bool = True,
    grow_m: float = 0.0,
) -> Hits:
    """What rays from one point meet first.

    Args:
        scene: the map's.
        origin: where the rays begin, (3,), metres.
        directions: where they go, (n, 3), of any length but 0.
        max_m: how far they reach.
        boxes: of the actors.
        ground: whether the rays meet the ground.
        props: whether they meet the boxes of the map.
        grow_m: all boxes are larger by this much on every side.
    """
    start = np.asarray(origin, np.float64).reshape(3)
    rays = np.asarray(directions, np.float64).reshape(-1, 3)
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    hits = _hit_ground(scene, start, rays, max_m) if ground else _nothing(len(rays))
    solids = solids_of(boxes, [box.actor_id for box in boxes])
    solids = scene.solids.and_then(solids) if props else solids
    solids = _near(solids.grown(grow_m), start, max_m)
    for first in range(0, len(rays), _CHUNK):
        part = slice(first, first + _CHUNK)
        _hit_boxes(Hits(*[field[part] for field in hits]), solids, start, rays[part])
    missed = ~(hits.distance_m <= max_m)
    for field, nothing in zip(hits, (np.inf, 0, 0, 0)):
        field[missed] = nothing
    return hits


def _nothing(num_rays: int) -> Hits:
    return Hits(
        np.full(num_rays, np.inf),
        np.zeros(num_rays, np.uint8),
        np.zeros(num_rays, np.int64),
        np.zeros(num_rays),
    )


def _near(solids: Solids, start: NDArray, max_m: float) -> Solids:
    """The boxes within the reach of a ray."""
    away = np.linalg.norm(solids.centre - start, axis=1) - np.linalg.norm(solids.extent, axis=1)
    return solids.take(np.flatnonzero(away <= max_m))


def _hit_ground(scene: "Scene", start: NDArray, rays: NDArray, max_m: float) -> Hits:
    x, y, z = start.tolist()
    plane = scene.plane_at(x, y)
    normal = np.array([-plane.rise_x, -plane.rise_y, 1.0])
    sinking = -(rays @ normal)
    above = z - plane.height
    met = (sinking > 0) & (above >= 0) & (above <= max_m * sinking)
    distance = np.where(met, above / np.where(met, sinking, 1.0), np.inf)
    places = start[:2] + rays[met, :2] * distance[met, None]
    label = np.zeros(len(rays), np.uint8)
    label[met] = scene.roadmap.ground.label_at(places[:, 0], places[:, 1])
    cosine = np.where(met, sinking / np.linalg.norm(normal), 0.0)
    return Hits(distance, label, np.zeros(len(rays), np.int64), cosine)


def _hit_boxes(hits: Hits, solids: Solids, start: NDArray, rays: NDArray) -> None:
    """Replace hits by nearer ones on boxes, in place."""
    ray, box = _close_pairs(solids, start, rays)
    solid = solids.take(box)
    place, way = _turned(start - solid.centre, solid), _turned(rays[ray], solid)
    # a box is what three slabs share: a ray enters it with the last slab and leaves it with the first
    within = np.abs(place) <= solid.extent
    parallel = way == 0
    step = np.where(parallel, 1.0, way)
    middle, half = -place / step, solid.extent / np.abs(step)
    enter = np.where(parallel, np.where(within, -np.inf, np.inf), middle - half)
    leave = np.where(parallel, np.where(within, np.inf, -np.inf), middle + half)
    distance, side = enter.max(axis=1), enter.argmax(axis=1)
    met = (distance <= leave.min(axis=1)) & (distance >= 0) & (distance < hits.distance_m[ray])
    nearest_last = np.flatnonzero(met)[np.argsort(-distance[met], kind="stable")]
    ray, box = ray[nearest_last], box[nearest_last]
    hits.distance_m[ray] = distance[nearest_last]
    hits.label[ray] = solids.label[box]
    hits.actor_id[ray] = solids.actor_id[box]
    hits.cos_incidence[ray] = np.abs(way[nearest_last, side[nearest_last]])


def _close_pairs(solids: Solids, start: NDArray, rays: NDArray) -> tuple[NDArray, NDArray]:
    """Rays and boxes, pair by pair, where the ray passes through the sphere around the box."""
    towards = solids.centre - start
    radius = np.linalg.norm(solids.extent, axis=1) * (1 + 1e-9)
    apart = np.linalg.norm(towards, axis=1)
    least = np.where(apart > radius, np.sqrt(np.maximum(apart**2 - radius**2, 0)), -radius)
    ray, box = np.nonzero(rays @ towards.T >= least)
    return ray, box


def _turned(vectors: NDArray, solid: Solids) -> NDArray:
    """Vectors (k, 3) in the axes of k boxes."""
    x, y, z = vectors.T
    return np.stack([solid.cos * x + solid.sin * y, solid.cos * y - solid.sin * x, z], axis=1)
