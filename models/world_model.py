"""V and M together: what C needs to see, and what the dream is made of.

Frames are NumPy arrays, uint8 (B, H, W, 3), as the envs emit them; latents, actions and carries are tensors on the
models' device. C sees features_t = [z_t, h_t], where h_t is M's hidden state *before* z_t is fed in.
"""

import numpy as np
import torch
from torch import Tensor

from models.mdnrnn import MDNRNN, Carry, Prediction
from models.vision import VisionModel
from utils.errors import check


class WorldModel:
    """V and M in evaluation mode, with no gradients.

    Args:
        v: the vision model; a copy made for inference is used.
        m: the memory model, which is moved to the device.
        device: where both run; the CPU by default.

    Raises:
        UserError: V and M disagree about the size of z.
    """

    def __init__(self, v: VisionModel, m: MDNRNN, device: torch.device | str = "cpu") -> None:
        check(
            v.latent_size == m.config.latent_size,
            f"V has {v.latent_size} latent numbers but M was trained on {m.config.latent_size}; "
            "train M again on this V (trainmdrnn.py --fresh).",
        )
        self.device = torch.device(device)
        self.v = v.for_inference().to(self.device)
        self.m = m.to(self.device).eval()
        self.latent_size = m.config.latent_size
        self.hidden_size = m.config.hidden_size
        self.action_size = m.config.action_size
        self.feature_size = self.latent_size + self.hidden_size
        self.feature_sizes = {self.latent_size, self.feature_size}
        """what C may see: z alone, or z and h"""
        self.image_size = v.image_size

    def initial(self, num: int) -> Carry:
        """The carry where an episode starts, (h, c), each (num, D)."""
        return self.m.initial(num)

    @torch.inference_mode()
    def encode(self, obs: np.ndarray) -> Tensor:
        """Frames uint8 (B, H, W, 3) -> the posterior's mean, (B, Z)."""
        frames = torch.from_numpy(np.ascontiguousarray(obs)).to(self.device).permute(0, 3, 1, 2)
        return self.v.encode(frames.float().mul_(1 / 255))[0]  # the permuted view is channels-last already

    @torch.inference_mode()
    def decode(self, z: Tensor) -> np.ndarray:
        """Latents (B, Z) -> frames uint8 (B, H, W, 3)."""
        frames = self.v.decode(z.to(self.device)).clamp(0, 1).mul(255).round_().to(torch.uint8)
        return frames.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    @torch.inference_mode()
    def advance(self, z: Tensor, action: Tensor, carry: Carry) -> Carry:
        """Feed (z_t, a_t) into M: (B, Z), (B, A), carry_t -> carry_{t+1}."""
        return self.m.core(z.unsqueeze(1), action.unsqueeze(1), carry)[1]

    @torch.inference_mode()
    def predict(self, z: Tensor, carry: Carry, mask: Tensor | None = None) -> Prediction:
        """What M expects of the step that `advance` was just given.

        Args:
            z: z_t, the latent that was fed in: predicted means are residuals on it, (B, Z).
            carry: carry_{t+1}, what `advance` returned.
            mask: a dropout mask for h, (B, D) (see MDNRNN.dropout_mask).

        Returns:
            Distribution of z_{t+1}, expected r_t, log odds of terminated_t.
        """
        return self.m.heads(z, carry[0] if mask is None else carry[0] * mask)

    def features(self, z: Tensor, carry: Carry) -> Tensor:
        """What C sees: [z_t, h_t], (B, Z + D)."""
        return torch.cat([z, carry[0]], dim=1)


class Ensemble(WorldModel):
    """Two Ms that watch the same: a dream is by one of them, as its mask says, and C sees the h of the first.

    The carry holds both of theirs, side by side.

    Args:
        v: the vision model.
        m: the first M.
        second: the other one, of the same size and learnt from the same data.
        device: where they run.
    """

    def __init__(self, v: VisionModel, m: MDNRNN, second: MDNRNN, device: torch.device | str = "cpu") -> None:
        super().__init__(v, m, device)
        self.second = second.to(self.device).eval()
        self.size = self.hidden_size
        self.hidden_size *= 2  # that of the carry; feature_size stays

    def initial(self, num: int) -> Carry:
        """The carries where an episode starts."""
        zeros = self.m.z_mean.new_zeros(num, self.hidden_size)
        return zeros, zeros.clone()

    @torch.inference_mode()
    def advance(self, z: Tensor, action: Tensor, carry: Carry) -> Carry:
        """Feed (z_t, a_t) into both."""
        one, two = zip(*(x.split(self.size, 1) for x in carry), strict=True)
        new = [
            m.core(z.unsqueeze(1), action.unsqueeze(1), (h.contiguous(), c.contiguous()))[1]
            for m, (h, c) in ((self.m, one), (self.second, two))
        ]
        return torch.cat([new[0][0], new[1][0]], 1), torch.cat([new[0][1], new[1][1]], 1)

    @torch.inference_mode()
    def both(self, z: Tensor, carry: Carry) -> list[tuple[MDNRNN, Prediction]]:
        """What each M expects."""
        h = carry[0].split(self.size, 1)
        return [(m, m.heads(z, own)) for m, own in zip((self.m, self.second), h, strict=True)]

    def features(self, z: Tensor, carry: Carry) -> Tensor:
        """What C sees: z and the first one's h."""
        return torch.cat([z, carry[0][:, : self.size]], dim=1)
