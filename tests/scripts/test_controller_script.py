"""Testing a controller as a command: scores, files, a video, and what it says when something is missing."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import envs
import test_controller
import traincontroller
from data.trained import SHIPPED, load_controller, load_world_model, run_files
from envs.evaluation import Scores
from envs.recording import film
from tests.scripts.tiny_run import ENV_SPEC, HIDDEN, LATENT, make_run
from utils import cli
from utils.device import num_threads
from utils.errors import UserError
from utils.seeding import SPAN


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_run(tmp_path_factory.mktemp("tested"))
    for env in ("real", "dream"):
        traincontroller.main(
            [
                "--logs",
                str(root),
                "--preset",
                "tiny",
                "--backend",
                "serial",
                "--generations",
                "1",
                "--env",
                env,
            ]
        )
    return root


def run(logs: Path | None, *flags: str) -> None:
    where = [] if logs is None else ["--logs", str(logs)]
    test_controller.main([*where, "--backend", "serial", "--renderer", "fast", *flags])


def fail(capsys: pytest.CaptureFixture[str], logs: Path | None, *flags: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda: run(logs, *flags))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_score_in_the_dream_needs_no_real_env(logs: Path, monkeypatch: pytest.MonkeyPatch):
    def fail_to_make(*_):
        raise UserError("there is no simulator here.")

    monkeypatch.setattr(envs, "make_from", fail_to_make)
    run(logs, "--env", "dream", "--horizon", "5", "--episodes", "2")
    with pytest.raises(UserError, match="no simulator"):
        run(logs, "--episodes", "2")


def test_scores_are_written_and_do_not_depend_on_the_workers(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(logs, "--episodes", "5", "--slots", "2", "--json", str(tmp_path / "a.json"))
    out = capsys.readouterr().out
    flags = ["--renderer", "fast", "--slots", "2", "--max-workers", "2", "--json", str(tmp_path / "b.json")]
    test_controller.main(["--logs", str(logs), "--episodes", "5", *flags])
    result = json.loads((tmp_path / "a.json").read_text())
    assert result == json.loads((tmp_path / "b.json").read_text())
    assert result["seeds"] == list(range(2 * SPAN, 2 * SPAN + 5)), "test tracks"
    returns = np.array(result["returns"])
    assert result["episodes"] == len(returns) == 5
    assert len(set(returns)) > 1
    for name, value in (("mean", returns.mean()), ("std", returns.std()), ("median", np.median(returns))):
        assert result[name] == pytest.approx(value)
    assert (result["min"], result["max"]) == (returns.min(), returns.max())
    assert result["laps_finished"] == 0
    assert f"{returns.mean():.1f} +- {returns.std():.1f} over 5 episodes" in out
    run(logs, "--episodes", "2", "--seed", "3", "--json", str(tmp_path / "c.json"))
    assert json.loads((tmp_path / "c.json").read_text())["seeds"] == [2 * SPAN + 3, 2 * SPAN + 4]


def test_a_lap_is_counted_in_steps_of_the_simulator():
    scores = Scores(np.array([[900.0, 800.0]]), np.array([[250, 333]]), np.array([[True, False]]), {})
    result = test_controller.summarise(scores, [0, 1], {}, action_repeat=3)
    assert result["lengths"] == [750, 999]
    assert result["steps_per_lap"] == 750


def test_final_scores_are_taken_with_gymnasiums_renderer(logs: Path, capsys: pytest.CaptureFixture[str]):
    assert test_controller.TestConfig().renderer == "gymnasium"
    assert test_controller.TestConfig().episodes == 100
    default = test_controller.TestConfig()
    spec = test_controller.as_drawn(ENV_SPEC, default)
    assert spec["options"] == {**ENV_SPEC["options"], "renderer": "gymnasium"}
    alias = test_controller.as_drawn({"name": "carracing", "options": {}}, default)
    assert alias["options"] == {"renderer": "gymnasium"}
    dream = {"name": "DreamCarRacing-v2", "options": {"logs": "x"}}
    assert test_controller.as_drawn(dream, default) == dream
    test_controller.main(["--logs", str(logs), "--episodes", "1", "--backend", "serial"])
    assert "gymnasium renderer" in capsys.readouterr().out


def test_robustness_is_scored_on_frames_that_v_has_never_seen(logs: Path, tmp_path: Path):
    for name in ("color", "bars"):
        run(logs, "--episodes", "1", "--perturbation", name, "--json", str(tmp_path / f"{name}.json"))
        result = json.loads((tmp_path / f"{name}.json").read_text())
        assert result["env"]["options"]["perturbation"] == name
    dream = {"name": "DreamCarRacing-v2", "options": {"logs": "x"}}
    with pytest.raises(UserError, match="--perturbation is for CarRacing, but the env is DreamCarRacing-v2"):
        test_controller.as_drawn(dream, test_controller.TestConfig(perturbation="bars"))


def test_the_dream_can_be_scored_and_the_stage_chosen(logs: Path, capsys: pytest.CaptureFixture[str]):
    run(logs, "--episodes", "3", "--env", "dream", "--horizon", "10", "--stage", "controller-dream")
    out = capsys.readouterr().out
    assert "controller-dream" in out
    assert "in the dream" in out


@pytest.mark.parametrize("stage", ["controller", "controller-dream"])
def test_the_stage_of_a_shipped_folder_may_be_chosen(tmp_path: Path, stage: str):
    flags = ["--episodes", "1", "--env", "dream", "--horizon", "5", "--stage", stage]
    run(SHIPPED, *flags, "--json", str(tmp_path / "a.json"))
    assert (
        Path(json.loads((tmp_path / "a.json").read_text())["controller"]) == SHIPPED / f"{stage}.safetensors"
    )


def test_a_stage_that_a_shipped_folder_lacks_is_named(tmp_path: Path):
    shutil.copy(SHIPPED / "controller.safetensors", tmp_path)
    with pytest.raises(UserError, match=r"holds no controller-dream.safetensors; leave --stage out"):
        run(tmp_path, "--stage", "controller-dream")


def test_a_recorded_drive_has_a_frame_for_every_moment(logs: Path, tmp_path: Path):
    path = tmp_path / "film.mp4"
    run(logs, "--episodes", "1", "--record", str(path), "--resync", "10", "--json", str(tmp_path / "a.json"))
    length = json.loads((tmp_path / "a.json").read_text())["lengths"][0]
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == length + 1
    assert frames[0].shape[0] > 300
    assert frames[0].shape[1] > 3 * 300


def test_a_gif_gets_a_small_excerpt(logs: Path, tmp_path: Path):
    path = tmp_path / "film.gif"
    run(logs, "--episodes", "1", "--record", str(path))
    with Image.open(path) as gif:
        assert 1 < getattr(gif, "n_frames", 1) <= test_controller.GIF_FRAMES
        assert gif.height < 300


def test_a_gif_of_few_decisions_a_second_shows_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        test_controller, "picture", lambda scene, *_, **__: np.full((8, 8, 3), scene, np.uint8)
    )
    assert test_controller.write_film(tmp_path / "carla.gif", iter([1, 2, 3]), resync=9, fps=5) == 3  # type: ignore[arg-type]


def test_the_dream_in_a_film_is_open_loop_and_synchronised_again(logs: Path):
    world = load_world_model(run_files(logs)).world_model
    controller, params, _ = load_controller(run_files(logs).controller, {LATENT + HIDDEN})
    env = envs.make(ENV_SPEC["name"], 1, **ENV_SPEC["options"])
    with num_threads(1):
        scenes = list(film(env, world, controller, params, seed=5, resync=7))
    env.close()
    assert [scene.step for scene in scenes] == list(range(len(scenes)))
    equal = [np.array_equal(scene.frames[1], scene.frames[2]) for scene in scenes]
    assert all(equal[::7]), "where it is synchronised, the dream is the reconstruction"
    assert not any(equal[1:7]), "in between it goes its own way"


def test_without_flags_the_shipped_weights_drive(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(test_controller, "SHIPPED", tmp_path / "shipped")
    assert "none in" in fail(capsys, None, "--episodes", "1")
    (tmp_path / "shipped").mkdir()
    files = run_files(logs)
    for name, path in (("vae", files.vision), ("mdrnn", files.memory), ("controller", files.controller)):
        shutil.copy(path, tmp_path / "shipped" / f"{name}.safetensors")
    run(None, "--episodes", "1")
    assert "shipped" in capsys.readouterr().out
    shutil.copytree(logs, tmp_path / "exp_dir")
    run(None, "--episodes", "1")
    assert "shipped" not in capsys.readouterr().out
    run(tmp_path / "shipped", "--episodes", "1")


def test_misfits_and_impossible_flags_are_refused(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert "--episodes must be positive" in fail(capsys, logs, "--episodes", "0")
    assert "--seed must not be negative" in fail(capsys, logs, "--seed", "-1")
    assert "run traincontroller.py" in fail(capsys, tmp_path)
    assert ".mp4" in fail(capsys, logs, "--record", str(tmp_path / "film.avi"))
    other = make_run(tmp_path / "other", latent=LATENT + 2)
    shutil.copytree(logs / "controller", other / "controller")
    assert f"sees {LATENT + HIDDEN} features" in fail(capsys, other)
    run_files(other).controller.write_bytes(b"junk")
    assert "damaged" in fail(capsys, other)
