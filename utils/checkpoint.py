"""Checkpoints: one safetensors file per model, its config inside; training state beside it.

A model file holds the weights and, in its header, `kind`, `config` and `info` as JSON: nothing else is needed
to build the model again, and nothing in it is code. Every file is written whole or not at all.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from utils.errors import UserError
from utils.files import atomic_write

FORMAT = "world-models-1"
Built = TypeVar("Built")


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
    """Write a model file, atomically; the same checkpoint has the same bytes, and so the same `fingerprint`."""
    header = {
        "format": FORMAT,
        "kind": checkpoint.kind,
        "config": json.dumps(checkpoint.config),
        "info": json.dumps(checkpoint.info),
    }
    weights = {name: w.detach().cpu().contiguous().clone() for name, w in checkpoint.weights.items()}
    atomic_write(path, _in_order(save(weights, header)))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in an order that changes by chance."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_checkpoint(path: Path, kind: str | None = None) -> Checkpoint:
    """Read a model file.

    Args:
        path: the file.
        kind: what it must be, when only one kind will do.

    Raises:
        UserError: the file is missing, truncated, not ours, or of another kind.
        OSError: it may not be read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; train this stage first or point --logs elsewhere.")
    with path.open("rb"):  # what may not be read is no damaged file
        pass
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
    try:
        checkpoint = Checkpoint(header["kind"], dict(_json(header, "config")), weights, _json(header, "info"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: its header is not as this project writes it ({_first_line(error)}); delete it and "
            "train again."
        ) from None
    if kind is not None and checkpoint.kind != kind:
        raise UserError(f"{path} holds a {checkpoint.kind}, but a {kind} is needed here.")
    return checkpoint


def load_built(path: Path, build: Callable[[Checkpoint], Built], kind: str | None = None) -> Built:
    """Read a model file and build what it holds.

    Args:
        path: the file.
        build: from a checkpoint to the model.
        kind: what it must be, when only one kind will do.

    Raises:
        UserError: as `load_checkpoint`, or config and weights do not make a model; the message names the file.
    """
    checkpoint = load_checkpoint(path, kind)
    try:
        return build(checkpoint)
    except (UserError, AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} holds no {checkpoint.kind} that this version can build ({_first_line(error)}); point --logs at "
            "another run, or train it again with --fresh."
        ) from None


def _json(header: Mapping[str, str], name: str) -> dict[str, Any]:
    value = json.loads(header[name])
    if not isinstance(value, dict):
        raise TypeError(f"{name} is no JSON object")
    return value


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".:") if text else type(error).__name__


def fingerprint(path: Path) -> str:
    """First 16 hex digits of the file's sha256: which exact weights these are."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write training state (tensors, numbers, strings, lists, dicts), atomically."""
    atomic_write(path, lambda temp: torch.save(dict(state), temp))


def load_state(path: Path, *names: str) -> dict[str, Any]:
    """Read training state; only plain data is ever unpickled.

    Args:
        path: the file.
        names: what must be in it.

    Raises:
        UserError: the file is damaged or foreign.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's remarks about foreign pickles
            state = torch.load(path, map_location="cpu", weights_only=True)
        missing = [name for name in names if name not in state]
        if missing or not isinstance(state, dict):
            raise ValueError(f"it holds no {' and no '.join(missing or ['state'])}")
    except (PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # a broken file makes torch raise almost anything
        first = _first_line(error).partition(". ")[0]
        raise UserError(f"{path} is damaged or foreign ({first}); pass --fresh to start over.") from None
    return state
