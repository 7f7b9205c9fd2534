"""How far a reconstruction is from a frame, in nats: the likelihood that both vision models share.

The scale is one learnt number for the whole picture (sigma-VAE, Rybkin et al. 2021, arXiv 2006.13202): at
the optimum it is the reconstruction error itself, so error and KL are both in nats and nobody tunes a weight
between them.

Axes: b batch, c channel, h height, w width.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LikelihoodName = Literal["gaussian", "logistic"]

MIN_LOG_SCALE = math.log(1 / 255)
"""One grey level: below it there is nothing to model, and the likelihood would reward noise without bound."""
MAX_LOG_SCALE = 0.0


class Likelihood(nn.Module):
    """p(frame | mean) with a learnt, bounded, global scale; frames and means lie in [0, 1].

    `gaussian` is a density, times the width 1/255 of a grey level, so that its value is the log-probability
    of an 8-bit picture; `logistic` is the discretised logistic, the exact probability of a level.
    """

    def __init__(self, name: LikelihoodName = "gaussian", initial_scale: float = 0.1) -> None:
        super().__init__()
        self.name: LikelihoodName = name
        self.raw_log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))

    def bounded_log_scale(self) -> Tensor:
        """The log scale kept within its bounds; the gradient pulls it back from outside."""
        raw = self.raw_log_scale
        return raw + (raw.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE) - raw).detach()

    def nll(self, mean: Tensor, frames: Tensor) -> Tensor:
        """Negative log-likelihood of each frame in nats, (B,), for means and frames (B, C, H, W)."""
        log_scale = self.bounded_log_scale()
        if self.name == "gaussian":
            error = (frames - mean).square().flatten(1).sum(dim=1)
            constant = log_scale + 0.5 * math.log(2 * math.pi) + math.log(255)
            return 0.5 * error * torch.exp(-2 * log_scale) + constant * frames[0].numel()
        return _logistic_nll(mean, frames, log_scale).flatten(1).sum(dim=1)


def _logistic_nll(mean: Tensor, frames: Tensor, log_scale: Tensor) -> Tensor:
    """-log P(level) of the discretised logistic: the mass between the level's two edges, tails folded in."""
    half = 0.5 / 255
    inverse = torch.exp(-log_scale)
    upper = (frames - mean + half) * inverse
    lower = (frames - mean - half) * inverse
    # log(sigmoid(u) - sigmoid(l)) = log sigmoid(u) + log sigmoid(-l) + log(1 - exp(l - u)).
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
    darkest = F.logsigmoid(upper)
    brightest = F.logsigmoid(-lower)
    return -torch.where(frames < half, darkest, torch.where(frames > 1 - half, brightest, inside))
