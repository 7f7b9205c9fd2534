"""VisionModel: the face that every V shows to the rest of the pipeline.

Axes: b batch, c channel, h height, w width, z latent.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from utils.checkpoint import Checkpoint
from utils.errors import UserError


class VisionModel(nn.Module, ABC):
    """Frames (B, 3, H, W) in [0, 1] to one flat latent vector z (B, Z) and back.

    `decode` is a deterministic function of z alone, whatever hierarchy lies inside: the dream needs it. A
    subclass sets `kind` and `config_type` and takes one config, whose `image_size` and `latent_size` are read
    here.
    """

    kind: ClassVar[str]
    config_type: ClassVar[type]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @property
    def latent_size(self) -> int:
        """Z: how many numbers describe a frame."""
        return self.config.latent_size

    @property
    def image_size(self) -> int:
        """H = W in pixels."""
        return self.config.image_size

    @property
    def num_dims(self) -> int:
        """How many numbers a frame has: losses are in nats divided by it."""
        return 3 * self.image_size**2

    @abstractmethod
    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior (mu, log_sigma), each (B, Z), of frames (B, 3, H, W)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Mean picture (B, 3, H, W) in [0, 1] of z (B, Z)."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n z (n, Z) from the prior; the generator must live on the model's device."""

    @abstractmethod
    def loss(self, frames: Tensor, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar to minimise in nats per dimension, metrics in nats per frame) at `progress` in [0, 1]."""

    def reconstruct(self, frames: Tensor) -> Tensor:
        """The picture (B, 3, H, W) of each frame's posterior mean."""
        return self.decode(self.encode(frames)[0])

    def for_inference(self) -> Self:
        """A copy, faster where it can be, that computes the same but is neither to be trained nor saved."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def to_checkpoint(self, info: Mapping[str, Any] | None = None) -> Checkpoint:
        """This model as a checkpoint: config and weights, with the given info."""
        return Checkpoint(self.kind, asdict(self.config), self.state_dict(), dict(info or {}))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The model of a checkpoint, in eval mode.

        Raises:
            UserError: when kind, config or weights are not this model's.
        """
        if checkpoint.kind != cls.kind:
            raise UserError(f"the checkpoint holds a {checkpoint.kind!r} model, not a {cls.kind!r}")
        known = {field.name for field in fields(cls.config_type)}
        unknown = sorted(set(checkpoint.config) - known)
        if unknown:
            raise UserError(
                f"the checkpoint's {cls.kind} config has settings this version does not know: {unknown}"
            )
        settings = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in checkpoint.config.items()
        }
        model = cls(cls.config_type(**settings))
        try:
            model.load_state_dict(checkpoint.weights)
        except RuntimeError as error:
            raise UserError(
                f"the checkpoint's weights do not fit its {cls.kind} config: {str(error).splitlines()[0]}"
            ) from error
        return model.eval()
