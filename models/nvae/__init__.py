"""The Nouveau VAE; see nvae.py."""

from models.nvae.config import NVAEConfig
from models.nvae.nvae import NVAE
from models.nvae.plan import Plan, plan

__all__ = ["NVAE", "NVAEConfig", "Plan", "plan"]
