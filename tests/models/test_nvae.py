import numpy as np
import pytest
import torch

import models
from data.frames import to_float
from models.nvae import NVAE, NVAEConfig
from tests.data.tiny_store import frame
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError

STEPS = 200
SMALL = NVAEConfig(
    image_size=16, latent_size=7, groups=(2, 2), encoder_channels=(8, 8), decoder_channels=(8, 8, 8)
)


def make(config=SMALL, seed=0):
    """A model whose batch norms have seen something."""
    torch.manual_seed(seed)
    model = NVAE(config)
    with torch.no_grad():
        for _ in range(5):
            model.loss(torch.rand(16, 3, config.image_size, config.image_size))
    return model.eval()


def frames(n, size=16, seed=1):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_shapes_at_the_default_config():
    model = make(NVAEConfig())
    mu, log_sigma = model.encode(frames(3, 64))
    assert mu.shape == log_sigma.shape == (3, 32)
    picture = model.decode(mu)
    assert picture.shape == (3, 3, 64, 64)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert model.sample(5).shape == (5, 32)


def test_decode_is_deterministic_and_needs_every_number_of_z():
    model = make()
    z = torch.zeros(1, 7)
    base = model.decode(z)
    assert torch.equal(model.decode(z), base)
    for i in range(7):
        moved = z.clone()
        moved[0, i] = 2.0
        assert not torch.equal(model.decode(moved), base), i


def test_batches_of_any_size_give_the_same():
    model = make()
    x = frames(7)
    with torch.inference_mode():
        mu, log_sigma = model.encode(x)
        parts = [model.encode(part) for part in x.split(3)]
        assert torch.allclose(mu, torch.cat([p[0] for p in parts]), atol=1e-5)
        assert torch.allclose(log_sigma, torch.cat([p[1] for p in parts]), atol=1e-5)
        one_by_one = torch.cat([model.decode(row[None]) for row in mu])
        assert torch.allclose(model.decode(mu), one_by_one, atol=1e-5)


def test_encode_follows_the_mean_path():
    """With noise of zero, the loss's posterior of every group is encode's: the KLs agree."""
    model = make()
    x = frames(4)
    mu, log_sigma = model.encode(x)
    state, kl = model._begin(4), 0.0
    for group, feature in zip(model._groups(), model.encoder(x)):
        state = group.arrive(state)
        prior, context = group.prior(state)
        residual = group.residual(feature, context)
        part = slice(group.spec.start, group.spec.stop)
        assert torch.allclose(residual.posterior(prior).mu, mu[:, part], atol=1e-5)
        assert torch.allclose(residual.posterior(prior).log_sigma, log_sigma[:, part], atol=1e-5)
        kl = kl + residual.kl(prior).sum()
        state = group.inject(state, mu[:, part])
    assert torch.isfinite(torch.as_tensor(kl))


def test_the_first_groups_prior_is_standard_and_samples_follow_their_generator():
    model = make()
    draws = model.sample(4000, torch.Generator().manual_seed(0))
    assert torch.equal(draws, model.sample(4000, torch.Generator().manual_seed(0)))
    first = draws[:, :2]
    assert first.mean().abs() < 0.1
    assert first.std() == pytest.approx(1, abs=0.05)


def test_elbo_is_likelihood_and_kl_and_the_groups_sum_up():
    model = make()
    loss, metrics = model.loss(frames(4))
    assert torch.allclose(metrics["elbo"], -(metrics["nll"] + metrics["kl"]))
    groups = [metrics[f"kl_group_{i}"] for i in range(4)]
    assert torch.allclose(torch.stack(groups).sum(), metrics["kl"], rtol=1e-5)
    assert torch.allclose(loss * model.num_dims, -metrics["elbo"], rtol=1e-5)


def test_free_nats_count_only_in_training():
    config = NVAEConfig(**{**vars(SMALL), "free_nats": 100.0, "spectral_weight": 0.0})
    model = make(config)
    x = frames(4)
    loss, metrics = model.loss(x)
    assert torch.allclose(loss * model.num_dims, -metrics["elbo"], rtol=1e-5)
    loss, metrics = model.train().loss(x, progress=1.0)
    assert torch.allclose(loss * model.num_dims, metrics["nll"] + 400.0, rtol=1e-5)


def test_progress_warms_the_kl_up():
    model = make().train()
    betas = [model.loss(frames(4), progress)[1]["beta"].item() for progress in (0.0, 0.15, 1.0)]
    assert betas == pytest.approx([1e-4, 0.5, 1.0])


def test_four_frames_are_learnt_by_heart():
    torch.manual_seed(0)
    model = NVAE(NVAEConfig(**{**vars(SMALL), "groups": (1, 1)}))
    x = to_float(np.stack([frame(episode, 4 * episode, 16) for episode in range(4)]))
    optimizer = torch.optim.Adamax(model.parameters(), lr=2e-2)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 2e-2 * (1.02 - step / STEPS)
        loss, _ = model.loss(x.repeat(4, 1, 1, 1), progress=step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for _ in range(40):  # let the running statistics come to rest
            model.loss(x.repeat(4, 1, 1, 1))
        error = (model.eval().reconstruct(x) - x).square().mean().item()
    assert error < 5e-4
    assert x.var().item() > 50 * error


def test_checkpoint_round_trip_keeps_everything(tmp_path):
    model = make()
    save_checkpoint(tmp_path / "v.safetensors", model.to_checkpoint())
    again = models.build(load_checkpoint(tmp_path / "v.safetensors", "nvae"))
    assert isinstance(again, NVAE)
    assert again.config == model.config
    assert not again.training
    assert any(name.startswith("spectral.u_") for name in model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    z = torch.randn(2, 7)
    assert torch.equal(model.decode(z), again.decode(z))


def test_a_checkpoint_of_another_size_is_refused():
    checkpoint = make().to_checkpoint()
    with pytest.raises(UserError, match="do not fit"):
        models.build(checkpoint._replace(config={**checkpoint.config, "latent_size": 9}))


def test_the_model_for_inference_computes_the_same():
    model = make()
    fast = model.for_inference()
    x = frames(4)
    with torch.inference_mode():
        for a, b in zip(model.encode(x), fast.encode(x)):
            assert torch.allclose(a, b, atol=1e-5)
        z = torch.randn(4, 7)
        assert torch.allclose(model.decode(z), fast.decode(z), atol=1e-5)
    assert len(fast.state_dict()) < len(model.state_dict())
    assert model.training is False
