"""The report: one self-contained HTML page over everything that a run directory holds.

It reads files only (metrics.jsonl, pictures, JSON, mp4) and leaves out what is not there, so it can be made at any
moment of a run.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.files import read_json
from utils.html import Page
from utils.logger import read_metrics
from utils.plots import Series, curve_png

MAX_VIDEO_BYTES = 16 * 2**20
DRAWN_HERE = ("kl_per_group", "learning_curve")
"""Pictures of a stage that show what this page plots itself."""


class Plot(NamedTuple):
    """One diagram: the metrics whose names match the pattern, over the step."""

    title: str
    pattern: str
    unit: str


YARDSTICK = {"NVAE": "vae", "plain VAE": "vae-plain"}
"""Which stage folder holds which vision model."""
JUDGED = {
    "mse": ("the frame's error", -1),
    "mse_road": ("the road's", -1),
    "mse_car": ("the car's", -1),
    "elbo": ("ELBO", 1),
}
"""What is compared, and which sign is better."""

STAGES: dict[str, tuple[str, list[Plot]]] = {
    "vae": (
        "V: the Nouveau VAE",
        [
            Plot("Evidence lower bound", r"(train|validation)/elbo", "nats per frame"),
            Plot("KL of each latent group", r"validation/kl_group_\d+", "nats"),
            Plot("Reconstruction error", r"(train|validation)/mse", "mean squared error"),
        ],
    ),
    "mdrnn": (
        "M: the MDN-RNN",
        [
            Plot("Negative log-likelihood of the next z", r"(train|validation)/nll", "nats per number"),
            Plot("Reward", r"validation/.*r2.*", "R2"),
            Plot("Termination", r"validation/(.*precision|.*recall)", "share"),
        ],
    ),
    "controller-dream": (
        "C in the dream",
        [
            Plot(
                "Return in the dream, and in the real environment",
                r"mean|best|validation_mean|validation_best|validation_average",
                "return",
            ),
            Plot("Step size and laps finished by the candidates", r"step_size|laps_finished", "sigma; share"),
        ],
    ),
    "controller": (
        "C in the real environment",
        [
            Plot("Return", r"mean|best|validation_mean|validation_best|validation_average", "return"),
            Plot("Step size and laps finished by the candidates", r"step_size|laps_finished", "sigma; share"),
            Plot("Speed of the mean controller on the validation tracks", r"episode/mean_speed", "m/s"),
            Plot("Its lateral error", r"env/lat_err_raw", "m"),
        ],
    ),
}


def write_report(root: Path) -> Path:
    """Write RUN/report.html from what is in the run directory; return its path."""
    page = Page(f"World Models: {root.name}")
    _scores(page, root)
    _pipeline(page, root)
    for stage, (title, plots) in STAGES.items():
        if (root / stage).is_dir():
            _stage(page, root / stage, title, plots)
        if stage == "vae":
            _comparison(page, root)
    path = root / "report.html"
    page.write(path)
    return path


def score_line(result: dict) -> str:
    """One sentence about a test: the mean return with n and spread."""
    dreamt, episodes = result.get("place") == "dream", result["episodes"]
    laps = [] if dreamt else [f"{result['laps_finished']} of {episodes} laps finished"]
    return (
        f"{result['mean']:.1f} +- {result['std']:.1f} over {episodes} {'dreams' if dreamt else 'held-out tracks'} "
        f"(median {result['median']:.1f}, minimum {result['min']:.1f}, maximum {result['max']:.1f}"
        + "".join(f"; {words}" for words in laps + result.get("in_words", []))
        + ")"
    )


TITLES = {
    "dream": "C evolved in the dream only",
    "dreamt": "the same, scored in the dream",
    "real": "C evolved in the dream, then for real",
    "real-only": "C evolved for real only",
    "awake": "the same, in the env that was dreamt of",
    "pursuit": "pure pursuit, which knows the road",
}
"""What was scored into test-NAME.json, in the order of the table."""


def score_title(name: str) -> str:
    """What was scored into test-NAME.json."""
    return TITLES.get(name, name)


def _scores(page: Page, root: Path) -> None:
    found = sorted(path.stem.removeprefix("test-") for path in root.glob("test-*.json"))
    names = [name for name in TITLES if name in found] + [name for name in found if name not in TITLES]
    tests = {name: read_json(root / f"test-{name}.json") for name in names}
    for name in ("real", "real-only"):
        if name in tests:
            page.text(f"Mean return {score_line(tests[name])}.", lead=True)
    if tests:
        names = ["mean", "std", "median", "min", "max"]
        rows = [
            [
                score_title(name),
                *(f"{result[key]:.1f}" for key in names),
                "" if result.get("place") == "dream" else f"{result['laps_finished']} / {result['episodes']}",
            ]
            for name, result in tests.items()
        ]
        page.table(["controller", *names, "laps finished"], rows)
    for name, result in tests.items():
        if result.get("in_words"):
            page.text(f"{score_title(name)}: {'; '.join(result['in_words'])}.")
    for video in sorted(root.glob("*.mp4")):
        if video.stat().st_size <= MAX_VIDEO_BYTES:
            page.video(video.read_bytes(), "The real frame, V's reconstruction of it, and M's dream.")
        else:
            page.text(f"{video.name} is too large for this page; it lies beside it.")


def _pipeline(page: Page, root: Path) -> None:
    if not (root / "pipeline.json").exists():
        return
    record = read_json(root / "pipeline.json")
    page.heading("How it was made")
    total = sum(step["seconds"] for step in record["done"].values())
    page.text(f"{total / 60:.1f} minutes on {record['cores']} cores; the commands, in order:")
    rows = [[name, f"{step['seconds'] / 60:.1f}", step["command"]] for name, step in record["done"].items()]
    page.table(["step", "minutes", "command"], rows)
    page.details("configuration", json.dumps(record["config"], indent=2))


def _stage(page: Page, folder: Path, title: str, plots: Sequence[Plot]) -> None:
    page.heading(title)
    quality = read_json(folder / "quality.json") if (folder / "quality.json").exists() else {}
    if "in_words" in quality:
        page.text(f"On held-out data: {quality['in_words']}.")
    rows = read_metrics(folder / "metrics.jsonl")
    figures = []
    for plot in plots:
        series = _series(rows, plot.pattern)
        if series:
            figures.append((curve_png(series, "step", plot.unit, plot.title), plot.title))
    if figures:
        page.pictures(figures)
    for picture in sorted((folder / "pictures").glob("*.png")):
        if picture.stem in DRAWN_HERE:
            continue
        page.pictures([(picture.read_bytes(), picture.stem.replace("_", " ").replace("-", " "))])
    if (folder / "config.json").exists():
        page.details("configuration", (folder / "config.json").read_text())


def _series(rows: Sequence[dict], pattern: str) -> Series:
    """Metrics whose whole name matches, each as (steps, values) where it has a number."""
    names = sorted({name for row in rows for name in row if re.fullmatch(pattern, name)})
    series = {}
    for name in names:
        points = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), (int, float))]
        if points:
            series[name] = tuple(zip(*points))
    return series


def _comparison(page: Page, root: Path) -> None:
    """The NVAE beside the plain VAE, where both were trained."""
    found = {name: root / stage / "quality.json" for name, stage in YARDSTICK.items()}
    quality = {name: read_json(path) for name, path in found.items() if path.exists()}
    if len(quality) < 2:
        return
    page.heading("NVAE beside the plain VAE of 2018")
    page.text("The same latent size and the same training time; errors on the validation split.")
    page.text(verdict(quality))
    keys = [key for key, value in quality["NVAE"].items() if isinstance(value, (int, float))]
    rows = [[key.replace("_", " "), *(f"{quality[name][key]:.6g}" for name in quality)] for key in keys]
    page.table(["", *quality], rows)


def verdict(quality: dict[str, dict]) -> str:
    """Which model wins what, in a sentence."""
    wins: dict[str, list[str]] = {name: [] for name in quality}
    for key, (title, sign) in JUDGED.items():
        values = {name: sign * figures[key] for name, figures in quality.items() if key in figures}
        if len(values) == len(quality):
            wins[max(values, key=lambda name: values[name])].append(title)
    return "; ".join(f"the {name} wins on {', '.join(won) or 'nothing'}" for name, won in wins.items()) + "."
