"""What an env tells of an episode besides its return: which info arrays, and how their steps become one number.

An env names its measures (`SlotEnv.measures`); the rollout loop keeps the tally. An env without any costs nothing.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np


class Measure(NamedTuple):
    """One number of an episode."""

    key: str
    """name of the info array"""
    rule: Literal["mean", "mean_abs", "sum", "last"]
    """over the episode's steps"""
    text: str = ""
    """how the mean over episodes is said to the user, a format for one number; empty where it is not worth saying"""


class Tally:
    """Sums up the measures of B slots, step by step.

    Args:
        measures: name -> measure.
        num: number of slots.
    """

    def __init__(self, measures: Mapping[str, Measure], num: int) -> None:
        self._measures = measures
        self._values = {name: np.zeros(num) for name in measures}

    def add(self, info: Mapping[str, np.ndarray], live: np.ndarray) -> None:
        """Count a step, info arrays (B,), for the slots (n,) that took it."""
        for name, measure in self._measures.items():
            value = info[measure.key][live]
            if measure.rule == "last":
                self._values[name][live] = value
            else:
                self._values[name][live] += np.abs(value) if measure.rule == "mean_abs" else value

    def result(self, lengths: np.ndarray) -> dict[str, np.ndarray]:
        """The measures of the first n slots, float64 (n,) each, given their episodes' steps (n,)."""
        return {
            name: self._values[name][: len(lengths)]
            / (np.maximum(lengths, 1) if measure.rule.startswith("mean") else 1)
            for name, measure in self._measures.items()
        }
