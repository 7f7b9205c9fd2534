"""Metrics: JSONL is the truth, TensorBoard a view of it."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from torch.utils.tensorboard import SummaryWriter

from utils.files import atomic_write
from utils.run_dir import RunDir


class Logger:
    """Writes metrics of one stage to metrics.jsonl and TensorBoard, pictures to PNG and TensorBoard.

    Args:
        run: where; must be prepared.
        resume_step: rows after this step are dropped, since the restarted run will write them again.
    """

    def __init__(self, run: RunDir, resume_step: int | None = None):
        self._run = run
        keep = -1 if resume_step is None else resume_step
        rows = [row for row in read_metrics(run.metrics) if row["step"] <= keep]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        atomic_write(run.metrics, lines.encode())
        self._file = run.metrics.open("a")
        self._board = SummaryWriter(str(run.path), purge_step=None if keep < 0 else keep + 1)

    def log(self, step: int, metrics: Mapping[str, float | int | str | None]) -> None:
        """Write one row, nan and infinity as null, which JSON has; numbers also go to TensorBoard."""
        row = {"step": step, "time": round(time.time(), 3), **metrics}
        row = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Write a picture, uint8 (H, W, 3), as pictures/NAME.png (the newest) and to TensorBoard (all)."""
        ok, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        assert ok
        atomic_write(self._run.pictures / f"{name}.png", png.tobytes())
        self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        self._board.close()

    def __enter__(self) -> "Logger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict]:
    """The rows of a metrics.jsonl (none if it is missing) up to the first that is broken: a crash cuts the last."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(row, dict) or "step" not in row:
            break
        rows.append(row)
    return rows
