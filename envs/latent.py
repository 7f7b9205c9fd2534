"""LatentEnv: any frame env, seen through the world model. Frames go in, features [z, h] come out.

Time: `features_t = [z_t, h_t]`, where z_t is the posterior's mean of frame t and h_t is M's state *before* z_t is
fed in. `step(a_t)` first feeds (z_t, a_t) into M, which gives h_{t+1}, then steps the env and encodes its new frame.
h starts at zero with every episode. V and M only ever see the slots that are live, as one batch.
"""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box

from envs.vector import SlotEnv, Step
from models.mdnrnn import Carry
from models.world_model import WorldModel
from utils.errors import check


def feature_space(size: int) -> Box:
    """The space of one feature vector."""
    return Box(-np.inf, np.inf, (size,), np.float32)


class LatentEnv(SlotEnv):
    """The env that controllers drive: observations are float32 (B, Z + D), actions those of the inner env.

    Args:
        env: the frame env; from here on it belongs to this one.
        world_model: V and M, on the device where they are to run.

    Raises:
        UserError: the env's frames or actions are not what V and M were trained on.
    """

    def __init__(self, env: SlotEnv, world_model: WorldModel) -> None:
        frame, action = env.single_observation_space, env.single_action_space
        size = world_model.image_size
        check(
            frame.shape == (size, size, 3),
            f"V was trained on {size}x{size} frames but the env gives {frame.shape}; "
            f"make the env with size={size} or train V on its frames.",
        )
        check(
            action.shape == (world_model.action_size,),
            f"M was trained on {world_model.action_size} action numbers but the env takes {action.shape}; "
            "train M on rollouts of this env.",
        )
        super().__init__(env.num_envs, feature_space(world_model.feature_size), action)
        self.env = env
        self.measures, self.has_guide = env.measures, env.has_guide
        self.world_model = world_model
        self._z = torch.zeros(env.num_envs, world_model.latent_size, device=world_model.device)
        self._carry: Carry = world_model.initial(env.num_envs)

    @torch.inference_mode()
    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        return self._observe(self.env._reset_slots(indices, seeds), indices, None)

    @torch.inference_mode()
    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        z, carry = self._z[indices], (self._carry[0][indices], self._carry[1][indices])
        action = torch.from_numpy(np.asarray(actions, np.float32)).to(z.device)
        carry = self.world_model.advance(z, action, carry)
        obs, reward, terminated, truncated, info = self.env._step_slots(indices, actions)
        return self._observe(obs, indices, carry), reward, terminated, truncated, info

    def _guide_slots(self, indices: np.ndarray) -> np.ndarray:
        return self.env._guide_slots(indices)

    def _observe(self, obs: np.ndarray, indices: np.ndarray, carry: Carry | None) -> np.ndarray:
        """Encode new frames of some slots, keep their state, return their features."""
        carry = self.world_model.initial(len(indices)) if carry is None else carry
        z = self.world_model.encode(obs)
        self._z[indices] = z
        self._carry[0][indices], self._carry[1][indices] = carry
        return self.world_model.features(z, carry).cpu().numpy()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the inner env."""
        self.env.close(**kwargs)
