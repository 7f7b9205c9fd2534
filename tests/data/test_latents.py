from pathlib import Path

import numpy as np
import pytest
import torch

from data.latents import encode_store, load_latents, load_or_encode
from tests.data.recorded import Reader, record
from utils.errors import UserError

CPU = torch.device("cpu")


def test_every_frame_keeps_its_place_and_its_step(tmp_path: Path):
    store = record(tmp_path / "d", 20)
    latents = encode_store(store, Reader(), "v1", tmp_path / "m" / "latents.h5", CPU)
    assert latents.ids.tolist() == store.ids()
    assert latents.splits == tuple(store.split(i) for i in store.ids())
    for e, episode in enumerate(store.episodes(store.ids())):
        start, end = latents.offsets[e], latents.offsets[e + 1]
        assert end - start == episode.length + 1
        assert latents.lengths[e] == episode.length
        assert latents.mu[start:end, 0].tolist() == list(range(episode.length + 1))
        assert (latents.mu[start:end, 1] == episode.seed % 251).all()
        np.testing.assert_array_equal(latents.actions[start : end - 1], episode.actions)
        np.testing.assert_array_equal(latents.rewards[start : end - 1], episode.rewards)
        np.testing.assert_array_equal(latents.terminated[start : end - 1], episode.terminated)
        assert not latents.actions[end - 1].any()
        assert not latents.terminated[end - 1]


def test_latents_are_made_once_and_again_when_v_or_the_data_change(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    store, v, path = record(tmp_path / "d", 10), Reader(), tmp_path / "latents.h5"
    load_or_encode(store, v, "v1", path, CPU)
    frames = v.frames
    assert frames == sum(store.lengths.values()) + 10
    load_or_encode(store, v, "v1", path, CPU)
    assert v.frames == frames
    capsys.readouterr()
    load_or_encode(store, v, "v2", path, CPU)
    assert v.frames == 2 * frames
    assert "V changed since" in capsys.readouterr().err
    other = record(tmp_path / "other", 12, "--seed", "1")
    capsys.readouterr()
    assert len(load_or_encode(other, v, "v2", path, CPU).ids) == 12
    assert "the dataset changed since" in capsys.readouterr().err


def test_what_was_added_to_a_dataset_is_all_that_is_encoded(tmp_path: Path, capsys: pytest.CaptureFixture):
    v, path = Reader(), tmp_path / "latents.h5"
    load_or_encode(record(tmp_path / "d", 10), v, "v1", path, CPU)
    before, store = v.frames, record(tmp_path / "d", 23)
    grown = load_or_encode(store, v, "v1", path, CPU)
    assert "the dataset has grown since" in capsys.readouterr().err
    assert v.frames - before == sum(store.lengths[i] + 1 for i in range(10, 23))
    whole = encode_store(store, Reader(), "v1", tmp_path / "whole.h5", CPU)
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert grown.ids.tolist() == whole.ids.tolist() == store.ids()
    load_or_encode(record(tmp_path / "d", 25), v, "v2", path, CPU)
    assert v.frames - before > sum(store.lengths.values()), "another V begins anew"


def test_a_broken_file_is_named_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture):
    store, path = record(tmp_path / "d", 10), tmp_path / "latents.h5"
    good = load_or_encode(store, Reader(), "v1", path, CPU).mu.copy()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(good[3].tobytes())] ^= 1  # HDF5 would read it as another value
    for broken in (whole[:-500], bytes(flipped), b""):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"latents\.h5 is damaged"):
            load_latents(path)
        np.testing.assert_array_equal(load_or_encode(store, Reader(), "v1", path, CPU).mu, good)
        assert "latents.h5 is damaged" in capsys.readouterr().err
        assert path.read_bytes() == whole


def test_frames_of_another_size_are_refused(tmp_path: Path):
    store = record(tmp_path / "d", 10)
    with pytest.raises(UserError, match="trained on 64x64 frames"):
        encode_store(store, Reader(64), "v1", tmp_path / "latents.h5", CPU)
    assert not (tmp_path / "latents.h5").exists()


def test_moments_are_those_of_the_training_split(tmp_path: Path):
    store = record(tmp_path / "d", 10)
    latents = encode_store(store, Reader(), "v1", tmp_path / "latents.h5", CPU)
    t = np.concatenate([np.arange(store.lengths[i] + 1) for i in store.ids("train")])
    mean, std = latents.moments()
    assert (mean[0], std[0]) == pytest.approx((t.mean(), t.std()), rel=1e-5)
    episodes = list(store.episodes(store.ids("train")))
    rewards = np.concatenate([episode.rewards[~episode.terminated] for episode in episodes])
    assert any(episode.terminated.any() for episode in episodes)
    assert latents.reward_std() == pytest.approx(rewards.std(), rel=1e-5)
