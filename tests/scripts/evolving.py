"""Evolutions of stage C in tests: how they are run, and what is read of them."""

import json
from pathlib import Path

import numpy as np
import pytest

import traincontroller
from data.trained import load_controller
from tests.scripts.tiny_run import HIDDEN, LATENT
from utils import cli
from utils.run_dir import RunDir

TIMES = {"time", "seconds", "frames_per_s"}
SERIAL = ["--preset", "tiny", "--backend", "serial"]


def run(logs: Path, *flags: str) -> None:
    traincontroller.main(["--logs", str(logs), *flags])


def rows(logs: Path, stage: str = "controller") -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows_with_times(logs, stage)]


def rows_with_times(logs: Path, stage: str = "controller") -> list[dict]:
    return [json.loads(line) for line in RunDir(logs, stage).metrics.read_text().splitlines()]


def params(logs: Path, name: str = "latest", stage: str = "controller") -> np.ndarray:
    path = RunDir(logs, stage).checkpoints / f"{name}.safetensors"
    return load_controller(path, {LATENT + HIDDEN}).params


def same(a: Path, b: Path) -> bool:
    weights = all(np.array_equal(params(a, name), params(b, name)) for name in ("best", "latest"))
    return rows(a) == rows(b) and weights


def fail(capsys: pytest.CaptureFixture[str], logs: Path, *flags: str) -> str:
    """Run as the command line does; return what was said on the way out with code 2."""
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda: run(logs, *flags))
    assert caught.value.code == 2
    return capsys.readouterr().err
