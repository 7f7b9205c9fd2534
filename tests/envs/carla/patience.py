"""Guards against waiting for ever. Their limits are generous: they tell a hang from slowness, and measure nothing."""

import contextlib
import faulthandler
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

LINE_S = 120.0
SLACK_S = 20.0
"""beyond the time-outs, for a machine that does other things as well"""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail what takes longer than its time-outs, in seconds, and some slack; what hangs ends the run, telling where.

    Python cannot interrupt the client while it waits.
    """
    limit_s = seconds + SLACK_S
    faulthandler.dump_traceback_later(3 * limit_s, exit=True, file=sys.__stderr__ or sys.stderr)
    start = time.monotonic()
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    took_s = time.monotonic() - start
    assert took_s < limit_s, f"it took {took_s:.1f} s, not {limit_s:g}"


def next_line(process: "subprocess.Popen[str]", limit_s: float = LINE_S) -> str:
    """The next line that a process prints; one that says nothing in time is killed."""
    assert process.stdout is not None
    timer = threading.Timer(limit_s, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    assert line, "the process ended, or was killed because it said nothing in time"
    return line.strip()
