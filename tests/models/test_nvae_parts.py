import pytest
import torch
from torch import nn
from torch.distributions import Normal as TorchNormal
from torch.distributions import kl_divergence

from models.nvae.distributions import Normal, Residual, balance, soft_clamp, warmup_beta
from models.nvae.fold import folded
from models.nvae.spectral import SpectralRegulariser, batchnorm_gain


def test_the_residual_kl_is_torchs():
    torch.manual_seed(0)
    prior = Normal(torch.randn(5, 4), torch.randn(5, 4))
    residual = Residual(torch.randn(5, 4), torch.randn(5, 4))
    q = residual.posterior(prior)
    wanted = kl_divergence(TorchNormal(q.mu, q.log_sigma.exp()), TorchNormal(prior.mu, prior.log_sigma.exp()))
    assert torch.allclose(residual.kl(prior), wanted, rtol=1e-4, atol=1e-5)


def test_a_posterior_that_is_the_prior_costs_nothing():
    prior = Normal(torch.randn(3, 4), torch.randn(3, 4))
    zero = Residual(torch.zeros(3, 4), torch.zeros(3, 4))
    assert torch.equal(zero.kl(prior), torch.zeros(3, 4))
    assert torch.equal(zero.posterior(prior).mu, prior.mu)


def test_a_sample_is_mean_plus_noise():
    normal = Normal(torch.tensor([[1.0]]), torch.tensor([[2.0]]).log())
    assert normal.sample(torch.tensor([[3.0]])).item() == pytest.approx(7)


def test_soft_clamp_is_the_identity_near_zero_and_bounded():
    x = torch.tensor([-100.0, -0.01, 0.01, 100.0])
    assert torch.allclose(soft_clamp(x, 5.0), torch.tensor([-5.0, -0.01, 0.01, 5.0]), atol=1e-4)


def test_warmup_rises_to_one_and_stays():
    assert warmup_beta(0.0, 0.5) == 1e-4
    assert warmup_beta(0.25, 0.5) == 0.5
    assert warmup_beta(0.5, 0.5) == warmup_beta(1.0, 0.5) == 1
    assert warmup_beta(0.0, 0.0) == 1


def test_balancing_presses_on_the_busy_group_and_lets_go_at_the_end():
    kl = torch.tensor([1.0, 3.0, 8.0], requires_grad=True)
    weights = balance(kl, [4, 4, 8], beta=0.5)
    assert not weights.requires_grad
    assert weights.mean().item() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(3.01 / 1.01)
    assert weights[2] / weights[1] == pytest.approx(8.01 / 3.01 / 2)
    assert torch.equal(balance(kl, [4, 4, 8], beta=1.0), torch.ones(3))


def test_power_iteration_finds_the_norm_of_a_known_convolution():
    torch.manual_seed(0)
    pointwise = nn.Conv2d(6, 5, 1, bias=False)
    rotation = torch.linalg.qr(torch.randn(6, 6))[0]
    with torch.no_grad():
        pointwise.weight.copy_(
            (torch.eye(5, 6) * torch.tensor([7.0, 3, 2, 1, 0.5])[:, None] @ rotation)[..., None, None]
        )
    spatial = nn.Conv2d(3, 8, 3)
    weights = [pointwise.weight, spatial.weight]
    regulariser = SpectralRegulariser(weights)
    for _ in range(100):
        regulariser(weights)
    norms = regulariser(weights)
    wanted = 7 + torch.linalg.matrix_norm(spatial.weight.flatten(1), ord=2)
    assert norms.item() == pytest.approx(wanted.item(), rel=1e-3)


def test_the_spectral_gradient_is_the_singular_pair():
    torch.manual_seed(0)
    weight = torch.randn(5, 4, requires_grad=True)
    regulariser = SpectralRegulariser([weight])
    for _ in range(200):
        regulariser([weight])
    regulariser([weight]).backward()
    u, _, v = torch.linalg.svd(weight.detach())
    assert weight.grad is not None
    assert torch.allclose(weight.grad, torch.outer(u[:, 0], v[0]), atol=1e-3)


def test_spectral_vectors_are_saved_and_rest_in_evaluation():
    weight = torch.randn(5, 4)
    regulariser = SpectralRegulariser([weight])
    assert list(regulariser.state_dict()) == ["u_0"]
    before = regulariser.state_dict()["u_0"].clone()
    regulariser.eval()([weight])
    assert torch.equal(regulariser.state_dict()["u_0"], before)
    regulariser.train()([weight])
    assert not torch.equal(regulariser.state_dict()["u_0"], before)


def test_batchnorm_gain_sums_the_largest_gammas():
    first = nn.BatchNorm2d(2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([-3.0, 1.0]))
    assert batchnorm_gain(nn.Sequential(first, nn.BatchNorm2d(2))).item() == 4


@pytest.mark.parametrize("bias", [True, False])
def test_folding_keeps_the_function(bias):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, 1, bias=bias),
        nn.Sequential(nn.BatchNorm2d(8), nn.SiLU()),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=bias),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 3, 3, padding=1, bias=bias),
    )
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    model(torch.randn(32, 4, 6, 6))
    fast, x = folded(model), torch.randn(2, 4, 6, 6)
    assert torch.allclose(fast(x), model.eval()(x), atol=1e-5)
    assert (
        sum(isinstance(m, nn.BatchNorm2d) for m in fast.modules()) == 1
    )  # the one before a padded convolution
