import torch

from data.quality import evaluate, quality, region_means
from models.nvae import NVAE, NVAEConfig
from models.vae import VAE, VAEConfig


def test_regions_of_a_64_pixel_frame():
    error = torch.zeros(1, 3, 64, 64)
    error[:, :, 56:] = 1
    means = region_means(error)
    assert (means["mse_road"], means["mse_hud"], means["mse_car"]) == (0, 1, 0)
    error = torch.zeros(1, 3, 64, 64)
    error[:, :, 40:54, 27:37] = 1
    means = region_means(error)
    assert means["mse_car"] == 1
    assert 0 < means["mse_road"] < 0.1


def test_evaluation_does_not_depend_on_the_batch_size_but_for_noise():
    model = VAE(VAEConfig()).eval()
    frames = torch.rand(6, 3, 64, 64)
    one, two = evaluate(model, frames, 6), evaluate(model, frames, 4)
    assert abs(one["mse_road"] - two["mse_road"]) < 1e-6
    assert abs(one["kl"] - two["kl"]) < 1e-4


def test_both_models_report_the_same_keys():
    frames = torch.rand(2, 3, 64, 64)
    ours = quality(NVAE(NVAEConfig()).eval(), frames)
    peer = quality(VAE(VAEConfig()).eval(), frames)
    assert ours.keys() == peer.keys()
    assert {"arch", "mse_road", "mse_car", "elbo", "frames_per_s"} <= ours.keys()
    assert len(ours["kl_per_group"]) == 3
    assert abs(sum(ours["kl_per_group"]) - ours["kl"]) < 1e-3
