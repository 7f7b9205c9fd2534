import numpy as np
import pytest
import torch

from data.frames import FrameSet, to_float, to_uint8
from tests.data.tiny_store import make_store
from utils.errors import UserError


def marks(frames):
    return [(int(f[0, 0, 0]), int(f[0, 0, 1])) for f in frames]


def test_a_split_is_all_frames_of_its_episodes_in_order(tmp_path):
    store = make_store(tmp_path)
    for split in ("train", "validation", "test"):
        frames = FrameSet(store, split)
        wanted = [(i, t) for i in store.ids(split) for t in range(8)]
        assert marks(frames.batch(np.arange(len(frames)))) == wanted


def test_the_cache_is_made_once_and_again_when_the_dataset_changes(tmp_path):
    store = make_store(tmp_path)
    FrameSet(store, "train")
    (cache,) = (tmp_path / "cache").glob("frames-train-*.npy")
    written = cache.stat().st_mtime_ns
    FrameSet(store, "train")
    assert cache.stat().st_mtime_ns == written
    grown = make_store(tmp_path, first=10, episodes=20)
    frames = FrameSet(grown, "train")
    assert len(frames) == 16 * 8
    (new,) = (tmp_path / "cache").glob("frames-train-*.npy")
    assert new != cache


def test_a_cache_with_one_flipped_bit_is_made_again(tmp_path):
    store = make_store(tmp_path)
    frames = FrameSet(store, "train")
    before = frames.batch(np.arange(len(frames))).copy()
    (cache,) = (tmp_path / "cache").glob("frames-train-*.npy")
    damaged = bytearray(cache.read_bytes())
    damaged[-100] ^= 1
    cache.write_bytes(damaged)
    assert np.array_equal(FrameSet(store, "train").batch(np.arange(len(frames))), before)


def test_a_truncated_cache_is_made_again(tmp_path):
    store = make_store(tmp_path)
    before = FrameSet(store, "train").batch(np.arange(64))
    (cache,) = (tmp_path / "cache").glob("frames-train-*.npy")
    cache.write_bytes(cache.read_bytes()[:-100])
    assert np.array_equal(FrameSet(store, "train").batch(np.arange(64)), before)


def test_a_large_dataset_is_thinned_evenly(tmp_path):
    store = make_store(tmp_path)
    frames = FrameSet(store, "train", max_frames=30)
    assert frames.stride == 3
    assert len(frames) <= 30
    for episode, t in marks(frames.batch(np.arange(len(frames)))):
        assert t % 3 == episode % 3


def test_every_frame_comes_once_a_pass_and_batches_depend_on_the_step_only(tmp_path):
    frames = FrameSet(make_store(tmp_path), "train")
    size = 16
    first = [frames.batch_at(step, size, seed=1) for step in range(len(frames) // size)]
    seen = torch.cat(first)[:, :2, 0, 0].mul(255).round().int().tolist()
    assert len({tuple(mark) for mark in seen}) == len(frames)
    assert torch.equal(frames.batch_at(2, size, seed=1), first[2])
    assert not torch.equal(frames.batch_at(2, size, seed=2), first[2])
    assert not torch.equal(frames.batch_at(len(first), size, seed=1), first[0])


def test_a_batch_may_be_larger_than_the_split(tmp_path):
    frames = FrameSet(make_store(tmp_path), "validation")
    assert frames.batch_at(0, 20, seed=0).shape == (20, 3, 16, 16)


def test_float_and_back_is_the_identity():
    levels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    assert np.array_equal(to_uint8(to_float(levels)), levels)


def test_too_few_rollouts_is_a_clear_error(tmp_path):
    store = make_store(tmp_path, episodes=1)
    missing = "train" if store.split(0) == "validation" else "validation"
    with pytest.raises(UserError, match="too few rollouts"):
        FrameSet(store, missing)
