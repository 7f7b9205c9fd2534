"""What a fresh clone drives with."""

import json
from pathlib import Path

import pytest

import test_controller
from data import trained


def test_without_flags_a_fresh_clone_drives_the_shipped_weights(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [
        "--episodes",
        "4",
        "--renderer",
        "fast",
        "--backend",
        "serial",
        "--json",
        str(tmp_path / "a.json"),
    ]
    test_controller.main(flags)
    assert "testing the one shipped in" in capsys.readouterr().out
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["mean"] > 500, "it drives: standing still gives -33, a random drive about 0"
    assert len(set(result["seeds"])) == 4


def test_the_shipped_weights_dream_too(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--env", "dream", "--horizon", "20", "--episodes", "8", "--backend", "serial"]
    test_controller.main([*flags, "--json", str(tmp_path / "a.json")])
    assert json.loads((tmp_path / "a.json").read_text())["lengths"]


def test_the_driver_who_learnt_in_a_dream_drives_there_and_awake_from_any_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trained.folder_name(trained.SHIPPED) == "pretrained/carracing", "as every clone has it"
    logs = trained.PRETRAINED / "carracing-in-dream"
    flags = ["--logs", str(logs), "--renderer", "fast", "--backend", "serial"]
    flags += ["--episodes", "4", "--json", str(tmp_path / "a.json")]
    for env, place, least in (
        ((), "DreamCarRacing-v2", 600),
        (("--env", "CarRacing-v2"), "CarRacing-v2", 150),
    ):
        test_controller.main([*flags, *env])
        result = json.loads((tmp_path / "a.json").read_text())
        assert result["env"]["name"] == place
        assert result["mean"] > least, "a random drive has about 0"


def test_under_env_carla_the_shipped_weights_of_carla_drive(tmp_path: Path, monkeypatch, capsys):
    pytest.importorskip("carla")
    monkeypatch.chdir(tmp_path)
    flags = ["--env", "carla", "--episodes", "2", "--max-workers", "1"]
    test_controller.main([*flags, "--json", str(tmp_path / "a.json")])
    assert str(trained.SHIPPED_CARLA) in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["mean"] > 400, "a beginner leaves the road at 50"


@pytest.mark.parametrize(
    "folder",
    [
        trained.SHIPPED,
        trained.SHIPPED_CARLA,
        *(trained.PRETRAINED / f"carracing-{name}" for name in ("dream", "real", "in-dream")),
    ],
)
def test_the_card_names_what_the_files_are(folder: Path):
    card = (folder / "README.md").read_text()
    files = trained.shipped_files(folder)
    world = trained.load_world_model(files)
    info = trained.load_controller(files.controller, world.world_model.feature_sizes).info
    assert {key: info[key] for key in world.fingerprints} == world.fingerprints, "they were evolved together"
    for word in ("seed", "hours", "held-out", "+-", "run_pipeline.py"):
        assert word in card, word
