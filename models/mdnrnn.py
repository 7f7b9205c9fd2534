"""M: an LSTM with a mixture density head over the next latent, and heads for reward and termination.

Paper: Ha & Schmidhuber 2018, arXiv 1803.10122, section "MDN-RNN (M) Model" and the appendix; Graves 2013, arXiv
1308.0850, equations 7 to 11 for the LSTM and the mixture. Differences from the 2018 code: the mixture is joint over z
and correlated (see mixture.py), the mean is a residual on z_t, and reward and termination have heads of their own.

Time: the input (z_t, a_t) and the carry (h_t, c_t) give h_{t+1}, and from it the heads predict z_{t+1}, r_t and
terminated_t. There is one core: a step is a sequence of length one (which on a CPU mdnrnn_step.py computes faster).

Axes: b batch, t time, k component, z latent, d hidden, a action.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.mixture import Mixture
from utils.checkpoint import Checkpoint
from utils.errors import UserError, check

Number = TypeVar("Number", float, Tensor)
Carry = tuple[Tensor, Tensor]
"""The LSTM's (h, c), each (b, d)."""

LOG_SIGMA_CENTER, LOG_SIGMA_REACH = -2.0, 5.0
"""log sigma of the standardised z lies within center +- reach, so that no density is ever infinite, and below 0: no
forecast need be vaguer than no forecast at all."""
FORMER = {"dropout"}
"""Settings that older checkpoints have: of training alone, nothing that their weights depend on."""
Z_REACH = 3.0
"""Dreamt latents stay within so many standard deviations of the real ones' mean: beyond, M has seen nothing."""


@dataclass(frozen=True)
class MDNRNNConfig:
    """Everything that is needed to build M again."""

    latent_size: int = 32
    """Numbers in z."""
    action_size: int = 3
    """Numbers in an action."""
    hidden_size: int = 256
    """Numbers in h."""
    components: int = 5
    """Gaussians in the mixture."""
    reward_weight: float = 1.0
    """Weight of the reward's loss beside the latents' loss per dimension."""
    termination_weight: float = 1.0
    """Weight of the termination's loss."""
    termination_positive_weight: float = 10.0
    """How much more a terminated step counts than another: they are rare."""
    huber_delta: float = 5.0
    """Errors of the scaled reward above this count linearly: the fall off the map pays -100."""


class Prediction(NamedTuple):
    """What the heads say about the step just fed in.

    Attributes:
        mixture: distribution of z_{t+1}.
        reward: expected r_t, in the env's own units, (...).
        termination_logit: log odds that the step terminated, corrected for the positive weight, (...).
    """

    mixture: Mixture
    reward: Tensor
    termination_logit: Tensor


class DreamStep(NamedTuple):
    """One step of dreams.

    Attributes:
        z: the next latents, (b, z).
        reward: expected, in the env's own units, (b,).
        termination_logit: log odds that the step terminated, (b,).
    """

    z: Tensor
    reward: Tensor
    termination_logit: Tensor


class SequenceBatch(Protocol):
    """What `loss` needs of a batch of windows (see data/sequences.py)."""

    @property
    def z(self) -> Tensor:
        """Latents z_0 .. z_T, (b, t + 1, z)."""
        ...

    @property
    def action(self) -> Tensor:
        """Actions a_0 .. a_{T-1}, (b, t, a)."""
        ...

    @property
    def reward(self) -> Tensor:
        """Rewards of those actions, (b, t)."""
        ...

    @property
    def terminated(self) -> Tensor:
        """Did the step terminate the episode, (b, t)."""
        ...

    @property
    def mask(self) -> Tensor:
        """True where the step is real, False where it is padding, (b, t)."""
        ...


class MDNRNN(nn.Module):
    """See the module's docstring.

    The buffers z_mean, z_std and reward_scale hold the training set's statistics (`set_statistics`); z is
    standardised inside, and everything that goes in or comes out is in V's units.
    """

    kind = "mdnrnn"
    z_mean: Tensor
    z_std: Tensor
    reward_scale: Tensor

    def __init__(self, config: MDNRNNConfig) -> None:
        super().__init__()
        for name in ("latent_size", "action_size", "hidden_size", "components"):
            value = getattr(config, name)
            check(value > 0, f"M's {name} must be at least 1; got {value}.")
        self.config = config
        num_moments = config.components * config.latent_size
        self._split = [config.components, num_moments, num_moments, 1, 1]
        self.lstm = nn.LSTM(config.latent_size + config.action_size, config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, sum(self._split))
        self.unmix = nn.Parameter(torch.zeros(config.components, config.latent_size, config.latent_size))
        self.register_buffer("z_mean", torch.zeros(config.latent_size))
        self.register_buffer("z_std", torch.ones(config.latent_size))
        self.register_buffer("reward_scale", torch.ones(()))
        with torch.no_grad():  # first guess: z stays where it is, give or take 0.4 standard deviations
            start = config.components + num_moments
            self.head.bias[start : start + num_moments] = -0.9 - LOG_SIGMA_CENTER

    @torch.no_grad()
    def set_statistics(self, z_mean: Tensor, z_std: Tensor, reward_scale: float) -> None:
        """Take over the training set's statistics: mean and deviation of z (z,), deviation of the reward.

        A training that goes on keeps those that it began with, as its weights were learnt for them.
        """
        self.z_mean.copy_(z_mean)
        self.z_std.copy_(z_std.clamp_min(1e-3))
        self.reward_scale.fill_(max(reward_scale, 1e-3))

    def initial(self, num: int) -> Carry:
        """The carry where an episode starts: zeros, each (num, d)."""
        zeros = self.z_mean.new_zeros(num, self.config.hidden_size)
        return zeros, zeros.clone()

    def forward(self, z: Tensor, action: Tensor, carry: Carry | None = None) -> tuple[Prediction, Carry]:
        """Run over sequences.

        Args:
            z: (b, t, z).
            action: (b, t, a).
            carry: where the sequences start; zeros by default.

        Returns:
            Predictions with leading axes (b, t), and the carry after the last step.
        """
        output, carry = self.core(z, action, self.initial(z.shape[0]) if carry is None else carry)
        return self.heads(z, output), carry

    def core(self, z: Tensor, action: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """The LSTM alone: (b, t, z), (b, t, a) -> outputs (b, t, d) and the carry after the last of them."""
        inputs = torch.cat([self.standardise(z), action], dim=-1)
        output, (h, c) = self.lstm(inputs, (carry[0].unsqueeze(0), carry[1].unsqueeze(0)))
        return output, (h.squeeze(0), c.squeeze(0))

    def standardise(self, z: Tensor) -> Tensor:
        """Latents (..., z) as the LSTM is fed them."""
        return (z - self.z_mean) / self.z_std

    def advance(self, z: Tensor, action: Tensor, carry: Carry) -> Carry:
        """One step of b dreams or drives: (b, z), (b, a), carry_t -> carry_{t+1}."""
        return self.core(z.unsqueeze(1), action.unsqueeze(1), carry)[1]

    def heads(self, z: Tensor, output: Tensor) -> Prediction:
        """Read the predictions off the LSTM's output (..., d), given the z (..., z) that was fed in."""
        logits, delta, raw_sigma, reward, termination = self.head(output).float().split(self._split, -1)
        shape = (*z.shape[:-1], self.config.components, self.config.latent_size)
        mu, log_sigma = self.moments(z.unsqueeze(-2), delta.reshape(shape), raw_sigma.reshape(shape))
        return Prediction(Mixture(logits, mu, log_sigma, self.unmixing()), *self.outcome(reward, termination))

    def moments(self, z: Tensor, delta: Tensor, raw_sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log sigmas in V's units."""
        bounded = LOG_SIGMA_REACH * torch.tanh(raw_sigma / LOG_SIGMA_REACH)
        log_sigma = (bounded + LOG_SIGMA_CENTER).clamp_max(0) + self.z_std.log()
        return torch.addcmul(z, delta, self.z_std), log_sigma

    def outcome(self, reward: Tensor, termination: Tensor) -> tuple[Tensor, Tensor]:
        """Reward in the env's units, log odds of termination: (..., 1) -> (...)."""
        correction = math.log(self.config.termination_positive_weight)
        return reward.squeeze(-1) * self.reward_scale, termination.squeeze(-1) - correction

    def unmixing(self) -> Tensor:
        """The mixture's matrices, for V's units; those that are learnt are for the standardised z."""
        below = torch.tril(self.unmix, -1) * self.z_std.unsqueeze(1) / self.z_std
        return below + torch.eye(self.config.latent_size, device=below.device)

    def dream(
        self, z: Tensor, output: Tensor, uniform: Tensor, normal: Tensor, temperature: float = 1.0
    ) -> DreamStep:
        """Draw what follows from given noise (see `Mixture.sample`), z no further from the mean than real ones go.

        Args:
            z: z_t, which was fed into the LSTM, (b, z).
            output: what the LSTM made of it, (b, d).
            uniform: numbers in [0, 1) that choose the component, (b,).
            normal: standard normal numbers, (b, z).
            temperature: T >= 0.
        """
        mixture, reward, termination_logit = self.heads(z, output)
        drawn = mixture.sample(uniform, normal, temperature)
        return DreamStep(self.within_reach(drawn), reward, termination_logit)

    def within_reach(self, z: Tensor) -> Tensor:
        """Latents (..., z), no further from the mean than real ones go."""
        reach = Z_REACH * self.z_std
        return torch.clamp(z, self.z_mean - reach, self.z_mean + reach)

    def loss(self, batch: SequenceBatch, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the three losses, each a mean over the real steps.

        Args:
            batch: windows of one episode each.
            progress: share of training done; M has no schedule and ignores it.

        Returns:
            The loss, and its terms: "nll" (nats per latent dimension, of the standardised z), "reward" (Huber loss
            of the reward over its scale), "termination" (weighted binary cross-entropy).
        """
        del progress
        prediction, _ = self(batch.z[:, :-1], batch.action)
        mask = batch.mask.float()
        terms = self.loss_terms(prediction, batch)
        terms = {name: (value * mask).sum() / mask.sum() for name, value in terms.items()}
        return self.weigh(terms), {name: value.detach() for name, value in terms.items()}

    def weigh(self, terms: Mapping[str, Number]) -> Number:
        """The weighted sum of the three losses."""
        rest = self.config.reward_weight * terms["reward"]
        return terms["nll"] + rest + self.config.termination_weight * terms["termination"]

    def loss_terms(self, prediction: Prediction, batch: SequenceBatch) -> dict[str, Tensor]:
        """The three losses step by step, each (b, t)."""
        positive = self.config.termination_positive_weight
        log_prob = prediction.mixture.log_prob(batch.z[:, 1:])
        return {
            "nll": -log_prob / self.config.latent_size - self.z_std.log().mean(),
            "reward": F.huber_loss(
                prediction.reward / self.reward_scale,
                batch.reward / self.reward_scale,
                reduction="none",
                delta=self.config.huber_delta,
            ),
            "termination": F.binary_cross_entropy_with_logits(
                prediction.termination_logit + math.log(positive),
                batch.terminated.float(),
                reduction="none",
                pos_weight=prediction.reward.new_tensor(positive),
            ),
        }

    def to_checkpoint(self, info: dict[str, Any]) -> Checkpoint:
        """M as data."""
        return Checkpoint(self.kind, asdict(self.config), self.state_dict(), info)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "MDNRNN":
        """Build M from data, in evaluation mode.

        Raises:
            UserError: config and weights do not belong together.
        """
        try:
            model = cls(MDNRNNConfig(**{k: v for k, v in checkpoint.config.items() if k not in FORMER}))
            independent = {"unmix": torch.zeros_like(model.unmix)}  # as it was before there were correlations
            model.load_state_dict(independent | checkpoint.weights)
        except (TypeError, RuntimeError) as error:
            raise UserError(
                f"this MDN-RNN checkpoint does not fit this version of the code ({str(error).splitlines()[0]}); "
                "train M again with --fresh."
            ) from None
        return model.eval()
