"""M on a CPU, a step at a time: the function of MDNRNN, but for rounding.

On AVX2 torch.tanh takes four times as long as torch.sigmoid, and nn.LSTM has a cost a call: 1.5 ms for 8 dreams with
h of 512, where this takes 0.5. So the four gates are one matrix product, with the bias as a row of it, and one
sigmoid, for tanh(x) = 2 sigmoid(2 x) - 1.
What the heads say of components that are not drawn is not computed.

Axes: b batch, k component, z latent, d hidden, a action.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from models.mdnrnn import MDNRNN, Carry, DreamStep
from models.mixture import choose, inverse


class MDNRNNStep:
    """`MDNRNN.advance` and `MDNRNN.dream`, with copies of the weights: M must not change any more."""

    @torch.no_grad()
    def __init__(self, m: MDNRNN) -> None:
        num, size = m.config.components, m.config.hidden_size
        from_input, from_h, *biases = m.lstm.all_weights[0]
        weights = torch.cat([from_input, from_h, (biases[0] + biases[1]).unsqueeze(1)], 1)
        weights[2 * size : 3 * size] *= 2  # of the gates i, f, g, o, g is a tanh
        self._gates = weights.T.contiguous()
        weight, bias = m.head.weight.clone(), m.head.bias.clone()
        self._rest = torch.cat([weight[:num], weight[-2:]]), torch.cat([bias[:num], bias[-2:]])
        self._moments = [
            x[num:-2].unflatten(0, (2, num, -1)).transpose(0, 1).flatten(1, 2) for x in (weight, bias)
        ]
        self._mix = inverse(m.unmixing())
        self._m = m

    def advance(self, z: Tensor, action: Tensor, carry: Carry) -> Carry:
        """See `MDNRNN.advance`."""
        h, c = carry
        inputs = torch.cat([self._m.standardise(z), action, h, h.new_ones(len(h), 1)], 1)
        i, f, g, o = (inputs @ self._gates).sigmoid_().chunk(4, 1)
        c = (f * c).sub_(i).addcmul_(i, g, value=2)
        h = (2 * c).sigmoid_().mul_(2).sub_(1).mul_(o)
        return h, c

    def dream(
        self, z: Tensor, output: Tensor, uniform: Tensor, normal: Tensor, temperature: float = 1.0
    ) -> DreamStep:
        """See `MDNRNN.dream`. Dreams that draw the same component stand side by side for it."""
        m = self._m
        logits, *outcome = F.linear(output, *self._rest).split([len(self._mix), 1, 1], -1)
        chosen = choose(logits, uniform, temperature)
        order = chosen.argsort()
        counts = torch.bincount(chosen, minlength=len(self._mix)).tolist()
        z, output, normal = (x.index_select(0, order) for x in (z, output, normal))
        moments = torch.cat(
            [F.linear(*own) for own in zip(output.split(counts), *self._moments, strict=True)]
        )
        mu, log_sigma = m.moments(z, *moments.chunk(2, -1))
        deviations = (log_sigma.exp() * (math.sqrt(temperature) * normal)).split(counts)
        shift = torch.cat([F.linear(*own) for own in zip(deviations, self._mix, strict=True)])
        drawn = torch.empty_like(z).index_copy_(0, order, mu + shift)
        return DreamStep(m.within_reach(drawn), *m.outcome(*outcome))
