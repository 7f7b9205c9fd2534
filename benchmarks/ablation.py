"""Ablations: rows of equal budget that differ in one thing each, with some seeds of C, scored on held-out tracks.

python -m benchmarks.ablation --table parts     what V, M and h are worth; C is evolved in the real environment
python -m benchmarks.ablation --table levers    what makes dreams honest; C is evolved in the dream alone

Everything is made by the root scripts, --jobs of them at a time; run again, it goes on where it stopped, with more
--seeds or --generations, too. Needs a dataset of data/generation_script.py. Works in LOGS/TABLE, writes
LOGS/TABLE.json and prints a Markdown table.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np
import torch

import models
from data.episodes import EpisodeStore
from data.frames import FrameSet
from data.pipeline import PRESETS
from data.pipeline_plan import dream_flags
from models.vae import VAE
from utils import cli
from utils.checkpoint import load_built, load_checkpoint, save_checkpoint
from utils.errors import check, check_positive
from utils.files import atomic_write, read_json, write_json
from utils.logger import read_metrics

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "vae/checkpoints/best.safetensors",
    "mdrnn/checkpoints/best.safetensors",
    "mdrnn/starts.safetensors",
)


class Row(NamedTuple):
    """What a row changes: further flags of the stages."""

    name: str
    vae: tuple[str, ...] = ()
    mdrnn: tuple[str, ...] = ()
    controller: tuple[str, ...] = ()

    @property
    def vision_name(self) -> str:
        """Folder of its V."""
        return _slug("v", self.vae)

    @property
    def world_name(self) -> str:
        """Folder of its M."""
        return f"{self.vision_name}-{_slug('m', self.mdrnn)}"


RANDOM = ("--arch", "vae", "--max-steps", "0")
"""An untrained V: random convolutions. Its numbers hardly differ between frames, so they are scaled."""
ALL_H, COMPONENTS = ("--h-components", "None"), ("--h-components", "32")
"""What all rows but one search of h, and that one."""
TABLES = {
    "parts": [
        Row("all of it: NVAE, trained M, C sees z and h"),
        Row("h along 32 principal components", controller=COMPONENTS),
        Row("C sees z alone", controller=("--features", "z")),
        Row("M untrained", mdrnn=("--max-steps", "0")),
        Row("plain VAE", vae=("--arch", "vae", "--learning-rate", "0.01")),
        Row("V untrained (plain, its z scaled to unit spread)", vae=RANDOM),
        Row("V (as above) and M untrained", vae=RANDOM, mdrnn=("--max-steps", "0")),
    ],
    "levers": [
        Row("baseline: temperature 0.7, 40 dreams of 40 decisions, h of 512"),
        Row("h along 32 principal components", controller=COMPONENTS),
        Row("temperature 0.4", controller=("--temperature", "0.4")),
        Row("temperature 1", controller=("--temperature", "1")),
        Row("16 dreams of 100 decisions", controller=("--horizon", "100", "--n-samples", "16")),
        Row("a step pays what it pays", controller=("--pace", "1000")),
        Row("no step is due anything", controller=("--due", "None")),
        Row("a lost road has no price", controller=("--lost-penalty", "0")),
        Row("0.3 of the dreams are hard", controller=("--hard-tracks", "0.3")),
        Row("no strain penalty", controller=("--strain-penalty", "0")),
        Row("steering in proportion", controller=("--expo", "0")),
        Row("h of 256", mdrnn=("--hidden-size", "256")),
    ],
}
SCALED_ON = 1024
"""Frames over which they are."""
LOST = 600
"""Return of a track below which the road was lost."""
LEVERS = PRESETS["carracing"]
"""What the table of levers changes a thing of."""


@dataclass(frozen=True)
class AblationConfig:
    """What is compared, and for how long."""

    table: Literal["parts", "levers"] = "parts"
    """which rows"""
    logs: cli.LogsArg = Path("exp_dir/ablation")
    """where all of it goes"""
    dataset: Path = Path("datasets/carracing")
    """what V and M learn from"""
    vision: Path | None = None
    """a trained V (safetensors) for the rows that do not change V; one is trained by default"""
    seeds: int = 3
    """seeds of C"""
    vae_steps: int = 4500
    """updates of V"""
    mdrnn_steps: int = 1500
    """updates of M"""
    generations: int = 15
    """generations of C"""
    validation_episodes: int = 32
    """real tracks by which a controller is chosen"""
    episodes: int = 64
    """held-out tracks of the score, our renderer"""
    jobs: int = 2
    """commands at a time, one thread each"""
    tiny: bool = False
    """models, populations and dreams of tiny size, to see it work"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "seeds", "vae_steps", "mdrnn_steps", "generations", "jobs")
        check_positive(self, "validation_episodes", "episodes")


class Ablation:
    """The commands of a table, each run once."""

    def __init__(self, config: AblationConfig) -> None:
        self.config = config
        self.folder = config.logs / config.table
        self.training: dict[Path, Lock] = defaultdict(Lock)  # each V and each M is trained once

    def check_same(self) -> None:
        """Refuse to mix runs of other settings, or of fewer generations, into a table that was begun.

        Raises:
            UserError: it was.
        """
        free = {"logs", "seeds", "jobs"}
        settings = {name: value for name, value in cli.to_json(self.config).items() if name not in free}
        path = self.folder / "settings.json"
        before = read_json(path) if path.exists() else settings
        longer = {**before, "generations": max(before["generations"], self.config.generations)}
        check(
            longer == settings,
            f"{self.folder} was begun with other settings (see {path}); use those again, or another --logs.",
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)

    def vision(self, row: Row) -> Path:
        """Train the V of a row, unless one was given; its weights."""
        config = self.config
        if config.vision and not row.vae:
            return config.vision
        run = self.folder / row.vision_name
        weights, scaled = run / NEEDED[0], run / "scaled.safetensors"
        with self.training[run]:
            if not (run / "vae" / "quality.json").exists():  # the last thing that a training writes
                size = "tiny" if config.tiny else "quick"
                self.train("trainvae.py", run, size, config.vae_steps, *row.vae)
            if row.vae != RANDOM:
                return weights
            if not scaled.exists():
                scale(weights, config.dataset, scaled)
        return scaled

    def world(self, row: Row) -> Path:
        """Train the M of a row on its V; the folder where both are."""
        config = self.config
        run = self.folder / row.world_name
        with self.training[run]:
            if not (run / "mdrnn" / "quality.json").exists():
                _copy(self.vision(row), run / NEEDED[0])
                size = "tiny" if config.tiny else "long"
                base = (
                    ("--hidden-size", str(LEVERS.mdrnn_hidden))
                    if config.table == "levers" and not config.tiny
                    else ()
                )
                self.train("trainmdrnn.py", run, size, config.mdrnn_steps, *base, *row.mdrnn)
        return run

    def train(self, script: str, logs: Path, preset: str, steps: int, *flags: str) -> None:
        """One training, or the rest of it."""
        data = ["--dataset", str(self.config.dataset), "--seed", "0"]
        self.run(script, logs, *data, "--preset", preset, "--max-steps", str(steps), *flags)

    def evolve(self, row: Row, seed: int) -> dict:
        """Evolve C with one seed, score it on held-out tracks."""
        config = self.config
        world, run = self.world(row), self.folder / f"{_slug('c', (row.name,))}-{seed}"
        for name in NEEDED:
            _copy(world / name, run / name)
        dreams = config.table == "levers"
        flags = [*ALL_H, *(dream_flags(LEVERS) if dreams else ("--patience", "40"))]
        sizes = {"--pop-size": 64, "--n-samples": 40} if dreams else {"--pop-size": 32, "--n-samples": 4}
        sizes |= {"--generations": config.generations, "--validation-episodes": config.validation_episodes}
        if config.tiny:
            sizes |= {"--pop-size": 4, "--n-samples": 1}
        flags += [str(part) for pair in sizes.items() for part in pair]
        workers = ["--max-workers", "1"]
        stage = "controller-dream" if dreams else "controller"
        score = run / f"test-{config.generations}.json"
        test = ["--stage", stage, "--renderer", "fast", "--episodes", str(config.episodes)]
        if not score.exists():
            self.run("traincontroller.py", run, *workers, "--seed", str(seed), *flags, *row.controller)
            self.run("test_controller.py", run, *workers, *test, "--json", str(score))
        rows = read_metrics(run / stage / "metrics.jsonl")
        return {
            "row": row.name,
            "seed": seed,
            "validation": {r["step"]: r["validation_mean"] for r in rows if "validation_mean" in r},
            "best_validation": rows[-1]["best_validation"],
            "seconds": rows[-1]["seconds"],
            "returns": json.loads(score.read_text())["returns"],
        }

    def run(self, script: str, logs: Path, *flags: str) -> None:
        """One command.

        Raises:
            UserError: it failed.
        """
        logs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(ROOT / script), "--logs", str(logs), *flags]
        with (logs / "log.txt").open("a") as log:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            code = subprocess.run(command, env=env, stdout=log, stderr=log).returncode
        check(code == 0, f"{script} failed: see {logs / 'log.txt'}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not done yet, and print the table."""
    config = cli.parse(AblationConfig, argv, prog="python -m benchmarks.ablation", description=__doc__)
    ablation, rows = Ablation(config), TABLES[config.table]
    ablation.check_same()
    with ThreadPoolExecutor(config.jobs) as pool:
        tasks = [(row, seed) for seed in range(config.seeds) for row in rows]
        found = list(pool.map(lambda task: ablation.evolve(*task), tasks))
    settings = cli.to_json(replace(config, logs=Path(config.logs.name), vision=None))
    write_json(config.logs / f"{config.table}.json", {"config": settings, "runs": found})
    print(as_markdown(rows, found))


def scale(source: Path, dataset: Path, target: Path) -> None:
    """Write a plain VAE whose z has mean 0 and deviation 1 over some frames of a dataset."""
    vision = load_built(source, models.build, "vae")
    assert isinstance(vision, VAE)
    frames = FrameSet(EpisodeStore(dataset), "train").batch_at(0, SCALED_ON, seed=0)
    with torch.inference_mode():
        std, mean = torch.std_mean(vision.encode(frames)[0], dim=0)
        size = vision.latent_size  # the layer's first outputs are the means
        vision.to_posterior.weight[:size] /= std[:, None]
        vision.to_posterior.bias[:size].sub_(mean).div_(std)
    save_checkpoint(target, vision.to_checkpoint(load_checkpoint(source).info))


def as_markdown(rows: Sequence[Row], found: Sequence[dict]) -> str:
    """A line for each row, its seeds side by side: how they did on held-out tracks, and how they got there."""
    lines = [
        f"| | mean of each seed | of all | medians | below {LOST} | mean controller's validation, by generation |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        runs = [run for run in found if run["row"] == row.name]
        returns = np.array([run["returns"] for run in runs])
        each = (
            returns.mean(1),
            [returns.mean()],
            np.median(returns, 1),
            (returns < LOST).sum(1),
        )
        cells = [", ".join(f"{value:.0f}" for value in values) for values in each]
        curves = "; ".join(", ".join(f"{v:.0f}" for v in run["validation"].values()) for run in runs)
        lines.append(f"| {' | '.join((row.name, *cells, curves))} |")
    return "\n".join(lines)


def _slug(kind: str, flags: Sequence[str]) -> str:
    words = "".join(c if c.isalnum() else "-" for c in "-".join(flags).lower()).strip("-")
    return f"{kind}-{words}" if words else kind


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        atomic_write(target, source.read_bytes())


if __name__ == "__main__":
    cli.run(main)
