"""How far a reconstruction is from a frame, in nats: the likelihood that both vision models share.

The scale is one number for the whole picture, fitted by maximum likelihood (the optimal sigma-VAE, Rybkin et al.
2021, arXiv 2006.13202): the reconstruction error itself. So error and KL are both in nats, nobody tunes a weight
between them, and as the pictures get sharper a small error (a road's edge, the car, a bar) weighs more. The scale
needs no learning rate, which matters in short runs: as a parameter it lags far behind the error.

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
    """p(frame | mean) with one bounded scale; frames and means lie in [0, 1].

    `gaussian` is a density, times the width 1/255 of a grey level, so that its value is the log-probability of an
    8-bit picture; `logistic` is the discretised logistic, the exact probability of a level. In training the scale is
    that of the batch, in evaluation its running mean.

    Attributes:
        spread: running mean of the squared (gaussian) or absolute (logistic) error, a buffer.
    """

    spread: Tensor

    def __init__(self, name: LikelihoodName = "gaussian", momentum: float = 0.1) -> None:
        super().__init__()
        self.name: LikelihoodName = name
        self.momentum = momentum
        self.register_buffer("spread", torch.tensor(0.1))

    def scale(self) -> Tensor:
        """The scale that evaluation uses, in units of [0, 1]."""
        return self._log_scale(self.spread).exp()

    def nll(self, mean: Tensor, frames: Tensor) -> Tensor:
        """Negative log-likelihood of each frame in nats, (B,), for means and frames (B, C, H, W)."""
        error = frames - mean
        size = error.square() if self.name == "gaussian" else error.abs()
        spread = self.spread
        if self.training:
            spread = size.detach().mean()
            self.spread.lerp_(spread, self.momentum)
        log_scale = self._log_scale(spread)
        if self.name == "gaussian":
            constant = log_scale + 0.5 * math.log(2 * math.pi) + math.log(255)
            return 0.5 * size.flatten(1).sum(dim=1) * torch.exp(-2 * log_scale) + constant * frames[0].numel()
        return _logistic_nll(mean, frames, log_scale).flatten(1).sum(dim=1)

    def _log_scale(self, spread: Tensor) -> Tensor:
        """The scale of best fit: sigma^2 = E[e^2] for a normal, s = E|e| / (2 log 2) for a logistic."""
        log_spread = spread.clamp(min=1e-12).log()
        log_scale = 0.5 * log_spread if self.name == "gaussian" else log_spread - math.log(2 * math.log(2))
        return log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


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
