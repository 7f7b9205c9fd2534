"""How well a V sees: errors where they matter for driving, the ELBO, and what a frame costs.

Errors are of the mean path (what C and the dream see), in squared units of [0, 1]; nats are per frame.
"""

import statistics
import time
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from envs.regions import Regions
from models.vision import VisionModel
from utils.device import num_threads


@torch.inference_mode()
def evaluate(model: VisionModel, frames: Tensor, regions: Regions, batch_size: int = 128) -> dict[str, float]:
    """Scores of a model in eval mode on frames (N, 3, H, W) in [0, 1].

    Returns:
        "loss" (nats per dimension, lower is better), what `model.loss` reports, "mse" and "mse_REGION".
    """
    sums: dict[str, float] = defaultdict(float)
    device = next(model.parameters()).device
    for part in frames.split(batch_size):
        x = part.to(device)
        loss, metrics = model.loss(x)
        error = (model.reconstruct(x) - x).square()
        scores = {"loss": loss, **metrics, **region_means(error, regions)}
        for name, value in scores.items():
            sums[name] += float(value) * len(part) / len(frames)
    return dict(sums)


def region_means(error: Tensor, regions: Regions) -> dict[str, Tensor]:
    """Mean of an error map (B, 3, H, W) over the frame and over each region."""
    height, width = error.shape[2:]
    means = {"mse": error.mean()}
    for name, (top, bottom, left, right) in regions.items():
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        means[f"mse_{name}"] = error[:, :, rows, columns].mean()
    return means


@torch.inference_mode()
def encoder_rate(model: VisionModel, batch_size: int = 16, runs: int = 15) -> float:
    """Frames per second that `encode` reads on one CPU core, in batches: the median run."""
    model = model.for_inference()
    frames = torch.rand(batch_size, 3, model.image_size, model.image_size)
    seconds = []
    with num_threads(1):
        model.encode(frames)
        for _ in range(runs):
            start = time.perf_counter()
            model.encode(frames)
            seconds.append(time.perf_counter() - start)
    return batch_size / statistics.median(seconds)


def quality(model: VisionModel, frames: Tensor, regions: Regions, **more: Any) -> dict[str, Any]:
    """What a run reports at its end (quality.json): the same keys for every kind of V.

    Args:
        model: in eval mode, on the CPU.
        frames: held-out frames (N, 3, H, W) in [0, 1].
        regions: parts of a frame that are scored by themselves.
        **more: further entries.
    """
    scores = evaluate(model, frames, regions)
    errors = {name: value for name, value in scores.items() if name.startswith("mse")}
    groups = [value for name, value in sorted(scores.items()) if name.startswith("kl_group_")]
    return {
        "arch": model.kind,
        "latent_size": model.latent_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        **errors,
        **{name: scores[name] for name in ("elbo", "nll", "kl")},
        "kl_per_group": groups or [scores["kl"]],
        "frames_per_s": encoder_rate(model),
        **more,
    }
