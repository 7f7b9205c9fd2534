"""Stage C goes on where it stopped, whatever stopped it, and sets aside what it cannot go on with."""

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import traincontroller
from data.trained import load_controller, run_files
from tests.scripts.evolving import SERIAL, fail, params, rows, run, same
from tests.scripts.tiny_run import ENV_SPEC, HIDDEN, LATENT, make_run
from utils.checkpoint import load_checkpoint, load_state, save_checkpoint, save_state
from utils.run_dir import RunDir

ROOT = Path(__file__).resolve().parents[2]


def test_backends_worker_counts_and_restarts_change_nothing(logs: Path, tmp_path: Path):
    flags = ["--preset", "tiny", "--slots", "2", "--n-samples", "2", "--validate-every", "2"]
    run(logs, *flags, "--backend", "serial", "--generations", "2")
    run(logs, *flags, "--backend", "serial", "--generations", "4")
    for backend in ("process", "ray") if find_spec("ray") else ("process",):
        other = make_run(tmp_path / backend)
        run(other, *flags, "--backend", backend, "--max-workers", "3", "--generations", "4")
        assert same(logs, other), backend
    assert len({row["mean"] for row in rows(logs)[1:]}) == 4, (
        "generations differ, so equality means something"
    )


def command(logs: Path, *flags: str) -> list[str]:
    return [sys.executable, "traincontroller.py", "--logs", str(logs), "--preset", "tiny", *flags]


def start(arguments: list[str]) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, cwd=ROOT, env=env, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_rows(logs: Path, count: int) -> None:
    metrics, end = RunDir(logs, "controller").metrics, time.monotonic() + 60
    while not metrics.exists() or metrics.read_text().count("\n") < count:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_in_the_middle_the_same_command_equals_the_uninterrupted_run(logs: Path, tmp_path: Path):
    flags = ["--backend", "serial", "--generations", "10"]
    whole = make_run(tmp_path / "whole")
    run(whole, "--preset", "tiny", *flags)
    process = start(command(logs, *flags))
    wait_for_rows(logs, 4)
    process.kill()
    process.communicate()
    assert len(rows(logs)) < 11, "it was killed before its end"
    run(logs, "--preset", "tiny", *flags)
    assert same(logs, whole)


def test_ctrl_c_leaves_a_good_checkpoint_and_no_orphan(logs: Path):
    process = start(command(logs, "--generations", "100000"))
    wait_for_rows(logs, 3)
    children = subprocess.run(
        ["pgrep", "-s", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    assert len(children) >= 3, "the parent and two workers"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"run the same command again" in err
    assert b"Traceback" not in err
    end = time.monotonic() + 10
    while subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True).stdout:
        assert time.monotonic() < end, "a process outlived the command"
        time.sleep(0.05)
    done = rows(logs)[-1]["step"]
    assert np.isfinite(params(logs, "best")).all()
    run(logs, *SERIAL, "--generations", str(done + 1))
    assert [row["step"] for row in rows(logs)] == list(range(done + 2))


def test_one_command_at_a_time(logs: Path, capsys: pytest.CaptureFixture[str]):
    with RunDir(logs, "controller").lock():
        assert "another command is at work" in fail(capsys, logs, *SERIAL)
    assert not RunDir(logs, "controller").path.exists()


def test_other_start_states_set_an_evolution_in_the_dream_aside_but_none_for_real(logs: Path):
    dream = (*SERIAL, "--env", "dream", "--horizon", "5", "--generations", "1")
    run(logs, *dream)
    run(logs, *SERIAL, "--generations", "1")
    starts = load_checkpoint(run_files(logs).starts)
    starts.weights["z"].add_(0.1)
    save_checkpoint(run_files(logs).starts, starts)
    run(logs, *dream)
    run(logs, *SERIAL, "--generations", "1")
    assert RunDir(logs, "controller-dream-old1").best.exists()
    assert not (logs / "controller-old1").exists()


def test_in_another_env_the_best_counts_what_it_scores_there(logs: Path, tmp_path: Path):
    spec = {"name": "DreamCarRacing-v2", "options": {"logs": str(logs), "max_steps": 5}}
    dream = make_run(tmp_path / "dream", env_spec=spec)
    run(dream, *SERIAL, "--env", "real", "--generations", "1")
    state = load_state(RunDir(dream, "controller").state)
    save_state(RunDir(dream, "controller").state, {**state, "best_score": 1e6})
    run(dream, *SERIAL, "--env", "real", "--generations", "2")
    assert rows(dream)[-1]["best_validation"] == 1e6
    run(dream, *SERIAL, "--env", "CarRacing-v2", "--generations", "3")
    assert rows(dream)[-1]["best_validation"] < 1000
    best = load_checkpoint(RunDir(dream, "controller").best).info
    assert best["env"] == ENV_SPEC
    assert best["validation_return"] == rows(dream)[-1]["best_validation"]


def test_another_v_sets_the_old_evolution_aside(logs: Path, capsys: pytest.CaptureFixture[str]):
    run(logs, *SERIAL)
    before = params(logs)
    make_run(logs, seed=1)
    run(logs, *SERIAL)
    assert "controller-old1" in capsys.readouterr().out
    assert np.array_equal(params(logs, stage="controller-old1"), before)
    assert rows(logs) != rows(logs, "controller-old1")


def test_an_evolution_stopped_before_anything_was_kept_begins_where_it_would_have(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(logs, *SERIAL)
    make_run(logs, seed=1)
    whole = shutil.copytree(logs, tmp_path / "whole")
    run(whole, *SERIAL, "--start", "best")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(traincontroller.ControllerSearch, "save_first", stop)
        with pytest.raises(KeyboardInterrupt):
            run(logs, *SERIAL, "--start", "best")
    assert not RunDir(logs, "controller").best.exists()
    run(logs, *SERIAL, "--start", "best")
    assert same(logs, whole)


def test_other_validation_tracks_score_the_best_again(logs: Path):
    run(logs, *SERIAL)
    best = params(logs, "best")
    run(logs, *SERIAL, "--validation-episodes", "3", "--generations", "3", "--validate-every", "100000")
    assert rows(logs)[-1]["best_validation"] >= rows(logs)[-1]["validation_mean"]
    assert rows(logs)[-1]["best_validation"] != rows(logs)[-2]["best_validation"]
    assert best.shape == params(logs, "best").shape


def test_a_new_score_of_the_best_outlives_a_search_that_is_killed_at_once(logs: Path, monkeypatch):
    run(logs, *SERIAL)

    def kill(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(traincontroller.ControllerSearch, "_generation", kill)
    with pytest.raises(KeyboardInterrupt):
        run(logs, *SERIAL, "--validation-episodes", "3", "--generations", "3")
    state = load_state(RunDir(logs, "controller").state)
    info = load_controller(RunDir(logs, "controller").best, {LATENT + HIDDEN}).info
    assert state["validation_episodes"] == info["validation_episodes"] == 3
    assert state["best_score"] == pytest.approx(info["validation_return"])


def test_a_saved_evolution_is_never_written_over_by_a_misfit(logs: Path, capsys: pytest.CaptureFixture[str]):
    run(logs, *SERIAL)
    state = RunDir(logs, "controller").state
    before = state.read_bytes()
    assert "4 candidates" in fail(capsys, logs, *SERIAL, "--pop-size", "6", "--generations", "5")
    assert state.read_bytes() == before
    state.write_bytes(before[:1000])
    assert "--fresh" in fail(capsys, logs, *SERIAL, "--generations", "5")
    assert state.read_bytes() == before[:1000]
