"""The six commands at tiny size, each on a run directory of its own."""

from collections.abc import Callable
from pathlib import Path

import run_pipeline
import test_controller
import traincontroller
import trainmdrnn
import trainvae
from data import generation_script
from utils.run_dir import RunDir

SPEC = {"name": "CarRacing-v2", "options": {"size": 16, "max_steps": 8}}
SIZES = ["--image-size", "16", "--encoder-channels", "4", "4", "--decoder-channels", "4", "4", "4"]
QUICK = ["--preset", "tiny", "--backend", "serial", "--generations", "1", "--horizon", "4"]
Command = Callable[..., None]


def collect(root: Path, *flags: str) -> None:
    where = ["--rootdir", str(root / "new"), "--logs", str(root), "--threads", "1"]
    generation_script.main([*where, "--size", "16", "--rollouts", "2", *flags])


def train_v(root: Path, *flags: str) -> None:
    where = ["--logs", str(root), "--dataset", str(root / "data"), "--device", "cpu"]
    trainvae.main(["--preset", "tiny", *where, *SIZES, "--latent-size", "4", *flags])


def train_m(root: Path, *flags: str) -> None:
    where = ["--logs", str(root), "--dataset", str(root / "data"), "--device", "cpu"]
    trainmdrnn.main(["--preset", "tiny", *where, *flags])


def train_c(root: Path, *flags: str) -> None:
    traincontroller.main(["--logs", str(root), *QUICK, *flags])


def score(root: Path, *flags: str) -> None:
    play = ["--backend", "serial", "--renderer", "fast", "--episodes", "1"]
    test_controller.main(["--logs", str(root), *play, *flags])


def pipeline(root: Path, *flags: str) -> None:
    run_pipeline.main(["--preset", "tiny", "--logs", str(root / "all"), *flags])


COMMANDS: dict[str, Command] = {
    "collect": collect,
    "V": train_v,
    "M": train_m,
    "C": train_c,
    "score": score,
    "pipeline": pipeline,
}


def checkpoint(root: Path, stage: str, name: str = "best.safetensors") -> Path:
    return RunDir(root, stage).checkpoints / name
