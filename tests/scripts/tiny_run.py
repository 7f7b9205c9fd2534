"""A run directory with an untrained tiny V and M, for tests of what comes after them."""

from pathlib import Path
from typing import Any

import torch

from data.trained import run_files
from envs.starts import StartStates
from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.nvae import NVAE, NVAEConfig
from tests.envs.tiny import HIGH, LOW, PAID
from utils.checkpoint import fingerprint, save_checkpoint

SIZE, LATENT, HIDDEN = 16, 4, 8
ENV_SPEC: dict[str, Any] = {"name": "CarRacing-v2", "options": {"size": SIZE, "max_steps": 25}}


def make_run(root: Path, latent: int = LATENT, seed: int = 0, env_spec: dict[str, Any] = ENV_SPEC) -> Path:
    """Write V, M and start states into a run directory."""
    torch.manual_seed(seed)
    files = run_files(root)
    v = NVAE(
        NVAEConfig(image_size=SIZE, latent_size=latent, encoder_channels=(4, 4), decoder_channels=(4, 4, 4))
    )
    save_checkpoint(files.vision, v.to_checkpoint({"env": env_spec}))
    m = MDNRNN(MDNRNNConfig(latent, 3, HIDDEN, 2))
    with torch.no_grad():
        m.head.weight.mul_(3)
    save_checkpoint(files.memory, m.to_checkpoint({"env": env_spec, "vision": fingerprint(files.vision)}))
    z, h, c = (torch.randn(20, size) for size in (latent, HIDDEN, HIDDEN))
    starts = StartStates(z, h.tanh(), c, LOW, HIGH, PAID)
    save_checkpoint(files.starts, starts.to_checkpoint({"memory": fingerprint(files.memory)}))
    return root
