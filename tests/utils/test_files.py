import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import TEMP_MARK, atomic_write, only_writer, read_json, remove, sweep_temp, write_json


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


def test_files_folders_and_links_are_removed_but_not_what_links_lead_to(tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for path in (folder / "vae" / "best", elsewhere / "precious", folder / "a.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "link").symlink_to(elsewhere)
    remove(folder.iterdir())
    assert not list(folder.iterdir())
    assert (elsewhere / "precious").exists()


def test_a_lock_leaves_no_folder_of_its_own(tmp_path):
    with only_writer(tmp_path / "new" / ".lock", "held"):
        with pytest.raises(UserError, match="held; wait"), only_writer(tmp_path / "new" / ".lock", "held"):
            pass
        assert (tmp_path / "new" / ".lock").exists()
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="a slip"), only_writer(tmp_path / ".lock", "held"):
        raise UserError("a slip")
    assert not list(tmp_path.iterdir())


def test_a_lock_given_up_in_the_same_moment_is_no_lock(tmp_path, monkeypatch):
    """Whoever held it removed its file between our open and our flock: it would not keep others out."""
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda *args: (flock(*args), (tmp_path / ".lock").unlink()))
    with pytest.raises(UserError, match="held; wait"), only_writer(tmp_path / ".lock", "held"):
        pass


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = only_writer(tmp_path / "run" / ".lock", "another is at work")
    with pytest.raises(UserError, match=r"run cannot be locked \(No locks available\)"), lock:
        pass
