"""Torch modules: V, M, C and the world model made of them. No files, no flags, no envs."""

from torch import nn

from utils.checkpoint import Checkpoint
from utils.errors import UserError


def build(checkpoint: Checkpoint) -> nn.Module:
    """The model a checkpoint holds, in eval mode.

    Raises:
        UserError: when the kind is unknown or the weights do not fit the config.
    """
    if checkpoint.kind == "nvae":
        from models.nvae import NVAE

        return NVAE.from_checkpoint(checkpoint)
    if checkpoint.kind == "vae":
        from models.vae import VAE

        return VAE.from_checkpoint(checkpoint)
    if checkpoint.kind == "mdnrnn":
        from models.mdnrnn import MDNRNN

        return MDNRNN.from_checkpoint(checkpoint)
    raise UserError(f"no model of kind {checkpoint.kind!r}: known kinds are nvae, vae, mdnrnn")
