import pytest
import torch

import models
from models.vae import VAE, VAEConfig
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError


def make(latent_size=32):
    torch.manual_seed(0)
    return VAE(VAEConfig(latent_size=latent_size)).eval()


def test_shapes():
    model = make(8)
    frames = torch.rand(3, 3, 64, 64)
    mu, log_sigma = model.encode(frames)
    assert mu.shape == log_sigma.shape == (3, 8)
    picture = model.decode(mu)
    assert picture.shape == (3, 3, 64, 64)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert model.sample(5).shape == (5, 8)


def test_the_network_is_the_papers():
    assert sum(p.numel() for p in make().parameters()) == 4_348_547


def test_smaller_batches_give_the_same():
    model = make()
    frames = torch.rand(5, 3, 64, 64)
    with torch.inference_mode():
        whole = model.encode(frames)[0]
        parts = torch.cat([model.encode(part)[0] for part in frames.split(2)])
    assert torch.allclose(whole, parts, atol=1e-5)


def test_the_kl_is_the_closed_form():
    model = make(4)
    frames = torch.rand(2, 3, 64, 64)
    mu, log_sigma = model.encode(frames)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(mu, log_sigma.exp()), normal(0.0, 1.0)).sum(1).mean()
    assert torch.allclose(model.loss(frames)[1]["kl"], wanted, rtol=1e-4)


def test_checkpoint_round_trip(tmp_path):
    model = make(8)
    save_checkpoint(tmp_path / "v.safetensors", model.to_checkpoint({"env": {"name": "x"}}))
    checkpoint = load_checkpoint(tmp_path / "v.safetensors")
    again = models.build(checkpoint)
    assert checkpoint.info == {"env": {"name": "x"}}
    assert isinstance(again, VAE)
    assert not again.training
    z = torch.randn(2, 8)
    assert torch.equal(model.decode(z), again.decode(z))


def test_build_refuses_what_does_not_fit():
    checkpoint = make(8).to_checkpoint()
    with pytest.raises(UserError, match="do not fit"):
        models.build(checkpoint._replace(config={**checkpoint.config, "latent_size": 9}))
    with pytest.raises(UserError, match="does not know"):
        models.build(checkpoint._replace(config={**checkpoint.config, "colour": 9}))
    with pytest.raises(UserError, match="no model of kind"):
        models.build(checkpoint._replace(kind="gan"))
    with pytest.raises(UserError, match="64x64"):
        VAEConfig(image_size=96)
