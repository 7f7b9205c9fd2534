"""Sensors made of rays: lidar, semantic lidar, radar and obstacle detector, as arrays in the sensor's own axes.

The axes are CARLA's: x forward, y right, z up. No laser is reflected twice or goes through glass, and a box reflects
as well as asphalt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.pose import Pose, axes
from envs.carla.lite.rays import Hits, cast
from envs.carla.lite.scene import Box, Scene

_STILL = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LidarSpec:
    """A rotating lidar; defaults are CARLA's."""

    channels: int = 32
    range_m: float = 10.0
    points_per_second: int = 56000
    rotation_frequency: float = 10.0
    """Turns a second."""
    upper_fov_deg: float = 10.0
    lower_fov_deg: float = -30.0
    horizontal_fov_deg: float = 360.0
    attenuation: float = 0.004
    """Intensity falls as exp(-attenuation * metres)."""
    dropoff_general_rate: float = 0.45
    """Share of all points that get lost."""
    dropoff_intensity_limit: float = 0.8
    dropoff_zero_intensity: float = 0.4
    """Of what is left, weaker points than the limit get lost too: this share at 0, none at the limit."""
    noise_stddev_m: float = 0.0
    """Error along the ray."""


@dataclass(frozen=True)
class RadarSpec:
    """A radar; defaults are CARLA's."""

    horizontal_fov_deg: float = 30.0
    vertical_fov_deg: float = 30.0
    range_m: float = 100.0
    points_per_second: int = 1500


class Scan(NamedTuple):
    """One tick of a lidar."""

    points: NDArray
    """(n, 4), channel after channel: x, y, z in metres and intensity; or cosine of the incidence, if semantic."""
    actor_id: NDArray
    """(n,): 0 for the map."""
    label: NDArray
    """(n,)."""
    counts: NDArray
    """(channels,): how many points belong to each."""
    angle_rad: float
    """Where the lidar stands after the tick: give it to the next one."""


def lidar(
    scene: Scene,
    pose: Pose,
    spec: LidarSpec,
    boxes: Sequence[Box],
    angle_rad: float,
    dt_s: float,
    rng: np.random.Generator,
) -> Scan:
    """What a lidar measures in one tick, with its losses and noise.

    Args:
        scene: the map's.
        pose: the sensor's.
        spec: its settings.
        boxes: of the actors, without the one that carries it.
        angle_rad: where it stood after the last tick; 0 is forward.
        dt_s: time since the last tick.
        rng: losses and noise come from it.
    """
    rays, hits, channel, angle = _scan(scene, pose, spec, boxes, angle_rad, dt_s)
    intensity = np.exp(-spec.attenuation * hits.distance_m)
    weakness = np.maximum(1 - intensity / max(spec.dropoff_intensity_limit, 1e-9), 0)
    kept = rng.random(len(rays)) >= spec.dropoff_general_rate
    kept &= rng.random(len(rays)) >= spec.dropoff_zero_intensity * weakness
    error = rng.normal(0, spec.noise_stddev_m, len(rays)) if spec.noise_stddev_m > 0 else 0.0
    reach = np.maximum(hits.distance_m + error, 0)
    return _collect(rays * reach[:, None], intensity, hits, channel, kept, spec.channels, angle)


def semantic_lidar(
    scene: Scene, pose: Pose, spec: LidarSpec, boxes: Sequence[Box], angle_rad: float, dt_s: float
) -> Scan:
    """What a lidar without losses measures in one tick, with labels; arguments as of `lidar`."""
    rays, hits, channel, angle = _scan(scene, pose, spec, boxes, angle_rad, dt_s)
    points, kept = rays * hits.distance_m[:, None], np.ones(len(rays), bool)
    return _collect(points, hits.cos_incidence, hits, channel, kept, spec.channels, angle)


def _scan(
    scene: Scene, pose: Pose, spec: LidarSpec, boxes: Sequence[Box], angle_rad: float, dt_s: float
) -> tuple[NDArray, Hits, NDArray, float]:
    """Rays that met something (n, 3) in the sensor's axes, what they met, their channels, and the new angle."""
    columns = max(round(spec.points_per_second * dt_s / spec.channels), 0)
    field = math.radians(spec.horizontal_fov_deg)
    sweep = spec.rotation_frequency * field * dt_s
    turned = angle_rad + sweep * np.arange(columns) / max(columns, 1)
    azimuth = (turned + field / 2) % max(field, 1e-9) - field / 2
    elevation = np.radians(np.linspace(spec.upper_fov_deg, spec.lower_fov_deg, spec.channels))
    rays = _directions(np.tile(azimuth, spec.channels), np.repeat(elevation, columns))
    hits = cast(scene, pose[:3], rays @ axes(*pose[3:]).T, spec.range_m, boxes)
    met = np.flatnonzero(np.isfinite(hits.distance_m))
    channel = np.repeat(np.arange(spec.channels), columns)[met]
    return rays[met], _take(hits, met), channel, (angle_rad + sweep) % max(field, 1e-9)


def _collect(
    points: NDArray, fourth: NDArray, hits: Hits, channel: NDArray, kept: NDArray, channels: int, angle: float
) -> Scan:
    return Scan(
        np.column_stack([points, fourth])[kept].astype(np.float32),
        hits.actor_id[kept].astype(np.uint32),
        hits.label[kept].astype(np.uint32),
        np.bincount(channel[kept], minlength=channels).astype(np.uint32),
        angle,
    )


def radar(
    scene: Scene,
    pose: Pose,
    spec: RadarSpec,
    boxes: Sequence[Box],
    dt_s: float,
    rng: np.random.Generator,
    velocity_mps: Sequence[float] = _STILL,
    velocities_mps: Mapping[int, Sequence[float]] | None = None,
) -> NDArray[np.float32]:
    """What a radar detects in one tick, (n, 4): velocity (m/s, away is positive), azimuth, altitude (rad), depth (m).

    Args:
        scene: the map's.
        pose: the sensor's.
        spec: its settings.
        boxes: of the actors, without the one that carries it.
        dt_s: time since the last tick.
        rng: the rays' directions within the field of view come from it.
        velocity_mps: the sensor's own, in the world.
        velocities_mps: those of actors, by id; all others stand still.
    """
    num_rays = max(round(spec.points_per_second * dt_s), 0)
    half = np.radians([spec.horizontal_fov_deg, spec.vertical_fov_deg]) / 2
    radius, turn = np.sqrt(rng.random(num_rays)), math.tau * rng.random(num_rays)
    azimuth, altitude = half[0] * radius * np.cos(turn), half[1] * radius * np.sin(turn)
    rays = _directions(azimuth, altitude) @ axes(*pose[3:]).T
    hits = cast(scene, pose[:3], rays, spec.range_m, boxes)
    met = np.flatnonzero(np.isfinite(hits.distance_m))
    speeds = velocities_mps or {}
    theirs = np.array([speeds.get(actor, _STILL) for actor in hits.actor_id[met].tolist()]).reshape(-1, 3)
    away = ((theirs - np.array(velocity_mps)) * rays[met]).sum(axis=1)
    columns = away, azimuth[met], altitude[met], hits.distance_m[met]
    return np.column_stack(columns).astype(np.float32)


def obstacle(
    scene: Scene, pose: Pose, boxes: Sequence[Box], distance_m: float, radius_m: float, only_dynamics: bool
) -> tuple[int, int, float] | None:
    """The first thing straight ahead: its actor id (0 for a prop of the map), its label and its distance in metres.

    Args:
        scene: the map's.
        pose: the sensor's.
        boxes: of the actors, without the one that carries it.
        distance_m: how far it looks.
        radius_m: of the beam; taken as a growth of the boxes.
        only_dynamics: whether the map's props do not count; the ground never does.
    """
    ahead = axes(*pose[3:])[:, 0]
    hits = cast(
        scene,
        pose[:3],
        ahead[None],
        distance_m,
        boxes,
        ground=False,
        props=not only_dynamics,
        grow_m=radius_m,
    )
    metres = float(hits.distance_m[0])
    return (int(hits.actor_id[0]), int(hits.label[0]), metres) if math.isfinite(metres) else None


def _directions(azimuth: NDArray, elevation: NDArray) -> NDArray[np.float64]:
    """Unit vectors, (n, 3)."""
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)


def _take(hits: Hits, index: NDArray) -> Hits:
    return Hits(*[field[index] for field in hits])
