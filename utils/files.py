"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.errors import UserError

TEMP_MARK = ".partial-"


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
        mode = temp.stat().st_mode
        if callable(content):
            content(temp)
        else:
            temp.write_bytes(content)
        temp.chmod(mode)  # safetensors makes its files the owner's alone
        with temp.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)


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
