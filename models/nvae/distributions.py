"""Normal distributions of the NVAE: the residual posterior, its KL, and how the groups' KLs are weighed.

Axes: b batch, z numbers of one group, l group.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def soft_clamp(x: Tensor, limit: float) -> Tensor:
    """Squash x smoothly into (-limit, limit); near zero it is the identity."""
    return limit * torch.tanh(x / limit)


class Normal(NamedTuple):
    """Diagonal normal; both (B, Z)."""

    mu: Tensor
    log_sigma: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """The draw that standard normal noise (B, Z) stands for."""
        return self.mu + self.log_sigma.exp() * noise


class Residual(NamedTuple):
    """What the posterior adds to the prior: q = N(mu_p + delta_mu, sigma_p * exp(delta_log_sigma)); both (B, Z)."""

    delta_mu: Tensor
    delta_log_sigma: Tensor

    def posterior(self, prior: Normal) -> Normal:
        """The posterior q itself (paper, section 3.2)."""
        return Normal(prior.mu + self.delta_mu, prior.log_sigma + self.delta_log_sigma)

    def kl(self, prior: Normal) -> Tensor:
        """KL(q || p) of each number in nats, (B, Z) (paper, equation 2); the prior's mean does not enter."""
        shift = (self.delta_mu * torch.exp(-prior.log_sigma)).square()
        return 0.5 * (shift + torch.exp(2 * self.delta_log_sigma) - 1) - self.delta_log_sigma


def warmup_beta(progress: float, warmup: float, floor: float = 1e-4) -> float:
    """Weight of the KL at `progress` in [0, 1]: rises linearly to 1 over the first `warmup` of training."""
    return 1.0 if warmup == 0 else min(max(progress / warmup, floor), 1.0)


def balance(kl_per_group: Tensor, sizes: Sequence[int], beta: float) -> Tensor:
    """Coefficients (L,) with mean 1 that press on the groups in proportion to what they already use.

    A group that says little is left alone, one that says much (for its size) is pressed harder, so all stay alive
    (paper, appendix A). Only while beta < 1: at 1 the objective is the plain ELBO. No gradient flows.
    """
    if beta >= 1:
        return torch.ones_like(kl_per_group)
    used = (kl_per_group.detach() + 0.01) / torch.as_tensor(
        sizes, dtype=kl_per_group.dtype, device=kl_per_group.device
    )
    return used / used.mean()
