"""Closed circuits as OpenDRIVE text: the loop, and as many others as there are seeds.

A circuit is a random polygon whose corners are rounded by spiral, arc and spiral, so that the curvature is continuous
as on real roads. Candidates that bend too tightly, come too close to themselves or look dull are thrown away.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.carla.lite.geometry import quadrature
from envs.carla.lite.writer import LANE_M, Bend, LaneText, RoadText, document, end_of, follow

SHOULDER_M = 1.0
RING = 3
"""roads of a circuit: the client follows no road whose successor is itself or its own predecessor"""
ROAD_WIDTH_M = 2 * (LANE_M + SHOULDER_M)

MIN_RADIUS_M, MAX_RADIUS_M = 12.5, 60.0
MIN_LENGTH_M, MAX_LENGTH_M = 300.0, 600.0
_MAX_TURN_RAD = math.radians(150)
_MIN_TURN_RAD = math.radians(5)
_MIN_BACK_TURN_RAD = math.radians(50)
_MIN_LONGEST_STRAIGHT_M = 35.0
_FAR_M = 60.0
"""along the road: what is farther apart must also be so across country, by two road widths"""
_STEP_M = 2.0


def loop() -> str:
    """A stadium: two straights of 120 m and two half circles of 35 m, driven to the left on the right lane."""
    straight, half_circle = Bend(120.0), Bend(35.0 * math.pi, 1 / 35.0, 1 / 35.0)
    return closed("loop", (-60.0, -35.0, 0.0), (straight, half_circle, straight, half_circle))


def circuit(seed: int) -> str:
    """A circuit of 300 to 600 m that does not cross itself, with bends both ways; a function of the seed alone."""
    rng = np.random.default_rng(seed)
    around = rng.uniform(1.15 * MIN_LENGTH_M, 1.1 * MAX_LENGTH_M)  # of the polygon; the road cuts its corners
    while True:
        corners = _polygon(rng, around)
        rounded = _round(corners, rng)
        if rounded is not None and _is_good(*rounded):
            return closed(f"circuit {seed}", *rounded)


def closed(name: str, start: tuple[float, float, float], bends: Sequence[Bend]) -> str:
    """A ring of RING roads with a lane and a shoulder each way."""
    lanes = [
        LaneText(side * number, kind, width, mark, predecessor=side * number, successor=side * number)
        for side in (1, -1)
        for number, kind, width, mark in (
            (1, "driving", LANE_M, "solid"),
            (2, "shoulder", SHOULDER_M, "none"),
        )
    ]
    cuts = [len(bends) * i // RING for i in range(RING + 1)]
    roads = []
    for i, (first, last) in enumerate(itertools.pairwise(cuts)):
        before, after = (i - 1) % RING + 1, (i + 1) % RING + 1
        roads.append(
            RoadText(
                road_id=i + 1,
                start=start,
                bends=bends[first:last],
                lanes=lanes,
                centre_mark="broken",
                predecessor=f'elementType="road" elementId="{before}" contactPoint="end"',
                successor=f'elementType="road" elementId="{after}" contactPoint="start"',
            )
        )
        start = end_of(start, bends[first:last])
    return document(name, roads)


def _polygon(rng: np.random.Generator, around: float) -> NDArray:
    """(n, 2): corners about the origin, m, in either direction; `around` is the length of all sides."""
    n = int(rng.integers(6, 7 + int(around / 100)))
    angles = (np.arange(n) + rng.uniform(-0.38, 0.38, n)) * (2 * np.pi / n)
    radii = rng.uniform(0.3, 1.0, n)
    corners = np.column_stack((np.cos(angles) * rng.uniform(1.0, 1.8), np.sin(angles))) * radii[:, None]
    tilt = rng.uniform(0, 2 * np.pi)
    cos, sin = math.cos(tilt), math.sin(tilt)
    corners = corners @ np.array(((cos, sin), (-sin, cos)))
    corners *= around / np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).sum()
    return corners[::-1] if rng.random() < 0.5 else corners


def _round(
    corners: NDArray, rng: np.random.Generator
) -> tuple[tuple[float, float, float], list[Bend]] | None:
    """Start and bends of the polygon with rounded corners; None where a corner has no room."""
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    headings = np.arctan2(edges[:, 1], edges[:, 0])
    turns = (headings - np.roll(headings, 1) + np.pi) % (2 * np.pi) - np.pi
    if np.abs(turns).max() > _MAX_TURN_RAD or np.abs(turns).min() < _MIN_TURN_RAD:
        return None
    unit = _unit_tangents(turns)
    least = MIN_RADIUS_M * unit
    slack = lengths - least - np.roll(least, -1)
    if slack.min() < 0:
        return None
    spare = np.minimum(slack, np.roll(slack, 1)) / 2 * rng.uniform(0.1, 0.95, len(corners))
    radii = np.minimum((least + spare) / unit, MAX_RADIUS_M)
    tangents = radii * unit
    straights = lengths - tangents - np.roll(tangents, -1)
    first = int(np.argmax(straights))
    bends = [Bend(straights[first] / 2)]
    for i in np.roll(np.arange(len(corners)), -first - 1):
        bends += [*_corner(turns[i], radii[i]), Bend(straights[i] / (2 if i == first else 1))]
    x, y = corners[first] + edges[first] / lengths[first] * (tangents[first] + straights[first] / 2)
    return (float(x), float(y), float(headings[first])), bends


def _corner(turn: float, radius: float) -> list[Bend]:
    """Spiral, arc and spiral: half of the turn (rad) in the arc, the rest in the two spirals."""
    length, curvature = abs(turn) / 2 * radius, math.copysign(1 / radius, turn)
    return [Bend(length, 0.0, curvature), Bend(length, curvature, curvature), Bend(length, curvature, 0.0)]


def _unit_tangents(turns: NDArray) -> NDArray:
    """Distances from a polygon's corners to where their roundings begin, for a radius of 1.

    Half of a rounding's chord is the integral of the cosine between heading and chord over its first half: an arc,
    which has a closed form, and a spiral, which is integrated by quadrature.
    """
    turn = np.abs(turns)[:, None]
    nodes, weights = quadrature(16)
    along = turn / 4 * (nodes + 1)
    spiral = (np.cos(turn / 2 - along**2 / turn) @ weights) * turn[:, 0] / 4
    return (spiral + np.sin(turn[:, 0] / 4)) / np.cos(turn[:, 0] / 2)


def _is_good(start: tuple[float, float, float], bends: list[Bend]) -> bool:
    """Whether a circuit has the right length, bends both ways, a straight, and keeps clear of itself."""
    length = sum(bend.length for bend in bends)
    turned = [bend.length * (bend.start + bend.end) / 2 for bend in bends]
    back_turn = min(sum(turn for turn in turned if turn > 0), -sum(turn for turn in turned if turn < 0))
    longest = 2 * bends[0].length
    if not (MIN_LENGTH_M <= length <= MAX_LENGTH_M and back_turn >= _MIN_BACK_TURN_RAD):
        return False
    return longest >= _MIN_LONGEST_STRAIGHT_M and _clearance_m(start, bends, length) > 2 * ROAD_WIDTH_M


def _clearance_m(start: tuple[float, float, float], bends: list[Bend], length: float) -> float:
    """Least distance between parts of the centre line that are far apart along the road."""
    traces = [
        (*piece.trace(along)[:2], piece.s + along)
        for piece in follow(start, bends)
        for along in [np.arange(0.0, piece.length, _STEP_M)]
    ]
    x, y, s = (np.concatenate(parts) for parts in zip(*traces))
    apart = np.abs(s[:, None] - s)
    is_far = np.minimum(apart, length - apart) > _FAR_M
    return float(np.hypot(x[:, None] - x, y[:, None] - y)[is_far].min())
