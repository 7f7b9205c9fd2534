import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import run_pipeline
from data import trained
from envs.specs import CarlaFlags
from run_pipeline import PRESETS, SAME_TIME, PipelineConfig, Step, open_record, plan, run_step
from utils import cli
from utils.errors import UserError

ROOT = Path(run_pipeline.__file__).parent


def run(logs: Path, preset: str = "tiny") -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "--preset", preset, "--logs", str(logs)]
    return subprocess.run(command, capture_output=True, text=True, cwd=logs.parent, timeout=400)


def flag(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_later_rounds_add_to_earlier_ones():
    steps = {
        step.name: step.command for step in plan(PipelineConfig(rounds=3, rollouts=50, rollouts_per_round=20))
    }
    assert [flag(steps[f"round {n}: collect"], "--rollouts") for n in (1, 2, 3)] == ["50", "70", "90"]
    assert [flag(steps[f"round {n}: V"], "--max-steps") for n in (1, 2, 3)] == ["1500", "3000", "4500"]
    assert flag(steps["round 1: collect"], "--policy") == "mixed"
    assert flag(steps["round 3: collect"], "--policy") == "mixed"
    generations = [flag(steps[f"round {n}: C in the real environment"], "--generations") for n in (1, 2, 3)]
    assert generations == ["10", "10", "200"]
    assert "--display" in steps["round 1: C in the dream"]
    inside = steps["score: C evolved in the dream, there"]
    assert (flag(inside, "--env"), flag(inside, "--stage")) == ("dream", "controller-dream")
    assert SAME_TIME in steps["round 3: plain VAE, as long as V"]


def test_v_may_stay_as_it_is_after_some_rounds():
    names = [step.name for step in plan(PipelineConfig(rounds=3, vae_rounds=2))]
    assert [name for name in names if "plain VAE" in name] == ["round 2: plain VAE, as long as V"], (
        "on its data"
    )
    assert [name for name in names if name.endswith(": V")] == ["round 1: V", "round 2: V"]
    assert "round 3: M" in names


def test_what_the_dream_got_wrong_is_collected_before_the_rest():
    config = PipelineConfig(rounds=3, rollouts=50, rollouts_per_round=20, failures_per_round=10)
    steps = {step.name: step.command for step in plan(config)}
    failures = [steps[f"round {n}: collect what the dream got wrong"] for n in (2, 3)]
    assert [flag(command, "--rollouts") for command in failures] == ["60", "90"]
    assert {flag(command, "--policy") for command in failures} == {"dreamer"}
    assert [flag(steps[f"round {n}: collect"], "--rollouts") for n in (1, 2, 3)] == ["50", "80", "110"]
    assert "round 1: collect what the dream got wrong" not in steps


def test_rounds_may_be_dream_only_until_the_last():
    config = PipelineConfig(rounds=3, generations=0, dream_pop_size=64, rollout_patience=20)
    steps = {step.name: step.command for step in plan(config)}
    assert [name for name in steps if "real env" in name] == ["round 3: C in the real environment"]
    assert flag(steps["round 2: C in the dream"], "--pop-size") == "64"
    assert flag(steps["round 3: C in the real environment"], "--pop-size") == "32"
    assert flag(steps["round 2: collect"], "--patience") == "20"
    assert "--patience" not in next(step.command for step in plan(PipelineConfig()))
    with pytest.raises(UserError, match="--dream-pop-size must be at least 2"):
        PipelineConfig(dream_pop_size=1)


def test_what_makes_dreams_honest_goes_to_the_stages_if_the_run_says_so():
    config = PipelineConfig(
        dream_pace=3.3,
        dream_due=1,
        dream_patience=12,
        lost_penalty=300,
        lapses=0.02,
        mdrnn_hidden=512,
        driver_starts=0.7,
    )
    steps = {step.name: step.command for step in plan(config)}
    dream, real = steps["round 1: C in the dream"], steps["round 1: C in the real environment"]
    asked = [flag(dream, name) for name in ("--pace", "--due", "--patience", "--lost-penalty")]
    assert [float(value) for value in asked] == [3.3, 1, 12, 300]
    assert flag(real, "--patience") == "40"
    assert "--pace" not in real
    assert flag(steps["round 2: collect"], "--lapses") == "0.02"
    assert flag(steps["round 2: M"], "--hidden-size") == "512"
    assert flag(steps["round 2: M"], "--driver-starts") == "0.7"
    plain = [step.command for step in plan(PipelineConfig())]
    assert not any(
        {"--pace", "--due", "--lapses", "--hidden-size", "--driver-starts"} & set(command)
        for command in plain
    )


def test_a_run_without_dreams_evolves_from_zeros_for_real_and_is_scored_under_its_own_name():
    with pytest.raises(UserError, match="--dream-generations 0 there is one round"):
        PipelineConfig(dream_generations=0)
    steps = {step.name: step.command for step in plan(PipelineConfig(dream_generations=0, rounds=1))}
    assert not any("dream" in name for name in steps)
    assert flag(steps["round 1: C in the real environment"], "--start") == "zero"
    assert flag(steps["score: C evolved for real"], "--json").endswith("test-real-only.json")
    with_dreams = {step.name: step.command for step in plan(PipelineConfig())}
    assert flag(with_dreams["round 1: C in the real environment"], "--start") == "best"
    assert flag(with_dreams["score: C evolved for real"], "--json").endswith("test-real.json")


def test_the_last_evolution_may_go_on_with_more_tracks():
    config = PipelineConfig(rounds=2, last_generations=60, fine_generations=30, fine_samples=12)
    steps = {step.name: step.command for step in plan(config)}
    few, more = steps["round 2: C in the real environment"], steps["round 2: C on more tracks"]
    assert (flag(few, "--generations"), flag(few, "--n-samples")) == ("60", "4")
    assert (flag(more, "--generations"), flag(more, "--n-samples")) == ("90", "12")
    assert set(few) ^ set(more) == {"60", "4", "16", "90", "12", "64"}, (
        "otherwise the same, so that it goes on"
    )
    assert "round 1: C on more tracks" not in steps
    assert list(steps).index("round 2: C on more tracks") < list(steps).index("score: C evolved for real")


def test_on_carla_the_lane_follower_begins_and_the_yardstick_is_scored():
    config = replace(PRESETS["carla-quick"], carla="localhost:2000", carla_env=CarlaFlags(obs="birdview"))
    steps = {step.name: step.command for step in plan(config)}
    first = steps["round 1: collect"]
    assert flag(first, "--env") == "carla"
    assert flag(first, "--policy") == "mixed"
    assert flag(first, "--obs") == "birdview"
    assert "--map" not in first, "the env has a default of its own"
    assert float(flag(steps["round 1: M"], "--first-starts")) > 0
    assert any("pursuit" in command for command in steps.values())
    for name, command in steps.items():
        is_on_server = command[0] in ("data/generation_script.py", "traincontroller.py", "test_controller.py")
        assert ("--carla" in command) == is_on_server, name
        assert "--renderer" not in command
    racing = plan(PRESETS["quick"])
    for name in ("--carla", "--first-starts"):
        assert not any(name in step.command for step in racing)


def test_flags_of_carla_are_refused_elsewhere():
    with pytest.raises(UserError, match="--traffic is a flag for carla"):
        PipelineConfig(carla_env=CarlaFlags(traffic=2))
    with pytest.raises(UserError, match="--carla names CARLA's server"):
        PipelineConfig(carla="localhost:2000")
    with pytest.raises(UserError, match="there is no env 'karla'"):
        PipelineConfig(env="karla")


def test_in_a_dream_a_random_driver_records_and_the_driver_is_scored_awake_too(tmp_path):
    with pytest.raises(UserError, match="--env dream and --dream-of"):
        PipelineConfig(env="dream")
    with pytest.raises(UserError, match="--env dream and --dream-of"):
        PipelineConfig(dream_of=tmp_path)
    with pytest.raises(UserError, match="one round of random driving"):
        replace(PRESETS["dream"], rounds=2)
    with pytest.raises(UserError, match="there is no trained V"):
        plan(replace(PRESETS["dream"], dream_of=tmp_path))
    steps = {step.name: step.command for step in plan(PRESETS["dream"])}
    collect = steps["round 1: collect"]
    assert (flag(collect, "--env"), flag(collect, "--policy")) == ("DreamCarRacing-v2", "brown")
    assert flag(collect, "--logs") == str(trained.SHIPPED)
    assert "--action-repeat" not in collect, "that is the real env's"
    assert flag(steps["score: C evolved for real, awake"], "--env") == "CarRacing-v2"
    assert "--env" not in steps["score: C evolved for real"]


def test_a_run_begun_before_there_were_newer_settings_goes_on(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    record = open_record(config)
    del record["config"]["first_policy"], record["config"]["carla_env"]
    record["done"] = {"round 1: collect": {"seconds": 1.0, "command": ""}}
    (tmp_path / "run" / "pipeline.json").write_text(json.dumps(record))
    assert open_record(config)["done"]


def test_other_settings_are_refused_and_more_rounds_go_on(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    record = open_record(config)
    record["done"] = {step.name: {"seconds": 1.0, "command": ""} for step in plan(config)}
    (tmp_path / "run" / "pipeline.json").write_text(json.dumps(record))
    assert len(open_record(config)["done"]) == len(plan(config))
    with pytest.raises(UserError, match=r"made with other settings \(seed\).*--fresh"):
        open_record(replace(config, seed=1))
    left = [
        step.name
        for step in plan(replace(config, rounds=3))
        if step.name not in open_record(replace(config, rounds=3))["done"]
    ]
    assert left[0] == "round 2: C in the real environment"
    assert left[1] == "round 3: collect"
    assert "round 3: plain VAE, as long as V" in left
    assert left[-1].startswith("score")

    longer = replace(config, last_generations=config.last_generations + 1)
    left = [step.name for step in plan(longer) if step.name not in open_record(longer)["done"]]
    assert left[0] == "round 2: C in the real environment"
    assert left[1].startswith("score")


def test_dream_only_rounds_never_go_on_from_a_driver_evolved_for_real(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run", generations=0)
    record = open_record(config)
    record["done"] = {step.name: {"seconds": 1.0, "command": ""} for step in plan(config)}
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    with pytest.raises(UserError, match=r"evolved for real.*--rounds 2, or another --logs"):
        open_record(replace(config, rounds=3))
    begun = "round 2: C in the real environment"
    record["spent"][begun] = record["done"].pop(begun)["seconds"]
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    with pytest.raises(UserError, match="evolved for real"):
        open_record(replace(config, rounds=3))
    del record["spent"][begun]
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    assert open_record(replace(config, rounds=3))["config"]["rounds"] == 3


def test_the_yardstick_may_come_later(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run", yardstick=False)
    record = open_record(config)
    record["done"] = {step.name: {"seconds": 1.0, "command": ""} for step in plan(config)}
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    later = replace(config, yardstick=True)
    left = [step.name for step in plan(later) if step.name not in open_record(later)["done"]]
    assert left == ["round 2: plain VAE, as long as V"]


def test_a_step_that_goes_on_keeps_its_time(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run")
    record = open_record(config)
    record["done"] = {step.name: {"seconds": 60.0, "command": ""} for step in plan(config)}
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    longer = open_record(replace(config, last_generations=config.last_generations + 1))
    assert longer["spent"] == {"round 2: C in the real environment": 60.0}


def test_a_run_never_goes_back_to_fewer_rounds_than_it_has_begun(tmp_path):
    config = PipelineConfig(logs=tmp_path / "run", rounds=3)
    record = open_record(config)
    record["done"] = {step.name: {"seconds": 60.0, "command": ""} for step in plan(replace(config, rounds=1))}
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    assert open_record(replace(config, rounds=1))["config"]["rounds"] == 1
    assert open_record(config)["config"]["rounds"] == 3
    record["spent"] = {"round 2: collect": 1.0}
    run_pipeline.write_json(tmp_path / "run" / "pipeline.json", record)
    with pytest.raises(UserError, match="is beyond round 1; pass --rounds 3, or another --logs"):
        open_record(replace(config, rounds=1))


def test_one_pipeline_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(
        run_pipeline, "run_left", lambda config, steps: run_pipeline.main(["--logs", str(config.logs)])
    )
    with pytest.raises(UserError, match=r"another run_pipeline.py is at work in .*run; wait"):
        run_pipeline.main(["--logs", str(tmp_path / "run")])


def test_fresh_never_removes_what_is_no_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds no pipeline run"):
        open_record(PipelineConfig(logs=tmp_path, fresh=True))
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_may_be_dream_only_to_the_end():
    config = PipelineConfig(rounds=2, generations=0, last_generations=0)
    steps = {step.name: step.command for step in plan(config)}
    assert not any("real env" in name or "for real" in name for name in steps)
    assert "--record" in steps["score: C evolved in the dream"]
    polished = {step.name: step.command for step in plan(replace(config, fine_generations=3))}
    assert "round 2: C on more tracks" in polished
    assert "--record" in polished["score: C evolved for real"]
    assert "--record" not in polished["score: C evolved in the dream"]
    with pytest.raises(UserError, match=r"only ever dream, .*--generations 10 .* pass --generations 0, too"):
        PipelineConfig(rounds=2, last_generations=0)
    with pytest.raises(UserError, match="nothing is evolved"):
        PipelineConfig(rounds=1, dream_generations=0, last_generations=0)


def test_only_our_own_envs_hold_their_actions():
    def collect(env):
        return next(step.command for step in plan(PipelineConfig(env=env)))

    assert "--action-repeat" in collect("carracing")
    assert "--action-repeat" not in collect("tests.envs.guided:make_vec")


def test_every_preset_is_a_plan_that_can_be_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for preset in PRESETS:
        run_pipeline.main(["--preset", preset, "--dry-run"])
        assert capsys.readouterr().out.count("\npython ") == len(plan(PRESETS[preset]))
    assert not list(tmp_path.iterdir())


def test_without_a_preset_it_is_the_quick_one(capsys):
    run_pipeline.main(["--dry-run"])
    bare = capsys.readouterr().out
    run_pipeline.main(["--preset", "quick", "--dry-run"])
    assert bare == capsys.readouterr().out


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
    assert "is finished; start over with --fresh" in again.stdout


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
