import pytest
import torch

from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.mdnrnn_step import MDNRNNStep


@pytest.fixture(scope="module")
def model() -> MDNRNN:
    """One whose parts all matter: statistics, correlations, components that are each somebody's likeliest."""
    torch.manual_seed(0)
    model = MDNRNN(MDNRNNConfig(latent_size=4, action_size=2, hidden_size=8, components=3)).eval()
    model.set_statistics(torch.linspace(-1, 2, 4), torch.linspace(0.5, 3, 4), 2.5)
    with torch.no_grad():
        model.unmix.normal_()
        model.head.weight[:3].mul_(10)
    return model


@pytest.mark.parametrize("size", [0.1, 1.0, 300.0])
def test_a_step_is_that_of_the_lstm_from_small_numbers_to_saturated_gates(model: MDNRNN, size: float):
    z, action = model.z_mean + size * torch.randn(50, 4), torch.rand(50, 2)
    carry = torch.rand(50, 8) * 2 - 1, size * torch.randn(50, 8)
    with torch.no_grad():
        _, expected = model.core(z.unsqueeze(1), action.unsqueeze(1), carry)
    for own, ms in zip(MDNRNNStep(model).advance(z, action, carry), expected, strict=True):
        assert own.isfinite().all()
        assert torch.allclose(own, ms, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("step", [MDNRNNStep, lambda m: m], ids=["step by step", "M's own"])
def test_a_dream_draws_from_the_mixture_of_the_heads(model: MDNRNN, step, temperature: float):
    z, output = model.z_mean + torch.randn(300, 4) * 0.1, torch.rand(300, 8) - 0.5
    uniform, normal = torch.rand(300), torch.randn(300, 4) * 0.5
    with torch.no_grad():
        mixture, reward, termination = model.heads(z, output)
        dreamt = step(model).dream(z, output, uniform, normal, temperature)
    assert len(mixture.logits.argmax(-1).unique()) == 3
    reach = 3 * model.z_std
    expected = mixture.sample(uniform, normal, temperature)
    expected = expected.clamp(model.z_mean - reach, model.z_mean + reach)
    assert torch.allclose(dreamt.z, expected, atol=1e-5)
    assert torch.allclose(dreamt.reward, reward, atol=1e-5)
    assert torch.allclose(dreamt.termination_logit, termination, atol=1e-5)


@pytest.mark.parametrize("components", [1, 3])
def test_its_weights_are_copies(components: int):
    torch.manual_seed(0)
    model = MDNRNN(MDNRNNConfig(latent_size=4, action_size=2, hidden_size=8, components=components))
    step = MDNRNNStep(model)
    z, action, noise = torch.randn(20, 4), torch.rand(20, 2), (torch.rand(20), torch.randn(20, 4))
    before = [step.advance(z, action, model.initial(20)), step.dream(z, torch.ones(20, 8), *noise)]
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2)
    after = [step.advance(z, action, model.initial(20)), step.dream(z, torch.ones(20, 8), *noise)]
    assert all(torch.equal(*pair) for old, new in zip(before, after) for pair in zip(old, new, strict=True))
