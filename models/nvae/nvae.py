"""NVAE: a deep hierarchical VAE (Vahdat & Kautz 2020, arXiv 2007.03898) with one small flat latent vector.

A bottom-up network reads the frame; a top-down network, shared by inference and generation, writes it. Left out of
the paper: latent maps (here vectors, see group.py), normalising flows, weight normalisation, mixture output.

Axes: b batch, c channel, h height, w width, z latent, l group.
"""

from itertools import pairwise
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.likelihood import Likelihood
from models.nvae.cells import DecoderCell, EncoderCell, downsample, norm_swish, upsample
from models.nvae.config import NVAEConfig
from models.nvae.distributions import balance, warmup_beta
from models.nvae.fold import folded
from models.nvae.group import LatentGroup
from models.nvae.plan import Plan, plan
from models.nvae.spectral import SpectralRegulariser, batchnorm_gain
from models.vision import VisionModel


class Encoder(nn.Module):
    """The bottom-up network: a frame to one feature map for each latent group."""

    def __init__(self, plan: Plan, config: NVAEConfig) -> None:
        super().__init__()
        momentum = config.bn_momentum
        fine_first = plan.scales[-2::-1]
        channels = [scale.encoder_channels for scale in fine_first]
        self.stem = nn.Conv2d(3, channels[0], 4, stride=4)
        self.downs = nn.ModuleList(downsample(a, b, momentum) for a, b in pairwise(channels))
        self.cells = nn.ModuleList(
            _cells(c, config, config.encoder_cells if scale.groups else 0)
            for c, scale in zip(channels, fine_first)
        )
        self.num_groups = [len(scale.groups) for scale in fine_first]

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Frames (B, 3, H, W) in [0, 1] to maps (B, C, h, w), that of the first (coarsest) group first."""
        x = self.stem(2 * frames.contiguous(memory_format=torch.channels_last) - 1)
        features = []
        for i, cells in enumerate(self.cells):
            x = cells(self.downs[i - 1](x) if i else x)
            features += [x] * self.num_groups[i]
        return features[::-1]


def _cells(channels: int, config: NVAEConfig, count: int) -> nn.Sequential:
    """The cells of one bottom-up scale."""
    cells = (EncoderCell(channels, config.residual_scale, config.bn_momentum) for _ in range(count))
    return nn.Sequential(*cells)


def _painter(plan: Plan, config: NVAEConfig) -> nn.Sequential:
    """From the top-down state after the last group to the logits of the picture (B, 3, H, W)."""
    scales = plan.scales[len(plan.latent_scales) - 1 :]
    momentum = config.bn_momentum

    def cell(channels: int) -> DecoderCell:
        return DecoderCell(channels, config.expansion, config.residual_scale, momentum)

    layers: list[nn.Module] = [cell(scales[0].decoder_channels)]
    for coarse, fine in pairwise(scales):
        layers.append(upsample(coarse.decoder_channels, fine.decoder_channels, momentum))
        if fine is not scales[-1]:  # at the finest scale a cell costs as much as all others together
            layers.append(cell(fine.decoder_channels))
    last = scales[-1].decoder_channels
    layers += [
        norm_swish(last, momentum),
        nn.Conv2d(last, 12, 3, padding=1),
        nn.PixelShuffle(2),
    ]
    return nn.Sequential(*layers)


class NVAE(VisionModel):
    """The model; `z` is the groups' vectors side by side, from the top of the hierarchy down."""

    kind: ClassVar[str] = "nvae"
    config_type: ClassVar[type] = NVAEConfig

    def __init__(self, config: NVAEConfig) -> None:
        super().__init__(config)
        self.config: NVAEConfig = config
        self.plan = plan(config)
        self.encoder = Encoder(self.plan, config)
        scales = [scale for scale in self.plan.latent_scales for _ in scale.groups]
        self.groups = nn.ModuleList(
            LatentGroup(spec, scale, above, config)
            for spec, scale, above in zip(self.plan.groups, scales, [None, *scales])
        )
        top = scales[0]
        self.start = nn.Parameter(torch.zeros(1, top.decoder_channels, top.resolution, top.resolution))
        self.painter = _painter(self.plan, config)
        self.likelihood = Likelihood(config.likelihood)
        self.spectral = SpectralRegulariser(self._conv_weights())
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior (mu, log_sigma), each (B, Z): every group's given the means of those before it."""
        features = self.encoder(frames)
        state = self._begin(len(frames))
        posteriors = []
        for group, feature in zip(self._groups(), features):
            if posteriors:
                state = group.arrive(state)
            prior, context = group.prior(state)
            q = group.residual(feature, context).posterior(prior)
            posteriors.append(q)
            if len(posteriors) < len(self.groups):  # the rest of the decoder is never run
                state = group.inject(state, q.mu)
        mus, log_sigmas = zip(*posteriors)
        return torch.cat(mus, dim=1), torch.cat(log_sigmas, dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Mean picture (B, 3, H, W) in [0, 1] of z (B, Z)."""
        state = self._begin(len(z))
        for group in self._groups():
            state = group.inject(group.arrive(state), z[:, group.spec.start : group.spec.stop])
        return torch.sigmoid(self.painter(state).float())

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n z (n, Z) from the hierarchical prior, group by group."""
        state = self._begin(n)
        parts = []
        for group in self._groups():
            state = group.arrive(state)
            noise = torch.randn(n, group.spec.size, generator=generator, device=state.device)
            parts.append(group.prior(state)[0].sample(noise))
            state = group.inject(state, parts[-1])
        return torch.cat(parts, dim=1)

    def for_inference(self) -> Self:
        """A copy in eval mode whose batch norms are folded into its convolutions; not for training or saving."""
        return folded(self)

    def loss(self, frames: Tensor, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative ELBO, KL warmed up and balanced, plus regularisers, in nats per dimension."""
        features = self.encoder(frames)
        state = self._begin(len(frames))
        kls = []
        for group, feature in zip(self._groups(), features):
            state = group.arrive(state)
            prior, context = group.prior(state)
            residual = group.residual(feature, context)
            q = residual.posterior(prior)
            state = group.inject(state, q.sample(torch.randn_like(q.mu)))
            kls.append(residual.kl(prior).sum(dim=1).mean())
        mean = torch.sigmoid(self.painter(state).float())
        nll = self.likelihood.nll(mean, frames).mean()
        kl = torch.stack(kls)

        beta = warmup_beta(progress, self.config.warmup) if self.training else 1.0
        weights = balance(kl, [g.size for g in self.plan.groups], beta if self.config.balance else 1.0)
        pressed = kl.clamp(min=self.config.free_nats) if self.training else kl
        loss = nll + beta * (weights * pressed).sum()
        metrics = {
            "elbo": -(nll + kl.sum()).detach(),
            "nll": nll.detach(),
            "kl": kl.sum().detach(),
            "mse": F.mse_loss(mean.detach(), frames),
            "scale": self.likelihood.scale(),
            "beta": torch.tensor(beta),
        } | {f"kl_group_{i}": value for i, value in enumerate(kl.detach())}
        if self.training and self.config.spectral_weight > 0:
            norms = self.spectral(self._conv_weights()) + batchnorm_gain(self)
            loss = loss + self.config.spectral_weight * norms
            metrics["spectral"] = norms.detach()
        return loss / self.num_dims, metrics

    def _begin(self, n: int) -> Tensor:
        return self.start.expand(n, -1, -1, -1)

    def _groups(self) -> list[LatentGroup]:
        return list(self.groups)  # pyright: ignore[reportReturnType]

    def _conv_weights(self) -> list[Tensor]:
        return [m.weight for m in self.modules() if isinstance(m, nn.Conv2d)]
