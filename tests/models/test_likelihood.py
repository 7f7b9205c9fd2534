import math

import pytest
import torch

from models.likelihood import Likelihood


def test_the_gaussian_is_torchs_density_times_the_width_of_a_level():
    likelihood = Likelihood("gaussian").eval()
    likelihood.spread.fill_(0.04)
    mean, frames = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    density = torch.distributions.Normal(mean, 0.2).log_prob(frames).sum(dim=(1, 2, 3))
    assert torch.allclose(likelihood.nll(mean, frames), -density + 48 * math.log(255), rtol=1e-5)


def test_the_discretised_logistic_is_a_distribution_over_levels():
    likelihood = Likelihood("logistic").eval()
    likelihood.spread.fill_(0.02)
    levels = (torch.arange(256) / 255).reshape(256, 1, 1, 1)
    for mean in (0.0, 0.3, 1.0):
        nll = likelihood.nll(torch.full_like(levels, mean), levels)
        assert torch.exp(-nll).sum().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["gaussian", "logistic"])
def test_the_fitted_scale_is_the_best_one(name):
    likelihood = Likelihood(name)
    noise = torch.randn(1, 3, 32, 32) if name == "gaussian" else torch.logit(torch.rand(1, 3, 32, 32))
    frames, mean = torch.full_like(noise, 0.5), 0.5 + 0.03 * noise
    best = likelihood.nll(mean, frames).item()
    likelihood.eval()
    for spread in (0.5, 0.8, 1.25, 2.0):
        size = (frames - mean).square() if name == "gaussian" else (frames - mean).abs()
        likelihood.spread.copy_(size.mean() * spread)
        assert likelihood.nll(mean, frames).item() > best


def test_the_scale_is_bounded_by_one_grey_level():
    likelihood = Likelihood()
    frames = torch.rand(1, 3, 4, 4)
    for _ in range(300):
        likelihood.nll(frames, frames)
    assert likelihood.scale().item() == pytest.approx(1 / 255)
    assert torch.isfinite(likelihood.nll(frames, frames)).all()


def test_evaluation_does_not_move_the_scale():
    likelihood = Likelihood().eval()
    before = likelihood.spread.clone()
    likelihood.nll(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
    assert torch.equal(likelihood.spread, before)
