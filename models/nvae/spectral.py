"""Spectral regularisation (paper, section 3.3): keep every layer from stretching, so that the KL stays bounded.

Axes: o output channels of a convolution, i its inputs times kernel area.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SpectralRegulariser(nn.Module):
    """Sum of the largest singular values of weights, tracked by power iteration.

    The singular vectors are buffers: they are saved with the model, so that a resumed run is the same run.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for i, weight in enumerate(weights):
            start = torch.randn(weight.shape[0], generator=generator)
            self.register_buffer(f"u_{i}", F.normalize(start, dim=0))

    def forward(self, weights: Sequence[Tensor]) -> Tensor:
        """The sum for these weights, each seen as a matrix (o, i); in training the vectors move on first."""
        with torch.autocast(weights[0].device.type, enabled=False):  # half precision would blur the vectors
            return torch.stack([self._norm(i, weight.flatten(1)) for i, weight in enumerate(weights)]).sum()

    def _norm(self, i: int, matrix: Tensor) -> Tensor:
        u = self.get_buffer(f"u_{i}")
        with torch.no_grad():
            left, right = u, F.normalize(matrix.T @ u, dim=0)
            if self.training:
                left = F.normalize(matrix @ right, dim=0)
                right = F.normalize(matrix.T @ left, dim=0)
                u.copy_(left)
            left = left.clone()
        return left @ (matrix @ right)


def batchnorm_gain(model: nn.Module) -> Tensor:
    """Sum over the batch norms of their largest |gamma|."""
    gains = [m.weight.abs().max() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    return torch.stack(gains).sum()
