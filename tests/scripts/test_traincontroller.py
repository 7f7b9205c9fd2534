"""Stage C as a command: it runs, evolves for real and in dreams, and refuses nonsense."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import test_controller
import traincontroller
from data import search
from data.search import AVERAGE_RATE, is_exploited
from data.search_space import SearchSpace
from data.trained import load_controller, load_starts, run_files
from envs import evaluation
from tests.scripts.evolving import SERIAL, fail, params, rows, rows_with_times, run
from tests.scripts.tiny_run import HIDDEN, LATENT, make_run
from utils.checkpoint import load_checkpoint, load_state, save_checkpoint
from utils.errors import UserError
from utils.run_dir import RunDir
from utils.seeding import SPAN


def test_a_run_leaves_everything_and_says_that_it_is_finished(logs: Path, capsys: pytest.CaptureFixture[str]):
    run(logs, *SERIAL, "--display")
    out = capsys.readouterr().out
    for words in (
        "generation    1/2",
        "generation    2/2",
        "step size",
        "frames/s",
        "time left",
        "validation",
    ):
        assert words in out
    stage = RunDir(logs, "controller")
    for path in (stage.best, stage.latest, stage.state, stage.config, stage.pictures / "learning_curve.png"):
        assert path.stat().st_size > 0
    assert [row["step"] for row in rows(logs)] == [0, 1, 2]
    info = load_checkpoint(stage.best, "controller").info
    assert info["validation_return"] == rows(logs)[-1]["best_validation"]
    before = stage.metrics.read_bytes()
    run(logs, *SERIAL)
    assert "--generations" in capsys.readouterr().out
    assert stage.metrics.read_bytes() == before
    run(logs, *SERIAL, "--generations", "3")
    assert [row["step"] for row in rows(logs)] == [0, 1, 2, 3]


def test_the_average_of_the_means_drives_the_validation_tracks_too(logs: Path):
    average = np.zeros_like(params_after(logs, 1))
    for generation in (1, 2, 3):
        average += AVERAGE_RATE * (params_after(logs, generation) - average)
    state = load_state(RunDir(logs, "controller").state)
    controller = load_controller(RunDir(logs, "controller").latest, {LATENT + HIDDEN}).controller
    kept = SearchSpace.from_state(controller, state["space"]).controllers(state["average"].numpy())
    assert np.allclose(kept, average, atol=1e-6)
    row = rows(logs)[-1]
    returns = [row[f"validation_{who}"] for who in ("mean", "best", "average")]
    assert len(set(returns)) > 1
    assert row["best_validation"] >= max(returns)


def params_after(logs: Path, generations: int) -> np.ndarray:
    """The distribution's mean after so many generations."""
    run(logs, *SERIAL, "--validate-every", "1", "--generations", str(generations))
    return params(logs)


def test_the_gap_between_dream_and_reality_is_measured_and_drawn(logs: Path):
    run(logs, *SERIAL, "--env", "dream", "--horizon", "20", "--validate-every", "1")
    dreamt = rows(logs, "controller-dream")[1:]
    assert all(np.isfinite([row["dream_mean"], row["dream_best"]]).all() for row in dreamt)
    assert dreamt[0]["dream_mean"] != dreamt[1]["dream_mean"]
    picture = RunDir(logs, "controller-dream").pictures / "gap.png"
    assert picture.stat().st_size > 0
    for row in dreamt:
        assert 0.99 < row["dream_mean"] / row["dream_per_step"] < 20.01
        per_step = (row[f"{name}_per_step"] for name in ("dream", "validation", "most"))
        assert row["exploited"] == is_exploited(*per_step)

    run(logs, *SERIAL)
    assert not (RunDir(logs, "controller").pictures / "gap.png").exists()
    assert "dream_mean" not in rows(logs)[-1]


@pytest.mark.parametrize("flags", [(), ("--display",)])
def test_a_dream_that_pays_more_than_reality_ever_did_is_called_exploited(
    logs: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
):
    files = run_files(logs)
    starts = replace(load_starts(files), paid=np.array([[1.0, 30.0], [-1e4, -1e6]]))
    save_checkpoint(files.starts, starts.to_checkpoint(load_checkpoint(files.starts).info))
    run(logs, *SERIAL, "--env", "dream", "--horizon", "20", *flags)
    assert rows(logs, "controller-dream")[-1]["exploited"] == 1.0
    out = capsys.readouterr().out
    assert "note: a step of dreams pays the mean controller" in out
    assert "go by the validation" in out


@pytest.mark.parametrize(
    ("dreamt", "real", "most", "exploited"),
    [
        (2.7, 789 / 334, 5.8, False),
        (3.0, 315 / 334, 5.8, True),
        (6.0, 4.0, 5.8, True),
        (0.1, -0.3, 5.8, True),
        (-0.1, -0.3, 5.8, False),
    ],
    ids=["as real", "a good dreamer in vain", "more than there is", "pays to stand", "nobody earns"],
)
def test_dreams_are_exploited_where_they_pay_much_more_than_reality(
    dreamt: float, real: float, most: float, exploited: bool
):
    assert is_exploited(dreamt, real, most) == exploited


def test_a_start_at_the_best_needs_one(logs: Path, capsys: pytest.CaptureFixture[str]):
    assert "holds no controller yet" in fail(capsys, logs, *SERIAL, "--start", "best")


def test_the_dream_has_its_own_folder_and_its_best_can_start_the_real_run(logs: Path):
    run(logs, *SERIAL, "--env", "dream", "--horizon", "20", "--validate-every", "1")
    dreamt = rows(logs, "controller-dream")
    assert all("validation_mean" in row for row in dreamt)
    run(logs, *SERIAL, "--start", "best", "--sigma0", "0.01", "--generations", "1")
    assert rows(logs)[0]["validation_mean"] == dreamt[-1]["best_validation"]
    moved = np.abs(params(logs, "latest") - params(logs, "best", "controller-dream")).max()
    assert moved < 0.1, "the evolution began at the dream's best"


def test_a_dream_goes_on_from_the_best_that_was_evolved_in_a_dream(
    logs: Path, capsys: pytest.CaptureFixture[str]
):
    again = [*SERIAL, "--env", "dream", "--horizon", "20", "--start", "best", "--generations", "1"]
    run(logs, *SERIAL)
    assert "--start best" in fail(capsys, logs, *again), "a driver evolved for real does not count"
    run(logs, *SERIAL, "--env", "dream", "--horizon", "20")
    best = rows(logs, "controller-dream")[-1]["best_validation"]
    run(logs, *again, "--fresh")
    assert rows(logs, "controller-dream")[0]["validation_mean"] == best


def test_fewer_directions_of_h_are_searched_around_the_first_controller(logs: Path):
    flags = (*SERIAL, "--h-components", "2", "--generations", "1")
    run(logs, *flags, "--env", "dream")
    state = load_state(RunDir(logs, "controller-dream").state)
    assert len(state["average"]) == (LATENT + 2 + 1) * 3
    best = params(logs, "best", "controller-dream")
    run(logs, *flags, "--start", "best")
    space = load_state(RunDir(logs, "controller").state)["space"]
    assert np.array_equal(space["first"].numpy(), best), "all of it, whatever is searched around it"
    with pytest.raises(UserError, match="was evolved with --h-components 2; pass that"):
        run(logs, *SERIAL, "--h-components", "None")


def test_c_may_see_z_alone(logs: Path, capsys: pytest.CaptureFixture[str]):
    for place in ("dream", "real"):
        run(logs, *SERIAL, "--features", "z", "--env", place, "--horizon", "20")
    path = RunDir(logs, "controller").best
    assert load_controller(path, {LATENT}).params.shape == (3 * (LATENT + 1),)
    test_controller.main(["--logs", str(logs), "--episodes", "1", "--backend", "serial"])
    assert "over 1 episodes" in capsys.readouterr().out
    said = fail(capsys, logs, *SERIAL, "--generations", "3")
    assert "pass that --pop-size and --features" in said


def test_strained_candidates_are_penalised(logs: Path, tmp_path: Path):
    tense = shutil.copytree(logs, tmp_path / "tense")
    flags = [*SERIAL, "--env", "dream", "--horizon", "20", "--pop-size", "12", "--generations", "8"]
    run(logs, *flags, "--strain-penalty", "1e6")  # nothing else counts then
    run(tense, *flags, "--strain-penalty", "0")
    calm, other = (rows(each, "controller-dream")[-1] for each in (logs, tense))
    assert calm["strain"] < 0.8 * other["strain"]
    assert calm["step_size"] < other["step_size"]


def test_what_dreams_pay_may_have_a_limit_and_losing_the_road_a_price(logs: Path):
    flags = [*SERIAL, "--patience", "2", "--pace", "0.01", "--lost-penalty", "1000", "--generations", "1"]
    run(logs, *flags, "--env", "dream", "--horizon", "20")
    dreamt = rows(logs, "controller-dream")[-1]
    assert dreamt["frames"] < 4 * 20, "the tiny run's 4 candidates would dream 20 steps each"
    assert dreamt["worst"] < -900
    assert dreamt["best"] < 20 * 0.01
    assert dreamt["dream_mean"] > -900, "what validated controllers are paid is measured in whole dreams"
    with pytest.raises(UserError, match="--pace is for dreams; pass --env dream"):
        run(logs, *flags)  # a real lap has its own price


def test_the_target_is_tested_against_the_validation_score(logs: Path, capsys: pytest.CaptureFixture[str]):
    run(logs, *SERIAL, "--target-return", "-1000")
    assert "reached --target-return" in capsys.readouterr().out
    assert [row["step"] for row in rows(logs)] == [0]
    run(logs, "--n-samples", "4", "--pop-size", "4", "--target-return", "950", "--display", *SERIAL)
    assert [row["step"] for row in rows(logs)] == [0, 1, 2]


def test_the_last_generation_that_the_clock_allows_is_validated(logs: Path):
    flags = [*SERIAL, "--validate-every", "1000"]
    run(logs, *flags, "--generations", "1")
    hours = (rows_with_times(logs)[-1]["seconds"] + 1e-3) / 3600
    run(logs, *flags, "--generations", "50", "--max-hours", str(hours))
    assert ["validation_mean" in row for row in rows(logs)] == [True, True, True], "start, first and last"


def test_a_controller_keeps_the_steering_that_it_was_evolved_with(logs: Path):
    run(logs, *SERIAL, "--env", "dream", "--expo", "0", "--generations", "1")
    driver = load_controller(RunDir(logs, "controller-dream").best, {LATENT + HIDDEN})
    assert driver.controller.expo == 0
    with pytest.raises(UserError, match="was evolved with --expo 0; pass that"):
        run(logs, *SERIAL, "--env", "dream")
    for flags in ((), ("--expo", "0", "--features", "z")):
        with pytest.raises(UserError, match=r"was evolved with --expo 0 and sees .* or --start zero"):
            run(logs, *SERIAL, "--start", "best", *flags)
    run(logs, *SERIAL, "--start", "best", "--expo", "0", "--generations", "1")
    run(logs, *SERIAL, "--expo", "0")
    old = load_checkpoint(RunDir(logs, "controller").best)
    del old.config["expo"]
    save_checkpoint(tmp := logs / "old.safetensors", old)
    assert load_controller(tmp, {LATENT + HIDDEN}).controller.expo == 0, "as it was before there was any"


def test_fresh_starts_over_and_dry_run_writes_nothing(logs: Path, capsys: pytest.CaptureFixture[str]):
    run(logs, *SERIAL, "--dry-run")
    assert f"{3 * (LATENT + HIDDEN + 1)} parameters" in capsys.readouterr().out
    assert not RunDir(logs, "controller").path.exists()
    run(logs, *SERIAL)
    run(logs, *SERIAL, "--generations", "1", "--fresh")
    assert [row["step"] for row in rows(logs)] == [0, 1]


def test_fresh_removes_nothing_before_the_first_drivers_are_validated(
    logs: Path, monkeypatch: pytest.MonkeyPatch
):
    run(logs, *SERIAL, "--generations", "1")
    before = RunDir(logs, "controller").best.read_bytes()

    def fail_to_drive(*_: object, **__: object):
        raise UserError("no workers")

    monkeypatch.setattr(search, "play", fail_to_drive)
    with pytest.raises(UserError, match="no workers"):
        run(logs, *SERIAL, "--generations", "1", "--fresh", "--start", "best")
    assert RunDir(logs, "controller").best.read_bytes() == before


def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, list[int], evaluation.Scores]]:
    """What C's loop plays: controllers, seeds and scores of each call, appended as they come."""
    calls = []

    def spy(backend, place, controller, params, seeds, *args, **kwargs):
        scores = evaluation.play(backend, place, controller, params, seeds, *args, **kwargs)
        calls.append((np.array(params), list(seeds), scores))
        return scores

    monkeypatch.setattr(search, "play", spy)
    return calls


HARD = ("--env", "dream", "--pop-size", "5", "--horizon", "8", "--validate-every", "9")


def test_hard_tracks_are_the_mean_controllers_worst_of_sixteen_times_as_many(
    logs: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = spied(monkeypatch)
    run(logs, *SERIAL, *HARD, "--n-samples", "4", "--hard-tracks", "0.5", "--generations", "2")
    _, (mean, pool, tried), (_, tracks, scores), (later_mean, later_pool, _), *_ = calls
    assert (len(mean), len(pool), len(tracks), scores.returns.shape) == (1, 32, 4, (5, 4))
    worst = sorted(range(32), key=lambda which: tried.returns[0, which])[:2]
    assert tracks[:2] == [pool[which] for which in worst]
    assert tracks[2:] == [seed for seed in pool if seed not in tracks[:2]][:2], (
        "the others are none of the worst"
    )
    assert not set(pool) & set(later_pool)
    assert not np.array_equal(mean, later_mean)
    row = rows(logs, "controller-dream")[1]
    assert row["frames"] == int(tried.lengths.sum() + scores.lengths.sum()), (
        "what it costs to choose is counted"
    )
    fitness = scores.returns @ (1 / 32, 1 / 32, 15 / 32, 15 / 32)
    assert row["mean"] == pytest.approx(fitness.mean()), "they count as often as they come"


@pytest.mark.parametrize(
    ("size", "share", "pool", "counts"), [(2, 1.0, 32, (1 / 2, 1 / 2)), (20, 0.05, 20, (1 / 20,) * 20)]
)
def test_tracks_of_which_all_or_hardly_any_are_hard(
    logs: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    share: float,
    pool: int,
    counts: tuple[float, ...],
):
    calls = spied(monkeypatch)
    flags = ("--n-samples", str(size), "--hard-tracks", str(share), "--generations", "1")
    run(logs, *SERIAL, *HARD, *flags)
    _, (_, tried, _), (_, tracks, scores), *_ = calls
    assert len(tried) == pool
    assert len(set(tracks)) == size
    assert rows(logs, "controller-dream")[1]["mean"] == pytest.approx((scores.returns @ counts).mean())


def test_a_generations_tracks_are_training_tracks_and_change():
    config = traincontroller.ControllerConfig(n_samples=5)
    drawn = [config.train_seeds(generation) for generation in range(50)]
    assert all(0 <= seed < SPAN for seeds in drawn for seed in seeds)
    assert len({seed for seeds in drawn for seed in seeds}) == 250
    assert config.validation_seeds() == list(range(SPAN, SPAN + 16))


def test_models_that_do_not_belong_together_are_refused(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = run_files(make_run(tmp_path / "other", latent=LATENT + 2))
    shutil.copy(other.vision, run_files(logs).vision)
    assert "another V" in fail(capsys, logs, *SERIAL)
    shutil.copy(run_files(logs).memory, run_files(logs).vision)
    assert "a vision model is needed" in fail(capsys, logs, *SERIAL)
    run_files(logs).vision.write_bytes(b"not a checkpoint")
    assert "damaged" in fail(capsys, logs, *SERIAL)
