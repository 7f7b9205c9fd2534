"""The convolutional VAE of World Models (Ha & Schmidhuber 2018, arXiv 1803.10122, appendix): the yardstick.

Left out: the paper's loss (squared error plus a KL with a tolerance); the likelihood is the NVAE's, so that
the two ELBOs compare.

Axes: b batch, c channel, h height, w width, z latent.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.likelihood import Likelihood, LikelihoodName
from models.vision import VisionModel
from utils.errors import check


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the plain VAE."""

    image_size: int = 64
    """Height and width of a frame in pixels; this network exists for 64 only."""
    latent_size: int = 32
    """How many numbers describe a frame."""
    likelihood: LikelihoodName = "gaussian"
    """Form of p(frame | z); see models/likelihood.py."""

    def __post_init__(self) -> None:
        check(
            self.image_size == 64,
            f"the plain VAE takes 64x64 frames, not {self.image_size}x{self.image_size}",
        )
        check(self.latent_size >= 1, f"latent_size must be at least 1, not {self.latent_size}")


class VAE(VisionModel):
    """Four strided convolutions, a Gaussian z, four transposed convolutions."""

    kind: ClassVar[str] = "vae"
    config_type: ClassVar[type] = VAEConfig

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        widths = [3, 32, 64, 128, 256]
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(widths):
            layers += [nn.Conv2d(c_in, c_out, 4, stride=2), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.to_posterior = nn.Linear(256 * 2 * 2, 2 * config.latent_size)
        self.from_latent = nn.Linear(config.latent_size, 1024)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(1024, 128, 5, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 5, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 6, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 6, stride=2),
        )
        self.likelihood = Likelihood(config.likelihood)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior (mu, log_sigma), each (B, Z), of frames (B, 3, H, W)."""
        x = self.encoder(frames.contiguous(memory_format=torch.channels_last))
        mu, log_sigma = self.to_posterior(x).float().chunk(2, dim=1)
        return mu, log_sigma.clamp(-7.0, 2.0)

    def decode(self, z: Tensor) -> Tensor:
        """Mean picture (B, 3, H, W) of z (B, Z)."""
        return torch.sigmoid(self.decoder(self.from_latent(z)[:, :, None, None]).float())

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n z (n, Z) from a standard normal."""
        return torch.randn(n, self.latent_size, generator=generator, device=self.from_latent.weight.device)

    def loss(self, frames: Tensor, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative ELBO in nats per dimension; `progress` plays no part, there is no warm-up."""
        mu, log_sigma = self.encode(frames)
        sigma = log_sigma.exp()
        z = mu + sigma * torch.randn_like(mu)
        mean = self.decode(z)
        nll = self.likelihood.nll(mean, frames).mean()
        kl = 0.5 * (mu.square() + sigma.square() - 2 * log_sigma - 1).sum(dim=1).mean()
        metrics = {
            "elbo": -(nll + kl).detach(),
            "nll": nll.detach(),
            "kl": kl.detach(),
            "mse": (mean.detach() - frames).square().mean(),
            "scale": self.likelihood.scale(),
        }
        return (nll + kl) / self.num_dims, metrics
