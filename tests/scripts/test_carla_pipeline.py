"""The pipeline on CARLA's env, with the real client and the lite server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_pipeline
from data import generation_script
from data.episodes import EpisodeStore
from tests.data.recorded import digest
from utils.errors import UserError

pytest.importorskip("carla")

ROOT = Path(run_pipeline.__file__).parent
FEW = ["--env", "carla", "--seq-len", "4", "--size", "32", "--threads", "1"]


def record(rootdir: Path, rollouts: int, *flags: str) -> EpisodeStore:
    generation_script.main([*FEW, "--rollouts", str(rollouts), "--rootdir", str(rootdir), *flags])
    return EpisodeStore(rootdir)


def test_lane_followers_are_recorded_and_no_dataset_knows_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CARLA_ROOT", raising=False)
    store = record(tmp_path / "a", 5, "--policy", "lane", "--carla", "lite", "--noise", "0")
    assert store.env_spec["name"] == "CarlaCircuit-v0"
    assert "carla" not in store.env_spec["options"]
    assert {store.infos[i].policy for i in store.ids()} == {"lane"}
    episodes = list(store.episodes(store.ids()))
    assert len({episode.obs[0].tobytes() for episode in episodes}) == 5, "every seed is another road"
    for episode in episodes:
        assert episode.actions[:, 1].min() > 0.5, "the guide pulls away"
        assert episode.rewards[-1] > episode.rewards[0], "new metres pay"
        assert not np.array_equal(episode.obs[0], episode.obs[-1])
    again = record(tmp_path / "b", 5, "--policy", "lane", "--noise", "0")
    assert digest(again) == digest(store)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--carla", "localhost:1"], "no CARLA server answers at localhost:1"),
        (["--weather", "Snow"], "Snow"),
        (["--map", "Atlantis"], "Atlantis"),
        (["--map", "gone.xodr"], "gone.xodr"),
        (["--traffic", "-1"], "traffic must not be negative"),
        (["--size", "20"], "frame size must be a multiple of 8"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_written(tmp_path: Path, flags: list[str], words: str):
    with pytest.raises(UserError) as caught:
        record(tmp_path / "d", 2, *flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_the_whole_pipeline_on_the_lite_server(tmp_path: Path):
    logs = tmp_path / "run"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "--preset", "carla-tiny", "--logs", str(logs)]
    environment = {name: value for name, value in os.environ.items() if name != "CARLA_ROOT"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=900,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    scores = {
        name: json.loads((logs / f"test-{name}.json").read_text()) for name in ("dream", "real", "pursuit")
    }
    for score in scores.values():
        assert score["env"]["name"] == "CarlaCircuit-v0"
        assert np.isfinite(list(score["measures"].values())).all()
        assert score["seeds"] == scores["real"]["seeds"]
    assert scores["pursuit"]["laps_finished"] == 2
    assert scores["pursuit"]["measures"]["episode/mean_speed"] > 5
    policies = {info.policy for info in EpisodeStore(logs / "dataset").infos.values()}
    assert {"lane", "brown", "controller"} <= policies
    rows = [json.loads(line) for line in (logs / "controller" / "metrics.jsonl").read_text().splitlines()]
    assert "env/lat_err_raw" in rows[-1]
    assert "pure pursuit" in (logs / "report.html").read_text()
    assert (logs / "drive.mp4").stat().st_size > 1000
    servers = subprocess.run(["pgrep", "-fa", "envs.carla.lite"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in servers
