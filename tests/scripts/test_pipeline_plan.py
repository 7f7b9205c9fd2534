"""The commands that a run of the pipeline consists of."""

from dataclasses import replace

import pytest

import run_pipeline
from data import trained
from data.pipeline import PRESETS, PipelineConfig
from data.pipeline_plan import SAME_TIME, plan
from envs.specs import CarlaFlags
from utils.errors import UserError


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


def test_what_goes_on_from_a_good_driver_searches_all_of_h():
    steps = {step.name: step.command for step in plan(PRESETS["carracing"])}
    assert "--h-components" not in steps["round 1: C in the dream"]
    for name in (
        "round 2: C in the dream",
        "round 4: C in the real environment",
        "round 4: C on more tracks",
    ):
        assert (flag(steps[name], "--start"), flag(steps[name], "--h-components")) == ("best", "None")


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
    assert "--h-components" not in steps["round 1: C in the real environment"]
    assert flag(steps["score: C evolved for real"], "--json").endswith("test-real-only.json")
    with_dreams = {step.name: step.command for step in plan(PipelineConfig())}
    assert flag(with_dreams["round 1: C in the real environment"], "--start") == "best"
    assert flag(with_dreams["round 1: C in the real environment"], "--h-components") == "None"
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
    harder = {step.name: step.command for step in plan(replace(config, fine_hard_tracks=0.5))}
    assert harder["round 2: C on more tracks"] == [*more, "--hard-tracks", "0.5"]
    assert harder["round 2: C in the real environment"] == few


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
