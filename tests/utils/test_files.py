import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import TEMP_MARK, atomic_write, read_json, sweep_temp, write_json


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    atomic_write(path, b"old")

    def fail(temp: Path) -> None:
        temp.write_bytes(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_removes_left_overs_of_dead_processes_only(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"a.h5{TEMP_MARK}{dead.pid}"
    mine = tmp_path / f"a.h5{TEMP_MARK}{os.getpid()}"
    for path in (left, mine, tmp_path / "a.h5"):
        path.touch()
    assert sweep_temp(tmp_path) == 1
    assert not left.exists()
    assert mine.exists()


def test_json_round_trip_and_errors(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}
    (tmp_path / "b.json").write_text('{"x": ')
    with pytest.raises(UserError, match=r"b\.json is not valid JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "c.json")
