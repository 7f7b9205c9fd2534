"""Dreams made from a run directory: what the names in envs/__init__.py point to.

`envs` takes world models, never folders; this is where a folder becomes one. A dataset collected in the dream has the
env spec {"name": "DreamCarRacing-v2", "options": {"logs": "exp_dir", "max_steps": 334}}.
"""

from pathlib import Path
from typing import Any

from data.trained import load_starts, load_world_model, source_files
from envs.dream import DreamConfig
from envs.dream_pixels import DreamFrames, DreamPixels
from envs.starts import StartStates
from models.world_model import WorldModel
from utils.errors import UserError, check


def make_frames(
    num_envs: int,
    *,
    logs: str | Path | None = None,
    world_model: WorldModel | None = None,
    starts: StartStates | None = None,
    **options: Any,
) -> DreamFrames:
    """Dreams as a frame env with slots.

    Args:
        num_envs: how many run side by side.
        logs: the run directory of V and M, or a folder like those in pretrained/; or else
        world_model: V and M, and
        starts: where dreams begin.
        **options: fields of DreamConfig; `max_steps` is the horizon, as in the real env.

    Raises:
        UserError: there is no V, M or start states there.
    """
    world_model, starts = _sources(logs, world_model, starts)
    return DreamFrames(world_model, starts, num_envs, _config(options))


def make_pixels(
    *,
    logs: str | Path | None = None,
    world_model: WorldModel | None = None,
    starts: StartStates | None = None,
    render_mode: str | None = None,
    **options: Any,
) -> DreamPixels:
    """One dream as a gymnasium env; the arguments of `make_frames`."""
    world_model, starts = _sources(logs, world_model, starts)
    return DreamPixels(world_model, starts, _config(options), render_mode)


def _sources(
    logs: str | Path | None, world_model: WorldModel | None, starts: StartStates | None
) -> tuple[WorldModel, StartStates]:
    if logs is not None:
        files = source_files(Path(logs))
        world_model = world_model or load_world_model(files).world_model
        starts = starts or load_starts(files)
    if world_model is None or starts is None:
        raise UserError("a dream is made of logs=FOLDER, or of world_model=... and starts=....")
    return world_model, starts


def _config(options: dict[str, Any]) -> DreamConfig:
    if "max_steps" in options:
        options = {**options, "horizon": options["max_steps"]}
        del options["max_steps"]
    unknown = sorted(set(options) - set(DreamConfig.__dataclass_fields__))
    check(not unknown, f"the dream has no option {', '.join(unknown)}.")
    return DreamConfig(**options)
