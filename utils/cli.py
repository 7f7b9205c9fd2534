"""Command lines from dataclasses: flags, presets, and errors in one sentence."""

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from utils.errors import UserError, check

Config = TypeVar("Config")

LogsArg = Annotated[Path, tyro.conf.arg(aliases=["--logdir"])]
"""The run directory; `--logdir` is an alias of `--logs`."""

PRESET = "--preset"


def parse(
    config_type: type[Config],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    description: str | None = None,
    presets: Mapping[str, Config] | None = None,
) -> Config:
    """Parse a (nested) config dataclass from a command line.

    Args:
        config_type: the dataclass; nested fields become flat flags, dashes and underscores are the same.
        argv: the arguments, `sys.argv[1:]` by default.
        prog: name shown in the help.
        description: text shown in the help.
        presets: named defaults; `--preset NAME` picks one and flags override it.

    Returns:
        The config. Wrong flags end the process with code 2, as argparse does.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    default = None
    if presets:
        name, args = _take_preset(args)
        if name is not None:
            check(name in presets, f"{PRESET} {name} is unknown; choose one of: {', '.join(presets)}.")
            default = presets[name]
        description = (
            f"{description or ''}\n\n{PRESET} NAME starts from other defaults: {', '.join(presets)}."
        )
    options: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(
        config_type,
        prog=prog,
        description=description,
        args=args,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        **options,
    )


def _take_preset(args: list[str]) -> tuple[str | None, list[str]]:
    for i, arg in enumerate(args):
        if arg == PRESET:
            check(i + 1 < len(args), f"{PRESET} needs a name.")
            return args[i + 1], args[:i] + args[i + 2 :]
        if arg.startswith(PRESET + "="):
            return arg.partition("=")[2], args[:i] + args[i + 1 :]
    return None, args


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; turn a user's mistake into one sentence and exit code 2, Ctrl-C into 130."""
    try:
        main()
    except UserError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to go on.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(_explain(error), 2)


def _explain(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; free some space and run the same command again."
    if error.errno == errno.EFBIG:
        return f"a file grew past the size limit{where}; raise the limit and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot write or read there{where}: permission denied; choose another folder."
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"a file stands where a folder is needed, or the other way round{where}; choose another path."
    raise error


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def describe(config: Any) -> str:
    """The resolved config as indented JSON, for `--dry-run` and config.json."""
    return json.dumps(to_json(config), indent=2)


def to_json(value: Any) -> Any:
    """A config (dataclasses, paths, tuples, enums) as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    return str(value) if isinstance(value, Path) else value
