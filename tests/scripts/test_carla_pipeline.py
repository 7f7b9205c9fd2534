"""The pipeline on CARLA's env, with the real client and the lite server."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import run_pipeline
from data import generation_script
from data.episodes import EpisodeStore
from tests.data.recorded import digest
from tests.envs.carla.lite.server_process import LiteServer
from tests.scripts.evolving import params, rows, run
from tests.scripts.tiny_run import make_run
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


def pgrep(*flags: str) -> list[int]:
    return [int(line) for line in subprocess.run(["pgrep", *flags], capture_output=True).stdout.split()]


def servers_of(run: int) -> dict[int, list[int]]:
    """Worker -> process groups of its servers."""
    workers = pgrep("-P", str(run))
    return {worker: pgrep("-P", str(worker), "-f", "envs.carla.lite") for worker in workers}


@pytest.mark.parametrize("blow", ["a worker dies", "Ctrl-C"])
def test_an_evolution_survives_deaths_and_leaves_no_server(tmp_path: Path, blow: str):
    options = {"size": 16, "max_steps": 60, "action_repeat": 2}
    logs = make_run(tmp_path, env_spec={"name": "CarlaCircuit-v0", "options": options})
    generations = "100000" if blow == "Ctrl-C" else "2"
    flags = ["--env", "carla", "--carla", "lite", "--logs", str(logs), "--preset", "tiny", "--slots", "2"]
    command = [sys.executable, str(ROOT / "traincontroller.py"), *flags, "--generations", generations]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    groups: set[int] = set()
    is_struck = False
    while run.poll() is None:
        busy = {worker: servers for worker, servers in servers_of(run.pid).items() if servers}
        groups |= {group for servers in busy.values() for group in servers}
        if not is_struck and len(groups) >= 3:  # both workers have theirs
            is_struck = True
            os.kill(run.pid, signal.SIGINT) if blow == "Ctrl-C" else os.kill(next(iter(busy)), signal.SIGKILL)
        time.sleep(0.02)
    said = run.communicate(timeout=60)[1].decode()
    assert is_struck, said
    assert run.returncode == (130 if blow == "Ctrl-C" else 0), said
    assert "Traceback" not in said
    end = time.monotonic() + 20
    while any(pgrep("-g", str(group)) for group in groups):
        assert time.monotonic() < end, "a server outlived its worker"
        time.sleep(0.1)


def test_dreams_take_every_worker_where_real_laps_take_one_for_each_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = {"size": 16, "max_steps": 60, "action_repeat": 2}
    logs = make_run(tmp_path, env_spec={"name": "CarlaCircuit-v0", "options": options})
    found = []
    for backend in (["serial"], ["process", "--max-workers", "3"]):
        with LiteServer() as server:
            flags = ["--carla", f"127.0.0.1:{server.port}", "--slots", "1", "--fresh"]
            run(logs, "--preset", "tiny", "--env", "dream", *flags, "--backend", *backend)
        found.append((rows(logs, "controller-dream"), params(logs, stage="controller-dream")))
        said = capsys.readouterr().out
    assert "on 3 workers" in said
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][1], found[1][1])


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
