import subprocess
import sys
import time

import pytest

from tests.envs.carla import patience


def test_a_process_that_says_nothing_is_given_up() -> None:
    code = "import time; print('here', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert patience.next_line(process) == "here"
    with pytest.raises(AssertionError, match="said nothing in time"):
        patience.next_line(process, 0.1)
    assert process.wait(10) != 0


def test_what_outlasts_its_time_out_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with patience.within(0.0):
        pass
    monkeypatch.setattr(patience, "SLACK_S", 0.05)
    with pytest.raises(AssertionError, match=r"not 0\.05"), patience.within(0.0):
        time.sleep(0.1)


def test_what_hangs_ends_the_run_and_tells_where() -> None:
    code = (
        "import time; from tests.envs.carla import patience; patience.SLACK_S = 0.1\n"
        "with patience.within(0.0): time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
