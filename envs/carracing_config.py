"""What can be chosen about CarRacing; an env spec's options are these fields."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from utils.errors import UserError, check


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
        ok = self.size % 8 == 0 and 16 <= self.size <= 512
        check(ok, f"CarRacing's frame size must be a multiple of 8 from 16 to 512; got {self.size}.")
        for name in ("action_repeat", "max_steps"):
            value = getattr(self, name)
            check(value > 0, f"CarRacing's {name} must be at least 1; got {value}.")
        words = {
            "renderer": "fast gymnasium",
            "perturbation": "none color bars",
            "lap_end": "truncate terminate",
        }
        for name, line in words.items():
            value, known = getattr(self, name), line.split()
            check(value in known, f"CarRacing's {name} is one of {', '.join(known)}; got {value!r}.")
        ok = not self.skip_zoom or self.renderer == "fast"
        check(ok, "gymnasium's renderer cannot skip the zoom; take skip_zoom=False or renderer='fast'.")


def config_from(options: dict[str, Any]) -> CarRacingConfig:
    """A config from the options of an env spec.

    Raises:
        UserError: an option is unknown or impossible.
    """
    known = [field.name for field in fields(CarRacingConfig)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(f"CarRacing has no option {unknown[0]!r}; it has {', '.join(known)}.")
    return CarRacingConfig(**options)
