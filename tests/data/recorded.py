"""Datasets of the counting env for the tests of this room."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from data import generation_script
from data.episodes import EpisodeStore
from models.vision import VisionModel

ENV = ["--env", "tests.envs.counting:make_vec", "--size", "16"]


def record(rootdir: Path, rollouts: int, *flags: str) -> EpisodeStore:
    argv = ["--rollouts", str(rollouts), "--rootdir", str(rootdir), "--threads", "1", *ENV, *flags]
    generation_script.main(argv)
    return EpisodeStore(rootdir)


def digest(store: EpisodeStore) -> dict[int, str]:
    """A hash of everything that is in each episode."""
    hashes = {}
    for episode in store.episodes(store.ids()):
        arrays = (episode.obs, episode.actions, episode.rewards, episode.terminated, episode.truncated)
        content = b"".join(array.tobytes() for array in arrays) + f"{episode.seed}{episode.policy}".encode()
        hashes[episode.id] = hashlib.sha256(content).hexdigest()
    return hashes


class Reader(VisionModel):
    """A V that reads the counting env's pixels: mu = (t, seed % 251), exact to float32; sigma is e^-20."""

    kind = "vae"

    def __init__(self, image_size: int = 16) -> None:
        super().__init__(type("Config", (), {"latent_size": 2, "image_size": image_size}))
        self.frames = 0

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        self.frames += len(frames)
        rgb = (frames[:, :, 0, 0] * 255).round()
        mu = torch.stack([rgb[:, 0] + 256 * rgb[:, 1], rgb[:, 2]], 1)
        return mu, torch.full_like(mu, -20.0)

    def decode(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def loss(self, frames: Tensor, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError
