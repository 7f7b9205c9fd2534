"""What can be chosen about CarRacing; an env spec's options are these fields."""

from dataclasses import dataclass
from typing import Any, Literal

from envs.options import check_frames, check_words, from_options
from utils.errors import check


@dataclass(frozen=True)
class CarRacingConfig:
    """How CarRacing looks and ends. An env spec's options are these fields."""

    size: int = 64
    """width and height of the frames, pixels, a multiple of 8"""
    renderer: Literal["fast", "gymnasium"] = "fast"
    """ours, or gymnasium's own 96x96 pixels, area-averaged to the size"""
    action_repeat: int = 1
    """simulator steps an action; their rewards are summed"""
    crop_hud: bool = False
    """show only the rows above the black strip, stretched to the frame"""
    skip_zoom: bool = False
    """draw the first second at full zoom (the physics stays; needs the fast renderer)"""
    domain_randomize: bool = False
    """Gymnasium's option: other colours in every episode"""
    max_steps: int = 1000
    """simulator steps after which an episode is truncated"""
    perturbation: Literal["none", "color", "bars"] = "none"
    """for tests of robustness: road and grass in shifted colours, or black bars at both sides"""
    lap_end: Literal["truncate", "terminate"] = "truncate"
    """what the end of the lap does: truncate in v2, terminate in v3"""

    def __post_init__(self) -> None:
        check_frames("CarRacing", self)
        words = {
            "renderer": "fast gymnasium",
            "perturbation": "none color bars",
            "lap_end": "truncate terminate",
        }
        check_words("CarRacing", self, words)
        ok = not self.skip_zoom or self.renderer == "fast"
        check(ok, "gymnasium's renderer cannot skip the zoom; take skip_zoom=False or renderer='fast'.")


def config_from(options: dict[str, Any]) -> CarRacingConfig:
    """A config from the options of an env spec.

    Raises:
        UserError: an option is unknown or impossible.
    """
    return from_options(CarRacingConfig, "CarRacing", options)
