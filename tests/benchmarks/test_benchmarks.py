"""Every benchmark runs, at a small size, and prints what `--json` promises."""

import importlib
import json

import pytest

from utils import cli

SMALL = {
    "carla_lite": ["--ticks", "20"],
    "carracing": ["--steps", "5"],
    "closed_loop": ["--slots", "2", "--steps", "3", "--peer-steps", "2"],
    "data": ["--steps", "20"],
    "dream": ["--dreams", "8", "--steps", "4"],
    "vision": ["--frames", "16"],
}


@pytest.mark.parametrize("name", SMALL)
def test_it_measures_itself_and_its_peer(name: str, capsys: pytest.CaptureFixture[str]):
    if name == "carla_lite":
        pytest.importorskip("carla")
    main = importlib.import_module(f"benchmarks.{name}").main
    main([*SMALL[name], "--runs", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ratio"] == pytest.approx(found["ours_per_s"] / found["peer_per_s"], rel=0.1)
    assert all(row["ours_per_s"] > 0 and row["peer_per_s"] > 0 for row in found["rows"])
    with pytest.raises(SystemExit, match="2"):
        cli.run(lambda: main(["--runs", "0"]))
    assert "--runs must be positive; got 0." in capsys.readouterr().err


def test_a_generation_like_the_papers_is_timed_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    dream = importlib.import_module("benchmarks.dream")
    monkeypatch.setattr(dream, "CANDIDATES", 4)
    monkeypatch.setattr(dream, "SEEDS", 1)
    dream.main([*SMALL["dream"], "--runs", "1", "--json", "--paper"])
    assert json.loads(capsys.readouterr().out)["paper_generation_s"] > 0
