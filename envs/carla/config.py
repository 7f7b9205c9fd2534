"""What can be chosen about the CARLA envs; an env spec's options are these fields. Nothing here needs CARLA."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from envs.carla.tasks import weights_from
from envs.options import check_frames, check_words, from_options
from utils.errors import check

DELTA_S = 0.05
"""simulated time of a tick"""


@dataclass(frozen=True)
class CarlaConfig:
    """How a CARLA env looks, what is to be driven, and which simulator does it."""

    task: Literal["circuit", "route"] = "circuit"
    """once round a closed road, or from A to B through junctions"""
    map: str = "circuit"
    """circuit (another one for each seed), loop, town, a FILE.xodr, or a town of the simulator"""
    size: int = 64
    """width and height of the frames, pixels, a multiple of 8"""
    obs: Literal["rgb", "birdview", "semantic"] = "rgb"
    """what a frame shows: the camera's picture, the map from above, or the camera's classes as colours"""
    action_repeat: int = 2
    """ticks an action; their rewards are summed"""
    max_steps: int = 1500
    """ticks of 0.05 s after which an episode is truncated; the guide laps the longest circuit in about 1000"""
    traffic: int = 0
    """other vehicles, driven by the Traffic Manager"""
    weather: str = "ClearNoon"
    """name of one of CARLA's weather presets"""
    vehicle: str = "vehicle.tesla.model3"
    """blueprint of the car"""
    wheel_deg: float = 25.0
    """angle of the front wheels at steering 1, or their lock if that is less: the simulator's cars have 70, ours
    40, far more than driving asks for, and a beginner only leaves the road with them"""
    route_m: float = 200.0
    """length of a route"""
    stuck_s: float = 4.0
    """an episode without a new metre for so long is truncated"""
    off_road_m: float = 4.0
    """an episode ends so far beyond the road's edge"""
    weights: Mapping[str, float] | None = None
    """of the reward's terms, where they are to differ from the standard ones"""
    carla: str | None = None
    """HOST:PORT of running servers, one a slot, separated by commas; "lite" starts our lite server; None starts the
    simulator in the folder CARLA_ROOT if that variable is set, otherwise the lite server"""
    tick_timeout_s: float = 10.0
    """a server that takes longer for a tick counts as lost"""
    start_timeout_s: float = 120.0
    """time for a server to start or to load a map"""
    restarts: int = 3
    """so many lost servers a slot are replaced before the env gives up"""

    def __post_init__(self) -> None:
        check_frames("CARLA", self)
        for name in ("traffic", "restarts"):
            value = getattr(self, name)
            check(value >= 0, f"CARLA's {name} must not be negative; got {value}.")
        for name in ("wheel_deg", "route_m", "stuck_s", "off_road_m", "tick_timeout_s", "start_timeout_s"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"CARLA's {name} must be positive and finite; got {value}.")
        check_words("CARLA", self, {"task": "circuit route", "obs": "rgb birdview semantic"})
        check(
            self.vehicle.startswith("vehicle."),
            f"CARLA's vehicle must be a blueprint such as vehicle.tesla.model3; got {self.vehicle!r}.",
        )
        weights_from(self.weights)
        self.addresses()

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The running servers to use, one a slot; none where servers are to be started.

        Raises:
            UserError: an address is not HOST:PORT.
        """
        if self.carla is None or self.carla == "lite":
            return ()
        return tuple(_address(text.strip()) for text in self.carla.split(","))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    ok = bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65535
    check(ok, f"a CARLA server's address is HOST:PORT, such as localhost:2000; got {text!r}.")
    return host, int(port)


def config_from(options: Mapping[str, Any]) -> CarlaConfig:
    """A config from the options of an env spec.

    Raises:
        UserError: an option is unknown or impossible.
    """
    return from_options(CarlaConfig, "CARLA", options)
