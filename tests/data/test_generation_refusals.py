"""What data/generation_script.py refuses, in one sentence, and leaves as it was."""

import os
import subprocess
from pathlib import Path

import pytest

from data import generation_script
from data.episodes import EpisodeStore
from tests.data.recorded import ENV, record
from tests.data.test_generation import REPOSITORY, SCRIPT
from utils.errors import UserError
from utils.files import LOCK, only_writer


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size", "20"], "was recorded with env"),
        (["--seed", "1"], "was recorded with seed = 0, now it is 1"),
        (["--seq-len", "5"], "was recorded with seq_len"),
    ],
)
def test_a_dataset_of_another_kind_is_refused(tmp_path: Path, flags: list[str], message: str):
    record(tmp_path, 3)
    with pytest.raises(UserError, match=message):
        record(tmp_path, 6, *flags)
    assert EpisodeStore(tmp_path).ids() == [0, 1, 2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rollouts", "0"], "--rollouts must be positive; got 0"),
        (["--rollouts", "-5"], "--rollouts must be positive"),
        (["--threads", "0"], "--threads must be positive"),
        (["--seq-len", "0"], "--seq-len must be positive"),
        (["--seed", "-1"], "--seed must not be negative"),
        (["--env", "NoSuchEnv-v0"], "there is no env"),
        (["--env", "no.such:thing"], "there is no env at"),
        (["--env", ":make"], "there is no env at :make"),
        (["--env", ".envs:make"], "there is no env at .envs:make"),
        (["--env", "math:sqrt"], "math:sqrt must take the number of envs and size"),
        (["--env", "tests.envs.odd:single"], "odd:single must return an envs.vector.SlotEnv, not a Env"),
        (
            ["--env", "tests.envs.odd:floats"],
            r"odd:floats emits no frames, uint8 .*, but float32 \(16, 16, 3\)",
        ),
        (["--env", "tests.envs.odd:unbounded"], "odd:unbounded takes no bounded vector of actions"),
        (["--env", "tests.envs.odd:squares"], "odd:squares takes no bounded vector of actions"),
        (["--policy", "controller", "--logs", "nowhere"], "there is no trained V at nowhere"),
        (["--policy", "lane"], "this env has no guide"),
        (["--obs", "birdview"], "--obs is a flag for carla, but --env is tests.envs.counting:make_vec"),
        (["--carla", "localhost:2000"], "--carla names CARLA's server, but the env is tests.envs.counting"),
        (["--env", "carla", "--carla", "localhost"], "a CARLA server's address is HOST:PORT"),
        (["--env", "carla", "--skip-zoom"], "--skip-zoom is a flag for carracing"),
    ],
)
def test_mistakes_get_one_sentence_and_write_nothing(tmp_path: Path, flags: list[str], message: str):
    argv = ["--rollouts", "5", "--rootdir", str(tmp_path / "d"), *ENV, *flags]
    with pytest.raises(UserError, match=message):
        generation_script.main(argv)
    assert not list(tmp_path.rglob("*.h5"))
    assert not (tmp_path / "d" / "index.json").exists()


def test_two_commands_on_one_folder_do_not_mix(tmp_path: Path):
    with (
        only_writer(tmp_path / LOCK, "held"),
        pytest.raises(UserError, match="another generation command is filling"),
    ):
        record(tmp_path, 5)


def _fails(command: list[str], limit: str = "") -> str:
    shell = ["bash", "-c", f'{limit} exec "$@"', "bash", *command]
    done = subprocess.run(shell, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_full_disk_leaves_no_broken_shard(tmp_path: Path):
    command = [*SCRIPT, "--rollouts", "20", "--rootdir", str(tmp_path), "--threads", "1"]
    assert "cannot be written" in _fails(command, "ulimit -f 8; trap '' XFSZ;")
    assert not list((tmp_path / "shards").glob("*"))
    assert record(tmp_path, 20).ids() == list(range(20))


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "d").write_text("mine")
    assert "a file stands where a folder is needed" in _fails([*SCRIPT, "--rootdir", str(tmp_path / "d")])
    assert (tmp_path / "d").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    tmp_path.chmod(0o500)
    assert "permission denied" in _fails([*SCRIPT, "--rootdir", str(tmp_path / "d")])


def test_a_dataset_in_which_nothing_was_recorded_yet_contradicts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    argv = ["--rollouts", "5", "--rootdir", str(tmp_path), *ENV, "--threads", "1"]

    def stop(*_: object):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generation_script, "open_backend", stop)
        with pytest.raises(KeyboardInterrupt):
            generation_script.main(argv)
    generation_script.main([*argv, "--size", "8"])
    assert EpisodeStore(tmp_path).obs_shape == (8, 8, 3)
