"""The residual cells of the NVAE (paper, section 3.1 and figure 3) and what changes resolution between them.

Axes: b batch, c channel, h height, w width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in (0, 1) computed from all channels' means."""

    def __init__(self, channels: int, squeeze: int = 16) -> None:
        super().__init__()
        hidden = max(channels // squeeze, 4)
        self.down = nn.Linear(channels, hidden)
        self.up = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]


def norm_swish(channels: int, momentum: float) -> nn.Sequential:
    """Batch norm and Swish: what stands in front of every convolution."""
    return nn.Sequential(nn.BatchNorm2d(channels, momentum=momentum), nn.SiLU())


class EncoderCell(nn.Module):
    """Bottom-up: twice (BN, Swish, 3x3), squeeze-and-excitation, added to its input with a small weight."""

    def __init__(self, channels: int, residual_scale: float, momentum: float) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        self.branch = nn.Sequential(
            norm_swish(channels, momentum),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm_swish(channels, momentum),
            nn.Conv2d(channels, channels, 3, padding=1),
            SqueezeExcite(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return torch.add(x, self.branch(x), alpha=self.residual_scale)


class DecoderCell(nn.Module):
    """Top-down: BN, 1x1 expansion, BN-Swish, depthwise 5x5, BN-Swish, 1x1 projection, BN, squeeze-and-excitation.

    The depthwise kernel sees far at little cost, and works in the widened space.
    """

    def __init__(self, channels: int, expansion: int, residual_scale: float, momentum: float) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        wide = channels * expansion
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels, momentum=momentum),
            nn.Conv2d(channels, wide, 1, bias=False),
            norm_swish(wide, momentum),
            nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False),
            norm_swish(wide, momentum),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels, momentum=momentum),
            SqueezeExcite(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return torch.add(x, self.branch(x), alpha=self.residual_scale)


def downsample(c_in: int, c_out: int, momentum: float) -> nn.Sequential:
    """Half the resolution: (B, c_in, H, W) to (B, c_out, H/2, W/2)."""
    return nn.Sequential(norm_swish(c_in, momentum), nn.Conv2d(c_in, c_out, 3, stride=2, padding=1))


def upsample(c_in: int, c_out: int, momentum: float) -> nn.Sequential:
    """Twice the resolution: (B, c_in, H, W) to (B, c_out, 2H, 2W), computed at the coarse one (sub-pixel)."""
    return nn.Sequential(norm_swish(c_in, momentum), nn.Conv2d(c_in, 4 * c_out, 1), nn.PixelShuffle(2))
