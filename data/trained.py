"""What earlier stages left behind: V, M, start states and controllers, loaded from their files."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

import envs
import models
from data.episodes import EpisodeStore
from envs import specs
from envs.starts import StartStates
from models.controller import LinearController
from models.world_model import WorldModel
from utils.checkpoint import Checkpoint, fingerprint, load_built, load_checkpoint, save_checkpoint
from utils.errors import UserError, check
from utils.run_dir import RunDir

DEFAULT_LOGS = Path("exp_dir")
"""The run directory where none is named."""
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
SHIPPED = PRETRAINED / "carracing"
"""What a fresh clone drives with."""
SHIPPED_CARLA = PRETRAINED / "carla"
"""And under --env carla."""
STAGES = ("controller", "controller-dream")
"""Where a run may keep a controller; the one evolved in the real env comes first."""


class TrainedFiles(NamedTuple):
    """Where the weights of one run are."""

    vision: Path
    memory: Path
    starts: Path
    controller: Path


class Trained(NamedTuple):
    """V and M, and what is known about them."""

    world_model: WorldModel
    env_spec: dict[str, Any]
    """the real env they were trained on"""
    fingerprints: dict[str, str]
    """which weights exactly: "vision" and "memory\""""


class TrainedController(NamedTuple):
    """C as loaded."""

    controller: LinearController
    params: np.ndarray
    """float32 (N,)"""
    info: dict[str, Any]


def run_files(
    root: Path, stage: str = "controller", which: Literal["best", "latest"] = "best"
) -> TrainedFiles:
    """The files of a run directory, with the best or the latest controller of a stage."""
    memory, driver = RunDir(root, "mdrnn"), RunDir(root, stage)
    controller = driver.best if which == "best" else driver.latest
    return TrainedFiles(RunDir(root, "vae").best, memory.best, memory.path / "starts.safetensors", controller)


def folder_name(root: Path) -> str:
    """How an env spec names the folder of a dream: in full, but one of pretrained/ as every clone has it."""
    full = root.resolve()
    return str(full.relative_to(PRETRAINED.parent) if full.is_relative_to(PRETRAINED) else full)


def source_files(root: Path) -> TrainedFiles:
    """The files of a run directory, or of a folder like those under pretrained/, which are found from anywhere."""
    if root.parts[:1] == (PRETRAINED.name,) and not root.exists():
        root = PRETRAINED.parent / root
    return shipped_files(root) if (root / "starts.safetensors").is_file() else run_files(root)


def driver_files(root: Path, stages: Sequence[str] = STAGES) -> TrainedFiles | None:
    """The files of a run directory with the first of these stages that holds a controller; None if none does."""
    found = (run_files(root, stage) for stage in stages)
    return next((files for files in found if files.controller.is_file()), None)


def shipped_files(folder: Path, stage: str | None = None) -> TrainedFiles:
    """The files of a folder under pretrained/, with a stage's controller: the one evolved for real by default."""
    names = ("vae", "mdrnn", "starts", stage or STAGES[0])
    return TrainedFiles(*(folder / f"{name}.safetensors" for name in names))


def load_world_model(files: TrainedFiles, device: torch.device | str = "cpu") -> Trained:
    """V and M as a world model.

    Raises:
        UserError: one is missing, damaged or of the wrong kind, or they do not belong together.
    """
    check(files.vision.is_file(), f"there is no trained V at {files.vision}; run trainvae.py first.")
    check(files.memory.is_file(), f"there is no trained M at {files.memory}; run trainmdrnn.py first.")
    vision, memory = load_checkpoint(files.vision), load_checkpoint(files.memory, "mdnrnn")
    check(
        vision.kind in ("nvae", "vae"), f"{files.vision} holds a {vision.kind}, but a vision model is needed."
    )
    marks = {"vision": fingerprint(files.vision), "memory": fingerprint(files.memory)}
    trained_on = memory.info.get("vision")
    check(
        trained_on in (None, marks["vision"]),
        f"M ({files.memory}) was trained on another V than {files.vision}; run trainmdrnn.py again.",
    )
    v: Any = load_built(files.vision, models.build)
    m: Any = load_built(files.memory, models.build, "mdnrnn")
    spec = memory.info.get("env") or vision.info.get("env")
    if not isinstance(spec, dict) or not {"name", "options"} <= spec.keys():
        raise UserError(
            f"{files.memory} does not say on which env it was trained; run trainmdrnn.py --fresh."
        )
    return Trained(WorldModel(v, m, device), spec, marks)


def real_env(asked: str, world: Trained, logs: Path) -> dict[str, Any]:
    """The real env of V and M.

    Args:
        asked: the flag --env: real or dream, or the name that the real env must have; if V and M were trained on a
            dream, also the name of the env that was dreamt of.
        world: V and M.
        logs: where they are from.

    Raises:
        UserError: V and M were trained on another env.
    """
    spec = world.env_spec
    if asked not in ("real", "dream"):
        if specs.kind(spec["name"]) == "dream" and specs.kind(envs.canonical(asked)) != "dream":
            spec = dreamt_spec(Path(spec["options"]["logs"]))
        what = f"V and M of {logs} were trained on"
        specs.check_env(asked, spec, what, "take the --logs of another run.")
    return spec


def dreamt_spec(root: Path) -> dict[str, Any]:
    """The env that a run directory's dream is a dream of.

    Raises:
        UserError: there is no V or M.
    """
    return load_world_model(source_files(root)).env_spec


def load_starts(files: TrainedFiles) -> StartStates:
    """Where dreams begin.

    Raises:
        UserError: the file is missing, damaged or foreign, or holds the memories of another M.
    """
    check(
        files.starts.is_file(), f"there are no start states of dreams at {files.starts}; run trainmdrnn.py."
    )
    starts = load_built(files.starts, StartStates.from_checkpoint, "starts")
    check(
        load_checkpoint(files.starts).info.get("memory") == fingerprint(files.memory),
        f"M has changed since {files.starts} was made; run trainmdrnn.py again, to its end.",
    )
    return starts


def load_controller(path: Path, sizes: Collection[int]) -> TrainedController:
    """C, checked against the numbers of features that it may see (`WorldModel.feature_sizes`).

    Raises:
        UserError: the file is missing, damaged or foreign, or C has another size.
    """
    if not path.is_file():
        raise UserError(f"there is no trained controller at {path}; run traincontroller.py first.")
    driver = load_built(path, _build_controller, "controller")
    size = driver.controller.feature_size
    check(
        size in sizes,
        f"the controller {path} sees {size} features, not {' or '.join(map(str, sorted(sizes)))}; "
        "train it again with traincontroller.py --fresh, or point --logs at the run it belongs to.",
    )
    return driver


def _build_controller(checkpoint: Checkpoint) -> TrainedController:
    config = checkpoint.config
    low, high = (np.asarray(config[name], np.float32) for name in ("low", "high"))
    expo = float(config.get("expo", 0.0))  # there was none when the first ones were evolved
    controller = LinearController(int(config["feature_size"]), low, high, expo)
    params = checkpoint.weights["params"].numpy()
    check(params.shape == (controller.num_params,), "its weights do not fit its config")
    return TrainedController(controller, params, checkpoint.info)


def open_dataset(rootdir: Path | None, env: str | None) -> EpisodeStore:
    """The dataset of the flags --dataset and --env, where either may be left out.

    Raises:
        UserError: there is none, or it is of another env.
    """
    if env is not None:
        envs.canonical(env)  # a slip of the pen is told before a missing folder
    store = EpisodeStore(rootdir or specs.default_dataset(env))
    specs.check_env(env, store.env_spec, f"{store.rootdir} was recorded in", "pass another --dataset.")
    return store


def check_same_env(checkpoint: Checkpoint, store: EpisodeStore, whose: str, mend: str) -> None:
    """Refuse a dataset of another env than a checkpoint's.

    Args:
        checkpoint: of V or M; without an env spec anything goes.
        store: the dataset.
        whose: beginning of the sentence, "V in exp_dir/vae was trained".
        mend: its end, what to do.

    Raises:
        UserError: the envs differ.
    """
    before, now = checkpoint.info.get("env"), store.env_spec
    if before is None or before == now:
        return
    same_name = before.get("name") == now["name"]
    was, is_ = (spec.get("options") if same_name else spec.get("name") for spec in (before, now))
    raise UserError(f"{whose} on env {was}, but {store.rootdir} was recorded in {is_}; {mend}")


def save_controller(
    path: Path, controller: LinearController, params: np.ndarray, info: dict[str, Any]
) -> None:
    """Write C, atomically."""
    config = {
        "feature_size": controller.feature_size,
        "low": controller.low.tolist(),
        "high": controller.high.tolist(),
        "expo": controller.expo,
    }
    weights = {"params": torch.from_numpy(np.asarray(params, np.float32).copy())}
    save_checkpoint(path, Checkpoint("controller", config, weights, info))
