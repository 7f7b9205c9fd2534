"""V and M together: what C needs to see, and what the dream is made of.

Frames are NumPy arrays, uint8 (B, H, W, 3), as the envs emit them; latents, actions and carries are tensors on the
models' device. C sees features_t = [z_t, h_t], where h_t is M's hidden state *before* z_t is fed in.
"""

import numpy as np
import torch
from torch import Tensor

from models.mdnrnn import MDNRNN, Carry, DreamStep
from models.mdnrnn_step import MDNRNNStep
from models.vision import VisionModel
from utils.errors import check


class WorldModel:
    """V and M in evaluation mode, with no gradients.

    Args:
        v: the vision model; a copy made for inference is used.
        m: the memory model, which is moved to the device and must not change afterwards (on a CPU it is copied).
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
        self._steps = MDNRNNStep(self.m) if self.device.type == "cpu" else self.m
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
        return self._steps.advance(z, action, carry)

    @torch.inference_mode()
    def dream(
        self, z: Tensor, carry: Carry, uniform: Tensor, normal: Tensor, temperature: float = 1.0
    ) -> DreamStep:
        """Draw what follows the step that `advance` was just given.

        Args:
            z: z_t, the latent that was fed in: means are residuals on it, (B, Z).
            carry: carry_{t+1}, what `advance` returned.
            uniform: numbers in [0, 1) that choose the component, (B,).
            normal: standard normal numbers, (B, Z).
            temperature: divides the mixture's logits and multiplies its variances.

        Returns:
            z_{t+1}, expected r_t, log odds of terminated_t.
        """
        return self._steps.dream(z, carry[0], uniform, normal, temperature)

    def features(self, z: Tensor, carry: Carry) -> Tensor:
        """What C sees: [z_t, h_t], (B, Z + D)."""
        return torch.cat([z, carry[0]], dim=1)
