"""One training loop for V and M.

Everything random is a function of the seed and the step: batches come from `batch_at(step)` and torch is
seeded anew before every step, so on a CPU a resumed run equals an uninterrupted one to the bit. (On a GPU some of
torch's kernels add up in an order that changes.)
"""

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from utils import seeding
from utils.checkpoint import Checkpoint, load_state, save_checkpoint, save_state
from utils.errors import UserError, check, check_not_negative, check_positive
from utils.logger import Logger
from utils.progress import bar
from utils.run_dir import RunDir

Metrics = dict[str, float]

KEPT = ("model", "average", "optimizer", "progress")
"""What a training state must hold."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


@dataclass(frozen=True)
class FitConfig:
    """How a model is trained."""

    epochs: int = 10
    """passes over the training data"""
    max_steps: int | None = None
    """stop after this many updates, whatever --epochs says; 0 keeps the untrained model, for comparisons"""
    max_minutes: float | None = None
    """stop after this much training time; the schedule follows the clock, so such a run is not repeatable"""
    batch_size: int = 64
    """samples in an update"""
    learning_rate: float = 1e-3
    """peak learning rate"""
    min_learning_rate: float = 1e-5
    """learning rate at the end of the cosine schedule"""
    warmup_steps: int = 100
    """updates over which the learning rate rises from zero"""
    optimizer: Literal["adam", "adamax", "adamw", "rmsprop"] = "adam"
    """torch.optim's"""
    weight_decay: float = 0.0
    """as the optimizer understands it"""
    clip_norm: float = 1.0
    """gradients are scaled down to this norm"""
    skip_norm: float = math.inf
    """an update whose gradient norm is above this, or not finite, is skipped and counted"""
    ema_decay: float = 0.999
    """decay of the averaged weights that are validated and kept"""
    eval_every: int = 500
    """updates between two validations, log rows and saves"""
    seed: int = 0
    """seed of initialisation, batches and noise"""
    amp: bool = True
    """bfloat16 autocast on CUDA; --no-amp: float32"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "epochs", "batch_size", "eval_every", "learning_rate", "max_minutes")
        check_not_negative(self, "max_steps", "min_learning_rate", "warmup_steps", "weight_decay", "seed")
        check(self.clip_norm > 0, f"--clip-norm must be positive; got {self.clip_norm}.")
        check(self.skip_norm > 0, f"--skip-norm must be positive; got {self.skip_norm}.")
        check(0 <= self.ema_decay < 1, f"--ema-decay must lie in [0, 1); got {self.ema_decay}.")

    def total_steps(self, samples: int) -> int:
        """Updates in the whole run, given the samples in one epoch."""
        steps = self.epochs * math.ceil(samples / self.batch_size)
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass(frozen=True)
class FitResult:
    """How training ended."""

    step: int
    """updates made, over all restarts"""
    best_loss: float
    """lowest validation loss"""
    skipped: int
    """updates skipped because of an absurd gradient"""
    seconds: float
    """time spent, over all restarts"""


@dataclass
class _State:
    """What must survive a restart, beside model, averaged model and optimizer."""

    key: str
    step: int = 0
    best_loss: float = math.inf
    skipped: int = 0
    seconds: float = 0.0
    begun: tuple[int, float] = (0, 0.0)
    """updates and seconds when the schedule of the learning rate last began"""
    is_finished: bool = False

    def fraction(self, total_steps: int, config: FitConfig, begun: tuple[int, float] = (0, 0.0)) -> float:
        """How much of the run, or of what came after `begun`, is done, by updates or by the clock."""
        if self.step >= total_steps:
            return 1.0
        by_clock = 0.0
        if config.max_minutes:
            by_clock = (self.seconds - begun[1]) / (60 * config.max_minutes - begun[1])
        return max((self.step - begun[0]) / (total_steps - begun[0]), by_clock)


def fit(
    model: nn.Module,
    batch_at: Callable[[int], Any],
    total_steps: int,
    config: FitConfig,
    run: RunDir,
    device: torch.device,
    validate: Callable[[Any], Metrics],
    make_checkpoint: Callable[[Any], Checkpoint],
    on_eval: Callable[[Any, int, Logger], None] | None = None,
    key: str = "",
    settings: dict[str, Any] | None = None,
) -> FitResult:
    """Train a model, resuming from `run` where an earlier call stopped.

    Args:
        model: moved to `device`, trained in place; `model.loss(batch, progress)` gives the scalar to minimise and
            what to log, (tensor, dict of tensors), where progress in [0, 1] drives warm-ups.
        batch_at: step -> batch (a tensor, a tuple of them, or anything with `to(device)`); a pure function.
        total_steps: updates in the whole run.
        config: hyperparameters.
        run: prepared run directory.
        device: where to train.
        validate: averaged model -> metrics, "loss" among them (lower is better).
        make_checkpoint: averaged model -> what to save as best and latest.
        on_eval: called after each validation to draw pictures.
        key: what the validation losses depend on (dataset, V); when it changes, "best" starts over.
        settings: the command line, JSON values, for config.json; written once it is sure that the run can go on.

    Raises:
        UserError: the saved state is damaged or of another model, or the loss is not finite; the batch is then kept
            as bad_batch.pt.
    """
    model.to(device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = OPTIMIZERS[config.optimizer](
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    state = _restore(run, model, average, optimizer, config, key)
    if state.is_finished and state.fraction(total_steps, config) < 1:  # a low rate would not learn new data
        state.begun, state.is_finished = (state.step, state.seconds), False
    if settings is not None:
        run.write_config(settings)
    started = time.monotonic() - state.seconds
    known = None if config.max_minutes else total_steps  # of a run that a clock may end, no end is foretold
    with (
        Logger(run, resume_step=state.step) as logger,
        bar(known, f"train {run.stage}", "steps", initial=min(state.step, total_steps)) as progress,
    ):
        sums: dict[str, Tensor | float] = defaultdict(float)
        since = state.step
        done = state.fraction(total_steps, config)
        while done < 1:
            batch = _to(batch_at(state.step), device)
            rate = learning_rate(
                state.step - state.begun[0], state.fraction(total_steps, config, state.begun), config
            )
            progress_of_loss = (
                1.0 if state.begun[0] else done
            )  # what a finished training went on from is warm
            metrics = _update(model, average, optimizer, batch, state, progress_of_loss, rate, config, run)
            for name, value in metrics.items():
                sums[name] += value.detach()
            progress.update()
            state.seconds = time.monotonic() - started
            done = state.fraction(total_steps, config)
            state.is_finished = done >= 1
            if state.step % config.eval_every and done < 1:
                continue

            row = {f"train/{name}": float(value) / (state.step - since) for name, value in sums.items()}
            torch.manual_seed(seeding.derive(config.seed, "validate"))
            scores = validate(average)
            lr = optimizer.param_groups[0]["lr"]
            row |= {f"validation/{name}": value for name, value in scores.items()}
            logger.log(state.step, row | {"lr": lr, "skipped": state.skipped, "seconds": state.seconds})
            progress.set_postfix(loss=f"{scores['loss']:.4g}")
            if on_eval is not None:
                on_eval(average, state.step, logger)
            if math.isfinite(scores["loss"]):  # or else a restart would begin where nothing can be mended
                _save(run, model, average, optimizer, config, state, scores["loss"], make_checkpoint(average))
            sums.clear()
            since = state.step
    # of no updates, whatever was kept before; or somebody deleted it, perhaps because it was damaged
    if state.step == 0 or not run.best.exists():
        save_checkpoint(run.best, make_checkpoint(average))
    model.load_state_dict(average.state_dict())
    return FitResult(state.step, state.best_loss, state.skipped, state.seconds)


def finished(run: RunDir, total_steps: int, config: FitConfig) -> tuple[int, float]:
    """Updates that earlier calls made in this run directory, and the share that is done of what is asked for."""
    if not run.state.exists():
        return 0, 0.0
    try:
        state = _State(**load_state(run.state, *KEPT)["progress"])
        return state.step, state.fraction(total_steps, config)
    except (KeyError, TypeError, ValueError):
        raise _misfit(run) from None


def _update(
    model: Any,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    state: _State,
    done: float,
    rate: float,
    config: FitConfig,
    run: RunDir,
) -> dict[str, Tensor]:
    """One optimizer update; returns what the loss reported."""
    torch.manual_seed(seeding.derive(config.seed, "step", state.step))
    model.train()
    device_type = next(model.parameters()).device.type
    amp = config.amp and device_type == "cuda"
    with torch.autocast(device_type, dtype=torch.bfloat16, enabled=amp):
        loss, metrics = model.loss(batch, done)
    if not torch.isfinite(loss):
        plain = (
            batch._asdict() if hasattr(batch, "_asdict") else batch
        )  # a class of ours would not load safely
        torch.save(plain, run.path / "bad_batch.pt")
        raise UserError(
            f"the loss became {loss.item()} at step {state.step}; the batch is kept as "
            f"{run.path / 'bad_batch.pt'}. Lower --learning-rate and run again."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    if torch.isfinite(norm) and norm <= config.skip_norm:
        optimizer.step()
        _average(average, model, config.ema_decay, state.step)
    else:
        state.skipped += 1
    state.step += 1
    return metrics | {"loss": loss, "grad_norm": norm}


def learning_rate(step: int, done: float, config: FitConfig) -> float:
    """Linear warm-up, then a cosine down to the minimum; both begin anew when a finished run goes on.

    Args:
        step: updates since then.
        done: share of what was to do then.
        config: hyperparameters.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return warm * (config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * cosine)


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights and buffers towards the model's; faster in the first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(new, weight)
        else:
            mean.copy_(new)


def _to(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a NamedTuple keeps its names
        return type(batch)(*(_to(item, device) for item in batch))
    return tuple(_to(item, device) for item in batch) if isinstance(batch, (tuple, list)) else batch


def _save(
    run: RunDir,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: FitConfig,
    state: _State,
    loss: float,
    checkpoint: Checkpoint,
) -> None:
    """Keep the averaged model as best, if it is, and as latest; then what a restart goes on from."""
    if loss < state.best_loss:
        state.best_loss = loss
        save_checkpoint(run.best, checkpoint)
    save_checkpoint(run.latest, checkpoint)
    save_state(
        run.state,
        {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "progress": dict(vars(state)),
            "optimizer_name": config.optimizer,
        },
    )


def _restore(
    run: RunDir,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: FitConfig,
    key: str,
) -> _State:
    if not run.state.exists():
        return _State(key)
    saved = load_state(run.state, *KEPT)
    try:
        if saved.get("optimizer_name", config.optimizer) != config.optimizer:
            raise ValueError("another optimizer")
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        for group in optimizer.param_groups:
            group["weight_decay"] = config.weight_decay  # what is asked for now, not what was saved
        state = _State(**saved["progress"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        raise _misfit(run) from None
    if state.key != key or not run.best.exists():
        state.key, state.best_loss = key, math.inf
    return state


def _misfit(run: RunDir) -> UserError:
    return UserError(
        f"{run.state} was written with another model or optimizer; use the flags of that run (see {run.config}) or "
        "pass --fresh to start over."
    )
