"""A mixture of correlated Gaussians over the next latent vector.

Bishop 1994, "Mixture Density Networks"; full covariances: Williams 1996, "Using Neural Networks to Model Conditional
Multivariate Densities".

The mixture is *joint* over z: one component is chosen for the whole vector. The 2018 code of World Models chose a
component for every dimension apart, which mixes the futures up: half of a sample may turn left while the other
half turns right. With one choice the dimensions of a sample belong to the same future. Within a component they are
correlated, for what V makes of a road's bend or of a slide is a direction in z, not an axis: `unmix` turns deviations
from the mean into independent ones.

All arithmetic is in log-space. Axes: b batch, t time, k component, z latent; `...` is any leading axes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def choose(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Draw components (...,) for logits (..., K) and uniform numbers (...,); the likeliest ones at temperature 0."""
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits / temperature, -1).cumsum(-1)
    return (uniform.unsqueeze(-1) >= cumulative[..., :-1]).sum(-1)


def inverse(unmix: Tensor) -> Tensor:
    """The inverses of unit lower triangular matrices (K, Z, Z): they correlate deviations that are independent."""
    eye = torch.eye(unmix.shape[-1], device=unmix.device)
    return torch.linalg.solve_triangular(unmix, eye, upper=False, unitriangular=True)


class Mixture(NamedTuple):
    """Weights and moments of the components.

    Attributes:
        logits: unnormalised log weights (..., K).
        mu: means (..., K, Z).
        log_sigma: logs of the standard deviations of the unmixed deviations (..., K, Z).
        unmix: unit lower triangular matrices A (K, Z, Z): A (z - mu) is independent, N(0, sigma^2).
    """

    logits: Tensor
    mu: Tensor
    log_sigma: Tensor
    unmix: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of z.

        Args:
            z: (..., Z).

        Returns:
            (...): log sum_k pi_k N(A_k (z - mu_k); 0, sigma_k), in nats; the determinant of A_k is 1.
        """
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 has too few digits for differences
            independent = torch.einsum("...kz,kyz->...ky", z.unsqueeze(-2) - self.mu, self.unmix)
        scaled = independent * torch.exp(-self.log_sigma)
        log_density = -0.5 * (scaled.square() + LOG_2PI) - self.log_sigma
        return torch.logsumexp(torch.log_softmax(self.logits, -1) + log_density.sum(-1), -1)

    def sample(self, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        """Draw z from given noise, so that the caller decides what a draw depends on.

        The temperature T divides the logits and multiplies the variances (sigma * sqrt(T)), as in the 2018 code:
        1 is as learnt, below 1 is calmer, and 0 is the mean of the likeliest component.

        Args:
            uniform: numbers in [0, 1) that choose the component, (...).
            normal: standard normal numbers, (..., Z).
            temperature: T >= 0.

        Returns:
            z (..., Z).
        """
        chosen = choose(self.logits, uniform, temperature)
        sigma = torch.exp(self._pick(self.log_sigma, chosen))
        shift = torch.einsum("...z,kyz->...ky", math.sqrt(temperature) * sigma * normal, inverse(self.unmix))
        return self._pick(self.mu + shift, chosen)

    @staticmethod
    def _pick(values: Tensor, component: Tensor) -> Tensor:
        index = component[..., None, None].expand(*component.shape, 1, values.shape[-1])
        return values.gather(-2, index).squeeze(-2)
