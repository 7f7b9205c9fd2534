import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import envs
from data import generation_script, shards, trained
from data.collect import CollectorMaker, plan, track_seed
from data.episodes import EpisodeStore, Index
from data.policies import NoiseConfig
from data.shards import DatasetHeader
from models.controller import LinearController
from tests.data.recorded import ENV, digest, record
from tests.envs.counting import length_of, time_of
from tests.envs.tiny import HIGH, LOW, tiny_world_model
from tests.scripts.tiny_run import make_run
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, "data/generation_script.py", *ENV]


def test_frames_actions_rewards_and_ends_belong_together(tmp_path: Path):
    for episode in (store := record(tmp_path, 30)).episodes(store.ids()):
        t = episode.length
        assert t == length_of(episode.seed)
        assert time_of(episode.obs).tolist() == list(range(t + 1))
        assert (episode.obs[:, 0, 0, 2] == episode.seed % 251).all()
        np.testing.assert_allclose(episode.rewards, np.arange(t) + episode.actions[:, 0] / 4, rtol=1e-6)
        even = episode.seed % 2 == 0
        assert (bool(episode.terminated[-1]), bool(episode.truncated[-1])) == (even, not even)
        assert episode.seed == track_seed(0, episode.id)
    assert len({e.seed for e in store.episodes(store.ids())}) == 30


def test_a_recording_cut_short_is_truncated_not_terminated(tmp_path: Path):
    store = record(tmp_path, 20, "--seq-len", "8")
    for episode in store.episodes(store.ids()):
        whole = length_of(episode.seed)
        assert episode.length == min(8, whole)
        terminated = whole <= 8 and episode.seed % 2 == 0
        assert bool(episode.terminated[-1]) == terminated
        assert bool(episode.truncated[-1]) == (not terminated)


def test_extending_gives_what_one_go_gives(tmp_path: Path):
    whole = digest(record(tmp_path / "one", 27, "--policy", "mixed"))
    store = record(tmp_path / "two", 4, "--policy", "mixed")
    first = (tmp_path / "two" / "shards" / "episodes-000000-000003.h5").stat()
    splits = {i: store.split(i) for i in store.ids()}
    store = record(tmp_path / "two", 13, "--policy", "mixed")
    store = record(tmp_path / "two", 27, "--policy", "mixed")
    assert digest(store) == whole
    assert (tmp_path / "two" / "shards" / "episodes-000000-000003.h5").stat().st_mtime_ns == first.st_mtime_ns
    assert {i: store.split(i) for i in splits} == splits
    assert record(tmp_path / "two", 5, "--policy", "mixed").ids() == list(range(27))


def test_another_policy_continues_the_ids(tmp_path: Path):
    record(tmp_path, 10, "--policy", "white")
    store = record(tmp_path, 20, "--policy", "brown")
    assert [store.infos[i].policy for i in store.ids()] == ["white"] * 10 + ["brown"] * 10


def test_worker_processes_write_the_same_bytes_and_the_script_runs_as_one(tmp_path: Path):
    command = [*SCRIPT, "--rollouts", "25", "--rootdir", str(tmp_path / "two"), "--threads", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "holds 25 rollouts" in done.stdout
    assert "frames/s" in done.stderr
    one, two = record(tmp_path / "one", 25), EpisodeStore(tmp_path / "two")
    assert digest(two) == digest(one)
    assert two.fingerprint() == one.fingerprint()


def test_the_fingerprint_is_of_the_frames_and_not_of_their_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = record(tmp_path / "one", 10)
    monkeypatch.setattr(shards, "GZIP", 0)
    two = record(tmp_path / "two", 10)
    name = "shards/episodes-000000-000009.h5"
    assert (tmp_path / "two" / name).read_bytes() != (tmp_path / "one" / name).read_bytes()
    assert two.fingerprint() == one.fingerprint()


def test_killed_at_any_moment_the_same_command_goes_on(tmp_path: Path):
    command = [*SCRIPT, "--rollouts", "3000", "--rootdir", str(tmp_path), "--threads", "1"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("shards/*.h5"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = tmp_path / "shards" / f"episodes-999990-999999.h5.partial-{process.pid}"
    left.write_bytes(b"half")
    kept = EpisodeStore(tmp_path)
    before = digest(kept)
    assert 30 <= len(before) < 3000
    target = len(before) + 10
    store = record(tmp_path, target)
    after = digest(store)
    assert list(after) == list(range(target))
    assert {i: after[i] for i in before} == before
    assert not left.exists()


def test_a_dataset_of_a_dream_names_its_run_wherever_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    flags = ["--rollouts", "2", "--threads", "1", "--seq-len", "3", "--size", "16"]
    generation_script.main(["--env", "dream", "--logs", "run", "--rootdir", "d", *flags])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    spec = EpisodeStore(tmp_path / "d").env_spec
    assert envs.make_from(spec, 1).single_observation_space.shape == (16, 16, 3)


def test_a_deleted_shard_is_made_again(tmp_path: Path):
    whole = digest(record(tmp_path, 20))
    (tmp_path / "shards" / "episodes-000000-000009.h5").unlink()
    assert digest(record(tmp_path, 20)) == whole


def test_a_broken_shard_is_named_and_nothing_is_written_over(tmp_path: Path):
    record(tmp_path, 10)
    shard = tmp_path / "shards" / "episodes-000000-000009.h5"
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(
        UserError, match=r"000009\.h5 is damaged.*delete it and run the generation command again"
    ):
        record(tmp_path, 20)
    stranger = tmp_path / "b" / "shards" / "episodes-000000-000009.h5"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"000009\.h5 is damaged, truncated or no shard"):
        record(tmp_path / "b", 20)
    assert stranger.read_bytes() == b"mine"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with an untrained V, M and C."""
    root = tmp_path_factory.mktemp("logs")
    files, world_model = trained.run_files(root), tiny_world_model()
    save_checkpoint(files.vision, world_model.v.to_checkpoint({"env": {"name": "any", "options": {}}}))
    save_checkpoint(files.memory, world_model.m.to_checkpoint({"env": {"name": "any", "options": {}}}))
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    params = np.random.default_rng(0).standard_normal(controller.num_params).astype(np.float32)
    trained.save_controller(files.controller, controller, params, {})
    return root


def test_a_controller_acts_on_the_features_of_the_frames_recorded_with_its_actions(
    tmp_path: Path, logs: Path
):
    flags = ["--policy", "controller", "--logs", str(logs), "--size", "64", "--noise", "0"]
    store = record(tmp_path, 12, *flags)
    world_model = trained.load_world_model(trained.run_files(logs)).world_model
    driver = trained.load_controller(trained.run_files(logs).controller, world_model.feature_sizes)
    for episode in store.episodes(store.ids()):
        assert episode.policy == "controller"
        assert time_of(episode.obs).tolist() == list(range(episode.length + 1))
        z, carry = world_model.encode(episode.obs), world_model.initial(1)
        for t, recorded in enumerate(torch.from_numpy(episode.actions)):
            features = world_model.features(z[t : t + 1], carry)
            action = driver.controller.act(torch.from_numpy(driver.params), features)[0]
            torch.testing.assert_close(recorded, action, atol=1e-4, rtol=1e-4)
            carry = world_model.advance(z[t : t + 1], recorded[None], carry)


def test_a_controller_in_another_env_than_its_own_is_said_to_be(
    tmp_path: Path, logs: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["--policy", "controller", "--size", "64", "--logs"]
    store = record(tmp_path / "a", 3, *flags, str(logs))
    assert (
        "note: the controller learnt in {'name': 'any', 'options': {}}, but drives in"
        in capsys.readouterr().out
    )
    own = trained.run_files(shutil.copytree(logs, tmp_path / "own"))
    for path in (own.vision, own.memory):
        model = load_checkpoint(path)
        save_checkpoint(path, model._replace(info={"env": store.env_spec}))
    record(tmp_path / "b", 3, *flags, str(tmp_path / "own"))
    assert "note:" not in capsys.readouterr().out


def test_controllers_and_walks_share_a_mixed_slice(tmp_path: Path, logs: Path):
    flags = ["--policy", "mixed", "--logs", str(logs), "--size", "64", "--param-noise", "0.1"]
    store = record(tmp_path / "a", 10, *flags)
    names = [store.infos[i].policy for i in store.ids()]
    assert sorted(names) == ["brown"] * 3 + ["controller"] * 6 + ["white"]
    assert digest(record(tmp_path / "b", 10, *flags)) == digest(store)
    walks = record(tmp_path / "c", 10, "--policy", "brown", "--size", "64")
    brown = names.index("brown")
    assert digest(walks)[brown] == digest(store)[brown]


def test_a_rollout_that_is_not_paid_is_given_up(tmp_path: Path):
    flags = ["--env", "CarRacing-v2", "--rollouts", "10", "--policy", "brown", "--seq-len", "60"]
    flags += ["--action-repeat", "3", "--threads", "1"]
    generation_script.main([*flags, "--rootdir", str(tmp_path / "whole")])
    generation_script.main([*flags, "--rootdir", str(tmp_path / "patient"), "--patience", "7"])
    whole, patient = EpisodeStore(tmp_path / "whole"), EpisodeStore(tmp_path / "patient")
    lengths = []
    for a, b in zip(whole.episodes(whole.ids()), patient.episodes(patient.ids()), strict=True):
        steps = np.arange(60)
        waited = steps - np.maximum.accumulate(np.where(a.rewards > 0, steps, -1))
        hopeless = np.flatnonzero(waited >= 7)
        length = int(hopeless[0]) + 1 if len(hopeless) else 60
        assert b.length == length
        assert np.array_equal(b.obs, a.obs[: length + 1])
        assert np.array_equal(b.rewards, a.rewards[:length])
        assert b.truncated.tolist() == [False] * (length - 1) + [True]
        lengths.append(length)
    assert min(lengths) < 60
    assert len(set(lengths)) > 2


def test_without_a_controller_evolved_for_real_the_dreams_one_drives(tmp_path: Path, logs: Path):
    dreamer = shutil.copytree(logs, tmp_path / "dreamer")
    (dreamer / "controller").rename(dreamer / "controller-dream")
    flags = ["--policy", "mixed", "--size", "64"]
    assert digest(record(tmp_path / "a", 10, *flags, "--logs", str(dreamer))) == digest(
        record(tmp_path / "b", 10, *flags, "--logs", str(logs))
    )


def test_carracing_is_recorded_as_it_plays(tmp_path: Path):
    argv = [
        "--rollouts",
        "3",
        "--seq-len",
        "12",
        "--rootdir",
        str(tmp_path),
        "--threads",
        "1",
        "--size",
        "32",
    ]
    generation_script.main(argv)
    store = EpisodeStore(tmp_path)
    episode = store.episode(1)
    env = envs.make(store.env_spec["name"], 1, **store.env_spec["options"])
    obs, _ = env.reset(seed=[episode.seed])
    np.testing.assert_array_equal(episode.obs[0], obs[0])
    for t, action in enumerate(episode.actions):
        obs, reward, *_ = env.step(action[None])
        np.testing.assert_array_equal(episode.obs[t + 1], obs[0])
        assert episode.rewards[t] == np.float32(reward[0])
    assert episode.length == 12
    assert episode.truncated[-1]


GUIDED = ["--env", "tests.envs.guided:make_vec"]


def test_the_lane_follower_gets_further_than_a_walk_and_is_named_in_the_dataset(tmp_path: Path):
    store = record(tmp_path / "lane", 12, *GUIDED, "--policy", "lane")
    assert {info.policy for info in store.infos.values()} == {"lane"}
    walk = record(tmp_path / "walk", 12, *GUIDED)
    laps, walked = (np.mean([e.rewards.sum() for e in s.episodes(s.ids())]) for s in (store, walk))
    assert laps > 2 * walked
    two = [*SCRIPT, "--rollouts", "12", "--rootdir", str(tmp_path / "two"), "--threads", "2"]
    subprocess.run([*two, *GUIDED, "--policy", "lane"], cwd=REPOSITORY, check=True, capture_output=True)
    assert digest(EpisodeStore(tmp_path / "two")) == digest(store)


def test_the_dreamer_is_the_last_driver_of_the_dream_not_its_best(tmp_path: Path, logs: Path):
    flags = ["--policy", "dreamer", "--size", "64", "--noise", "0"]
    with pytest.raises(UserError, match=r"there is no trained controller at .*controller-dream.*latest"):
        record(tmp_path / "none", 10, *flags, "--logs", str(logs))
    dreamer = shutil.copytree(logs, tmp_path / "run")
    files = trained.run_files(dreamer, "controller-dream", "latest")
    files.controller.parent.mkdir(parents=True)
    shutil.copy(trained.run_files(dreamer).controller, files.controller)
    ours = record(tmp_path / "a", 10, *flags, "--logs", str(dreamer))
    theirs = record(tmp_path / "b", 10, *flags[2:], "--policy", "controller", "--logs", str(logs))
    assert {info.policy for info in ours.infos.values()} == {"dreamer"}
    for one, other in zip(ours.episodes(ours.ids()), theirs.episodes(theirs.ids()), strict=True):
        assert np.array_equal(one.actions, other.actions)


def test_mixed_data_of_an_env_with_a_guide_have_lane_followers(tmp_path: Path, logs: Path):
    store = record(tmp_path / "a", 10, *GUIDED, "--policy", "mixed", "--logs", str(tmp_path))
    names = sorted(info.policy for info in store.infos.values())
    assert names == ["brown"] * 2 + ["lane"] * 7 + ["white"]
    flags = [*GUIDED, "--policy", "mixed", "--logs", str(logs), "--size", "64"]
    store = record(tmp_path / "b", 10, *flags)
    names = sorted(info.policy for info in store.infos.values())
    assert names == ["brown"] + ["controller"] * 5 + ["lane"] * 4


def test_fewer_slots_than_episodes_in_a_shard_change_nothing(tmp_path: Path):
    header = DatasetHeader({"name": ENV[1], "options": {"size": 16}}, (16, 16, 3), 3, 0, 1000)
    (task,) = plan(Index(header), 10, "mixed", has_controller=False)
    for slots in (10, 4):
        maker = CollectorMaker(
            tmp_path / str(slots), header, tmp_path, NoiseConfig(), "cpu", header.env, slots
        )
        info = maker()(task)
        Index(header).with_shard(info).save(tmp_path / str(slots))
    assert digest(EpisodeStore(tmp_path / "4")) == digest(EpisodeStore(tmp_path / "10"))


def test_mixed_shares_are_as_documented():
    index = Index(DatasetHeader({"name": "e", "options": {}}, (8, 8, 3), 3, 0, 50))
    for has_controller, shares in ((False, (0, 8, 2)), (True, (6, 3, 1))):
        drivers = [p for task in plan(index, 100, "mixed", has_controller) for p in task.policies]
        counts = tuple(drivers.count(name) / 10 for name in ("controller", "brown", "white"))
        assert counts == shares
