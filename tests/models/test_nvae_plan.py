import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.nvae import NVAEConfig, plan
from models.nvae.plan import share
from utils.errors import UserError


@given(st.integers(1, 200), st.integers(1, 20))
def test_shares_sum_up_and_are_nearly_equal(latent_size, num_groups):
    sizes = share(latent_size, num_groups)
    assert sum(sizes) == latent_size
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 60),
    st.integers(0, 2),
    st.integers(1, 3),
)
def test_every_plan_covers_z_once_and_doubles_its_resolution(groups, extra, free_scales, multiple):
    depth = len(groups) + 1 + free_scales
    config = NVAEConfig(
        image_size=multiple * 2**depth,
        latent_size=sum(groups) + extra,
        groups=tuple(groups),
        encoder_channels=tuple(range(2, depth + 1)),
        decoder_channels=tuple(range(3, depth + 3)),
    )
    layout = plan(config)
    places = [i for g in layout.groups for i in range(g.start, g.stop)]
    assert places == list(range(config.latent_size))
    assert min(g.size for g in layout.groups) >= 1
    assert [g.index for g in layout.groups] == list(range(sum(groups)))
    assert [len(scale.groups) for scale in layout.latent_scales] == groups
    sizes = [scale.resolution for scale in layout.scales]
    assert sizes[-1] == config.image_size // 2
    assert all(fine == 2 * coarse for coarse, fine in itertools.pairwise(sizes))
    assert layout.scales[-1].encoder_channels == 0


def test_the_default_plan_and_its_table():
    text = plan(NVAEConfig()).describe()
    assert "4x4" in text
    assert "0: 11 (z[0:11])" in text
    assert "2: 10 (z[22:32])" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_size": 2}, "latent_size must be at least 3"),
        ({"image_size": 60}, "multiple of 16"),
        ({"image_size": 0}, "multiple of 16"),
        ({"groups": ()}, "at least one latent group"),
        ({"groups": (2, 0)}, "at least one latent group"),
        ({"groups": (1, 1, 1, 1)}, "4 latent scales need"),
        ({"encoder_channels": (8, 8)}, "one number more"),
        ({"decoder_channels": (8, 8, 8, 0)}, "must be positive"),
        ({"warmup": 2.0}, "warmup"),
        ({"free_nats": -1.0}, "free_nats"),
        ({"spectral_weight": -1.0}, "spectral_weight"),
        ({"bn_momentum": 0.0}, "bn_momentum"),
        ({"expansion": 0}, "expansion"),
        ({"encoder_cells": 0}, "encoder_cells"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        NVAEConfig(**change)
