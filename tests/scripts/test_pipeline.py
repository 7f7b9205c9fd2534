import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import run_pipeline
from run_pipeline import PRESETS, PipelineConfig, Step, open_record, plan, run_step
from utils import cli
from utils.errors import UserError
from utils.files import LOCK, only_writer, read_json, write_json

ROOT = Path(run_pipeline.__file__).parent


def run(logs: Path, preset: str = "tiny") -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "--preset", preset, "--logs", str(logs)]
    return subprocess.run(command, capture_output=True, text=True, cwd=logs.parent, timeout=400)


def begin(config: PipelineConfig, steps: Sequence[Step] | None = None) -> dict:
    """The record of a run in which these steps, or all of them, are done."""
    record = open_record(config)
    record["done"] = {step.name: {"seconds": 60.0, "command": ""} for step in steps or plan(config)}
    save(config, record)
    return record


def save(config: PipelineConfig, record: dict) -> None:
    write_json(config.logs / "pipeline.json", record)


def left(config: PipelineConfig) -> list[str]:
    """Names of the steps that are still to be done."""
    done = open_record(config)["done"]
    return [step.name for step in plan(config) if step.name not in done]


def test_a_run_begun_before_there_were_newer_settings_goes_on(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    record = begin(config, plan(config)[:1])
    del record["config"]["first_policy"], record["config"]["carla_env"], record["spent"]
    save(config, record)
    assert left(config) == [step.name for step in plan(config)[1:]]


def test_other_settings_are_refused_and_more_rounds_go_on(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    begin(config)
    assert not left(config)
    with pytest.raises(UserError, match=r"made with other settings \(seed\).*--fresh"):
        open_record(replace(config, seed=1))
    steps = left(replace(config, rounds=3))
    assert steps[:2] == ["round 2: C in the real environment", "round 3: collect"]
    assert "round 3: plain VAE, as long as V" in steps
    assert steps[-1].startswith("score")


def test_a_last_evolution_that_goes_on_is_scored_again_and_keeps_its_time(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    begin(config)
    longer = replace(config, last_generations=config.last_generations + 1)
    first, *others = left(longer)
    assert first == "round 2: C in the real environment"
    assert others
    assert all(name.startswith("score") for name in others)
    assert open_record(longer)["spent"] == {first: 60.0}


def test_dream_only_rounds_never_go_on_from_a_driver_evolved_for_real(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run", generations=0)
    record, more = begin(config), replace(config, rounds=3)
    with pytest.raises(UserError, match=r"evolved for real.*--rounds 2, or another --logs"):
        open_record(more)
    end = "round 2: C in the real environment"
    record["spent"][end] = record["done"].pop(end)["seconds"]
    save(config, record)
    with pytest.raises(UserError, match="evolved for real"):
        open_record(more)
    del record["spent"][end]
    save(config, record)
    assert "round 3: C in the dream" in left(more)


def test_a_run_never_goes_back_to_fewer_rounds_than_it_has_begun(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run", rounds=3)
    fewer = replace(config, rounds=1)
    record = begin(config, plan(fewer))
    assert left(fewer) == [
        "round 1: C in the real environment",  # of so many generations as the last round has
        "score: C evolved in the dream, there",
        "score: C evolved in the dream",
        "score: C evolved for real",
        "score: pure pursuit, which knows the road",
    ]
    assert "round 2: collect" in left(config)
    record["spent"] = {"round 2: collect": 1.0}
    save(config, record)
    with pytest.raises(UserError, match="is beyond round 1; pass --rounds 3, or another --logs"):
        open_record(fewer)


def test_the_yardstick_may_come_later(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run", yardstick=False)
    begin(config)
    assert left(replace(config, yardstick=True)) == ["round 2: plain VAE, as long as V"]


def test_one_pipeline_at_a_time(tmp_path, monkeypatch):
    again = lambda config, steps: run_pipeline.main(["--logs", str(config.logs)])  # noqa: E731
    monkeypatch.setattr(run_pipeline, "run_left", again)
    with pytest.raises(UserError, match=r"another run_pipeline.py is at work in .*run; wait"):
        run_pipeline.main(["--logs", str(tmp_path / "run")])


def test_fresh_never_removes_what_is_no_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds no pipeline run"):
        open_record(PipelineConfig(logs=tmp_path, fresh=True))
    assert (tmp_path / "thesis.txt").exists()


def test_fresh_begins_where_there_is_nothing_and_starts_over_where_there_is_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run_pipeline, "run_step", lambda config, step, record: None)
    logs = tmp_path / "run"
    for _ in range(2):
        run_pipeline.main(["--fresh", "--logs", str(logs)])
        assert not read_json(logs / "pipeline.json")["done"]
        assert not (logs / "vae").exists()
        begin(replace(PRESETS["quick"], logs=logs))
        (logs / "vae").mkdir()


def test_fresh_removes_what_runs_leave_and_nothing_else(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    begin(config)
    kept = [config.logs / name for name in ("quick/pipeline.json", "thesis.txt", "dataset/meta.json")]
    gone = [config.logs / name for name in ("vae/best", "controller-dream-old1/best", "test-real.json")]
    for path in (*kept, *gone):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    given = replace(config, dataset=config.logs / "dataset", fresh=True)
    assert not open_record(given)["done"]
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    open_record(replace(config, fresh=True))
    assert [path.exists() for path in kept] == [True, True, False]


def test_a_fresh_start_that_is_stopped_is_finished_by_the_same_command_without_fresh(tmp_path, monkeypatch):
    config = PipelineConfig(logs=tmp_path / "run")
    begin(config)
    for name in ("dataset", "vae"):
        (config.logs / name).mkdir()

    def stop(paths):
        next(iter(paths)).rmdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_pipeline, "remove", stop)
        with pytest.raises(KeyboardInterrupt):
            open_record(replace(config, fresh=True))
    assert (config.logs / "dataset").exists()
    assert not open_record(config)["done"]
    assert not (config.logs / "dataset").exists()


def test_fresh_removes_nothing_while_a_stage_is_at_work(tmp_path):
    logs = tmp_path / "run"
    begin(PipelineConfig(logs=logs))
    for lock in (logs / "dataset" / LOCK, logs / f".vae{LOCK}"):
        at_work = r"a stage of an earlier run is still at work in .*run"
        with only_writer(lock, "taken"), pytest.raises(UserError, match=at_work):
            open_record(PipelineConfig(logs=logs, fresh=True))
        assert (logs / "pipeline.json").exists()


def test_settings_are_fixed_once_a_step_has_taken_time(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    record = begin(config, [])
    record["done"] = {}
    save(config, record)
    other = replace(config, first_policy="lane")
    open_record(other)
    save(other, read_json(other.logs / "pipeline.json") | {"spent": {"round 1: collect": 40.0}})
    with pytest.raises(UserError, match=r"made with other settings \(first_policy\)"):
        open_record(config)


def test_a_step_that_is_run_again_counts_all_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(run_pipeline, "HERE", tmp_path)
    config, step = PipelineConfig(logs=tmp_path / "run"), Step("nap", ["nap.py"])
    (tmp_path / "nap.py").write_text("import time; time.sleep(0.2); raise SystemExit(3)")
    record = open_record(config)
    with pytest.raises(UserError, match="'nap' failed"):
        run_step(config, step, record)
    wasted = record["spent"]["nap"]
    assert wasted > 0
    record = open_record(config)
    record["spent"]["nap"] = wasted + 1000
    (tmp_path / "nap.py").write_text("")
    run_step(config, step, record)
    assert record["done"]["nap"]["seconds"] >= wasted + 1000
    assert not open_record(config)["spent"]


STAGE = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
from utils import cli

def main():
    try:
        pathlib.Path("begun").touch()
        time.sleep(60)
    finally:
        pathlib.Path("saved").touch()

cli.run(main)
"""
PIPELINE = """
import sys
sys.path.insert(0, sys.argv[1])
import run_pipeline
from utils import cli

cli.run(lambda: run_pipeline.call([sys.executable, "stage.py", sys.argv[1]], lambda: None))
"""


def test_a_stage_ends_in_order_with_a_pipeline_that_is_terminated(tmp_path):
    (tmp_path / "stage.py").write_text(STAGE)
    pipeline = subprocess.Popen(
        [sys.executable, "-c", PIPELINE, str(ROOT)], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pipeline.terminate()
    said = pipeline.communicate(timeout=60)[1]
    assert pipeline.returncode == cli.INTERRUPTED
    assert (tmp_path / "saved").exists()
    assert said.count("run the same command again") == 2, said


def test_the_whole_pipeline_killed_and_run_again(tmp_path):
    """All stages in order at the tiny preset; the first attempt is killed in the middle."""
    logs = tmp_path / "run"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "--preset", "tiny", "--logs", str(logs)]
    first = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not (logs / "vae" / "checkpoints" / "best.safetensors").exists():
        assert first.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()

    done = run(logs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "over 2 held-out tracks" in done.stdout
    assert "round 1: collect" not in done.stdout, "finished steps are not run again"
    page = (logs / "report.html").read_text()
    for part in (
        "data:video/mp4",
        "data:image/png",
        "KL of each latent group",
        "plain VAE",
        "held-out tracks",
    ):
        assert part in page, part
    assert 'src="http' not in page
    for name in ("dream", "real"):
        assert json.loads((logs / f"test-{name}.json").read_text())["episodes"] == 2

    again = run(logs)
    assert again.returncode == 0
    assert "is finished; go on with a larger --last-generations, or start over" in again.stdout


def test_a_second_pipeline_in_the_dream_of_the_shipped_one(tmp_path):
    done = run(tmp_path / "run", preset="dream-tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the env that was dreamt of" in done.stdout
    results = {
        name: json.loads((tmp_path / "run" / f"test-{name}.json").read_text())
        for name in ("dreamt", "dream", "real", "awake")
    }
    assert [result["place"] for result in results.values()] == ["dream", "real", "real", "real"]
    assert results["real"]["env"]["name"] == "DreamCarRacing-v2"
    assert max(results["real"]["lengths"]) <= 40, "a dream ends after --seq-len steps"
    assert results["awake"]["env"]["name"] == "CarRacing-v2"
    assert results["awake"]["env"]["options"]["action_repeat"] == 3, "as in the env that was dreamt of"
