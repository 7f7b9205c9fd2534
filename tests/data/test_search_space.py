"""What CMA-ES searches: controllers made of a first one and a small one that reads the features along directions."""

import numpy as np
import pytest
import torch

from data.search_space import SHARE, SearchSpace, directions
from models.controller import LinearController

LOW, HIGH = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
Z, H = 3, 6


@pytest.fixture
def features() -> np.ndarray:
    """Of 400 moments; two numbers of h matter, mixed into all six, and all of them are small."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, Z)) + 2
    hidden = rng.normal(size=(400, 2)) * [0.05, 0.02]
    mixing = np.linalg.qr(rng.normal(size=(H, 2)))[0]
    return np.concatenate([z, hidden @ mixing.T + 1e-4 * rng.normal(size=(400, H))], 1)


def raw(controller: LinearController, params: np.ndarray, features: np.ndarray) -> np.ndarray:
    """What goes into the tanhs, (B, A)."""
    weights, bias = np.split(params, [controller.feature_size * controller.action_size])
    return features @ weights.reshape(controller.action_size, -1).T + bias


def test_h_is_read_along_its_leading_components_as_loud_as_its_share(features: np.ndarray):
    rows = directions(features, Z, 2)
    assert rows.shape == (Z + 2, Z + H)
    read = features @ rows.T
    assert np.array_equal(read[:, :Z], features[:, :Z]), "z is read as it is"
    spread = np.cov(read[:, Z:].T)
    assert np.isclose(np.trace(spread), SHARE * np.trace(np.cov(features[:, :Z].T)))
    assert np.isclose(spread[0, 1], 0)
    assert spread[0, 0] > 4 * spread[1, 1] > 0, "the larger one first"
    lost = features[:, Z:] - features[:, Z:].mean(0)
    kept = lost @ np.linalg.pinv(rows[Z:, Z:]) @ rows[Z:, Z:]
    assert np.square(lost - kept).sum() < 1e-3 * np.square(lost).sum(), "the two that matter are found"


@pytest.mark.parametrize("components", [None, H, H + 1])
def test_all_of_h_is_read_as_it_is(features: np.ndarray, components: int | None):
    assert np.array_equal(directions(features, Z, components), np.eye(Z + H))


def test_an_h_that_never_changes_has_no_components(features: np.ndarray):
    features[:, Z:] = 0.1
    assert np.array_equal(directions(features, Z, 2), np.eye(Z + H))
    assert np.array_equal(directions(features[:1], Z, 2), np.eye(Z + H)), "one moment alone"


def test_c_that_sees_z_alone_has_no_h_to_read(features: np.ndarray):
    assert np.array_equal(directions(features[:, :Z], Z, 2), np.eye(Z))


def test_a_point_adds_a_small_controller_of_centred_features_to_the_first(features: np.ndarray):
    controller = LinearController(Z + H, LOW, HIGH)
    rng = np.random.default_rng(1)
    first, centre = rng.normal(size=controller.num_params), features.mean(0)
    rows = directions(features, Z, 2)
    space = SearchSpace(controller, first, centre, rows)
    assert space.size == (Z + 2 + 1) * 3
    points = rng.normal(size=(4, space.size))
    small = LinearController(Z + 2, LOW, HIGH)
    for point, params in zip(points, space.controllers(points), strict=True):
        added = raw(small, point, (features - centre) @ rows.T)
        assert np.allclose(raw(controller, params, features), raw(controller, first, features) + added)
        assert np.allclose(space.controllers(point), params), "one point alone"
    assert np.array_equal(space.controllers(np.zeros(space.size)), first)


def test_a_space_comes_back_from_its_state(features: np.ndarray):
    controller = LinearController(Z + H, LOW, HIGH)
    first = np.random.default_rng(2).normal(size=controller.num_params)
    space = SearchSpace(controller, first, features.mean(0), directions(features, Z, 2))
    state = space.state()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    again = SearchSpace.from_state(controller, state)
    point = np.random.default_rng(3).normal(size=space.size)
    assert np.array_equal(again.controllers(point), space.controllers(point))
