import json
from pathlib import Path

import numpy as np
import pytest

from utils.html import Page
from utils.logger import Logger
from utils.report import TITLES, score_line, verdict, write_report
from utils.run_dir import RunDir

RESULT = {
    "mean": 801.26,
    "std": 99.5,
    "median": 850.0,
    "min": 12.0,
    "max": 930.0,
    "episodes": 100,
    "laps_finished": 71,
}


def test_the_report_shows_what_is_there_and_nothing_else(tmp_path: Path):
    run = RunDir(tmp_path, "vae").prepare()
    with Logger(run) as logger:
        for step in (10, 20):
            logger.log(step, {"train/elbo": -100.0 / step, "validation/kl_group_0": 3.0, "note": "x"})
        logger.image(20, "reconstructions", np.zeros((8, 8, 3), np.uint8))
        logger.image(20, "kl_per_group", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "test-real.json").write_text(json.dumps(RESULT))
    page = write_report(tmp_path).read_text()
    assert "801.3 +- 99.5 over 100 held-out tracks" in page
    assert "71 / 100" in page
    assert page.count("data:image/png") == 3, (
        "two plots and one picture; what the page plots itself is not repeated"
    )
    assert "M: the MDN-RNN" not in page
    (tmp_path / "mdrnn").mkdir()
    (tmp_path / "mdrnn" / "quality.json").write_text(json.dumps({"nll": 1.0, "in_words": "NLL 1.000"}))
    assert "On held-out data: NLL 1.000." in write_report(tmp_path).read_text()
    assert "plain VAE" not in page
    assert "http" not in page, "nothing is fetched"


def test_the_yardstick_stands_beside_the_nvae(tmp_path: Path):
    for stage, mse in (("vae", 0.001), ("vae-plain", 0.002)):
        RunDir(tmp_path, stage).prepare()
        (tmp_path / stage / "quality.json").write_text(json.dumps({"arch": stage, "mse_road": mse}))
    page = write_report(tmp_path).read_text()
    assert "<td>mse road</td><td>0.001</td><td>0.002</td>" in page


def test_it_says_who_wins_what():
    nvae = {"mse": 1.0, "mse_road": 3.0, "elbo": -5.0, "frames_per_s": 9.0, "mse_hud": 0.0}
    plain = {"mse": 2.0, "mse_road": 2.0, "elbo": -6.0, "frames_per_s": 10.0, "mse_hud": 1.0}
    assert verdict({"NVAE": nvae, "plain VAE": plain}) == (
        "the NVAE wins on the frame's error, ELBO; the plain VAE wins on the road's."
    )
    assert "the plain VAE wins on nothing" in verdict({"NVAE": {"mse": 1.0}, "plain VAE": {"mse": 2.0}})


def test_what_an_env_measures_stands_below_the_scores(tmp_path: Path):
    (tmp_path / "test-pursuit.json").write_text(
        json.dumps(RESULT | {"in_words": ["mean speed 9 m/s", "0 crashes"]})
    )
    page = write_report(tmp_path).read_text()
    assert "pure pursuit, which knows the road: mean speed 9 m/s; 0 crashes." in page


def test_the_scores_stand_in_the_order_of_the_stages(tmp_path: Path):
    for name in ("awake", "dream", "own", "real"):
        (tmp_path / f"test-{name}.json").write_text(json.dumps(RESULT))
    page = write_report(tmp_path).read_text()
    places = [page.index(f"<td>{TITLES.get(name, name)}") for name in ("dream", "real", "awake", "own")]
    assert places == sorted(places)


def test_a_video_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("utils.report.MAX_VIDEO_BYTES", 10)
    (tmp_path / "drive.mp4").write_bytes(bytes(11))
    assert "drive.mp4 is too large for this page" in write_report(tmp_path).read_text()


def test_what_a_page_is_given_is_escaped(tmp_path: Path):
    page = Page("<script>")
    page.table(["a"], [["<b>"]])
    page.details("x", "a < b & c")
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<script>" not in text
    assert "<b>" not in text
    assert "a &lt; b &amp; c" in text


def test_a_score_is_said_with_n_and_spread():
    assert score_line(RESULT).startswith("801.3 +- 99.5 over 100 held-out tracks (median 850.0")
