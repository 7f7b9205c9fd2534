"""Closed circuits as OpenDRIVE text."""

import math
from collections.abc import Sequence

from envs.carla.lite.writer import LANE_M, Bend, LaneText, RoadText, document

SHOULDER_M = 1.0


def loop() -> str:
    """A stadium: two straights of 120 m and two half circles of 35 m, driven to the left on the right lane."""
    straight, half_circle = Bend(120.0), Bend(35.0 * math.pi, 1 / 35.0, 1 / 35.0)
    return closed("loop", (-60.0, -35.0, 0.0), (straight, half_circle, straight, half_circle))


def closed(name: str, start: tuple[float, float, float], bends: Sequence[Bend]) -> str:
    """One road with a lane and a shoulder each way, whose end is its start."""
    lanes = [
        LaneText(side * number, kind, width, mark, predecessor=side * number, successor=side * number)
        for side in (1, -1)
        for number, kind, width, mark in (
            (1, "driving", LANE_M, "solid"),
            (2, "shoulder", SHOULDER_M, "none"),
        )
    ]
    road = RoadText(
        road_id=1,
        start=start,
        bends=bends,
        lanes=lanes,
        centre_mark="broken",
        predecessor='elementType="road" elementId="1" contactPoint="end"',
        successor='elementType="road" elementId="1" contactPoint="start"',
    )
    return document(name, [road])
