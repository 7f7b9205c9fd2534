import json

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from utils.errors import UserError
from utils.files import TEMP_MARK
from utils.logger import Logger, read_metrics
from utils.run_dir import RunDir


def test_rows_reach_jsonl_and_tensorboard(tmp_path):
    run = RunDir(tmp_path, "vae").prepare()
    with Logger(run) as logger:
        logger.log(1, {"loss": 0.5, "note": "x"})
        logger.log(2, {"loss": 0.25})
        logger.image(2, "grid", np.full((4, 6, 3), (255, 0, 0), np.uint8))
    assert [(row["step"], row["loss"]) for row in read_metrics(run.metrics)] == [(1, 0.5), (2, 0.25)]
    board = EventAccumulator(str(run.path)).Reload()
    assert [event.value for event in board.Scalars("loss")] == [0.5, 0.25]
    png = cv2.imread(str(run.pictures / "grid.png"))
    assert png is not None
    assert png[0, 0].tolist() == [0, 0, 255]


def test_what_is_not_finite_is_null(tmp_path):
    run = RunDir(tmp_path, "vae").prepare()
    with Logger(run) as logger:
        logger.log(1, {"loss": float("nan"), "norm": float("inf"), "score": -1.5})
    row = json.loads(run.metrics.read_text(), parse_constant=pytest.fail)
    assert (row["loss"], row["norm"], row["score"]) == (None, None, -1.5)


def test_a_restart_drops_later_and_broken_rows(tmp_path):
    run = RunDir(tmp_path, "vae").prepare()
    with Logger(run) as logger:
        for step in (1, 2, 3):
            logger.log(step, {"loss": float(step)})
    with run.metrics.open("a") as file:
        file.write('{"step": 4, "lo')
    with Logger(run, resume_step=2) as logger:
        logger.log(3, {"loss": 30.0})
    assert [row["loss"] for row in read_metrics(run.metrics)] == [1.0, 2.0, 30.0]
    with Logger(run) as logger:
        assert read_metrics(run.metrics) == []


def test_a_run_that_goes_on_with_other_settings_says_so(tmp_path, capsys):
    run = RunDir(tmp_path, "vae").prepare()
    run.write_config({"fit": {"batch_size": 64}, "fresh": False})
    run.write_config({"fit": {"batch_size": 32}, "fresh": False})
    assert capsys.readouterr().out == "", "nothing was trained yet"
    run.state.touch()
    run.write_config({"fit": {"batch_size": 16}, "fresh": True})
    assert "other settings than before: --batch-size 16 (was 32).\n" in capsys.readouterr().out


def test_fresh_removes_the_old_run(tmp_path):
    run = RunDir(tmp_path, "vae").prepare()
    run.best.write_bytes(b"x")
    assert run.prepare().best.exists()
    assert not run.prepare(fresh=True).best.exists()


def test_a_fresh_start_that_is_stopped_leaves_nothing_to_go_on_from(tmp_path, monkeypatch):
    run = RunDir(tmp_path, "vae").prepare()
    run.state.touch()

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("utils.run_dir.remove", stop)
    with pytest.raises(KeyboardInterrupt):
        run.prepare(fresh=True)
    assert not run.state.exists()


def test_what_a_killed_run_left_half_written_is_swept(tmp_path):
    run = RunDir(tmp_path, "vae").prepare()
    left = [folder / f"a.json{TEMP_MARK}{2**30}" for folder in (run.path, run.checkpoints, run.pictures)]
    for path in left:
        path.touch()
    run.prepare()
    assert not any(path.exists() for path in left)


def test_fresh_empties_a_folder_that_is_a_link(tmp_path):
    (tmp_path / "big disk").mkdir()
    (tmp_path / "vae").symlink_to(tmp_path / "big disk")
    run = RunDir(tmp_path, "vae").prepare()
    run.best.write_bytes(b"x")
    assert not run.prepare(fresh=True).best.exists()
    assert run.path.is_symlink()


def test_a_stage_has_one_command_at_a_time(tmp_path):
    run = RunDir(tmp_path, "vae").prepare()
    with run.lock():
        with pytest.raises(
            UserError, match=r"another command is at work in .*vae; wait for it to end, or stop it"
        ):
            run.lock().__enter__()
        with RunDir(tmp_path, "mdrnn").lock():
            pass
    with run.lock():
        pass
