import numpy as np
import pytest
import torch

from utils import device, plots, seeding
from utils.errors import UserError


def test_purposes_do_not_share_draws():
    seeds = {seeding.derive(s, name, i) for s in range(5) for name in ("noise", "batch") for i in range(50)}
    assert len(seeds) == 500
    assert seeding.derive(1, "noise", 2) == seeding.derive(1, "noise", 2)
    assert seeding.rng(0, "a").random() != seeding.rng(0, "b").random()


def test_track_seeds_are_disjoint_and_bounded():
    splits = [
        seeding.track_seeds(split, start, 3) for split in seeding.FIRST_SEED for start in (0, 2**30 - 3)
    ]
    assert len({seed for seeds in splits for seed in seeds}) == 18
    assert max(max(seeds) for seeds in splits) < 2**32
    for start in (-1, 2**30 - 2):
        with pytest.raises(UserError, match="test seed must lie between"):
            seeding.track_seeds("test", start, 3)


def test_devices():
    assert device.pick("cpu") == torch.device("cpu")
    assert device.pick("auto").type in ("cpu", "cuda", "mps")
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(UserError, match="not available"):
        device.pick(missing)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with device.num_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_grid_places_rows_and_frames():
    rows = [np.full((3, 8, 8, 3), value, np.uint8) for value in (10, 200)]
    grid = plots.image_grid(rows, ["real", "dream"], scale=2)
    assert grid.shape == (2 * 20, 110 + 3 * 20, 3)
    assert grid[10, 120].tolist() == [10] * 3
    assert grid[30, 120].tolist() == [200] * 3
