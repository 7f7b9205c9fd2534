from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from models import build
from models.mdnrnn import MDNRNN, Carry, MDNRNNConfig, Prediction
from utils.errors import UserError

TINY = MDNRNNConfig(latent_size=4, action_size=2, hidden_size=8, components=3)


class Windows(NamedTuple):
    z: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor


def a_model(config: MDNRNNConfig = TINY) -> MDNRNN:
    torch.manual_seed(0)
    model = MDNRNN(config)
    model.set_statistics(torch.tensor([1.0, -2.0, 0.0, 5.0]), torch.tensor([0.5, 2.0, 1.0, 3.0]), 2.5)
    return model


def step(model: MDNRNN, z: Tensor, action: Tensor, carry: Carry) -> tuple[Prediction, Carry]:
    _, carry = model.core(z.unsqueeze(1), action.unsqueeze(1), carry)
    return model.heads(z, carry[0]), carry


def some_windows(b: int = 3, t: int = 6) -> Windows:
    g = torch.Generator().manual_seed(1)
    mask = torch.ones(b, t, dtype=torch.bool)
    mask[-1, t // 2 :] = False
    return Windows(
        torch.randn(b, t + 1, 4, generator=g),
        torch.rand(b, t, 2, generator=g),
        torch.randn(b, t, generator=g),
        torch.rand(b, t, generator=g) < 0.2,
        mask,
    )


def test_a_sequence_equals_its_steps():
    model, batch = a_model().eval(), some_windows()
    whole, last = model(batch.z[:, :-1], batch.action)
    carry = model.initial(3)
    for t in range(6):
        single, carry = step(model, batch.z[:, t], batch.action[:, t], carry)
        assert torch.allclose(single.mixture.mu, whole.mixture.mu[:, t], atol=1e-5)
        assert torch.allclose(single.mixture.log_sigma, whole.mixture.log_sigma[:, t], atol=1e-5)
        assert torch.allclose(single.mixture.logits, whole.mixture.logits[:, t], atol=1e-5)
        assert torch.allclose(single.reward, whole.reward[:, t], atol=1e-5)
        assert torch.allclose(single.termination_logit, whole.termination_logit[:, t], atol=1e-5)
    assert torch.allclose(carry[0], last[0], atol=1e-6)
    assert torch.allclose(carry[1], last[1], atol=1e-6)


def test_means_are_residuals_on_z_in_units_of_v():
    model = a_model().eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    z = torch.randn(5, 4)
    prediction, _ = step(model, z, torch.rand(5, 2), model.initial(5))
    assert torch.equal(prediction.mixture.mu, z.unsqueeze(1).expand(5, 3, 4))


def test_the_loss_does_not_depend_on_the_units_of_z():
    batch = some_windows()
    torch.manual_seed(0)
    plain = MDNRNN(TINY)
    torch.manual_seed(0)
    scaled = MDNRNN(TINY)
    mean, std = torch.tensor([1.0, -2.0, 0.0, 5.0]), torch.tensor([0.5, 2.0, 1.0, 3.0])
    scaled.set_statistics(mean, std, 1.0)
    expected = plain.loss(batch)[1]["nll"]
    assert scaled.loss(batch._replace(z=batch.z * std + mean))[1]["nll"].item() == pytest.approx(
        expected.item(), rel=1e-4
    )


def test_padding_does_not_count():
    model, batch = a_model(), some_windows()
    expected = model.loss(batch)[0]
    spoilt = batch._replace(reward=batch.reward.masked_fill(~batch.mask, 1e6))
    assert torch.equal(model.loss(spoilt)[0], expected)
    assert not torch.equal(model.loss(batch._replace(reward=batch.reward + 1))[0], expected)


def test_loss_is_the_weighted_sum_of_its_terms():
    config = MDNRNNConfig(4, 2, 8, 3, reward_weight=0.5, termination_weight=2.0)
    loss, terms = a_model(config).loss(some_windows())
    assert set(terms) == {"nll", "reward", "termination"}
    expected = terms["nll"] + 0.5 * terms["reward"] + 2 * terms["termination"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradients_are_finite_at_extremes():
    model, batch = a_model(), some_windows()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e3)
    loss, _ = model.loss(batch._replace(z=batch.z * 1e3, reward=batch.reward * 1e4))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_termination_odds_are_corrected_for_the_positive_weight():
    """Trained on steps of which one in ten terminates, M must say 0.1, whatever the weight."""
    config = MDNRNNConfig(4, 2, 8, 3, termination_positive_weight=20.0)
    model, batch = a_model(config), some_windows(20, 10)
    terminated = torch.zeros(20, 10, dtype=torch.bool)
    terminated[:, 3] = True
    prediction, _ = model(batch.z[:, :-1], batch.action)
    logit = torch.full((20, 10), torch.logit(torch.tensor(0.1)).item(), requires_grad=True)
    terms = model.loss_terms(
        prediction._replace(termination_logit=logit), batch._replace(terminated=terminated)
    )
    terms["termination"].sum().backward()
    assert logit.grad is not None
    assert abs(logit.grad.sum().item()) < 1e-4, "0.1 is where the loss is flat"


def test_a_few_updates_lower_the_loss():
    model, batch = a_model(), some_windows()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss, _ = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_checkpoint_round_trip_gives_the_same_predictions():
    model = a_model().eval()
    again = build(model.to_checkpoint({}))
    assert isinstance(again, MDNRNN)
    assert again.config == model.config
    z, action = torch.randn(2, 4), torch.rand(2, 2)
    carry = model.initial(2)
    before, after = (step(m, z, action, carry)[0].mixture.mu for m in (model, again))
    assert torch.equal(before, after)


def test_a_checkpoint_that_does_not_fit_is_the_users_error():
    checkpoint = a_model().to_checkpoint({})
    with pytest.raises(UserError, match="does not fit"):
        MDNRNN.from_checkpoint(checkpoint._replace(config={**checkpoint.config, "hidden_size": 9}))
    with pytest.raises(UserError, match="does not fit"):
        MDNRNN.from_checkpoint(checkpoint._replace(config={**checkpoint.config, "foreign": 1}))


def test_a_checkpoint_of_the_days_when_there_was_dropout_fits():
    checkpoint = a_model().to_checkpoint({})
    older = checkpoint._replace(config={**checkpoint.config, "dropout": 0.1})
    assert MDNRNN.from_checkpoint(older).config == a_model().config


@pytest.mark.parametrize("wrong", [{"hidden_size": 0}, {"components": -1}])
def test_impossible_sizes_are_refused(wrong: dict):
    with pytest.raises(UserError):
        MDNRNN(MDNRNNConfig(**wrong))


def test_forecasts_are_no_vaguer_than_the_data_and_dreams_stay_where_it_is():
    model = a_model().eval()
    with torch.no_grad():
        model.head.weight.mul_(100)
    z = torch.randn(200, 4) * 100
    with torch.no_grad():
        output = model.core(z.unsqueeze(1), torch.rand(200, 1, 2), model.initial(200))[1][0]
        mixture = model.heads(z, output).mixture
        drawn = model.dream(z, output, torch.rand(200), torch.randn(200, 4)).z
    assert (mixture.log_sigma.exp() <= model.z_std * 1.0001).all()
    away = ((drawn - model.z_mean) / model.z_std).abs()
    assert away.max() == pytest.approx(3.0, abs=1e-4)
