import torch

from data.quality import evaluate, quality, region_means
from envs.regions import regions
from models.nvae import NVAE, NVAEConfig
from models.vae import VAE, VAEConfig

CARRACING = regions({"name": "CarRacing-v2", "options": {}})


def test_regions_of_a_64_pixel_frame():
    error = torch.zeros(1, 3, 64, 64)
    error[:, :, 56:] = 1
    means = region_means(error, CARRACING)
    assert (means["mse_road"], means["mse_hud"], means["mse_car"]) == (0, 1, 0)
    error = torch.zeros(1, 3, 64, 64)
    error[:, :, 40:54, 27:37] = 1
    means = region_means(error, CARRACING)
    assert means["mse_car"] == 1
    assert 0 < means["mse_road"] < 0.1


def test_evaluation_does_not_depend_on_the_batch_size_but_for_noise():
    model = VAE(VAEConfig()).eval()
    frames = torch.rand(6, 3, 64, 64)
    one, two = (evaluate(model, frames, CARRACING, batch) for batch in (6, 4))
    assert abs(one["mse_road"] - two["mse_road"]) < 1e-6
    assert abs(one["kl"] - two["kl"]) < 1e-4


def test_both_models_report_the_same_keys():
    frames = torch.rand(2, 3, 64, 64)
    ours = quality(NVAE(NVAEConfig()).eval(), frames, CARRACING)
    peer = quality(VAE(VAEConfig()).eval(), frames, CARRACING)
    assert ours.keys() == peer.keys()
    assert {
        "arch",
        "mse",
        "mse_road",
        "mse_car",
        "mse_hud",
        "elbo",
        "nll",
        "kl",
        "frames_per_s",
    } <= ours.keys()
    assert len(ours["kl_per_group"]) == 3
    assert abs(sum(ours["kl_per_group"]) - ours["kl"]) < 1e-3


def test_regions_follow_the_env_and_its_options():
    for name in ("CarRacing-v2", "carracing", "WorldModels/CarRacing-v3"):
        assert regions({"name": name, "options": {}}) == CARRACING
    cropped = regions({"name": "CarRacing-v2", "options": {"crop_hud": True}})
    assert cropped.keys() == {"road", "car"}
    assert cropped["road"] == (0, 1, 0, 1)
    assert cropped["car"][0] > CARRACING["car"][0], "cropped frames are stretched"
    camera, above = (
        regions({"name": "CarlaCircuit-v0", "options": {"obs": obs}}) for obs in ("rgb", "birdview")
    )
    assert camera != above
    for boxes in (cropped, camera, above):
        assert "road" in boxes
        for top, bottom, left, right in boxes.values():
            assert 0 <= top < bottom <= 1
            assert 0 <= left < right <= 1
    assert regions({"name": "tests.envs.counting:make_vec", "options": {}}) == {}


def test_frames_of_an_unknown_env_are_scored_as_a_whole():
    scores = quality(VAE(VAEConfig()).eval(), torch.rand(2, 3, 64, 64), {})
    assert "mse" in scores
    assert not [name for name in scores if name.startswith("mse_")]
