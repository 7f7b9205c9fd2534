import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.episode import Episode
from data.episodes import EpisodeStore, load_index, split_of
from data.shards import DatasetHeader, ShardWriter
from tests.data.recorded import digest, record
from utils.errors import UserError


def _episode(t: int = 3) -> Episode:
    ends = np.zeros(t, np.bool_)
    obs, actions = np.zeros((t + 1, 4, 4, 3), np.uint8), np.zeros((t, 2), np.float32)
    return Episode(obs, actions, np.ones(t, np.float32), ends, ends.copy(), 7, "brown", 0).validate()


def _shard(path: Path) -> Path:
    return next(iter(sorted((path / "shards").glob("*.h5"))))


def test_an_episode_that_does_not_fit_together_is_refused():
    good = _episode()
    assert (good.length, good.return_) == (3, 3.0)
    early = np.array([True, False, False])
    broken = [
        replace(good, obs=good.obs[1:]),
        replace(good, obs=good.obs.astype(np.float32)),
        replace(good, rewards=good.rewards[1:]),
        replace(good, rewards=good.rewards * np.float32(np.nan)),
        replace(good, terminated=early),
        replace(good, truncated=early),
        replace(good, actions=good.actions.astype(np.float64)),
    ]
    for episode in broken:
        with pytest.raises(ValueError, match="not an episode"):
            episode.validate()


def test_every_ten_ids_hold_eight_one_one_and_the_split_depends_on_the_seed():
    for seed in (0, 1):
        for block in range(5):
            names = [split_of(seed, 10 * block + i) for i in range(10)]
            assert sorted(names) == ["test"] + ["train"] * 8 + ["validation"]
    assert [split_of(0, i) for i in range(50)] != [split_of(1, i) for i in range(50)]


@pytest.mark.parametrize("t", [1, 15, 16, 17, 31, 32, 47])
def test_what_is_written_is_read_whatever_the_length(tmp_path: Path, t: int):
    rng = np.random.default_rng(t)
    obs = rng.integers(0, 256, (t + 1, 8, 8, 3), np.uint8)
    actions, rewards = (rng.standard_normal(s).astype(np.float32) for s in ((t, 2), (t,)))
    writer = ShardWriter(DatasetHeader({"name": "e", "options": {}}, (8, 8, 3), 2, 0, 50))
    for frame in obs:
        writer.add(4, frame)
    writer.close_episode(4, actions, rewards, True, False, 11, "white")
    writer.save(tmp_path / "shards" / "episodes-000004-000004.h5")
    episode = EpisodeStore(tmp_path).episode(4)
    np.testing.assert_array_equal(episode.obs, obs)
    np.testing.assert_array_equal(episode.actions, actions)
    np.testing.assert_array_equal(episode.rewards, rewards)
    assert episode.terminated.tolist() == [False] * (t - 1) + [True]
    assert not episode.truncated.any()
    assert (episode.seed, episode.policy, episode.id) == (11, "white", 4)


def test_the_store_knows_its_episodes_and_pickles(tmp_path: Path):
    store = record(tmp_path, 20)
    assert store.ids() == list(range(20))
    splits = [store.ids("train"), store.ids("validation"), store.ids("test")]
    assert sorted(i for ids in splits for i in ids) == store.ids()
    assert [len(ids) for ids in splits] == [16, 2, 2]
    assert store.obs_shape == (16, 16, 3)
    assert store.action_size == 3
    assert store.env_spec == {"name": "tests.envs.counting:make_vec", "options": {"size": 16}}
    before = store.episode(3)
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.episode(3).obs, before.obs)
    assert copy.fingerprint() == store.fingerprint()
    assert store.lengths[3] == before.length


def test_too_few_rollouts_say_how_to_make_more(tmp_path: Path):
    store = record(tmp_path, 10)
    with pytest.raises(UserError, match=r"too few rollouts.*1 of 10 are for test, 3 needed.*--rollouts 30"):
        store.ids("test", minimum=3)
    with pytest.raises(UserError, match=r"holds no dataset; make one with: python data/generation_script"):
        EpisodeStore(tmp_path / "nothing")


def test_the_index_is_rebuilt_when_missing_or_behind(tmp_path: Path):
    store = record(tmp_path, 10)
    behind = (tmp_path / "index.json").read_bytes()
    store = record(tmp_path, 20)
    fingerprint, content = store.fingerprint(), digest(store)
    (tmp_path / "index.json").write_bytes(behind)
    assert EpisodeStore(tmp_path).fingerprint() == fingerprint
    (tmp_path / "index.json").unlink()
    assert EpisodeStore(tmp_path).fingerprint() == fingerprint
    assert digest(EpisodeStore(tmp_path)) == content


@pytest.mark.parametrize("harm", ["flip", "cut", "foreign", "empty", "gone"])
def test_a_broken_shard_is_named_and_never_read(tmp_path: Path, harm: str):
    record(tmp_path, 10)
    shard = _shard(tmp_path)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    harmed = {
        "flip": bytes(content),
        "cut": bytes(content[:-100]),
        "foreign": b"x" * len(content),
        "empty": b"",
    }
    if harm == "gone":
        shard.unlink()
    else:
        shard.write_bytes(harmed[harm])
    with pytest.raises(UserError, match=shard.name):
        EpisodeStore(tmp_path).episode(0)


def test_a_broken_file_outside_the_index_is_named_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture):
    fingerprint = record(tmp_path, 10).fingerprint()
    (tmp_path / "shards" / "episodes-000010-000019.h5").write_bytes(b"not HDF5")
    assert EpisodeStore(tmp_path).fingerprint() == fingerprint
    assert "episodes-000010-000019.h5 is damaged" in capsys.readouterr().err


def test_a_shard_of_another_dataset_is_refused(tmp_path: Path):
    record(tmp_path / "a", 10)
    record(tmp_path / "b", 20, "--seed", "1")
    stray = tmp_path / "b" / "shards" / "episodes-000010-000019.h5"
    stray.rename(tmp_path / "a" / "shards" / stray.name)
    with pytest.raises(UserError, match="belongs to another dataset"):
        load_index(tmp_path / "a", mending=True)


def test_a_foreign_index_is_named(tmp_path: Path):
    record(tmp_path, 10)
    for text in ("{}", '{"format": "other"}', "[1]", "{"):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(UserError, match=r"index\.json"):
            EpisodeStore(tmp_path)


def test_few_shards_stay_open(tmp_path: Path):
    store = record(tmp_path, 60)
    digest(store)
    assert len(store._open) == 4
    store.close()
    assert store.episode(0).id == 0
