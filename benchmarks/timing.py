"""Rates of two ways to do the same, measured in turns in one process, so that a busy machine slows both alike."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from utils.errors import check_positive

Work = Callable[[], int]
"""Does some work and returns how many units (steps, frames) it did."""


@dataclass(frozen=True)
class BenchConfig:
    """What every benchmark can be told; the numbers that one adds must be positive too."""

    runs: int = 5
    """runs of each, in turns; medians count"""
    json: bool = False
    """print one JSON object"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, *(field.name for field in fields(self) if field.type in (int, float)))


def rate(work: Work) -> float:
    """Units per second of one run, by the wall clock."""
    start = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - start)


def compare(ours: Work, peer: Work, runs: int = 5) -> tuple[float, float]:
    """Median rates per second of `runs` interleaved runs of each, after one unmeasured run: (ours, peer)."""
    ours_rate, peer_rate = compare_all({"ours": ours, "peer": peer}, runs).values()
    return ours_rate, peer_rate


def compare_all(works: Mapping[str, Work], runs: int = 5) -> dict[str, float]:
    """Median rates per second of several ways, run in turns, after one unmeasured run of each."""
    for work in works.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            rates[name].append(rate(work))
    return {name: statistics.median(values) for name, values in rates.items()}


def row(name: str, ours: float, peer: float) -> dict[str, Any]:
    """One line of a report."""
    return {
        "name": name,
        "ours_per_s": round(ours, 1),
        "peer_per_s": round(peer, 1),
        "ratio": round(ours / peer, 2),
    }


def report(rows: Sequence[Mapping[str, Any]], as_json: bool, **more: Any) -> None:
    """Print rows as a table, or as one JSON object: the first row's figures on top, all rows under "rows".

    Args:
        rows: as `row` makes them; the first one is the headline.
        as_json: print JSON instead of a table.
        **more: further entries of the JSON object.
    """
    if as_json:
        print(json.dumps({**rows[0], "rows": list(rows), **more}))
        return
    width = max(len(str(line["name"])) for line in rows)
    print(f"{'':{width}}  {'ours/s':>12}  {'peer/s':>12}  {'ratio':>8}")
    for line in rows:
        print(
            f"{line['name']:{width}}  {line['ours_per_s']:>12,.1f}  {line['peer_per_s']:>12,.1f}"
            f"  {line['ratio']:>7.1f}x"
        )
