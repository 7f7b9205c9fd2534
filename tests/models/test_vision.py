"""What every vision model does when it is trained."""

import pytest
import torch

from models.nvae import NVAE, NVAEConfig
from models.vae import VAE, VAEConfig
from models.vision import VisionModel

SMALL = NVAEConfig(
    image_size=16, latent_size=7, groups=(2, 2), encoder_channels=(8, 8), decoder_channels=(8, 8, 8)
)


@pytest.fixture(params=["nvae", "vae"])
def model(request: pytest.FixtureRequest) -> VisionModel:
    torch.manual_seed(0)
    return (NVAE(SMALL) if request.param == "nvae" else VAE(VAEConfig())).train()


def frames(model: VisionModel) -> torch.Tensor:
    return torch.rand(8, 3, model.image_size, model.image_size)


def test_mixed_precision_stays_close_and_keeps_its_types(model: VisionModel):
    x = frames(model)
    torch.manual_seed(0)
    whole = model.loss(x)[0]
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.loss(x)[0]
    half.backward()
    assert half.dtype == torch.float32
    assert torch.allclose(whole, half, rtol=0.02)


def test_the_gradient_reaches_every_parameter(model: VisionModel):
    model.loss(frames(model), progress=0.5)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
