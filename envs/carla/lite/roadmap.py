"""A map as the rest of the server sees it: lanes, ground, heights, signals, spawn points and scenery."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.carla.lite import scenery
from envs.carla.lite.heights import Heights
from envs.carla.lite.lanes import Lane, build_lanes, sample
from envs.carla.lite.opendrive import MapError, read
from envs.carla.lite.raster import Bounds, Ground
from envs.carla.lite.scenery import Prop
from envs.carla.lite.signals import Signal, build_signals
from envs.carla.lite.spawns import spawn_points
from envs.carla.lite.surfaces import Surface, paint_order, stop_lines

__all__ = ["Ground", "Lane", "MapError", "Prop", "RoadMap", "Signal", "Surface", "parse"]

_MARGIN_M = 30.0
_MAX_SIDE_M = 20_000.0


class RoadMap:
    """A map in CARLA's axes, made from OpenDRIVE text; see `parse`."""

    def __init__(self, name: str, xodr: str, seed: int) -> None:
        network = read(xodr)
        sections = sample(network)
        self.name, self.xodr = name, xodr
        self.lanes: list[Lane] = build_lanes(network, sections)
        if not any(lane.kind == "driving" for lane in self.lanes):
            raise MapError("The OpenDRIVE map has no lane of the type 'driving'; give it one.")
        self.geo_origin: tuple[float, float] = network.geo_origin
        """latitude and longitude of x = y = 0, degrees"""
        self.bounds: Bounds = _bounds(self.lanes)
        """x_min, y_min, x_max, y_max with a margin, m"""
        self.signals: list[Signal] = build_signals(network, self.lanes)
        governed = {lane for signal in self.signals for lane in signal.stop_lanes}
        self.surfaces: list[Surface] = paint_order(sections) + stop_lines(self.lanes, governed)
        """in paint order"""
        self.ground = Ground(self.surfaces, self.bounds)
        self.spawn_points: NDArray = spawn_points(self.lanes)
        """(n, 4): x, y, z, yaw"""
        self.props: list[Prop] = [
            *scenery.lights(self.signals),
            *scenery.place(self.lanes, self.ground, seed),
        ]
        self.heights = Heights(self.lanes, self.bounds)
        self.is_flat: bool = self.heights.is_flat
        """whether `height_at` is 0 everywhere"""

    def height_at(self, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Elevation of the nearest road at places, m."""
        return self.heights.at(x, y)


def parse(xodr: str, name: str = "OpenDriveMap", seed: int = 0) -> RoadMap:
    """The map of an OpenDRIVE document.

    Args:
        xodr: the document's text.
        name: the map's name, as clients see it.
        seed: of the scenery beside the roads.

    Raises:
        MapError: the text is no OpenDRIVE map that can be driven on.
    """
    return RoadMap(name, xodr, seed)


def _bounds(lanes: list[Lane]) -> Bounds:
    points = np.concatenate([lane.points for lane in lanes])
    low, high = points.min(0) - _MARGIN_M, points.max(0) + _MARGIN_M
    if (high - low).max() > _MAX_SIDE_M:
        raise MapError(f"The OpenDRIVE map is more than {_MAX_SIDE_M / 1000:.0f} km wide or high; cut it.")
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
