"""Stage M: encodes the dataset once with V, trains the MDN-RNN on it, and keeps start states for dreams.

V is read from RUN/vae, M goes to RUN/mdrnn. When V or the dataset has changed, the dataset is encoded again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import envs
from data.episodes import EpisodeStore, judging_split
from data.latents import LatentStore, check_frames, load_or_encode
from data.memory_quality import dream_rows, evaluate, honesty, in_words
from data.sequences import SequenceSet
from data.start_states import draw_starts
from data.trained import check_same_env, open_dataset
from models import build
from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.vision import VisionModel
from models.world_model import WorldModel
from utils import cli, plots, seeding
from utils.checkpoint import Checkpoint, fingerprint, load_built, load_checkpoint, save_checkpoint
from utils.device import DeviceName, pick
from utils.errors import UserError, check, check_not_negative, check_positive
from utils.files import check_writable, write_json
from utils.logger import Logger
from utils.run_dir import RunDir
from utils.training import FitConfig, finished, fit

TEMPERATURES = (0.0, 0.5, 1.0, 1.3)
WARMUP, STRIDE, NUM_PICTURES = 40, 5, 12
NUM_STARTS = 2048
DRIVERS = ("dreamer", "controller")
NEWEST = 64
"""So many of the latest rollouts of an evolved driver are those in which dreams begin with --driver-starts."""
REPORT_STEPS = 4096
"""Steps of a batch, or one episode, when M is scored in the end."""
LATENTS = "latents.h5"
"""The dataset as V sees it, in M's folder."""


@dataclass(frozen=True)
class TrainMDRNNConfig:
    """Everything that stage M can be told."""

    logs: cli.LogsArg = Path("exp_dir")
    """run directory, with V in it"""
    dataset: Path | None = None
    """what data/generation_script.py made; datasets/carracing by default, or datasets/carla with --env carla"""
    env: str | None = None
    """the env that the dataset must be of; any by default"""
    hidden_size: int = MDNRNNConfig.hidden_size
    """numbers in h"""
    components: int = MDNRNNConfig.components
    """Gaussians in the mixture"""
    reward_weight: float = MDNRNNConfig.reward_weight
    """weight of the reward's loss"""
    termination_weight: float = MDNRNNConfig.termination_weight
    """weight of the termination's loss"""
    termination_positive_weight: float = MDNRNNConfig.termination_positive_weight
    """how much more a terminated step counts than another"""
    seq_len: int = 32
    """steps of a training window"""
    first_starts: float = 0.0
    """share of the dreams' start states that are an episode's first moment; the others are from wherever something
    had just been paid"""
    driver_starts: float = 0.0
    """share of them that come from the newest rollouts of an evolved driver, where there are any"""
    fit: FitConfig = field(default_factory=lambda: CARRACING_FIT)
    """training"""
    validation_batches: int = 32
    """held-out batches that are scored during training"""
    device: DeviceName = "auto"
    """where to train"""
    fresh: bool = False
    """remove what an earlier run left in the stage's folder and start over"""
    dry_run: bool = False
    """print the resolved settings and the size of M, and exit"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "hidden_size", "components", "seq_len", "validation_batches")
        check_positive(self, "termination_positive_weight")
        check_not_negative(self, "reward_weight", "termination_weight")
        for flag, share in (("first-starts", self.first_starts), ("driver-starts", self.driver_starts)):
            check(0 <= share <= 1, f"--{flag} must lie in [0, 1]; got {share}.")


CARRACING_FIT = FitConfig(
    epochs=10,
    batch_size=64,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    warmup_steps=100,
    optimizer="adam",
    clip_norm=1.0,
    ema_decay=0.999,
    eval_every=1000,
)
QUICK_FIT = replace(CARRACING_FIT, epochs=1000, max_steps=1500, ema_decay=0.99, eval_every=300)
TINY_FIT = replace(CARRACING_FIT, epochs=100, max_steps=6, batch_size=4, eval_every=3)
PRESETS = {
    "carracing": TrainMDRNNConfig(),
    "quick": TrainMDRNNConfig(fit=QUICK_FIT, validation_batches=8),
    "long": TrainMDRNNConfig(
        seq_len=100,
        fit=replace(QUICK_FIT, max_steps=3000, batch_size=20, learning_rate=2.5e-2),
        validation_batches=8,
    ),
    "tiny": TrainMDRNNConfig(hidden_size=16, components=2, seq_len=8, fit=TINY_FIT, validation_batches=2),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train M, or go on with it."""
    config = cli.parse(TrainMDRNNConfig, argv, prog="trainmdrnn.py", description=__doc__, presets=PRESETS)
    if config.dry_run:
        print(describe(config))
        return
    device = pick(config.device)
    store = open_dataset(config.dataset, config.env)
    vision, vision_mark = load_vision(RunDir(config.logs, "vae"), store)
    model = make_model(config, vision.latent_size, store.action_size)
    run = RunDir(config.logs, "mdrnn")
    check_writable(run.path)
    if not config.fresh:
        check_same_model(run, model)
    with run.lock():
        latents = load_or_encode(store, vision, vision_mark, run.path / LATENTS, device)
        run.prepare(config.fresh, spare=LATENTS)  # only now: the dataset can be read
        mean, std = (torch.from_numpy(x) for x in latents.moments("train"))
        model.set_statistics(mean, std, latents.reward_std("train"))
        train, held_out = (
            SequenceSet(latents, split, config.seq_len, config.fit.batch_size, config.fit.seed, device)
            for split in ("train", "validation")
        )
        total_steps = config.fit.total_steps(train.steps_per_epoch * config.fit.batch_size)
        done, share = finished(run, total_steps, config.fit)
        check_same_vision(run, vision_mark, done, share)
        info = {"env": store.env_spec, "vision": vision_mark, "dataset": store.fingerprint()}
        spread = spread_indices(held_out.num_batches(), config.validation_batches)
        result = fit(
            model=model,
            batch_at=train.batch_at,
            total_steps=total_steps,
            config=config.fit,
            run=run,
            device=device,
            validate=lambda m: evaluate(m, (held_out.ordered_batch(i) for i in spread)),
            make_checkpoint=lambda m: m.to_checkpoint(info),
            on_eval=lambda m, step, logger: draw(WorldModel(vision, m, device), latents, store, step, logger),
            key=f"{vision_mark}{store.fingerprint()} {judged_by(config)}",
            settings=cli.to_json(replace(config, dataset=store.rootdir)),
        )
        memory = load_built(run.best, build, "mdnrnn")
        assert isinstance(memory, MDNRNN)
        world_model = WorldModel(vision, memory, device)
        keep_starts(run, config, world_model, latents, newest_drives(store), info)
        report(run, latents, world_model)
        if result.step == done:
            print(
                f"{run.path} is finished at step {done}; pass a larger --epochs, --max-steps or --max-minutes to "
                "go on, or --fresh to start over."
            )


def judged_by(config: TrainMDRNNConfig) -> tuple[float, ...]:
    """What the validation loss depends on besides V and the data: losses under others cannot be compared."""
    weights = config.reward_weight, config.termination_weight, config.termination_positive_weight
    return *weights, config.seq_len, config.validation_batches, config.fit.batch_size, config.fit.seed


def load_vision(run: RunDir, store: EpisodeStore) -> tuple[VisionModel, str]:
    """The run's best V and its fingerprint.

    Raises:
        UserError: there is none, the file is something else, or the dataset is not one that it can look at; or there
            are too few rollouts.
    """
    check(
        run.best.is_file(), f"there is no trained V at {run.best}; run trainvae.py --logs {run.root} first."
    )
    vision = load_built(run.best, build)
    if not isinstance(vision, VisionModel):
        raise UserError(f"{run.best} holds no vision model; run trainvae.py --logs {run.root} --fresh.")
    for split in ("train", "validation"):
        store.ids(split, minimum=1)
    check_frames(store, vision)
    mend = "train V on this dataset, or pass the --dataset that V was trained on."
    check_same_env(load_checkpoint(run.best), store, f"V in {run.path} was trained", mend)
    envs.action_space(store.env_spec)  # keep_starts will need it: a wrong env is heard of before the work
    return vision, fingerprint(run.best)


def make_model(config: TrainMDRNNConfig, latent_size: int, action_size: int) -> MDNRNN:
    """The untrained model that a config asks for."""
    torch.manual_seed(seeding.derive(config.fit.seed, "init"))
    return MDNRNN(
        MDNRNNConfig(
            latent_size,
            action_size,
            config.hidden_size,
            config.components,
            reward_weight=config.reward_weight,
            termination_weight=config.termination_weight,
            termination_positive_weight=config.termination_positive_weight,
        )
    )


def describe(config: TrainMDRNNConfig) -> str:
    """Settings and size as text; z and action have their default sizes if there is no V yet."""
    best = RunDir(config.logs, "vae").best
    size = load_checkpoint(best).config.get("latent_size") if best.is_file() else None
    size = size or MDNRNNConfig.latent_size
    model = make_model(config, size, MDNRNNConfig.action_size)
    return (
        f"{cli.describe(config)}\n{sum(p.numel() for p in model.parameters()):,} parameters at {size} latents"
    )


def check_same_model(run: RunDir, model: MDNRNN) -> None:
    """Refuse to go on with a run of another M.

    Raises:
        UserError: the run directory holds an M of another size.
    """
    if not run.latest.exists():
        return
    saved = load_checkpoint(run.latest, "mdnrnn").config
    for name in ("latent_size", "action_size", "hidden_size", "components"):
        now = getattr(model.config, name)
        if saved.get(name) == now:
            continue
        what = "V or the dataset" if name in ("latent_size", "action_size") else f"--{name.replace('_', '-')}"
        raise UserError(
            f"M in {run.path} has {name} {saved.get(name)}, but {what} now asks for {now}; pass --fresh to start "
            "over, or another --logs."
        )


def check_same_vision(run: RunDir, vision_mark: str, done: int, share: float) -> None:
    """Say when V is not the one that M was trained on.

    Args:
        run: M's.
        vision_mark: V's fingerprint.
        done: updates of M.
        share: of all that are asked for.

    Raises:
        UserError: there is nothing left to train, so that M would stay blind to the new V.
    """
    if not run.latest.exists() or load_checkpoint(run.latest).info.get("vision") == vision_mark:
        return
    if share >= 1:
        raise UserError(
            f"V has changed since M was trained for all of its {done} steps; pass a larger --epochs, --max-steps or "
            "--max-minutes to train M on, or --fresh to start over."
        )
    print(
        f"V has changed since M was trained; M goes on from step {done} with the new latents. (With --fresh it "
        "would begin anew.)",
        flush=True,
    )


def spread_indices(available: int, wanted: int) -> list[int]:
    """Up to `wanted` of the numbers below `available`, evenly spread."""
    return np.unique(np.linspace(0, available - 1, min(wanted, available)).astype(int)).tolist()


def draw(
    world_model: WorldModel, latents: LatentStore, store: EpisodeStore, step: int, logger: Logger
) -> None:
    """A real held-out strip above the dreams from the same start."""
    episodes = latents.episodes("validation")
    e = int(episodes[np.argmax(latents.lengths[episodes])])
    steps = int(latents.lengths[e])
    warmup = min(WARMUP, steps // 2)
    num = min(warmup + STRIDE * (NUM_PICTURES - 1), steps)
    rows = slice(latents.offsets[e], latents.offsets[e] + num + 1)
    frames = store.episode(int(latents.ids[e])).obs[: num + 1]
    z, action = (
        torch.from_numpy(x[rows].copy()).to(world_model.device) for x in (latents.mu, latents.actions)
    )
    pictures, labels = dream_rows(world_model, frames, z, action[:num], warmup, STRIDE, TEMPERATURES)
    logger.image(step, "dreams", plots.image_grid(pictures, labels))


def newest_drives(store: EpisodeStore) -> list[int]:
    """The ids of the newest rollouts of the latest controller in the dream, or if there are none, of the best one."""
    ids = {policy: [i for i, info in store.infos.items() if info.policy == policy] for policy in DRIVERS}
    return next((sorted(found)[-NEWEST:] for found in ids.values() if found), [])


def keep_starts(
    run: RunDir,
    config: TrainMDRNNConfig,
    world_model: WorldModel,
    latents: LatentStore,
    drives: list[int],
    info: dict[str, Any],
) -> None:
    """Write the start states of dreams beside M, so that dreams need no dataset."""
    box = envs.action_space(info["env"])
    starts = draw_starts(
        latents,
        world_model,
        (box.low, box.high),
        NUM_STARTS,
        config.fit.seed,
        first_share=config.first_starts,
        drives=drives,
        drives_share=config.driver_starts,
    )
    checkpoint: Checkpoint = starts.to_checkpoint({**info, "memory": fingerprint(run.best)})
    save_checkpoint(run.path / "starts.safetensors", checkpoint)


def report(run: RunDir, latents: LatentStore, world_model: WorldModel) -> None:
    """Score the best checkpoint on whole episodes that nothing was chosen by; keep the figures as quality.json."""
    split = judging_split(latents.splits)
    longest = int(latents.lengths[latents.episodes(split)].max())
    held_out = SequenceSet(
        latents, split, longest, max(1, REPORT_STEPS // longest), device=world_model.device
    )
    batches = (held_out.ordered_batch(i) for i in range(held_out.num_batches()))
    scores = evaluate(world_model.m, batches) | honesty(world_model, latents, split)
    write_json(run.path / "quality.json", {**scores, "in_words": in_words(scores)})
    print(f"{run.best}: {in_words(scores)}")


if __name__ == "__main__":
    cli.run(main)
