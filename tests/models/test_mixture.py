import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from models.mixture import Mixture

K, Z = 3, 4


def a_mixture(*lead: int, seed: int = 0) -> Mixture:
    g = torch.Generator().manual_seed(seed)
    return Mixture(
        torch.randn(*lead, K, generator=g),
        torch.randn(*lead, K, Z, generator=g),
        0.5 * torch.randn(*lead, K, Z, generator=g),
        torch.eye(Z) + 0.5 * torch.randn(K, Z, Z, generator=g).tril(-1),
    )


def brute_force(mixture: Mixture, z: Tensor) -> Tensor:
    total = torch.zeros(z.shape[:-1], dtype=torch.float64)
    weights = torch.softmax(mixture.logits.double(), -1)
    for k in range(K):
        unmix, precision = (
            mixture.unmix[k].double(),
            torch.diag_embed((-2 * mixture.log_sigma[..., k, :]).double().exp()),
        )
        normal = MultivariateNormal(
            mixture.mu[..., k, :].double(), precision_matrix=unmix.mT @ precision @ unmix
        )
        total += weights[..., k] * normal.log_prob(z.double()).exp()
    return total.log()


def test_log_prob_is_the_log_of_the_weighted_sum_of_joint_densities():
    mixture = a_mixture(2, 5)
    z = torch.randn(2, 5, Z, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(mixture.log_prob(z).double(), brute_force(mixture, z), atol=1e-5)


def test_log_prob_keeps_its_digits_where_training_is_in_bfloat16():
    mixture = a_mixture(2, 5)
    z = torch.randn(2, 5, Z, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        there = mixture.log_prob(z)
    assert torch.equal(there, mixture.log_prob(z))


def test_log_prob_and_its_gradient_stay_finite_at_extremes():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    mu = torch.full((1, K, Z), 1e4, requires_grad=True)
    log_sigma = torch.full((1, K, Z), -7.0, requires_grad=True)
    log_prob = Mixture(logits, mu, log_sigma, torch.eye(Z).expand(K, Z, Z)).log_prob(torch.full((1, Z), -1e4))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    for parameter in (logits, mu, log_sigma):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_components_are_drawn_with_tempered_frequencies(temperature: float):
    n = 40_000
    logits = torch.tensor([1.0, 0.0, -1.0])
    mu = torch.tensor([0.0, 100.0, 200.0]).reshape(K, 1).expand(K, Z)
    mixture = Mixture(
        logits.expand(n, K), mu.expand(n, K, Z), torch.zeros(n, K, Z), torch.eye(Z).expand(K, Z, Z)
    )
    g = torch.Generator().manual_seed(0)
    z = mixture.sample(torch.rand(n, generator=g), torch.randn(n, Z, generator=g), temperature)
    which = (z / 100).round().long()
    assert (which == which[:, :1]).all(), "one component for the whole vector"
    frequencies = torch.bincount(which[:, 0], minlength=K) / n
    assert torch.allclose(frequencies, torch.softmax(logits / temperature, 0), atol=0.01)
    spread = (z - 100.0 * which).std().item()
    assert spread == pytest.approx(math.sqrt(temperature), rel=0.02)


def test_temperature_zero_is_the_likeliest_mean_and_the_limit_of_small_temperatures():
    mixture = a_mixture(50)
    g = torch.Generator().manual_seed(2)
    uniform, normal = torch.rand(50, generator=g), torch.randn(50, Z, generator=g)
    z = mixture.sample(uniform, normal, 0.0)
    best = mixture.logits.argmax(-1)
    assert torch.equal(z, mixture.mu[torch.arange(50), best])
    assert torch.allclose(mixture.sample(uniform, normal, 1e-9), z, atol=1e-3)


def test_the_last_component_is_drawn_at_the_upper_end_whatever_the_rounding():
    mixture = a_mixture(1000)
    almost_one = torch.full((1000,), float(np.nextafter(np.float32(1), np.float32(0))))
    z = mixture.sample(almost_one, torch.zeros(1000, Z))
    assert torch.equal(z, mixture.mu[:, -1])


def test_samples_average_to_the_mean_over_all_components():
    one, num = a_mixture(), 50_000
    mixture = Mixture(
        one.logits.expand(num, K), one.mu.expand(num, K, Z), one.log_sigma.expand(num, K, Z), one.unmix
    )
    g = torch.Generator().manual_seed(3)
    z = mixture.sample(torch.rand(50_000, generator=g), torch.randn(50_000, Z, generator=g))
    mean = torch.softmax(mixture.logits[0], -1) @ mixture.mu[0]
    assert torch.allclose(z.mean(0), mean, atol=0.04)


def test_samples_of_a_component_have_its_covariance():
    one, num = a_mixture(), 200_000
    alone = torch.tensor([-1e9, -1e9, 0.0])
    mixture = Mixture(
        alone.expand(num, K), one.mu.expand(num, K, Z), one.log_sigma.expand(num, K, Z), one.unmix
    )
    g = torch.Generator().manual_seed(4)
    z = mixture.sample(torch.rand(num, generator=g), torch.randn(num, Z, generator=g), 0.25)
    mix = torch.linalg.inv(one.unmix[-1])
    expected = 0.25 * mix @ torch.diag((2 * one.log_sigma[-1]).exp()) @ mix.T
    assert torch.allclose(torch.cov(z.T), expected, atol=0.02 * expected.diag().max())
