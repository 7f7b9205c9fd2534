"""Plots and picture grids."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.files import atomic_write

Numbers = Sequence[float] | np.ndarray
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def rank_correlation(xs: Numbers, ys: Numbers) -> float:
    """Spearman's: 1 where both rank alike, 0 where one tells nothing of the other (or all are equal)."""
    ranks = [np.array([np.mean(np.flatnonzero(np.sort(v) == x)) for x in v]) for v in (xs, ys)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    a, b = (rank - rank.mean() for rank in ranks)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def scatter(path: Path, xs: Numbers, ys: Numbers, xlabel: str, ylabel: str) -> None:
    """Draw points into a PNG file, later ones darker, with their rank correlation above."""
    figure = Figure(figsize=(4.8, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(xs, ys, c=range(len(xs)), cmap="viridis_r", s=22)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=f"rank correlation {rank_correlation(xs, ys):.2f}")
    axes.grid(alpha=0.3)
    atomic_write(path, _png(figure))


def curve_png(series: Series, xlabel: str, ylabel: str, title: str = "") -> bytes:
    """Named (xs, ys) lines as a PNG picture."""
    figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, (xs, ys) in series.items():
        axes.plot(xs, ys, label=name, linewidth=1.5, marker="." if len(xs) < 25 else None)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize=8)
    return _png(figure)


def curve(path: Path, series: Series, xlabel: str, ylabel: str, title: str = "") -> None:
    """Draw named (xs, ys) lines into a PNG file."""
    atomic_write(path, curve_png(series, xlabel, ylabel, title))


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def image_grid(rows: Sequence[np.ndarray], labels: Sequence[str] | None = None, scale: int = 2) -> np.ndarray:
    """Stack rows of frames into one picture.

    Args:
        rows: each uint8 (N, H, W, 3), all of one shape.
        labels: a word or two for each row, written at its left.
        scale: every pixel becomes scale x scale.

    Returns:
        uint8 (height, width, 3).
    """
    bands = []
    for i, row in enumerate(rows):
        band = np.concatenate([np.pad(frame, ((1, 1), (1, 1), (0, 0))) for frame in row], axis=1)
        band = band.repeat(scale, axis=0).repeat(scale, axis=1)
        if labels is not None:
            margin = np.full((band.shape[0], 110, 3), 255, np.uint8)
            place = (4, band.shape[0] // 2 + 4)
            cv2.putText(margin, labels[i], place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
            band = np.concatenate([margin, band], axis=1)
        bands.append(band)
    return np.concatenate(bands, axis=0)
