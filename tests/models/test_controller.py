import numpy as np
import pytest
import torch

from models.controller import LinearController
from utils.errors import UserError

LOW, HIGH = np.array([-1.0, 0.0, 0.0], np.float32), np.array([1.0, 1.0, 1.0], np.float32)


def test_the_papers_controller_has_867_parameters():
    assert LinearController(32 + 256, LOW, HIGH).num_params == 867


def test_zero_weights_rest():
    controller = LinearController(5, LOW, HIGH)
    actions = controller.act(torch.zeros(4, controller.num_params), torch.randn(4, 5))
    assert torch.equal(actions, torch.zeros(4, 3))


def test_large_weights_reach_every_corner_of_the_bounds():
    controller = LinearController(2, np.array([-2.0, 0.0, -1.0]), np.array([2.0, 3.0, 5.0]))
    params = torch.zeros(2, controller.num_params)
    params[0, -3:], params[1, -3:] = 100.0, -100.0
    actions = controller.act(params, torch.zeros(2, 2))
    assert torch.allclose(actions, torch.tensor([[2.0, 3.0, 5.0], [-2.0, 0.0, -1.0]]))


@pytest.mark.parametrize("expo", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_in_between_it_is_a_stretched_tanh_that_is_gentle_where_an_action_has_two_sides(
    expo: float, sign: int
):
    controller = LinearController(1, np.array([-2.0, 0.0, -1.0]), np.array([2.0, 3.0, 5.0]), expo)
    params = sign * torch.tensor([[0.0, 0.0, 0.0, 0.3, 0.3, 0.3]])
    t = sign * np.tanh(0.3)
    gentle = t * abs(t) ** expo
    expected = [2 * gentle, max(3 * t, 0), 2 + 3 * gentle]
    assert np.allclose(controller.act(params, torch.zeros(1, 1))[0], expected, atol=1e-6)


def test_many_controllers_at_once_equal_one_after_the_other():
    torch.manual_seed(0)
    controller = LinearController(7, LOW, HIGH)
    params, features = torch.randn(6, controller.num_params), torch.randn(6, 7)
    together = controller.act(params, features)
    for i in range(6):
        weights, bias = params[i, :21].reshape(3, 7), params[i, 21:]
        raw = np.tanh((weights @ features[i] + bias).numpy())
        expected = np.array([raw[0] * abs(raw[0]), max(raw[1], 0), max(raw[2], 0)])
        assert np.allclose(together[i], expected, atol=1e-5)
        assert torch.allclose(controller.act(params[i], features[i : i + 1])[0], together[i], atol=1e-5)


def test_one_controller_serves_all_situations():
    torch.manual_seed(0)
    controller = LinearController(7, LOW, HIGH)
    params, features = torch.randn(controller.num_params), torch.randn(6, 7)
    many = controller.act(params.expand(6, -1), features)
    assert torch.allclose(controller.act(params, features), many, atol=1e-6)


def test_a_controller_of_z_alone_looks_at_the_first_features_only():
    small, rng = LinearController(2, LOW, HIGH), np.random.default_rng(0)
    params = torch.from_numpy(rng.normal(size=(4, small.num_params)).astype(np.float32))
    features = torch.randn(4, 5)
    for rows in (params, params[0]):
        assert torch.equal(small.act(rows, features), small.act(rows, features[:, :2]))


def test_shifted_parameters_do_the_same_on_shifted_features():
    rng = np.random.default_rng(0)
    controller = LinearController(7, LOW, HIGH)
    params, offset = rng.normal(size=(6, controller.num_params)), rng.normal(size=7)
    features = rng.normal(size=(6, 7))

    def act(params: np.ndarray, features: np.ndarray) -> torch.Tensor:
        return controller.act(*(torch.from_numpy(x.astype(np.float32)) for x in (params, features)))

    shifted = controller.shifted(params, offset)
    assert torch.allclose(act(shifted, features), act(params, features + offset), atol=1e-5)
    assert not torch.allclose(act(shifted, features), act(params, features), atol=0.1)
    assert np.allclose(controller.shifted(shifted[0], -offset), params[0])


def test_strain_is_the_mean_square_of_what_the_tanhs_get():
    rng = np.random.default_rng(0)
    controller = LinearController(7, LOW, HIGH)
    params, features = rng.normal(size=(5, controller.num_params)), rng.normal(size=(40, 7))
    strain = controller.strain(params, features)
    for row, got in zip(params, strain, strict=True):
        weights, bias = row[:21].reshape(3, 7), row[21:]
        assert got == pytest.approx(sum(np.mean((features @ weights[a] + bias[a]) ** 2) for a in range(3)))
    assert controller.strain(np.zeros((2, 24)), features).tolist() == [0, 0]


def test_an_unbounded_action_space_is_refused():
    with pytest.raises(UserError, match="bounded"):
        LinearController(3, np.array([-np.inf]), np.array([1.0]))
