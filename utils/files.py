"""Files that are written whole or not at all."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from utils.errors import UserError, check

TEMP_MARK = ".partial-"
LOCK = ".lock"


def atomic_write(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write `path` through a temporary file beside it, fsync and `os.replace`.

    Args:
        path: where the file shall stand; its folder is made.
        content: the bytes, or a function that writes the temporary file it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f"{path.name}{TEMP_MARK}{os.getpid()}")
    try:
        temp.touch()
        if callable(content):
            _write_with(content, temp, path)
        else:
            temp.write_bytes(content)
        with temp.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temp, path)
    except OSError as error:
        if error.filename in (None, str(temp)):
            error.filename = str(path)
        raise
    finally:
        temp.unlink(missing_ok=True)


def _write_with(write: Callable[[Path], None], temp: Path, path: Path) -> None:
    """Let a library write the file; a full disk, which each of them reports in its own way, becomes an OSError."""
    try:
        write(temp)
    except (UserError, OSError):
        raise
    except Exception as error:
        check_space(path, 2**20 + 2 * temp.stat().st_size)  # too full for that: this is why it failed
        raise error


def check_space(path: Path, num_bytes: int) -> None:
    """Make sure that a file of this size can be written at `path`, and leave nothing behind.

    Raises:
        OSError: the disk is too full, files may not become that large, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent) as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            try:
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise OSError(error.errno, error.strerror, str(path)) from None
    if shutil.disk_usage(path.parent).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def remove(paths: Iterable[Path]) -> None:
    """Remove files, links and whole folders."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def only_writer(lock: Path, at_work: str) -> Iterator[None]:
    """Hold a lock, which the system takes back when the process ends, however it ends.

    Args:
        lock: its file, for as long; the folder is made, and removed again if nothing comes of it.
        at_work: who else holds it, "another ... is at work in ...".

    Raises:
        UserError: another process does, or the file system knows no locks.
    """
    folder = lock.parent
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = os.path.samestat(os.fstat(file.fileno()), lock.stat())
        except (BlockingIOError, FileNotFoundError):  # held, or just given up by who held it
            is_held = False
        except OSError as error:
            raise UserError(
                f"{folder} cannot be locked ({error.strerror}), which its file system should allow; choose another "
                "place."
            ) from None
        check(is_held, f"{at_work}; wait for it to end, or stop it.")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            if is_new and not any(folder.iterdir()):  # it came to nothing
                folder.rmdir()


def check_writable(path: Path) -> None:
    """Make sure, before long work starts, that a file or folder can be made at `path`; leave nothing behind.

    Raises:
        UserError: something is in the way, or may not be written.
    """
    folder = path.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    if folder == path.absolute() and not folder.is_dir():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write {path} ({folder}: {reason}); choose another place.") from None


def sweep_temp(folder: Path) -> int:
    """Remove what killed writers left in `folder`; return how many files that were.

    Only files of processes that no longer run are touched.
    """
    swept = 0
    for left in folder.glob(f"*{TEMP_MARK}*"):
        pid = left.name.rpartition(TEMP_MARK)[2]
        if pid.isdigit() and _is_running(int(pid)):
            continue
        left.unlink(missing_ok=True)
        swept += 1
    return swept


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    atomic_write(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(
            f"{path} is not valid JSON; delete it and run the command that wrote it again."
        ) from None
