"""The settings of an episode, as a client gives and gets them."""

import math
from dataclasses import dataclass, fields
from typing import Any

from utils.errors import check

MAX_SUBSTEPS = 16
MAX_DELTA_S = 1.0


@dataclass(frozen=True)
class Settings:
    """In the order of the wire."""

    is_synchronous: bool = False
    no_rendering: bool = False
    fixed_delta_s: float | None = None
    substepping: bool = True
    max_substep_delta_s: float = 0.01
    max_substeps: int = 10
    max_culling_distance_m: float = 0.0
    deterministic_ragdolls: bool = False
    tile_stream_distance_m: float = 3000.0
    actor_active_distance_m: float = 2000.0
    spectator_as_ego: bool = True

    @classmethod
    def from_wire(cls, values: list[Any]) -> "Settings":
        """From a checked `EpisodeSettings`.

        Raises:
            UserError: a step would be too long.
        """
        settings = list(values)
        delta = settings[2][1] if settings[2][0] else 0.0
        check(delta <= MAX_DELTA_S, f"fixed_delta_seconds must be {MAX_DELTA_S} at most; got {delta}.")
        settings[2] = float(delta) if delta > 0 else None
        return cls(*settings)

    def to_wire(self) -> list[Any]:
        """As an `EpisodeSettings`."""
        values = [getattr(self, field.name) for field in fields(self)]
        values[2] = [False] if self.fixed_delta_s is None else [True, self.fixed_delta_s]
        return values

    def substeps(self, delta_s: float) -> int:
        """How many steps of the physics make up a step of the world."""
        if not self.substepping or self.max_substep_delta_s <= 0:
            return 1
        wanted = math.ceil(delta_s / self.max_substep_delta_s - 1e-6)
        return max(1, min(wanted, self.max_substeps, MAX_SUBSTEPS))
