"""Stage V: trains the vision model on the frames of a dataset.

The model goes to RUN/vae, where later stages look for it; --arch vae --stage vae-plain keeps the plain VAE beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from data.episodes import EpisodeStore, judging_split
from data.frames import MAX_FRAMES, FrameSet, to_uint8
from data.quality import evaluate, quality
from data.trained import check_same_env, open_dataset
from envs.regions import Regions, regions
from models import build
from models.nvae import NVAE, NVAEConfig
from models.vae import VAE, VAEConfig
from models.vision import VisionModel
from utils import cli, plots, seeding
from utils.checkpoint import load_built, load_checkpoint
from utils.device import DeviceName, pick
from utils.errors import UserError, check, check_positive
from utils.files import check_writable, write_json
from utils.logger import Logger, read_metrics
from utils.run_dir import RunDir
from utils.training import FitConfig, finished, fit

NUM_PICTURES = 12


@dataclass(frozen=True)
class TrainVAEConfig:
    """Everything that stage V can be told."""

    logs: cli.LogsArg = Path("exp_dir")
    """run directory"""
    stage: str = "vae"
    """folder inside it; another name keeps a second model beside the one that later stages use"""
    dataset: Path | None = None
    """what data/generation_script.py made; datasets/carracing by default, or datasets/carla with --env carla"""
    env: str | None = None
    """the env that the dataset must be of; any by default"""
    arch: Literal["nvae", "vae"] = "nvae"
    """the Nouveau VAE, or the plain convolutional one of 2018"""
    model: NVAEConfig = field(default_factory=NVAEConfig)
    """sizes; --arch vae heeds --image-size, --latent-size and --likelihood only, within the Nouveau VAE's limits"""
    fit: FitConfig = field(default_factory=lambda: CARRACING_FIT)
    """training"""
    max_frames: int = MAX_FRAMES
    """of a larger dataset every k-th frame is used"""
    validation_frames: int = 1024
    """held-out frames that are scored during training"""
    device: DeviceName = "auto"
    """where to train"""
    fresh: bool = False
    """remove what an earlier run left in the stage's folder and start over"""
    dry_run: bool = False
    """print the resolved settings, the plan of latent groups and the sizes, and exit"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "max_frames", "validation_frames")
        check(
            re.fullmatch(r"vae[\w.-]*", self.stage),  # never another stage's folder: --fresh empties it
            f"--stage must be a plain folder name that begins with vae; got {self.stage!r}.",
        )


CARRACING_FIT = FitConfig(
    epochs=10,
    batch_size=64,
    learning_rate=1e-2,
    min_learning_rate=1e-4,
    warmup_steps=100,
    optimizer="adamax",
    clip_norm=1.0,
    skip_norm=100.0,
    ema_decay=0.999,
    eval_every=1000,
)
QUICK_FIT = replace(
    CARRACING_FIT,
    epochs=100,
    max_steps=1500,
    learning_rate=2e-2,
    min_learning_rate=2e-4,
    warmup_steps=50,
    ema_decay=0.99,
    eval_every=500,
)
TINY = NVAEConfig(encoder_channels=(4, 4, 8), decoder_channels=(4, 4, 4, 8))
TINY_FIT = replace(CARRACING_FIT, epochs=100, max_steps=6, batch_size=8, eval_every=3)
PRESETS = {
    "carracing": TrainVAEConfig(),
    "quick": TrainVAEConfig(fit=QUICK_FIT, validation_frames=512),
    "tiny": TrainVAEConfig(model=TINY, fit=TINY_FIT, validation_frames=16),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train V, or go on with it."""
    config = cli.parse(TrainVAEConfig, argv, prog="trainvae.py", description=__doc__, presets=PRESETS)
    torch.manual_seed(seeding.derive(config.fit.seed, "init"))
    model = make_model(config)
    if config.dry_run:
        print(describe(config, model))
        return
    device = pick(config.device)
    store = open_dataset(config.dataset, config.env)
    check_dataset(store, config)
    parts = regions(store.env_spec)
    run = RunDir(config.logs, config.stage)
    check_writable(run.path)
    if not config.fresh:
        check_same_model(run, model, store)
    train = FrameSet(store, "train", config.max_frames)
    held_out = FrameSet(store, "validation", config.max_frames).spread(config.validation_frames)
    judges, judging = held_out, judging_split(store.split(i) for i in store.ids())
    if judging != "validation":
        judges = FrameSet(store, judging, config.validation_frames).spread(config.validation_frames)
    with run.lock():
        run.prepare(config.fresh)
        print(sizes(model))
        total_steps = config.fit.total_steps(len(train))
        done, _ = finished(run, total_steps, config.fit)
        info = {"env": store.env_spec, "dataset": store.fingerprint(), "frames": len(train)}
        result = fit(
            model=model,
            batch_at=lambda step: train.batch_at(step, config.fit.batch_size, config.fit.seed),
            total_steps=total_steps,
            config=config.fit,
            run=run,
            device=device,
            validate=lambda v: evaluate(v, held_out, parts),
            make_checkpoint=lambda v: v.to_checkpoint(info),
            on_eval=lambda v, step, logger: draw(v, held_out, step, logger, run),
            key=f"{store.fingerprint()} {config.validation_frames} of {config.max_frames}",
            settings=cli.to_json(replace(config, dataset=store.rootdir)),
        )
        report(run, judges, parts, result.seconds, result.step)
        if result.step == done:
            print(
                f"{run.path} is finished at step {done}; pass a larger --epochs, --max-steps or --max-minutes to "
                "go on, or --fresh to start over."
            )


def make_model(config: TrainVAEConfig) -> VisionModel:
    """The untrained model that a config asks for."""
    if config.arch == "nvae":
        return NVAE(config.model)
    sizes = config.model
    return VAE(VAEConfig(sizes.image_size, sizes.latent_size, sizes.likelihood))


def describe(config: TrainVAEConfig, model: VisionModel) -> str:
    """Settings, plan and sizes as text."""
    return f"{cli.describe(config)}\n{sizes(model)}"


def sizes(model: VisionModel) -> str:
    """How the latent numbers are shared out, and the number of parameters."""
    plan = f"{model.plan.describe()}\n" if isinstance(model, NVAE) else ""
    return f"{plan}{sum(p.numel() for p in model.parameters()):,} parameters"


def check_dataset(store: EpisodeStore, config: TrainVAEConfig) -> None:
    """Refuse frames that the model does not take.

    Raises:
        UserError: another frame size, or no episode to train or to validate on.
    """
    size, (height, width, _) = config.model.image_size, store.obs_shape
    check(
        (height, width) == (size, size),
        f"{store.rootdir} holds {height}x{width} frames but V takes {size}x{size}; pass --image-size {height} or "
        f"another --dataset.",
    )
    for split in ("train", "validation"):
        store.ids(split, minimum=1)


def check_same_model(run: RunDir, model: VisionModel, store: EpisodeStore) -> None:
    """Refuse to go on with a run of another model.

    Raises:
        UserError: the run directory holds a model of another arch or size, or of another env.
    """
    if not run.latest.exists():
        return
    saved = load_checkpoint(run.latest)
    start_over = f"pass --fresh to start over, or another --logs or --stage (see {run.config})."
    if saved.kind != model.kind:
        raise UserError(f"{run.path} holds a model of --arch {saved.kind}, not {model.kind}; {start_over}")
    asked = cli.to_json(model.config)
    changed = [name for name, value in asked.items() if saved.config.get(name) != value]
    if changed:
        name = changed[0]
        flag = name.replace("_", "-")
        raise UserError(
            f"{run.path} was trained with --{flag} {saved.config.get(name)}, not {asked[name]}; {start_over}"
        )
    check_same_env(
        saved, store, f"{run.path} was trained", f"pass the --dataset it began with, or {start_over}"
    )


def draw(model: VisionModel, held_out: Tensor, step: int, logger: Logger, run: RunDir) -> None:
    """The same held-out frames above their reconstructions; prior samples; the KL of each group over time."""
    picks = held_out[np.linspace(0, len(held_out) - 1, NUM_PICTURES).astype(int)]
    device = next(model.parameters()).device
    with torch.inference_mode():
        seen = model.reconstruct(picks.to(device))
        noise = torch.Generator(device).manual_seed(0)
        dreamt = model.decode(model.sample(NUM_PICTURES, noise))
    rows = [to_uint8(picks), to_uint8(seen)]
    logger.image(step, "reconstructions", plots.image_grid(rows, ["real", "reconstructed"]))
    logger.image(step, "samples", plots.image_grid([to_uint8(dreamt)], ["from the prior"]))
    rows = [row for row in read_metrics(run.metrics) if row.get("validation/kl") is not None]
    names = [name for name in rows[-1] if name.startswith("validation/kl")] if rows else []
    series = {
        name.removeprefix("validation/"): ([row["step"] for row in rows], [row[name] for row in rows])
        for name in names
    }
    plots.curve(run.pictures / "kl_per_group.png", series, "step", "nats", "KL of each latent group")


def report(run: RunDir, judges: Tensor, parts: Regions, seconds: float, step: int) -> None:
    """Score the best checkpoint on frames that nothing was chosen by, and keep the figures as quality.json."""
    model = load_built(run.best, build)
    assert isinstance(model, VisionModel)
    torch.manual_seed(0)
    scores = quality(model, judges, parts, steps=step, train_seconds=round(seconds, 1))
    write_json(run.path / "quality.json", scores)
    errors = ", ".join(f"{name} {scores[f'mse_{name}']:.5f}" for name in parts if name != "hud")
    print(
        f"{run.best}: MSE {errors or format(scores['mse'], '.5f')}, "
        f"ELBO {scores['elbo']:.0f} nats, KL {scores['kl']:.1f}, {scores['frames_per_s']:,.0f} frames/s on one core"
    )


if __name__ == "__main__":
    cli.run(main)
