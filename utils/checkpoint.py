"""Checkpoints: one safetensors file per model, its config inside; training state beside it.

A model file holds the weights and, in its header, `kind`, `config` and `info` as JSON: nothing else is needed
to build the model again, and nothing in it is code. Every file is written whole or not at all.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from utils.errors import UserError
from utils.files import atomic_write

FORMAT = "world-models-1"


class Checkpoint(NamedTuple):
    """A model as data.

    Attributes:
        kind: which class builds it: "nvae", "vae", "mdnrnn", "controller", ...
        config: the constructor's config, JSON values.
        weights: the state dict.
        info: where it comes from: env spec, fingerprints, scores; JSON values.
    """

    kind: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    info: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a model file, atomically."""
    header = {
        "format": FORMAT,
        "kind": checkpoint.kind,
        "config": json.dumps(checkpoint.config),
        "info": json.dumps(checkpoint.info),
    }
    weights = {name: w.detach().cpu().contiguous().clone() for name, w in checkpoint.weights.items()}
    atomic_write(path, lambda temp: save_file(weights, temp, header))


def load_checkpoint(path: Path, kind: str | None = None) -> Checkpoint:
    """Read a model file.

    Args:
        path: the file.
        kind: what it must be, when only one kind will do.

    Raises:
        UserError: the file is missing, truncated, not ours, or of another kind.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; train this stage first or point --logs elsewhere.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged or no safetensors file ({error}); delete it and train again."
        ) from None
    if header.get("format") != FORMAT:
        raise UserError(
            f"{path} was not written by this project; point --logs at one of its run directories."
        )
    if kind is not None and header["kind"] != kind:
        raise UserError(f"{path} holds a {header['kind']}, but a {kind} is needed here.")
    return Checkpoint(header["kind"], json.loads(header["config"]), weights, json.loads(header["info"]))


def fingerprint(path: Path) -> str:
    """First 16 hex digits of the file's sha256: which exact weights these are."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write training state (tensors, numbers, strings, lists, dicts), atomically."""
    atomic_write(path, lambda temp: torch.save(dict(state), temp))


def load_state(path: Path) -> dict[str, Any]:
    """Read training state; only plain data is ever unpickled.

    Raises:
        UserError: the file is damaged or foreign.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or foreign ({first}); pass --fresh to start over.") from None
