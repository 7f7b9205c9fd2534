"""Dreams that stay on the device are those of DreamEnv."""

import numpy as np
import pytest
import torch

from envs.dream import NOISE_STEPS, DreamConfig, DreamEnv
from envs.dream_loop import DreamLoop, repeat
from envs.rollout import Limits, evaluate
from models.controller import LinearController
from tests.envs.tiny import HIGH, LOW, tiny_starts, tiny_world_model

SEEDS = [3, 8, 3, 5, 8, 3, 21, 34]


@pytest.mark.parametrize("sees_h", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"horizon": NOISE_STEPS + 6, "termination": "never"},
        {"horizon": 12, "termination": "sample"},
        {"horizon": 12, "termination": "cut", "temperature": 0.5},
    ],
)
def test_a_seed_means_the_same_dream_as_in_the_env(options: dict, sees_h: bool):
    world_model = tiny_world_model()
    config = DreamConfig(**options)
    size = world_model.feature_size if sees_h else world_model.latent_size
    controller = LinearController(size, LOW, HIGH)
    params = np.random.default_rng(0).normal(size=(len(SEEDS), controller.num_params)).astype(np.float32)
    env = DreamEnv(world_model, tiny_starts(), len(SEEDS), config)
    expected = evaluate(env, controller, params, SEEDS)
    found = DreamLoop(world_model, tiny_starts(), config).play(controller, params, SEEDS)
    assert np.allclose(found.returns, expected.returns, rtol=1e-3, atol=1e-3)
    for name in ("lengths", "terminated", "truncated", "lap_finished"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    if options.get("termination", "sample") == "sample":
        assert 0 < expected.terminated.sum() < len(SEEDS), "both ends are seen"
    again = DreamLoop(world_model, tiny_starts(), config).play(controller, params, SEEDS)
    assert np.array_equal(found.returns, again.returns)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_repeats_what_the_step_does():
    x, count = torch.ones(3, device="cuda"), torch.zeros(1, dtype=torch.int64, device="cuda")

    def step() -> None:
        x.mul_(2)
        count.add_(1)

    repeat(step, 5, (x, count))
    assert (x.tolist(), count.item()) == ([32.0] * 3, 5)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(patience=2, lost_penalty=5.0),
        Limits(pace=0.05),
        Limits(pace=0.2, due=0.05, patience=3),
        Limits(patience=3, pace=0.05, lost_penalty=5.0),
        Limits(patience=20, pace=-1.0, lost_penalty=5.0),
    ],
)
def test_dreams_are_given_up_as_in_the_env(limits: Limits):
    world_model, config = tiny_world_model(), DreamConfig(horizon=20)
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    params = np.random.default_rng(0).normal(size=(len(SEEDS), controller.num_params)).astype(np.float32)
    env = DreamEnv(world_model, tiny_starts(), len(SEEDS), config)
    expected = evaluate(env, controller, params, SEEDS, limits)
    whole = evaluate(env, controller, params, SEEDS)
    found = DreamLoop(world_model, tiny_starts(), config).play(controller, params, SEEDS, limits)
    assert np.allclose(found.returns, expected.returns, rtol=1e-3, atol=1e-3)
    for name in ("lengths", "terminated", "truncated"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert (expected.returns < whole.returns - 0.01).any(), "the limits make a difference"
