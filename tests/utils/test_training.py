import json
import math
from typing import NamedTuple

import pytest
import torch
from torch import nn

from utils.checkpoint import Checkpoint, load_checkpoint
from utils.errors import UserError
from utils.run_dir import RunDir
from utils.training import FitConfig, finished, fit, learning_rate


class Line(nn.Module):
    """y = w x with noise in the loss, so that a wrong seed shows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 1)

    def loss(self, batch, progress=1.0):
        x, y = batch
        error = self.linear(x + 0.01 * torch.randn_like(x)) - y
        loss = error.square().mean()
        return loss, {"mae": error.abs().mean()}


def batch_at(step):
    gen = torch.Generator().manual_seed(step)
    x = torch.randn(8, 3, generator=gen)
    return x, x.sum(1, keepdim=True)


class Killed(Exception):
    pass


def killed_at(last):
    """Batches up to that step, where the run dies."""

    def batch(step):
        if step == last:
            raise Killed
        return batch_at(step)

    return batch


def validate(model):
    x, y = batch_at(10_000)
    with torch.no_grad():
        return {"loss": float(model.loss((x, y))[0])}


def train(tmp_path, total, name="run", model=None, batches=batch_at, key="", **changes):
    run = RunDir(tmp_path / name, "line").prepare()
    model = model or Line()
    config = FitConfig(**({"learning_rate": 0.05, "eval_every": 10, "warmup_steps": 5} | changes))
    make = lambda m: Checkpoint("line", {}, m.state_dict(), {})  # noqa: E731
    result = fit(model, batches, total, config, run, torch.device("cpu"), validate, make, key=key)
    return result, run, model


def rows(run):
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_it_learns_and_keeps_the_best(tmp_path):
    result, run, model = train(tmp_path, 300, ema_decay=0.9)
    assert result.best_loss < 0.02
    assert load_checkpoint(run.best, "line").weights.keys() == model.state_dict().keys()
    assert [row["step"] for row in rows(run)] == list(range(10, 301, 10))
    assert finished(run, 300, FitConfig()) == (300, 1.0)
    assert finished(run, 600, FitConfig()) == (300, 0.5)
    assert finished(run, 600, FitConfig(max_minutes=result.seconds / 60)) == (300, 1.0)
    assert finished(RunDir(tmp_path, "none"), 300, FitConfig()) == (0, 0.0)


def test_resumed_equals_uninterrupted(tmp_path):
    _, whole, model = train(tmp_path, 40, "whole")

    with pytest.raises(Killed):
        train(tmp_path, 40, "parts", batches=killed_at(27))
    _, parts, again = train(tmp_path, 40, "parts")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    strip = lambda run: [{k: v for k, v in r.items() if k not in ("time", "seconds")} for r in rows(run)]  # noqa: E731
    assert strip(whole) == strip(parts)
    assert (
        load_checkpoint(whole.best).weights["linear.bias"]
        == load_checkpoint(parts.best).weights["linear.bias"]
    )


def test_nan_stops_and_keeps_the_batch(tmp_path):
    def poisoned(step):
        x, y = batch_at(step)
        return (x * math.nan, y) if step == 3 else (x, y)

    with pytest.raises(UserError, match=r"loss became nan at step 3.*bad_batch"):
        train(tmp_path, 10, batches=poisoned)
    x, _ = torch.load(tmp_path / "run/line/bad_batch.pt", weights_only=True)
    assert x.isnan().all()


def test_a_diverged_run_goes_on_from_before_with_a_smaller_rate(tmp_path):
    train(tmp_path, 10)
    with pytest.raises(UserError, match="loss became"):
        train(tmp_path, 40, learning_rate=1e30, warmup_steps=0, eval_every=1, clip_norm=math.inf)
    result, _, model = train(tmp_path, 200, ema_decay=0.9)
    assert result.step == 200
    assert result.best_loss < 0.1
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_a_resumed_run_takes_the_weight_decay_it_is_told(tmp_path):
    *_, model = train(tmp_path, 10)
    norm = model.linear.weight.norm()
    told = {"optimizer": "adamw", "learning_rate": 0.1, "min_learning_rate": 0.1, "ema_decay": 0.0}
    train(tmp_path, 10, "decayed", **told)
    _, _, model = train(tmp_path, 40, "decayed", **told, weight_decay=9.0)
    assert model.linear.weight.norm() < 0.5 * norm


def test_what_grows_with_progress_is_whole_where_a_finished_run_goes_on(tmp_path):
    class Watched(Line):
        seen: list[float]

        def loss(self, batch, progress=1.0):
            if self.training:
                self.seen.append(progress)
            return super().loss(batch, progress)

    def progress(total: int) -> list[float]:
        model = Watched()
        model.seen = []
        train(tmp_path, total, model=model)
        return model.seen

    assert progress(20) == pytest.approx([step / 20 for step in range(20)])
    assert progress(50) == [1.0] * 30


def test_the_bad_batch_is_plain_data_even_if_it_has_names(tmp_path):
    class Pair(NamedTuple):
        x: torch.Tensor
        y: torch.Tensor

    with pytest.raises(UserError, match="bad_batch"):
        train(tmp_path, 10, batches=lambda step: Pair(*(part * math.nan for part in batch_at(step))))
    kept = torch.load(tmp_path / "run/line/bad_batch.pt", weights_only=True)
    assert list(kept) == ["x", "y"]


def test_absurd_gradients_are_skipped_and_counted(tmp_path):
    def wild(step):
        x, y = batch_at(step)
        return (x, y + 1e6) if step in (4, 7) else (x, y)

    result, _, model = train(tmp_path, 200, batches=wild, skip_norm=1e3, clip_norm=1e3, ema_decay=0.5)
    assert result.skipped == 2
    assert torch.allclose(model.linear.weight, torch.ones(1, 3), atol=0.1)


def test_best_starts_over_when_its_key_changes(tmp_path):
    _, run, _ = train(tmp_path, 10, key="one")
    before = run.best.read_bytes()
    worse, _, _ = train(tmp_path, 20, key="two", learning_rate=1e-9, min_learning_rate=1e-9)
    assert worse.best_loss < math.inf
    assert run.best.read_bytes() != before


def test_another_models_state_is_refused(tmp_path):
    train(tmp_path, 10)
    other = Line()
    other.linear = nn.Linear(5, 1)
    with pytest.raises(UserError, match="another model"):
        train(tmp_path, 20, model=other)


def test_no_updates_keep_the_untrained_model(tmp_path):
    model = Line()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    result, run, _ = train(tmp_path, 0, model=model)
    assert result.step == 0
    for name, weight in load_checkpoint(run.best).weights.items():
        assert torch.equal(weight, before[name])


def test_an_untrained_model_gives_way_to_another(tmp_path):
    train(tmp_path, 0)
    other = Line()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    _, run, _ = train(tmp_path, 0, model=other)
    kept = load_checkpoint(run.best).weights
    assert all(torch.equal(weight, kept[name]) for name, weight in other.state_dict().items())


def test_schedule_warms_up_and_decays():
    config = FitConfig(learning_rate=1.0, min_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate(step, step / 100, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], rel=1e-3)
    assert rates[100] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": 0.0}, {"seed": -1}, {"ema_decay": 1.0}]
)
def test_impossible_values_are_refused(bad):
    with pytest.raises(UserError, match="--"):
        FitConfig(**bad)


def test_the_clock_can_end_a_run(tmp_path, capsys):
    result, run, _ = train(tmp_path, 10**9, max_minutes=0.5 / 60)
    assert "1.00G" not in capsys.readouterr().err, "no end in years is foretold"
    assert 0 < result.step < 10**9
    assert result.seconds >= 0.5
    assert rows(run)[-1]["step"] == result.step


def test_a_finished_run_that_goes_on_begins_its_learning_rate_anew(tmp_path):
    rates = lambda run: [row["lr"] for row in rows(run)]  # noqa: E731
    _, run, _ = train(tmp_path, 100)
    first = rates(run)
    assert first[-1] < 1e-3 * first[0] < first[0]
    train(tmp_path, 100)
    assert rates(run) == first, "what is finished stays so"
    _, run, once = train(tmp_path, 200)
    assert rates(run)[10:] == pytest.approx(first)

    train(tmp_path, 100, "other")
    with pytest.raises(Killed):
        train(tmp_path, 200, "other", batches=killed_at(157))
    _, other, twice = train(tmp_path, 200, "other")
    assert rates(other) == rates(run)
    assert torch.equal(once.linear.weight, twice.linear.weight), "stopped in between, it ends the same"
