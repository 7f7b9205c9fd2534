"""CMA-ES with full covariance, fitness higher-is-better, whose state can be saved as plain data.

The engine is `cma` (Hansen's pycma; "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772). Two things are
added. It draws from a generator of its own: pycma by itself draws from NumPy's global state. And its state is taken
out as arrays and numbers, and put back into a newly made strategy: a pickle of the strategy would be code to whoever
loads it (pycma evaluates strings among its options). A restored strategy goes on to the bit.

Axes: p population, n parameters.
"""

import copy
from collections.abc import Sequence
from typing import Any

import cma
import numpy as np
import torch

from utils import seeding
from utils.errors import UserError, check

HOLDERS = ("", "sm", "adapt_sigma", "fit", "_stoptolxstagnation", "sent_solutions")
"""Parts of pycma's strategy ("" is itself) whose plain attributes are its state."""

_CMA_VERSION = str(cma.__version__)

State = dict[str, Any]


class Normal:
    """Standard normal draws, `normal(p, n)`, from a generator that pickles and whose state is JSON-able."""

    def __init__(self, seed: int) -> None:
        self._rng = seeding.rng(seed, "evolution")

    def __call__(self, *shape: int) -> np.ndarray:
        """Draw an array of that shape."""
        return self._rng.standard_normal(shape)

    def state(self) -> State:
        """Numbers and strings that tell where the generator stands."""
        state = copy.deepcopy(dict(self._rng.bit_generator.state))
        state["state"] = {name: str(value) for name, value in state["state"].items()}  # 128-bit integers
        return state

    def restore(self, state: State) -> None:
        """Go on from where `state` was taken."""
        words = {name: int(value) for name, value in state["state"].items()}
        self._rng.bit_generator.state = {**state, "state": words}


class Evolution:
    """Ask for candidates, tell their fitness.

    Args:
        start: the distribution's first mean, (n,).
        step_size: its first standard deviation in every direction.
        population: candidates in a generation, at least 2.
        seed: of the candidates drawn.

    Attributes:
        generation: how many generations have been told.
    """

    def __init__(self, start: np.ndarray, step_size: float, population: int, seed: int) -> None:
        self._normal = Normal(seed)
        options = {"popsize": population, "seed": float("nan"), "randn": self._normal, "verbose": -9}
        options["conditioncov_alleviate"] = 0  # it moves scales into parts that `state` does not hold
        self._strategy = cma.CMAEvolutionStrategy(np.asarray(start, np.float64), step_size, options)
        self.population = population
        self.generation = 0
        self._candidates: list[np.ndarray] | None = None

    @property
    def mean(self) -> np.ndarray:
        """The distribution's mean, (n,)."""
        return np.array(self._strategy.mean, np.float64)

    @property
    def step_size(self) -> float:
        """The distribution's overall standard deviation."""
        return float(self._strategy.sigma)

    def ask(self) -> np.ndarray:
        """Draw the generation's candidates, (p, n)."""
        candidates: list[np.ndarray] = self._strategy.ask()  # type: ignore[assignment]
        self._candidates = candidates
        return np.stack(candidates)

    def tell(self, fitness: Sequence[float] | np.ndarray) -> None:
        """Move the distribution towards the better ones of the candidates asked for last.

        Args:
            fitness: one number a candidate, higher is better, (p,). One that is not finite counts as the worst.

        Raises:
            UserError: no fitness is finite.
        """
        if self._candidates is None:
            raise RuntimeError("tell() without ask()")
        self._strategy.tell(self._candidates, (-finite_fitness(fitness)).tolist())
        self._candidates = None
        self.generation += 1

    def state(self) -> State:
        """Everything the next generations depend on: tensors, numbers and strings. Take it after `tell`."""
        if self._candidates is not None:
            raise RuntimeError("the state is whole only between tell() and ask()")
        return {
            "cma_version": _CMA_VERSION,
            "generation": self.generation,
            "population": self.population,
            "normal": self._normal.state(),
            "engine": _extract(self._strategy),
        }

    def restore(self, state: State) -> None:
        """Become the strategy that `state` was taken from; ours must have the same sizes.

        Raises:
            UserError: the state is of another size, or of another version of cma.
        """
        check(
            state["cma_version"] == _CMA_VERSION,
            f"this evolution was saved with cma {state['cma_version']}, but cma {_CMA_VERSION} is installed: "
            "install that version, or pass --fresh to start over.",
        )
        size = len(state["engine"]["values"]["mean"])
        check(
            (state["population"], size) == (self.population, len(self.mean)),
            f"the saved evolution has {state['population']} candidates of {size} parameters, this one "
            f"{self.population} of {len(self.mean)}: pass that --pop-size and --features, or --fresh to start over.",
        )
        if (
            state["generation"] and not self.generation
        ):  # pycma makes some of its parts in its first generation
            self.ask()
            self.tell(np.arange(self.population))
        _insert(self._strategy, state["engine"])
        self._normal.restore(state["normal"])
        self.generation = state["generation"]


def finite_fitness(fitness: Sequence[float] | np.ndarray) -> np.ndarray:
    """Fitness with everything that is not finite replaced by the worst finite value.

    Raises:
        UserError: nothing is finite.
    """
    values = np.array(fitness, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise UserError(
            "every candidate's return is nan or infinite: the world model has diverged; train it again, or "
            "pass a smaller --sigma0 with --fresh."
        )
    values[~finite] = values[finite].min()
    return values


def _extract(strategy: object) -> State:
    """The plain attributes of all holders; arrays that are one object in there are stored once."""
    values: State = {}
    same_as: dict[str, str] = {}
    first: dict[int, str] = {}
    for holder in HOLDERS:
        for name, value in vars(_follow(strategy, holder)).items():
            path = f"{holder}.{name}".removeprefix(".")
            if isinstance(value, np.ndarray) and id(value) in first:
                same_as[path] = first[id(value)]
            elif _is_plain(value):
                values[path] = _to_data(value)
                first[id(value)] = path
            elif type(value) is list:
                values[path] = [_to_data(item) for item in value]
                if not all(_is_plain(item) for item in value):
                    raise RuntimeError(
                        f"cma {_CMA_VERSION} keeps something new in {path}: it cannot be saved"
                    )
    return {"values": values, "same_as": same_as}


def _insert(strategy: object, state: State) -> None:
    arrays: dict[str, Any] = {}
    for path, value in state["values"].items():
        arrays[path] = [_from_data(item) for item in value] if type(value) is list else _from_data(value)
        _assign(strategy, path, arrays[path])
    for path, first in state["same_as"].items():
        _assign(strategy, path, arrays[first])


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (np.ndarray, np.generic)) or type(value) in (bool, int, float)


def _to_data(value: Any) -> Any:
    """Arrays as tensors that keep their memory order, NumPy's numbers as tensors without axes."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy(order="K"))
    return torch.tensor(value) if isinstance(value, np.generic) else value


def _from_data(value: Any) -> Any:
    return value.numpy().copy(order="K")[()] if isinstance(value, torch.Tensor) else value


def _assign(strategy: object, path: str, value: object) -> None:
    holder, _, name = path.rpartition(".")
    if holder not in HOLDERS or name.startswith("__"):
        raise UserError(f"the saved evolution holds a foreign entry ({path}); pass --fresh to start over.")
    setattr(_follow(strategy, holder), name, value)


def _follow(strategy: object, holder: str) -> object:
    return getattr(strategy, holder) if holder else strategy
