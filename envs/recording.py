"""One drive seen three ways: the real frame, V's reconstruction of it, and M's dream of it.

The dream runs open loop: it gets the actions that the real car gets, but its latents are its own, the mean of the
likeliest component at each step. Every `resync` steps it starts anew from what V and M know of the real drive.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from envs.side_by_side import SideBySide
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


def film(
    env: SlotEnv,
    world_model: WorldModel,
    controller: LinearController | None,
    params: np.ndarray,
    seed: int,
    resync: int = 50,
) -> Iterator[Scene]:
    """Drive one episode in the first slot.

    Args:
        env: a frame env with one slot.
        world_model: V and M.
        controller: what the parameters mean; None lets the env's own guide drive.
        params: (N,).
        seed: of the track.
        resync: steps between two synchronisations of the dream.

    Yields:
        T + 1 scenes for T steps.
    """
    drive = SideBySide(env, world_model, controller, params, dream_ends=False)
    drive.reset(seed)
    for step in itertools.count():
        if step % resync == 0:
            drive.sync()
        moment = drive.moment()
        real, reconstruction, dream = moment.frames
        yield Scene((real, reconstruction, dream), step, moment.return_, moment.dream_age)
        if moment.real.over:
            return
        action = env.guide()[0] if controller is None else drive.propose("real")
        drive.step(action, temperature=0.0)


def picture(scene: Scene, resync: int, height: int = 320) -> np.ndarray:
    """A scene as one labelled picture, uint8 (H, W, 3)."""
    labels = (*LABELS[:2], f"{LABELS[2]}, {scene.dream_age} steps ahead on its own")
    caption = (
        f"step {scene.step}   return {scene.return_:.1f}      the dream gets the real actions, no frames; "
        f"it is re-synchronised every {resync} steps"
    )
    return panels(scene.frames, labels, caption, height)
