"""Progress bars, on stderr so that stdout stays clean."""

import sys

from tqdm import tqdm


def bar(total: int | None, desc: str, unit: str = "it", initial: int = 0) -> tqdm:
    """A progress bar; in a log file (no terminal) it prints a line every ten seconds at most."""
    return tqdm(
        total=total,
        desc=desc,
        unit=f" {unit}",
        initial=initial,
        file=sys.stderr,
        dynamic_ncols=True,
        unit_scale=unit in ("frames", "steps", "B"),
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        smoothing=0.1,
    )
