"""C: a linear map from features to actions, many controllers at a time.

A controller is a vector of N = (F + 1) * A numbers: the weights (A, F) row by row, then the biases (A,).

Axes: b batch, f features, a action, n parameters.
"""

import numpy as np
import torch
from torch import Tensor

from utils.errors import check

DEFAULT_EXPO = 1.0
"""Of new controllers."""


class LinearController:
    """The function that every candidate shares; a candidate is a parameter vector.

    With t = tanh(x), a dimension whose lower bound is 0 (gas, brake) is clip(t, 0, 1) * high, so that zero weights
    rest; any other (steering) is t |t|**expo, stretched over its bounds. The larger expo is, the gentler are small
    corrections: what steers through a hairpin, but in proportion, shakes the wheel all along a straight. (Radio
    control knows this curve by that name.)

    Args:
        feature_size: F; of longer features the first F are seen: z alone, or z and h.
        low: lower bounds of the actions, (A,).
        high: upper bounds, (A,).
        expo: see above; 0 is tanh alone.
    """

    def __init__(
        self, feature_size: int, low: np.ndarray, high: np.ndarray, expo: float = DEFAULT_EXPO
    ) -> None:
        bounds = np.stack([np.asarray(low, np.float32), np.asarray(high, np.float32)])
        check(bounds.ndim == 2 and np.isfinite(bounds).all(), "the action space must be a bounded vector.")
        self.feature_size, self.expo = feature_size, expo
        self.low, self.high = bounds
        self.action_size = bounds.shape[1]
        self.num_params = (feature_size + 1) * self.action_size
        one_sided = bounds[0] == 0
        floor = np.where(one_sided, 0.0, -1.0).astype(np.float32)
        scale = np.where(one_sided, bounds[1], (bounds[1] - bounds[0]) / 2)
        offset = np.where(one_sided, 0.0, bounds.mean(0)).astype(np.float32)
        self._squash = {torch.device("cpu"): [torch.from_numpy(x) for x in (floor, scale, offset)]}

    def act(self, params: Tensor, features: Tensor) -> Tensor:
        """Actions of many controllers, each in its own situation.

        Args:
            params: float32, (B, N), or (N,) for one controller in all situations.
            features: (B, F) or longer.

        Returns:
            Actions within the bounds, (B, A).
        """
        num_weights = self.feature_size * self.action_size
        weights, bias = params[..., :num_weights], params[..., num_weights:]
        features = features[:, : self.feature_size]
        if params.ndim == 1:
            raw = torch.addmm(bias, features, weights.view(self.action_size, self.feature_size).T)
        else:
            weights = weights.unflatten(1, (self.action_size, self.feature_size))
            # features in front: with the weights there it takes five times as long
            raw = torch.baddbmm(bias.unsqueeze(1), features.unsqueeze(1), weights.mT).squeeze(1)
        if raw.device not in self._squash:  # once: a copy at every step would keep a GPU waiting
            self._squash[raw.device] = [x.to(raw.device) for x in self._squash[torch.device("cpu")]]
        floor, scale, offset = self._squash[raw.device]
        t = torch.tanh(raw)
        if self.expo:
            t = torch.where(floor < 0, t * t.abs() ** self.expo, t)
        return torch.maximum(t, floor) * scale + offset

    def strain(self, params: np.ndarray, features: np.ndarray) -> np.ndarray:
        """How far controllers drive their tanhs: the mean square of what goes into them, summed over the actions.

        Args:
            params: (P, N).
            features: typical ones, (B, F).

        Returns:
            (P,).
        """
        weights, bias = np.split(params, [self.feature_size * self.action_size], axis=1)
        raw = features @ weights.reshape(-1, self.feature_size).T + bias.reshape(-1)
        return np.square(raw).mean(0).reshape(len(params), self.action_size).sum(1)

    def shifted(self, params: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Parameters that do to features x what `params` do to x + offset.

        Args:
            params: (..., N).
            offset: (F,).

        Returns:
            (..., N): the same weights, other biases.
        """
        weights, bias = np.split(params, [self.feature_size * self.action_size], axis=-1)
        rows = weights.reshape(*weights.shape[:-1], self.action_size, self.feature_size)
        return np.concatenate([weights, bias + rows @ offset], axis=-1)
