"""One latent group: a small vector that enters the top-down network at one resolution.

The NVAE of the paper has latent maps; here a group is a vector, since all groups together are the 32 numbers that M
predicts. The posterior reads the maps through flattening, which keeps where things are, and z is written back as a
whole map.

Axes: b batch, c channel, h height, w width, z numbers of this group.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nvae.cells import DecoderCell, upsample
from models.nvae.config import NVAEConfig
from models.nvae.distributions import Normal, Residual, soft_clamp
from models.nvae.plan import GroupSpec, ScaleSpec


class LatentGroup(nn.Module):
    """Prior, posterior and use of one group's z, with the top-down path that leads to it.

    Args:
        spec: which numbers of z these are.
        scale: the resolution it lives at.
        above: the scale of the group before, None for the first group, whose prior is the standard normal.
        config: the model's.
    """

    def __init__(
        self, spec: GroupSpec, scale: ScaleSpec, above: ScaleSpec | None, config: NVAEConfig
    ) -> None:
        super().__init__()
        self.spec = spec
        self.is_first = above is None
        self.shape = (scale.resolution, scale.resolution, scale.decoder_channels)
        self.path = _path(scale, above, config)
        area = scale.resolution**2
        width = max(scale.encoder_channels // 2, 1)
        self.read_features = nn.Conv2d(scale.encoder_channels, width, 1)
        self.norm = nn.BatchNorm2d(width, momentum=config.bn_momentum)
        self.to_posterior = _near_zero(nn.Linear(width * area, 2 * spec.size))
        self.write = nn.Linear(spec.size, scale.decoder_channels * area)
        if not self.is_first:
            self.read_state = nn.Conv2d(scale.decoder_channels, 2 * width, 1)  # for the prior, the posterior
            self.to_prior = _near_zero(nn.Linear(width * area, 2 * spec.size))

    def arrive(self, state: Tensor) -> Tensor:
        """Bring the top-down state (B, C, H, W) from the group before to this one's resolution."""
        return self.path(state)

    def prior(self, state: Tensor) -> tuple[Normal, Tensor | float]:
        """What the groups before say, from the top-down state.

        Returns:
            p(z | the groups before), each part (B, Z), and the context that `residual` needs of the state.
        """
        if self.is_first:
            zeros = torch.zeros(state.shape[0], self.spec.size, device=state.device)
            return Normal(zeros, zeros), 0.0
        x, context = self.read_state(state).chunk(2, dim=1)
        mu, log_sigma = self.to_prior(F.silu(x).flatten(1)).float().chunk(2, dim=1)
        return Normal(soft_clamp(mu, 5.0), soft_clamp(log_sigma, 3.0)), context

    def residual(self, features: Tensor, context: Tensor | float) -> Residual:
        """What the frame adds to the prior, from the bottom-up features (B, C', H, W) and the prior's context."""
        x = F.silu(self.norm(self.read_features(features) + context)).flatten(1)
        mu, log_sigma = self.to_posterior(x).float().chunk(2, dim=1)
        return Residual(soft_clamp(mu, 8.0), soft_clamp(log_sigma, 6.0))

    def inject(self, state: Tensor, z: Tensor) -> Tensor:
        """The top-down state (B, C, H, W) with this group's z (B, Z) written into it."""
        return state + self.write(z).unflatten(1, self.shape).permute(0, 3, 1, 2)


def _path(scale: ScaleSpec, above: ScaleSpec | None, config: NVAEConfig) -> nn.Module:
    """What stands between two groups: a cell, behind an upsampling where the resolution changes."""
    if above is None:
        return nn.Identity()
    cell = DecoderCell(scale.decoder_channels, config.expansion, config.residual_scale, config.bn_momentum)
    if above.resolution == scale.resolution:
        return cell
    return nn.Sequential(upsample(above.decoder_channels, scale.decoder_channels, config.bn_momentum), cell)


def _near_zero(linear: nn.Linear) -> nn.Linear:
    """Start with prior and posterior next to the standard normal, so that the first KL is small."""
    nn.init.normal_(linear.weight, std=1e-2)
    nn.init.zeros_(linear.bias)
    return linear
