import errno
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from utils import cli
from utils.errors import UserError, check


@dataclass(frozen=True)
class Inner:
    batch_size: int = 4
    """samples in an update"""


@dataclass(frozen=True)
class Outer:
    logs: cli.LogsArg = Path("exp_dir")
    """run directory"""
    fit: Inner = field(default_factory=Inner)
    dry_run: bool = False
    """print the config and stop"""

    def __post_init__(self):
        check(self.fit.batch_size > 0, "--batch-size must be positive.")


PRESETS = {"tiny": Outer(fit=Inner(1)), "big": Outer(fit=Inner(64))}


def test_flags_aliases_and_underscores():
    config = cli.parse(Outer, ["--logdir", "a", "--batch_size", "7", "--dry-run"])
    assert config == Outer(Path("a"), Inner(7), True)
    assert cli.parse(Outer, []) == Outer() == cli.parse(Outer, ["--no-dry-run"])


def test_a_flag_overrides_its_preset():
    assert cli.parse(Outer, ["--preset", "big"], presets=PRESETS).fit.batch_size == 64
    config = cli.parse(Outer, ["--preset=big", "--batch-size", "2"], presets=PRESETS)
    assert config.fit.batch_size == 2
    with pytest.raises(UserError, match="huge is unknown; choose one of: tiny, big"):
        cli.parse(Outer, ["--preset", "huge"], presets=PRESETS)


def test_help_and_unknown_flags_exit(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parse(Outer, ["--help"], presets=PRESETS)
    assert stop.value.code == 0
    assert "samples in an update" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.parse(Outer, ["--batchsize", "3"])
    assert stop.value.code == 2


def test_impossible_values_are_a_sentence():
    with pytest.raises(UserError, match="--batch-size must be positive"):
        cli.parse(Outer, ["--batch-size", "0"])


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("no dataset."), 2, "error: no dataset."),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (OSError(errno.ENOSPC, "x"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "x", "/there/a"), 2, "(/there/a): permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "x", "/a/b"), 2, "a file stands where"),
    ],
)
def test_a_users_mistake_is_one_sentence(error, code, text, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert stop.value.code == code
    printed = capsys.readouterr().err
    assert text in printed
    assert printed.count("\n") == 1


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: print(1 / 0))


def test_describe_is_json():
    assert json.loads(cli.describe(PRESETS["tiny"])) == {
        "logs": "exp_dir",
        "fit": {"batch_size": 1},
        "dry_run": False,
    }


def test_an_interrupted_command_is_not_told_to_start_over_again(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    for flags, again in (([], "again to go on"), (["--fresh"], "again, without --fresh, to go on")):
        monkeypatch.setattr(sys, "argv", ["run_pipeline.py", *flags])
        with pytest.raises(SystemExit) as ended:
            cli.run(interrupt)
        assert ended.value.code == cli.INTERRUPTED
        assert capsys.readouterr().err == f"error: interrupted; run the same command {again}.\n"
