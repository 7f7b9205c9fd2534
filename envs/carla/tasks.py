"""What is rewarded and what ends an episode: pure functions of a small state, without any simulator.

A task is a path to be driven to its end: once round a closed road (`circuit`), or from A to B (`route`). Progress is
the furthest point reached along the path; only new progress counts, so that turning back, swaying or circling gains
nothing. It is measured against the path's length: a path driven to its end gives `weights.progress` in all, like the
1000 of CarRacing's tiles, whatever its length.

How an episode ends:

- the path's end: truncated on a circuit (the road goes on, as in CarRacing-v2), terminated on a route (one is there);
- a crash, or the car far off the road: terminated;
- no new metre for `stuck_s`: truncated, because the world does not end and no picture shows that clock;
- the time limit: truncated, and never rewarded.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from utils.errors import UserError, check

End = Literal["", "finished", "crash", "off_road", "stuck", "time", "lost"]
"""why an episode is over; "lost" is the server, which this file knows nothing of"""
FULL_SPEED_MPS = 10.0
"""speed at which the speed term reaches 0.76 of its most"""
CRASH_IMPULSE_NS = 5000.0
"""impulse of a crash that counts as 0.76 of the worst"""


class DriveState(NamedTuple):
    """All that reward and endings depend on, after one simulator tick."""

    tick: int = 0
    """ticks of the episode so far"""
    progress_m: float = 0.0
    """furthest point reached along the path"""
    mark_m: float = 0.0
    """progress when the clock of `stuck_s` last started"""
    mark_tick: int = 0
    """and when that was"""
    speed_mps: float = 0.0
    lat_err_m: float = 0.0
    """beside the lane's middle, positive to the right"""
    head_err_rad: float = 0.0
    """car's yaw minus the path's, in [-pi, pi)"""
    lane_m: float = 4.0
    """width of the lane"""
    beyond_m: float = 0.0
    """how far the car's middle is beyond the road's edge; 0 on the road"""
    steer: float = 0.0
    """last command, in [-1, 1]"""
    impulse_ns: float = 0.0
    """of a crash in this tick; 0 without one"""

    @property
    def on_track(self) -> bool:
        """The car's middle is on the road."""
        return self.beyond_m == 0.0

    @property
    def damage(self) -> float:
        """How bad this tick's crash is, in [0, 1)."""
        return math.tanh(self.impulse_ns / CRASH_IMPULSE_NS)


class Weights(NamedTuple):
    """What one unit of each term is worth. All but `progress` are small change beside it, on purpose."""

    progress: float = 1000.0
    """share of the path newly driven"""
    time: float = -0.1
    """one a tick"""
    speed: float = 0.02
    """tanh(speed / 10 m/s) in ticks with new progress"""
    lateral: float = -0.05
    """squared lateral error over half the lane, at most 1"""
    heading: float = -0.05
    """squared heading error over half a turn"""
    on_track: float = -0.1
    """one in ticks off the road"""
    collision: float = -50.0
    """damage of a crash, in [0, 1)"""
    smoothness: float = -0.05
    """squared change of the steering command, in [0, 4]"""
    stuck: float = -10.0
    """one where the episode ends because the car does not get on"""


STANDARD = Weights()
TERMS = Weights._fields
"""Names of the reward's terms, in the order of their arrays."""


@dataclass(frozen=True)
class Rules:
    """A task's numbers."""

    length_m: float
    """of the path"""
    is_closed: bool
    """once round, or from A to B"""
    max_ticks: int = 1000
    """time limit"""
    stuck_ticks: int = 80
    """so long without a new metre ends the episode"""
    off_road_m: float = 4.0
    """so far beyond the road's edge ends it too"""
    weights: Weights = STANDARD


class Ending(NamedTuple):
    """Whether and why an episode is over."""

    terminated: bool
    truncated: bool
    reason: End


GOES_ON = Ending(False, False, "")


def weights_from(given: Mapping[str, float] | None) -> Weights:
    """The standard weights with some of them replaced.

    Raises:
        UserError: there is no such term, or a weight is no finite number.
    """
    for name, value in (given or {}).items():
        check(name in TERMS, f"the reward has no term {name!r}; it has {', '.join(TERMS)}.")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"the weight of {name} must be a finite number; got {value!r}.")
    return STANDARD._replace(**dict(given or {}))


def raw_terms(before: DriveState, after: DriveState, rules: Rules) -> tuple[float, ...]:
    """The reward's terms for one tick, unweighted, in the order of `TERMS`."""
    gained = after.progress_m - before.progress_m
    lateral = after.lat_err_m / (after.lane_m / 2)
    return (
        gained / rules.length_m,
        1.0,
        math.tanh(after.speed_mps / FULL_SPEED_MPS) if gained > 0 else 0.0,
        min(lateral * lateral, 1.0),
        (after.head_err_rad / math.pi) ** 2,
        0.0 if after.on_track else 1.0,
        after.damage,
        (after.steer - before.steer) ** 2,
        1.0 if ending(after, rules).reason == "stuck" else 0.0,
    )


def weighted(raw: tuple[float, ...], weights: Weights) -> tuple[float, ...]:
    """The terms times their weights; their sum is the reward."""
    return tuple(map(operator.mul, raw, weights))


def ending(state: DriveState, rules: Rules) -> Ending:
    """Whether the episode is over in this state. A crash on the last metre is a crash."""
    if state.impulse_ns > 0:
        return Ending(True, False, "crash")
    if state.beyond_m > rules.off_road_m:
        return Ending(True, False, "off_road")
    if state.progress_m >= rules.length_m:
        return Ending(not rules.is_closed, rules.is_closed, "finished")
    if state.tick >= rules.max_ticks:
        return Ending(False, True, "time")
    if state.tick - state.mark_tick >= rules.stuck_ticks:
        return Ending(False, True, "stuck")
    return GOES_ON


def advance(before: DriveState, s_m: float, reading: DriveState) -> DriveState:
    """The state after a tick: the new reading, with progress counted on and never back.

    Args:
        before: the state before the tick.
        s_m: the car's place along the path now.
        reading: what was measured; its tick, progress and mark are ignored.
    """
    progress = max(before.progress_m, s_m)
    tick = before.tick + 1
    is_new = progress - before.mark_m >= 1.0
    return reading._replace(
        tick=tick,
        progress_m=progress,
        mark_m=progress if is_new else before.mark_m,
        mark_tick=tick if is_new else before.mark_tick,
    )
