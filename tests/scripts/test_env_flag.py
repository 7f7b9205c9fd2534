"""--env NAME in every script, the guide as lane follower and yardstick, and what an env measures: on a small env.

The env (tests/envs/guided.py) has what CARLA's have: a guide and measures. CARLA's own are tested in
test_carla_pipeline.py.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import test_controller
import traincontroller
import trainmdrnn
import trainvae
from data import generation_script
from data.episodes import EpisodeStore
from envs import specs
from tests.envs.guided import MEASURES
from utils import cli
from utils.errors import UserError
from utils.run_dir import RunDir

ENV = "tests.envs.guided:make_vec"
V = [
    "--preset",
    "tiny",
    "--image-size",
    "16",
    "--encoder-channels",
    "4",
    "4",
    "--decoder-channels",
    "4",
    "4",
    "4",
]
C = ["--preset", "tiny", "--backend", "serial", "--generations", "1"]
SCORE = ["--backend", "serial", "--episodes", "3"]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the guided env, made by the scripts."""
    root = tmp_path_factory.mktemp("guided")
    data, where = ["--env", ENV, "--size", "16"], ["--logs", str(root)]
    generation_script.main(
        [
            *data,
            *where,
            "--rootdir",
            str(root / "data"),
            "--rollouts",
            "20",
            "--policy",
            "lane",
            "--threads",
            "1",
        ]
    )
    dataset = ["--dataset", str(root / "data"), "--env", ENV, "--device", "cpu"]
    trainvae.main([*V, *where, *dataset, "--latent-size", "4"])
    trainmdrnn.main(["--preset", "tiny", *where, *dataset])
    traincontroller.main([*C, *where, "--env", ENV])
    return root


def refuse(main: Callable[[list[str]], None], *argv: str) -> str:
    with pytest.raises(UserError) as caught:
        main(list(argv))
    return str(caught.value)


def test_the_real_envs_name_means_the_real_env(logs: Path):
    stage = RunDir(logs, "controller")
    assert stage.best.exists(), "--env NAME evolves in the real env"
    assert not RunDir(logs, "controller-dream").path.exists()
    assert json.loads((logs / "vae" / "config.json").read_text())["dataset"] == str(logs / "data")


def test_validation_rows_hold_what_the_env_measures(logs: Path):
    rows = [json.loads(line) for line in RunDir(logs, "controller").metrics.read_text().splitlines()]
    for row in rows:
        assert "validation_mean" in row
        assert MEASURES.keys() <= row.keys()
        assert row["env/reward"] == pytest.approx(row["validation_mean"])
    assert list(RunDir(logs, "controller").path.glob("events.*"))


@pytest.mark.parametrize("workers", [["--backend", "serial"], ["--max-workers", "2", "--slots", "2"]])
def test_the_yardstick_drives_the_same_tracks_and_its_score_is_written(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: list[str]
):
    results = {}
    for driver in ("controller", "pursuit"):
        path = tmp_path / f"{driver}.json"
        flags = ["--logs", str(logs), "--episodes", "3", "--env", ENV, "--driver", driver, *workers]
        test_controller.main([*flags, "--json", str(path)])
        results[driver] = json.loads(path.read_text())
        assert results[driver]["driver"] == driver
    said = capsys.readouterr().out
    assert "the pure-pursuit driver, which knows the road" in said
    assert "mean speed 1.00 m/s" in said
    ours, theirs = results["controller"], results["pursuit"]
    assert ours["seeds"] == theirs["seeds"]
    assert theirs["laps_finished"] == 3
    assert theirs["measures"]["episode/mean_speed"] == pytest.approx(1.0)
    assert theirs["each"]["env/progress_m"] == pytest.approx([20.0] * 3)
    assert theirs["measures"].keys() == ours["measures"].keys() == MEASURES.keys()
    assert theirs["in_words"][0] == "mean speed 1.00 m/s"
    assert len(theirs["in_words"]) == 2, "only what is worth saying"


def test_the_yardsticks_drive_can_be_filmed(logs: Path, tmp_path: Path):
    path = tmp_path / "a.mp4"
    test_controller.main(["--logs", str(logs), *SCORE, "--driver", "pursuit", "--record", str(path)])
    assert path.stat().st_size > 1000


def test_a_dream_of_this_env_is_a_place_to_evolve_in(logs: Path):
    traincontroller.main([*C, "--logs", str(logs), "--env", "dream", "--horizon", "5"])
    rows = [json.loads(line) for line in RunDir(logs, "controller-dream").metrics.read_text().splitlines()]
    assert np.isfinite(rows[-1]["env/progress_m"])


def test_another_env_than_that_of_the_data_or_the_models_is_refused(logs: Path):
    where, data = ["--logs", str(logs)], ["--dataset", str(logs / "data")]
    for main in (trainvae.main, trainmdrnn.main):
        said = refuse(main, "--preset", "tiny", *where, *data, "--env", "carla")
        assert f"--env carla asks for CarlaCircuit-v0, but {logs / 'data'} was recorded in {ENV}" in said
        assert "no env 'karla'" in refuse(main, "--preset", "tiny", *where, *data, "--env", "karla")
    for main, flags in ((traincontroller.main, C), (test_controller.main, SCORE)):
        said = refuse(main, *flags, *where, "--env", "carla")
        assert f"--env carla asks for CarlaCircuit-v0, but V and M of {logs} were trained on {ENV}" in said
        assert "no env 'karla'" in refuse(main, *flags, *where, "--env", "karla")
        assert "--carla names CARLA's server" in refuse(main, *flags, *where, "--carla", "localhost:2000")
    said = refuse(traincontroller.main, *C, *where, "--env", "carla", "--fresh")
    assert RunDir(logs, "controller").best.exists(), said


def test_without_a_dataset_the_envs_own_folder_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for main in (trainvae.main, trainmdrnn.main):
        assert "datasets/carla" in refuse(main, "--preset", "tiny", "--env", "carla")
        assert "datasets/carracing" in refuse(main, "--preset", "tiny")
    generation_script.main(["--rollouts", "1", "--seq-len", "3", "--size", "16", "--threads", "1"])
    assert EpisodeStore(Path("datasets/carracing")).env_spec["name"] == "CarRacing-v2"


def test_an_env_without_a_guide_or_a_dream_has_no_yardstick(tmp_path: Path):
    from tests.scripts.tiny_run import make_run

    spec = {"name": "tests.envs.counting:make_vec", "options": {"size": 16}}
    root = make_run(tmp_path, env_spec=spec)
    traincontroller.main(["--logs", str(root), *C])
    said = refuse(test_controller.main, "--logs", str(root), *SCORE, "--driver", "pursuit")
    assert "no guide" in said
    said = refuse(test_controller.main, "--logs", str(root), *SCORE, "--driver", "pursuit", "--env", "dream")
    assert "--driver pursuit" in said


def test_carracings_options_reach_the_dataset(tmp_path: Path):
    flags = [
        "--rollouts",
        "1",
        "--seq-len",
        "2",
        "--size",
        "16",
        "--threads",
        "1",
        "--rootdir",
        str(tmp_path),
    ]
    generation_script.main(
        [*flags, "--crop-hud", "--skip-zoom", "--domain-randomize", "--perturbation", "bars"]
    )
    options = EpisodeStore(tmp_path).env_spec["options"]
    asked = {"crop_hud": True, "skip_zoom": True, "domain_randomize": True, "perturbation": "bars"}
    assert asked.items() <= options.items()
    assert EpisodeStore(tmp_path).episode(0).obs[0, :, 0].max() == 0, "black bars"


def test_help_is_one_page_for_all_envs(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.parse(generation_script.GenerationConfig, ["--help"])
    page = capsys.readouterr().out
    for name in (*specs.CarRacingFlags.__dataclass_fields__, *specs.CarlaFlags.__dataclass_fields__, "carla"):
        assert f"--{name.replace('_', '-')}" in page
