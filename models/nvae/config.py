"""Settings of the NVAE."""

import math
from dataclasses import dataclass

from models.likelihood import LikelihoodName
from utils.errors import check


@dataclass(frozen=True)
class NVAEConfig:
    """Sizes and regularisers; channels are listed from the finest resolution down."""

    image_size: int = 64
    """Height and width of a frame in pixels."""
    latent_size: int = 32
    """How many numbers describe a frame, all groups together."""
    groups: tuple[int, ...] = (2, 1)
    """Latent groups per scale, coarsest scale (4x4 by default) first; each costs `encode` a top-down cell."""
    encoder_cells: int = 1
    """Bottom-up cells at each scale that has latent groups; its groups read the same map."""
    encoder_channels: tuple[int, ...] = (32, 32, 64)
    """Feature channels of the bottom-up network at 1/4, 1/8, ... of the image."""
    decoder_channels: tuple[int, ...] = (16, 32, 32, 64)
    """Feature channels of the top-down network at 1/2, 1/4, 1/8, ... of the image."""
    expansion: int = 3
    """Factor by which a top-down cell widens inside."""
    residual_scale: float = 0.1
    """Weight of a cell's residual branch; small values keep a deep hierarchy stable."""
    bn_momentum: float = 0.05
    """Share of the newest batch in the running statistics."""
    likelihood: LikelihoodName = "gaussian"
    """Form of p(frame | z); see models/likelihood.py."""
    warmup: float = 0.3
    """Portion of training over which the weight of the KL rises from nearly 0 to 1."""
    balance: bool = True
    """During that time each group's KL is weighed by its size, so that none is shut off; --no-balance: all alike."""
    free_nats: float = 0.0
    """Each group may use this many nats for nothing; 0 is the plain ELBO."""
    spectral_weight: float = 1e-2
    """Weight, in nats per frame, of the convolutions' spectral norms and the batch norms' largest gains."""

    def __post_init__(self) -> None:
        """Refuse impossible sizes, naming the setting."""
        depth = len(self.decoder_channels)
        check(
            len(self.encoder_channels) == depth - 1,
            "decoder_channels must have one number more than encoder_channels, for half the image's size",
        )
        check(len(self.groups) >= 1 and min(self.groups) >= 1, "every scale needs at least one latent group")
        check(
            len(self.groups) <= depth - 1,
            f"{len(self.groups)} latent scales need at least {len(self.groups) + 1} channel numbers, not {depth}",
        )
        check(min(*self.encoder_channels, *self.decoder_channels) >= 1, "channel numbers must be positive")
        check(
            self.image_size > 0 and self.image_size % 2**depth == 0,
            f"image_size must be a multiple of {2**depth} with {depth} channel numbers, not {self.image_size}",
        )
        check(
            self.latent_size >= sum(self.groups),
            f"latent_size must be at least {sum(self.groups)}, one number for each latent group, "
            f"not {self.latent_size}",
        )
        check(self.encoder_cells >= 1, f"encoder_cells must be at least 1, not {self.encoder_cells}")
        check(self.expansion >= 1, f"expansion must be at least 1, not {self.expansion}")
        check(0 <= self.warmup <= 1, f"warmup is a portion of training in [0, 1], not {self.warmup}")
        check(0 < self.bn_momentum <= 1, f"bn_momentum must lie in (0, 1], not {self.bn_momentum}")
        check(
            0 < self.residual_scale < math.inf, f"residual_scale must be positive, not {self.residual_scale}"
        )
        check(
            0 <= self.free_nats < math.inf, f"free_nats must be finite and not negative, not {self.free_nats}"
        )
        check(
            0 <= self.spectral_weight < math.inf,
            f"spectral_weight must be finite and not negative, not {self.spectral_weight}",
        )
