"""How many frames a second V's encoder reads on one core: the NVAE at its default size against the VAE of 2018.

    python -m benchmarks.vision [--json] [--runs N]

The headline peer is the classic pattern, one frame at a time; the second row gives the 2018 encoder batches of 16
too, in the memory layout that suits it. All models have random weights: the time does not depend on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.timing import BenchConfig, Work, compare_all, report, row
from models.nvae import NVAE, NVAEConfig
from models.vae import VAE, VAEConfig
from models.vision import VisionModel
from utils import cli
from utils.device import num_threads
from utils.errors import check

BATCH = 16


@dataclass(frozen=True)
class VisionBenchmark(BenchConfig):
    """What to measure."""

    runs: int = 7
    frames: int = 320
    """frames a run"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        super().__post_init__()
        check(self.frames >= BATCH, f"--frames must be at least {BATCH}; got {self.frames}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    config = cli.parse(VisionBenchmark, argv, prog="python -m benchmarks.vision", description=__doc__)
    torch.manual_seed(0)
    nvae = NVAE(NVAEConfig()).for_inference()
    vae = VAE(VAEConfig()).for_inference()
    works: dict[str, Work] = {
        "nvae_16": _reader(nvae.encode, nvae, BATCH, config.frames),
        "vae_1": _reader(vae.encode, vae, 1, config.frames),
        "vae_16": _reader(vae.encode, vae, BATCH, config.frames),
        "nvae_1": _reader(nvae.encode, nvae, 1, config.frames),
        "nvae_decode_16": _painter(nvae, config.frames),
        "vae_decode_16": _painter(vae, config.frames),
    }
    with num_threads(1), torch.inference_mode():
        rates = compare_all(works, config.runs)
    rows = [
        row("encode: NVAE by 16, 2018 VAE one by one", rates["nvae_16"], rates["vae_1"]),
        row("encode: both by 16", rates["nvae_16"], rates["vae_16"]),
        row("encode: both one by one", rates["nvae_1"], rates["vae_1"]),
        row("decode: both by 16", rates["nvae_decode_16"], rates["vae_decode_16"]),
    ]
    report(rows, config.json, unit="frames", threads=1)


def _reader(encode: Callable[[Tensor], object], model: VisionModel, batch_size: int, num_frames: int) -> Work:
    """Work that encodes num_frames frames in batches of batch_size."""
    size = model.image_size
    batch = torch.rand(batch_size, 3, size, size).contiguous(memory_format=torch.channels_last)

    def work() -> int:
        count = num_frames // batch_size
        for _ in range(count):
            encode(batch)
        return count * batch_size

    return work


def _painter(model: VisionModel, num_frames: int) -> Work:
    """Work that decodes num_frames latents in batches of 16."""
    z = torch.randn(BATCH, model.latent_size)

    def work() -> int:
        count = num_frames // BATCH
        for _ in range(count):
            model.decode(z)
        return count * BATCH

    return work


if __name__ == "__main__":
    cli.run(main)
