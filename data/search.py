"""Stage C's loop: ask for candidates, evaluate, tell, validate now and then, keep the best, save.

All that the next generation depends on is saved after each: a search that is restored goes on to the bit.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.search_config import SearchConfig
from data.search_space import SearchSpace, directions
from data.trained import Trained, save_controller
from envs.evaluation import Place, Scores, Task, dream_slots, play
from envs.rollout import EpisodeStats, Limits
from envs.starts import StartStates
from models.controller import LinearController
from utils import seeding
from utils.checkpoint import save_state
from utils.errors import UserError, check
from utils.evolution import Evolution, finite_fitness
from utils.logger import Logger
from utils.parallel import Backend
from utils.progress import bar
from utils.run_dir import RunDir

AVERAGE_RATE = 0.1
"""How far the averaged mean moves towards the distribution's mean in a generation."""
VALIDATED = ("mean", "best", "average")
"""Who drives the validation tracks: the distribution's mean, the generation's best candidate, the averaged mean."""
GAP_DREAMS = 64
"""Dreams in which a validated controller's dream return is measured."""
EXPLOITED = 2.0
"""Where dreams paid so many times what reality paid the same controller, it had got worse for real, in all three
recorded runs on CarRacing that came to that."""


class Validation:
    """How controllers did on the validation tracks.

    Attributes:
        returns: mean return of each, float64 (p,).
        per_step: what a step paid each on average, float64 (p,).
    """

    def __init__(self, scores: Scores) -> None:
        means = scores.returns.mean(axis=1)
        self.returns = np.where(np.isfinite(means), means, -np.inf)
        self.per_step = self.returns / scores.lengths.mean(axis=1)
        self._measures = scores.measures

    def measures(self, which: int) -> dict[str, float]:
        """What the env measures of a controller's drives, on average."""
        return {name: float(values[which].mean()) for name, values in self._measures.items()}


def is_exploited(dreamt: float, real: float, most: float) -> bool:
    """Whether dreams pay a controller what cannot be true.

    Args:
        dreamt: what a step of them pays it.
        real: what a step of its real episodes pays.
        most: what a step of as long a stretch of the best real rollout paid.
    """
    return dreamt > min(most, max(EXPLOITED * real, 0.0))


class ControllerSearch:
    """One evolution: its state, and the loop.

    Args:
        config: how C is evolved.
        run: the stage's folder.
        world: V and M, and the real env.
        here: the real env, on the simulator of this machine.
        controller: what the parameters mean.
        starts: real moments, whose features' mean is the centre, and what real stretches paid at most.
        backend: whose workers are players.
        slots: episodes in a task in the real environment, where that has a limit.
        workers: how many of the backend's may drive in the real environment, where that has a limit.
    """

    def __init__(
        self,
        config: SearchConfig,
        run: RunDir,
        world: Trained,
        here: dict[str, Any],
        controller: LinearController,
        starts: StartStates,
        backend: Backend[Task, EpisodeStats],
        slots: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.config, self.run, self.world, self.here = config, run, world, here
        self.controller, self.starts, self.backend = controller, starts, backend
        self.features = starts.features()[:, : controller.feature_size]
        rows = directions(self.features, world.world_model.latent_size, config.h_components)
        zeros = np.zeros(controller.num_params)
        self.space = SearchSpace(controller, zeros, self.features.mean(0), rows)
        dreams = dream_slots(config.slots, world.world_model)
        self.slots: dict[Place, int | None] = {"real": slots or config.slots, "dream": dreams}
        self.workers: dict[Place, int | None] = {"real": workers, "dream": None}
        seed = seeding.derive(config.seed, "candidates")
        self.evolution = Evolution(np.zeros(self.space.size), config.sigma0, config.pop_size, seed)
        self.average = self.evolution.mean
        self.best_score = -np.inf
        self.best_params = zeros.astype(np.float32)
        self.seconds = 0.0

    @property
    def mean(self) -> np.ndarray:
        """The controller in the middle of the distribution, float64 (N,)."""
        return self.space.controllers(self.evolution.mean)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; validate the best again if the real env or the validation tracks are others now.

        Raises:
            UserError: the state is foreign, of another size, or evolved with another --expo or --h-components.
        """
        try:
            for name, here in (("expo", self.controller.expo), ("h_components", self.config.h_components)):
                before = state[name]
                flag = f"--{name.replace('_', '-')} {before if before is None else format(before, 'g')}"
                check(
                    before == here,
                    f"{self.run.path} was evolved with {flag}; pass that, or --fresh to start over.",
                )
            self.evolution.restore(state["evolution"])
            self.space = SearchSpace.from_state(self.controller, state["space"])
            self.average = state["average"].numpy()
            self.best_score, self.best_params = state["best_score"], state["best_params"].numpy()
            self.seconds = state["seconds"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.run.state} is foreign ({error!r}); pass --fresh to start over.") from None
        if not self.run.best.exists():  # somebody deleted it, perhaps because it was damaged
            self._write(self.run.best, self.best_params, self.best_score)
        env = state.get("real_env", self.here)  # older states lack it
        if (state["validation_episodes"], env) != (self.config.validation_episodes, self.here):
            self.best_score = float(self._validate([self.best_params]).returns[0])
            self._write(self.run.best, self.best_params, self.best_score)
            self._save()

    def begin(self, means: Sequence[np.ndarray]) -> dict[str, float]:
        """Validate the possible first means, and begin at the best, of which nothing is written yet.

        Returns:
            The log's first row.
        """
        began = time.monotonic()
        scores = self._validate(means)
        self.seconds = time.monotonic() - began
        best = int(np.argmax(scores.returns))
        self.space.first = means[best]
        self.best_score, self.best_params = float(scores.returns[best]), means[best].astype(np.float32)
        row = {"validation_mean": self.best_score, "best_validation": self.best_score}
        return row | scores.measures(best) | {"seconds": self.seconds}

    def save_first(self) -> None:
        """Keep what `begin` began with."""
        self._write(self.run.best, self.best_params, self.best_score)
        self._save()

    def reason_to_stop(self) -> str | None:
        """Why there is nothing (more) to do, and how to go on."""
        config = self.config
        if config.target_return is not None and self.best_score >= config.target_return:
            return f"the validation score {self.best_score:.1f} has reached --target-return; go on with a larger one"
        if self.evolution.generation >= config.generations:
            return f"{self.evolution.generation} generations are done; go on with a larger --generations"
        if self._is_late(self.seconds):
            return f"{self.seconds / 3600:.2f} hours are spent; go on with a larger --max-hours"
        return None

    def _is_late(self, seconds: float) -> bool:
        return self.config.max_hours is not None and seconds >= self.config.max_hours * 3600

    def evolve(self, logger: Logger) -> str:
        """Generations until there is a reason to stop, which is returned."""
        config = self.config
        episodes = config.pop_size * config.n_samples
        done = self.evolution.generation * episodes
        progress = (
            bar(config.generations * episodes, "evolve", "episodes", initial=done) if config.display else None
        )
        first, began = self.evolution.generation, time.monotonic()
        while (reason := self.reason_to_stop()) is None:
            row = self._generation(progress)
            logger.log(self.evolution.generation, row)
            self._save()
            spent = (time.monotonic() - began) / (self.evolution.generation - first)
            say = partial(print, flush=True) if progress is None else progress.write
            if progress is not None or "validation_mean" in row:
                say(self._line(row, spent))
            if row.get("exploited"):
                say(
                    f"note: a step of dreams pays the mean controller {row['dream_per_step']:.2f}, one of its real "
                    f"episodes {row['validation_per_step']:.2f}, and one of the best real rollout "
                    f"{row['most_per_step']:.2f}: M is being exploited, or never saw such driving; go by the "
                    "validation."
                )
        if progress is not None:
            progress.close()
        return reason

    def _train(
        self, params: np.ndarray, seeds: list[int], on_episodes: Callable[[int], object] | None = None
    ) -> Scores:
        """Controllers where candidates are tried, as candidates are."""
        config, place = self.config, self.config.place
        limits = Limits(config.patience, config.pace, config.due, config.lost_penalty)
        return play(
            self.backend,
            place,
            self.controller,
            params,
            seeds,
            self.slots[place],
            limits,
            on_episodes=on_episodes,
            workers=self.workers[place],
        )

    def _tracks(self) -> tuple[list[int], np.ndarray, int]:
        """The generation's tracks, the same for all its candidates, what each counts, and the frames to choose them.

        Of those where the mean controller does badly more are driven than come by; each counts the less for it, so
        that the fitness still stands for the mean over all tracks (unless nothing but such tracks is asked for).
        """
        size, hard = self.config.n_samples, self.config.num_hard
        seeds = self.config.train_seeds(self.evolution.generation)
        if not hard:
            return seeds, np.full(size, 1 / size), 0
        scores = self._train(self.mean[None], seeds)
        order = np.argsort(finite_fitness(scores.returns[0]), kind="stable")
        others = np.sort(order[hard:])[: size - hard]
        shares = np.repeat([1.0, (len(seeds) - hard) / max(1, len(others))], [hard, len(others)])
        tracks = [seeds[which] for which in (*order[:hard], *others)]
        return tracks, shares / shares.sum(), int(scores.lengths.sum())

    def _generation(self, progress: Any | None) -> dict[str, float]:
        config, began = self.config, time.monotonic()
        tracks, shares, frames = self._tracks()
        # ask
        candidates = self.space.controllers(self.evolution.ask())
        # evaluate
        on_episodes = None if progress is None else progress.update
        scores = self._train(candidates, tracks, on_episodes)
        fitness = finite_fitness((scores.returns * shares).sum(axis=1))
        frames += int(scores.lengths.sum())
        rate = frames / (time.monotonic() - began)
        # tell
        strain = self.controller.strain(candidates, self.features)
        self.evolution.tell(fitness - config.strain_penalty * strain)
        self.average += AVERAGE_RATE * (self.evolution.mean - self.average)
        row = {
            "best": float(fitness.max()),
            "mean": float(fitness.mean()),
            "worst": float(fitness.min()),
            "strain": float(strain.mean()),
            "step_size": self.evolution.step_size,
            "laps_finished": float(scores.lap_finished.mean()),
            "frames": frames,
        }
        # validate
        generation = self.evolution.generation
        is_last = generation == config.generations or self._is_late(self.seconds + time.monotonic() - began)
        if generation % config.validate_every == 0 or is_last:
            rows = [self.mean, candidates[int(np.argmax(fitness))], self.space.controllers(self.average)]
            validation = self._validate(rows)
            self._keep_best(rows, validation.returns)
            row |= _named("validation", validation.returns) | validation.measures(0)
            if config.place == "dream":
                row |= self._dream(rows, validation.per_step[0])
        self.seconds += time.monotonic() - began
        times = {"frames_per_s": float(rate), "seconds": self.seconds}
        return row | {"best_validation": self.best_score} | times

    def _validate(self, params: Sequence[np.ndarray]) -> "Validation":
        """Controllers on the validation tracks, in the real environment."""
        scores = play(
            self.backend,
            "real",
            self.controller,
            np.stack(params),
            self.config.validation_seeds(),
            self.slots["real"],
            workers=self.workers["real"],
        )
        return Validation(scores)

    def _dream(self, params: Sequence[np.ndarray], real: float) -> dict[str, float]:
        """What the controllers just validated are paid in dreams that never change, and if that can be true.

        Args:
            params: the mean controller and others.
            real: what a step of the mean controller's real episodes paid.
        """
        seeds = seeding.track_seeds("validation", 0, GAP_DREAMS)
        scores = play(self.backend, "dream", self.controller, np.stack(params), seeds, self.slots["dream"])
        steps = float(scores.lengths[0].mean())
        dreamt, most = float(scores.returns[0].mean()) / steps, self.starts.most(round(steps))
        return _named("dream", scores.returns.mean(axis=1)) | {
            "dream_per_step": dreamt,
            "validation_per_step": real,
            "most_per_step": most,
            "exploited": float(is_exploited(dreamt, real, most)),
        }

    def _keep_best(self, params: Sequence[np.ndarray], scores: np.ndarray) -> None:
        best = int(np.argmax(scores))
        if scores[best] > self.best_score:
            self.best_score, self.best_params = float(scores[best]), params[best].astype(np.float32)
            self._write(self.run.best, self.best_params, self.best_score)

    def _save(self) -> None:
        """The mean as latest, then everything that the next generation depends on."""
        self._write(self.run.latest, self.mean, None)
        state = {
            "evolution": self.evolution.state(),
            "space": self.space.state(),
            "average": torch.from_numpy(self.average.copy()),
            "best_score": self.best_score,
            "best_params": torch.from_numpy(self.best_params.copy()),
            "seconds": self.seconds,
            "validation_episodes": self.config.validation_episodes,
            "real_env": self.here,
            "expo": self.controller.expo,
            "h_components": self.config.h_components,
            "fingerprints": self.world.fingerprints,
        }
        save_state(self.run.state, state)

    def _write(self, path: Path, params: np.ndarray, score: float | None) -> None:
        info = {
            "env": self.world.env_spec,
            "evolved_in": self.config.place,
            "generation": self.evolution.generation,
            "validation_return": score,
            "validation_episodes": self.config.validation_episodes,
            **self.world.fingerprints,
        }
        save_controller(path, self.controller, params, info)

    def _line(self, row: dict[str, float], seconds_each: float) -> str:
        config, generation = self.config, self.evolution.generation
        left = (config.generations - generation) * seconds_each
        if config.max_hours is not None:
            left = max(0.0, min(left, config.max_hours * 3600 - self.seconds))
        validation = f"{row['validation_mean']:7.1f}" if "validation_mean" in row else "      -"
        return (
            f"generation {generation:4d}/{config.generations}  best {row['best']:7.1f}  mean {row['mean']:7.1f}"
            f"  validation {validation} (kept {self.best_score:.1f})  step size {row['step_size']:.4f}"
            f"  {row['frames_per_s']:,.0f} frames/s  time left {int(left // 3600)}:{int(left % 3600 // 60):02d} h"
        )


def _named(what: str, returns: np.ndarray) -> dict[str, float]:
    """One number for each of VALIDATED, ready to be logged."""
    return {f"{what}_{who}": value for who, value in zip(VALIDATED, returns.tolist(), strict=True)}
