"""CMA-ES: it climbs, ignores NumPy's global state, and goes on to the bit from a saved state."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.checkpoint import load_state, save_state
from utils.errors import UserError
from utils.evolution import Evolution, finite_fitness


def hill(candidates: np.ndarray) -> np.ndarray:
    """Highest, 0, where every parameter equals its index / 10; directions differ in steepness."""
    target = np.arange(candidates.shape[1]) / 10
    steepness = np.linspace(1, 5, candidates.shape[1])
    return -(steepness * (candidates - target) ** 2).sum(1)


def global_words() -> np.ndarray:
    state: Any = np.random.get_state()  # noqa: NPY002
    return state[1]


def plateaus(candidates: np.ndarray) -> np.ndarray:
    """A hill of few steps: candidates tie, whole generations too, and pycma looks back at earlier fitness."""
    return np.round(hill(candidates) / 20)


def evolve(evolution: Evolution, generations: int, fitness=hill) -> np.ndarray:
    asked = np.zeros(0)
    for _ in range(generations):
        asked = evolution.ask()
        evolution.tell(fitness(asked))
    return asked


def test_it_climbs_a_hill_because_higher_is_better():
    evolution = Evolution(np.zeros(6), 0.3, 10, seed=1)
    evolve(evolution, 120)
    assert np.abs(evolution.mean - np.arange(6) / 10).max() < 1e-3
    assert evolution.step_size < 0.3
    assert evolution.generation == 120


@pytest.mark.parametrize("fitness", [hill, plateaus])
@pytest.mark.parametrize(("generations", "population"), [(0, 8), (1, 8), (1, 4), (2, 4), (37, 8)])
def test_a_saved_evolution_goes_on_to_the_bit(tmp_path: Path, generations: int, population: int, fitness):
    whole = Evolution(np.zeros(31), 0.2, population, seed=3)
    evolve(whole, generations, fitness)
    save_state(tmp_path / "state.pt", whole.state())
    other = Evolution(np.ones(31), 0.7, population, seed=99)
    other.restore(load_state(tmp_path / "state.pt"))
    assert other.generation == generations
    for _ in range(25):
        assert np.array_equal(evolve(whole, 1, fitness), evolve(other, 1, fitness))
        assert whole.step_size == other.step_size
    assert np.array_equal(whole.mean, other.mean)
    assert whole.step_size == other.step_size
    updates = whole.state()["engine"]["values"]["sm.last_update"]
    assert updates > generations, "the eigenvectors were made anew in between"


def ravine(candidates: np.ndarray) -> np.ndarray:
    """A hill so much steeper in some directions that pycma would rescale its parameters by itself."""
    return -(10.0 ** np.linspace(0, 12, candidates.shape[1]) * candidates**2).sum(1)


def test_a_saved_evolution_of_very_unequal_scales_goes_on_to_the_bit(tmp_path: Path):
    whole = Evolution(np.ones(4), 0.2, 8, seed=3)
    evolve(whole, 300, ravine)
    save_state(tmp_path / "state.pt", whole.state())
    other = Evolution(np.ones(4), 0.2, 8, seed=3)
    other.restore(load_state(tmp_path / "state.pt"))
    for _ in range(5):
        assert np.array_equal(evolve(whole, 1, ravine), evolve(other, 1, ravine))
    variances = whole.state()["engine"]["values"]["dC"].numpy()
    assert variances.max() > 1e8 * variances.min()


def test_numpys_global_state_is_neither_read_nor_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    np.random.seed(5)  # noqa: NPY002 (the global state is the point)
    before = global_words().copy()
    first = evolve(Evolution(np.zeros(5), 0.1, 6, seed=2), 4)
    assert np.array_equal(before, global_words())
    np.random.seed(6)  # noqa: NPY002
    assert np.array_equal(first, evolve(Evolution(np.zeros(5), 0.1, 6, seed=2), 4))
    assert not np.array_equal(first, evolve(Evolution(np.zeros(5), 0.1, 6, seed=3), 4))
    assert list(tmp_path.iterdir()) == [], "pycma writes no files"


def test_fitness_that_is_not_finite_counts_as_the_worst():
    values = finite_fitness([1.0, float("nan"), -3.0, float("inf"), -float("inf")])
    assert values.tolist() == [1.0, -3.0, -3.0, -3.0, -3.0]
    with pytest.raises(UserError, match="nan or infinite"):
        finite_fitness([float("nan")] * 3)
    evolution = Evolution(np.zeros(4), 0.1, 6, seed=0)
    evolution.ask()
    evolution.tell([float("nan"), 1, 2, 3, 4, 5])
    assert np.isfinite(evolution.mean).all()
    assert np.isfinite(evolution.step_size)


def test_a_state_of_another_size_version_or_origin_is_refused():
    state = Evolution(np.zeros(4), 0.1, 6, seed=0).state()
    with pytest.raises(UserError, match="6 candidates of 4 parameters"):
        Evolution(np.zeros(4), 0.1, 8, seed=0).restore(state)
    with pytest.raises(UserError, match="6 candidates of 4 parameters"):
        Evolution(np.zeros(5), 0.1, 6, seed=0).restore(state)
    with pytest.raises(UserError, match="cma 0"):
        Evolution(np.zeros(4), 0.1, 6, seed=0).restore({**state, "cma_version": "0.1"})
    state["engine"]["values"]["opts.timeout"] = 1.0
    with pytest.raises(UserError, match="foreign"):
        Evolution(np.zeros(4), 0.1, 6, seed=0).restore(state)
