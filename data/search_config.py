"""Settings of stage C's loop (see search.py), and the tracks that they mean."""

import math
from dataclasses import dataclass
from typing import Literal

from envs.evaluation import Place
from models.controller import DEFAULT_EXPO
from utils import seeding
from utils.errors import check, check_not_negative, check_positive

POOL = 16
"""So many tracks are tried for each one that --hard-tracks asks for."""


@dataclass(frozen=True)
class SearchConfig:
    """How C is evolved."""

    env: str = "real"
    """where candidates are tried: real, which the real env's name (carracing, carla) means too, or dream"""
    features: Literal["zh", "z"] = "zh"
    """what C sees: z and M's memory h, or z alone"""
    h_components: int | None = 32
    """how many principal components of h are searched, those of the largest spread; None: each number of h"""
    expo: float = DEFAULT_EXPO
    """steering is t |t|**expo of t = tanh(x): the larger, the gentler are small corrections; 0 is tanh alone"""
    n_samples: int = 4
    """tracks that each candidate drives in a generation"""
    hard_tracks: float = 0.0
    """share of these tracks that are picked as hard: the mean controller's worst of sixteen times as many. Together
    they weigh one sixteenth of the fitness, as often as such tracks come. What a good driver has left to learn is on
    few tracks, so that many laps on these tell more (replay levels for such a reason: Jiang et al. 2021,
    arXiv 2010.03934)"""
    pop_size: int = 32
    """candidates in a generation"""
    generations: int = 300
    """stop after this many"""
    max_hours: float | None = None
    """stop after this much time, over all restarts"""
    target_return: float | None = None
    """stop when the validation score reaches this"""
    sigma0: float = 0.1
    """first standard deviation of the candidates"""
    strain_penalty: float = 1.0
    """return that a candidate loses for each unit of its strain, the mean square of what goes into its tanhs:
    where these are saturated, larger weights cost nothing, and the step size only grows"""
    patience: int = 100
    """training episodes, real or dreamt, are given up after this many steps in a row without a reward, or with --due
    with less than three quarters of that; validation never is"""
    pace: float | None = None
    """what a step of a dream is paid at most: a lap's road is of a given length, so that speed pays little for real,
    and what a fast driver misses stays missed"""
    due: float | None = None
    """what a step of a dream should pay: what it falls short of that counts four times, for a lap with a missed tile
    does not end"""
    lost_penalty: float = 0.0
    """return that a dream loses which is given up: what the rest of the lap would have paid"""
    validate_every: int = 5
    """generations between two validations"""
    validation_episodes: int = 16
    """fixed tracks of a validation"""
    slots: int | None = None
    """episodes that a worker plays side by side; chosen by their number by default, 4 at most in CARLA"""
    seed: int = 0
    """seed of candidates and training tracks"""
    display: bool = False
    """a progress bar, and a line for every generation"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(
            self,
            "n_samples",
            "generations",
            "validate_every",
            "validation_episodes",
            "sigma0",
            "h_components",
        )
        check_positive(self, "patience", "pace", "due", "slots", "max_hours")
        check(
            self.pop_size >= 2, f"--pop-size must be at least 2; got {self.pop_size}: candidates are ranked."
        )
        check_not_negative(self, "seed", "strain_penalty", "lost_penalty", "expo")
        for name in ("pace", "due", "lost_penalty"):
            check(
                self.place == "dream" or not getattr(self, name),
                f"--{name.replace('_', '-')} is for dreams; pass --env dream, or leave it out.",
            )
        check(0 <= self.hard_tracks <= 1, f"--hard-tracks must lie in [0, 1]; got {self.hard_tracks}.")
        check(
            self.num_hard or not self.hard_tracks,
            f"--hard-tracks {self.hard_tracks} of --n-samples {self.n_samples} is no whole track; pass more.",
        )
        target = self.target_return
        check(
            target is None or math.isfinite(target), f"--target-return must be a finite number; got {target}."
        )

    @property
    def place(self) -> Place:
        """Where candidates are tried."""
        return "dream" if self.env == "dream" else "real"

    @property
    def num_hard(self) -> int:
        """How many of a generation's tracks are hard ones."""
        return round(self.hard_tracks * self.n_samples)

    def train_seeds(self, generation: int) -> list[int]:
        """Tracks of a generation, or, where some shall be hard, those of which they are chosen."""
        count = max(self.n_samples, POOL * self.num_hard)
        first = seeding.derive(self.seed, "tracks", generation) % (seeding.SPAN - count)
        return seeding.track_seeds("train", first, count)

    def validation_seeds(self) -> list[int]:
        """The fixed validation tracks."""
        return seeding.track_seeds("validation", 0, self.validation_episodes)
