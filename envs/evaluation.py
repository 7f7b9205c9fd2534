"""Scoring controllers on workers: what a worker is, what a task is, and how a population is cut into tasks.

A worker holds the world model and its envs, made once. A task is a slice of (controller, seed) pairs that the worker
plays side by side as one batch. Slices depend on the number of pairs alone, never on the number of workers: so every
backend gives the same returns to the bit.

Axes: p controllers, s seeds, n parameters, b pairs of a slice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

import envs
from envs.dream import DreamConfig, DreamEnv
from envs.dream_loop import DreamLoop
from envs.latent import LatentEnv
from envs.rollout import NO_LIMITS, EpisodeStats, Limits, evaluate, evaluate_guide
from envs.starts import StartStates
from envs.vector import SlotEnv
from models.controller import DEFAULT_EXPO, LinearController
from models.world_model import WorldModel
from utils.errors import UserError
from utils.parallel import Backend

Place = Literal["real", "dream"]
Driver = Literal["controller", "guide"]

SLOT_LIMITS: dict[Place, tuple[int, int]] = {"real": (4, 32), "dream": (256, 1024)}
"""Fewest and most episodes in a task where the user gives no number."""
GPU_DREAMS = 65536
"""Dreams in a task on a GPU."""
TASKS_WANTED = 8
"""Tasks that a population is cut into at least, if the limits allow, so that several workers have work."""


class Task(NamedTuple):
    """Pairs of controller and seed, to be played at one place."""

    place: Place
    controller: LinearController
    """what the parameters mean"""
    params: np.ndarray
    """float32 (b, n)"""
    seeds: tuple[int, ...]
    """(b,)"""
    limits: Limits = NO_LIMITS
    """when an episode is given up"""
    driver: Driver = "controller"
    """who drives: the controllers, or the env's own guide"""


class Scores(NamedTuple):
    """How p controllers did on s seeds each."""

    returns: np.ndarray
    """float64 (p, s)"""
    lengths: np.ndarray
    """steps, int64 (p, s)"""
    lap_finished: np.ndarray
    """bool (p, s)"""
    measures: dict[str, np.ndarray]
    """what the env measures of an episode, float64 (p, s) each"""


@dataclass(frozen=True)
class PlayerMaker:
    """Makes a worker; travels to it as a pickle, the models inside."""

    world_model: WorldModel
    """V and M"""
    env_spec: dict[str, Any]
    """name and options of the real env"""
    starts: StartStates | None = None
    """where dreams begin; needed for the dream only"""
    dream: DreamConfig = field(default_factory=DreamConfig)
    """how dreams run"""

    def __call__(self) -> "Player":
        """Build the worker."""
        return Player(self)


class Player:
    """A worker: plays tasks. An env is made when a task first needs one of that size, and kept."""

    def __init__(self, maker: PlayerMaker) -> None:
        self._maker = maker
        self._envs: dict[Place, SlotEnv] = {}
        self._loop: DreamLoop | None = None

    def __call__(self, task: Task) -> EpisodeStats:
        """Play one episode a pair."""
        if task.place == "dream" and self._maker.world_model.device.type == "cuda":
            return self._dreams().play(task.controller, task.params, task.seeds, task.limits)
        env = self._envs.get(task.place)
        if env is None or env.num_envs < len(task.seeds):
            if env is not None:
                env.close()  # its servers, if it has any, may be needed again
            env = self._envs[task.place] = self._make(task.place, len(task.seeds))
        if task.driver == "guide":
            return evaluate_guide(env, task.seeds)
        return evaluate(env, task.controller, task.params, task.seeds, task.limits)

    def close(self) -> None:
        """Close the envs, and with them the servers that they started."""
        while self._envs:
            self._envs.popitem()[1].close()

    def controller(self, place: Place, sees_h: bool = True, expo: float = DEFAULT_EXPO) -> LinearController:
        """The controller of that place's features, or of z alone, and actions.

        An episode of the real env is begun to see it work.

        Raises:
            UserError: there is no such env, or V, M and start states do not fit it; likewise for the real env, in
                which controllers are validated wherever they are evolved.
        """
        real = self._make("real", 1)
        real.reset(seed=[0])
        real.close()
        box: Any = (self._make("dream", 1) if place == "dream" else real).single_action_space
        world_model = self._maker.world_model
        size = world_model.feature_size if sees_h else world_model.latent_size
        return LinearController(size, box.low, box.high, expo)

    def check(self, place: Place, driver: Driver) -> None:
        """Begin an episode of that place, to see it work.

        Raises:
            UserError: there is no such env, V, M and start states do not fit it, or it has no guide, who shall drive.
        """
        env = self._make(place, 1)
        env.reset(seed=[0])
        if driver == "guide":
            env.guide()
        env.close()

    def _dreams(self) -> DreamLoop:
        if self._loop is None:
            self._loop = DreamLoop(self._maker.world_model, self._starts(), self._maker.dream)
        return self._loop

    def _starts(self) -> StartStates:
        starts = self._maker.starts
        if starts is None:
            raise UserError("the dream needs start states; run trainmdrnn.py again.")
        return starts

    def _make(self, place: Place, num_envs: int) -> SlotEnv:
        maker = self._maker
        if place == "dream":
            return DreamEnv(maker.world_model, self._starts(), num_envs, maker.dream)
        frames = envs.make_from(maker.env_spec, num_envs)
        return LatentEnv(frames, maker.world_model)


def slice_size(place: Place, num_pairs: int, slots: int | None = None) -> int:
    """Pairs in a task: the user's number, or one that makes enough tasks; a function of the config alone."""
    if slots is not None:
        return slots
    fewest, most = SLOT_LIMITS[place]
    return int(np.clip(num_pairs // TASKS_WANTED, fewest, most))


def dream_slots(slots: int | None, world_model: WorldModel) -> int | None:
    """Dreams in a task: the user's number; on a GPU else all that fit one graph; or else as `slice_size` has it."""
    return slots or (GPU_DREAMS if world_model.device.type == "cuda" else None)


def play(
    backend: Backend[Task, EpisodeStats],
    place: Place,
    controller: LinearController,
    params: np.ndarray,
    seeds: Sequence[int],
    slots: int | None = None,
    limits: Limits = NO_LIMITS,
    driver: Driver = "controller",
    on_episodes: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> Scores:
    """Play every controller on every seed.

    Args:
        backend: whose workers are `Player`s.
        place: in the real env or in the dream.
        controller: what the parameters mean.
        params: controllers, (p, n).
        seeds: the same for all of them, (s,).
        slots: episodes in a task; chosen by the number of pairs if None.
        limits: when an episode is given up.
        driver: who drives; under "guide" the controllers only stand for how often.
        on_episodes: called with the number of episodes when a task is done.
        workers: how many of the backend's, at most; all of them if None.
    """
    rows = np.repeat(np.asarray(params, np.float32), len(seeds), axis=0)
    pair_seeds = [int(seed) for _ in range(len(params)) for seed in seeds]
    size = slice_size(place, len(rows), slots)
    tasks = [
        Task(place, controller, rows[i : i + size], tuple(pair_seeds[i : i + size]), limits, driver)
        for i in range(0, len(rows), size)
    ]

    def tell(_: int, stats: EpisodeStats) -> None:
        if on_episodes is not None:
            on_episodes(len(stats.returns))

    parts = backend.map(tasks, tell, workers)
    shape = (len(params), len(seeds))

    def join(columns: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(columns)).reshape(shape)

    return Scores(
        join(part.returns for part in parts),
        join(part.lengths for part in parts),
        join(part.lap_finished for part in parts),
        {name: join(part.measures[name] for part in parts) for name in parts[0].measures},
    )
