"""Where a stage keeps its things.

```
exp_dir/
  vae/ mdrnn/ controller/
    config.json           the resolved command line
    metrics.jsonl         one JSON object a line: the truth; TensorBoard events beside it are a view
    pictures/
    checkpoints/
      best.safetensors    what later stages use
      latest.safetensors
      state.pt            what a restart goes on from
```
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.files import LOCK, only_writer, read_json, remove, sweep_temp, write_json

UNSAID = ("fresh", "dry-run", "display", "max-workers", "logs", "dataset", "generations", "target-return")
UNSAID += ("epochs", "max-steps", "max-minutes", "max-hours", "backend", "carla")
"""Flags that change nothing in what is trained, or only for how long."""


@dataclass(frozen=True)
class RunDir:
    """The folder of one stage of one run."""

    root: Path
    """The run directory, `--logs`."""
    stage: str
    """"vae", "mdrnn", "controller", ..."""

    @property
    def path(self) -> Path:
        """The stage's folder."""
        return self.root / self.stage

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The model that did best on validation."""
        return self.checkpoints / "best.safetensors"

    @property
    def latest(self) -> Path:
        """The newest model."""
        return self.checkpoints / "latest.safetensors"

    @property
    def state(self) -> Path:
        """Training state for a restart."""
        return self.checkpoints / "state.pt"

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def pictures(self) -> Path:
        """Folder of PNG files."""
        return self.path / "pictures"

    def write_config(self, settings: dict[str, Any]) -> None:
        """Write config.json (JSON values); where a run goes on with other settings than before, say so."""
        if self.state.exists() and self.config.exists():
            before, now = _flat(read_json(self.config)), _flat(settings)
            changed = [name for name in now if name in before and before[name] != now[name]]
            changed = [f"--{name} {now[name]} (was {before[name]})" for name in changed if name not in UNSAID]
            if changed:
                print(f"note: {self.path} goes on with other settings than before: {', '.join(changed)}.")
        write_json(self.config, settings)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the stage for this process.

        Raises:
            UserError: another one holds it.
        """
        return only_writer(self.root / f".{self.stage}{LOCK}", f"another command is at work in {self.path}")

    def prepare(self, fresh: bool = False, spare: str = "") -> "RunDir":
        """Make the folders and sweep what a killed run left half written.

        Args:
            fresh: remove what an earlier run made, to start over.
            spare: a file of the stage's folder that is kept all the same.
        """
        if fresh and self.path.exists():
            self.state.unlink(missing_ok=True)  # first: if this is stopped, nothing goes on from what is left
            remove(child for child in self.path.iterdir() if child.name != spare)
        for folder in (self.path, self.checkpoints, self.pictures):
            folder.mkdir(parents=True, exist_ok=True)
            sweep_temp(folder)
        return self


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by the flags that set them."""
    flat = {}
    for name, value in settings.items():
        flat |= _flat(value) if isinstance(value, dict) else {name.replace("_", "-"): value}
    return flat
