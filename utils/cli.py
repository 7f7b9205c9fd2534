"""Command lines from dataclasses: flags, presets, and errors in one sentence."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import tyro

from utils.errors import UserError, check

Config = TypeVar("Config")

LogsArg = Annotated[Path, tyro.conf.arg(aliases=["--logdir"])]
"""The run directory; `--logdir` is an alias of `--logs`."""

PRESET = "--preset"
INTERRUPTED = 130
"""Exit code of a script that was asked to stop, and did so in order."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it some time before it kills: a script ends as after Ctrl-C."""


def parse(
    config_type: type[Config],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    description: str | None = None,
    presets: Mapping[str, Config] | None = None,
    default: Config | None = None,
) -> Config:
    """Parse a (nested) config dataclass from a command line.

    Args:
        config_type: the dataclass; nested fields become flat flags, dashes and underscores are the same.
        argv: the arguments, `sys.argv[1:]` by default.
        prog: name shown in the help.
        description: text shown in the help.
        presets: named defaults; `--preset NAME` picks one and flags override it.
        default: the defaults without a preset; those of the class if None.

    Returns:
        The config. Wrong flags end the process with code 2, as argparse does.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if presets:
        name, args = _take_preset(args)
        if name is not None:
            check(name in presets, f"{PRESET} {name} is unknown; choose one of: {', '.join(presets)}.")
            default = presets[name]
        others = f"{PRESET} NAME starts from other defaults: {', '.join(presets)}."
        description = f"{(description or '').strip()}\n\n{others}"
    options: dict[str, Any] = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                config_type,
                prog=prog,
                description=description,
                args=args,
                config=(tyro.conf.OmitArgPrefixes,),
                **options,
            )
    except SystemExit as stop:
        if stop.code != 2:
            raise
    _fail(f"{_in_one_sentence(said.getvalue())}; see {prog or sys.argv[0]} --help.", 2)


def _take_preset(args: list[str]) -> tuple[str | None, list[str]]:
    """The name that `--preset` gives (the last one, as with any flag), and the arguments without it."""
    name, rest = None, list(args)
    for i in reversed(range(len(args))):
        if args[i] == PRESET:
            check(i + 1 < len(args), f"{PRESET} needs a name.")
            name, rest = name or args[i + 1], rest[:i] + rest[i + 2 :]
        elif args[i].startswith(PRESET + "="):
            name, rest = name or args[i].partition("=")[2], rest[:i] + rest[i + 1 :]
    return name, rest


def _in_one_sentence(box: str) -> str:
    """What tyro says in a box: a title, a rule, the message, and perhaps another rule and hints."""
    blocks: list[list[str]] = [[]]
    for line in box.splitlines():
        text = line.strip(" -+|\u2500\u2502\u256d\u256e\u256f\u2570")
        if text:
            blocks[-1].append(line.strip(" |\u2502"))
        elif line.strip():
            blocks.append([])
    message = " ".join(blocks[1] if len(blocks) > 1 and blocks[1] else blocks[0])
    message = message.removeprefix("Error parsing ").rstrip(".")
    rest = [line for block in blocks[2:] for line in block]
    hints = [line.split()[0] for line in rest if line.startswith("--")]
    if hints and "Perhaps you meant:" in rest:
        message += f" (perhaps you meant {' or '.join(hints)})"
    return message[:1].lower() + message[1:]


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; turn a user's mistake into one sentence and exit code 2, Ctrl-C or SIGTERM into 130."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
    except UserError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail(f"interrupted; {again()} to go on.", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(_explain(error), 2)


def again() -> str:
    """How this command goes on where it stopped."""
    return "run the same command again" + (", without --fresh," if "--fresh" in sys.argv else "")


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _explain(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; free some space and {again()}."
    if error.errno == errno.EFBIG:
        return f"a file grew past the size limit{where}; raise the limit and {again()}."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot write or read there{where}: permission denied; choose another folder."
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"a file stands where a folder is needed, or the other way round{where}; choose another path."
    if error.filename and error.strerror:
        return f"cannot read or write there{where}: {error.strerror.lower()}; choose another path."
    raise error


def _fail(message: str, code: int) -> NoReturn:
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
    return str(value) if isinstance(value, Path) else value
