"""Plots and picture grids."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.files import atomic_write

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


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
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def curve(path: Path, series: Series, xlabel: str, ylabel: str, title: str = "") -> None:
    """Draw named (xs, ys) lines into a PNG file."""
    atomic_write(path, curve_png(series, xlabel, ylabel, title))


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
