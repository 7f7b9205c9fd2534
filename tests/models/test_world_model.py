import numpy as np
import pytest
import torch

from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.vae import VAE, VAEConfig
from models.world_model import WorldModel
from utils.errors import UserError


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(VAE(VAEConfig(latent_size=6)), MDNRNN(MDNRNNConfig(6, 3, 10, 2)))


def some_frames(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), np.uint8)


def test_sizes_come_from_the_models(world_model: WorldModel):
    assert (world_model.latent_size, world_model.hidden_size, world_model.action_size) == (6, 10, 3)
    assert (world_model.feature_size, world_model.image_size) == (16, 64)


def test_encode_is_the_posteriors_mean_of_frames_in_0_to_1(world_model: WorldModel):
    obs = some_frames(3)
    frames = torch.stack([torch.from_numpy(o.transpose(2, 0, 1).copy()) for o in obs]).float() / 255
    with torch.no_grad():
        expected = world_model.v.encode(frames)[0]
    assert torch.allclose(world_model.encode(obs), expected, atol=1e-5)


def test_decode_gives_frames_as_envs_do(world_model: WorldModel):
    z = torch.randn(2, 6)
    obs = world_model.decode(z)
    assert (obs.shape, obs.dtype) == ((2, 64, 64, 3), np.uint8)
    with torch.no_grad():
        expected = world_model.v.decode(z).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(obs - expected).max() <= 0.51


def test_advance_and_dream_are_ms_own(world_model: WorldModel):
    z, action, carry = torch.randn(4, 6), torch.rand(4, 3), (torch.randn(4, 10), torch.randn(4, 10))
    noise = torch.rand(4), torch.randn(4, 6), 0.7
    new = world_model.advance(z, action, carry)
    with torch.no_grad():
        after = world_model.m.advance(z, action, carry)
        expected = world_model.m.dream(z, new[0], *noise)
    for own, ms in zip((*new, *world_model.dream(z, new, *noise)), (*after, *expected), strict=True):
        assert torch.allclose(own, ms, atol=1e-6)


def test_features_are_z_then_h(world_model: WorldModel):
    z, h, c = torch.randn(4, 6), torch.randn(4, 10), torch.randn(4, 10)
    features = world_model.features(z, (h, c))
    assert torch.equal(features[:, :6], z)
    assert torch.equal(features[:, 6:], h)


def test_v_and_m_of_different_sizes_are_the_users_error():
    with pytest.raises(UserError, match="7 latent numbers but M was trained on 6"):
        WorldModel(VAE(VAEConfig(latent_size=7)), MDNRNN(MDNRNNConfig(6, 3, 10, 2)))
