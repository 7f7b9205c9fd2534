"""One drive seen three ways: the real frame, V's reconstruction of it, and M's dream of it.

The dream runs open loop: it gets the actions that the real car gets, but its latents are its own, the mean of the
likeliest component at each step. Every `resync` steps it starts anew from what V and M know of the real drive.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from envs.vector import SlotEnv
from models.controller import LinearController
from models.world_model import WorldModel
from utils.video import panels

LABELS = ("real frame", "V's reconstruction", "M's dream")


class Scene(NamedTuple):
    """One moment of the drive."""

    frames: tuple[np.ndarray, np.ndarray, np.ndarray]
    """real, reconstruction, dream: uint8 (H, W, 3) each"""
    step: int
    return_: float
    """rewards so far"""
    dream_age: int
    """steps since the dream was synchronised"""


@torch.inference_mode()
def film(
    env: SlotEnv,
    world_model: WorldModel,
    controller: LinearController,
    params: np.ndarray,
    seed: int,
    resync: int = 50,
) -> Iterator[Scene]:
    """Drive one episode in the first slot.

    Args:
        env: a frame env with one slot.
        world_model: V and M.
        controller: what the parameters mean.
        params: (N,).
        seed: of the track.
        resync: steps between two synchronisations of the dream.

    Yields:
        T + 1 scenes for T steps.
    """
    weights = torch.from_numpy(np.asarray(params, np.float32))
    obs, _ = env.reset(seed=[seed])
    z, carry = world_model.encode(obs), world_model.initial(1)
    dream_z, dream_carry = z, carry
    noise = torch.zeros_like(z)
    step, return_ = 0, 0.0
    while True:
        age = step % resync
        if age == 0:
            dream_z, dream_carry = z, carry
        decoded = world_model.decode(torch.cat([z, dream_z]))
        yield Scene((obs[0], decoded[0], decoded[1]), step, return_, age)
        if not env.live[0]:
            return
        action = controller.act(weights, world_model.features(z, carry).cpu())
        on_device = action.to(world_model.device)
        dream_carry = world_model.advance(dream_z, on_device, dream_carry)
        expected = world_model.predict(dream_z, dream_carry).mixture
        dream_z = expected.sample(noise[:, 0], noise, temperature=0.0)
        carry = world_model.advance(z, on_device, carry)
        obs, reward, *_ = env.step(action.numpy())
        z = world_model.encode(obs)
        step, return_ = step + 1, return_ + float(reward[0])


def picture(scene: Scene, resync: int, height: int = 320) -> np.ndarray:
    """A scene as one labelled picture, uint8 (H, W, 3)."""
    labels = (*LABELS[:2], f"{LABELS[2]}, {scene.dream_age} steps ahead on its own")
    caption = (
        f"step {scene.step}   return {scene.return_:.1f}      the dream gets the real actions, no frames; "
        f"it is re-synchronised every {resync} steps"
    )
    return panels(scene.frames, labels, caption, height)
