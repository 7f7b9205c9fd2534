import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import envs
import trainmdrnn
from data.dreams import make_frames
from data.latents import load_latents
from data.memory_quality import evaluate
from data.sequences import SequenceSet
from data.shards import DatasetHeader, ShardWriter
from data.trained import load_starts, load_world_model, run_files
from models.nvae import NVAE, NVAEConfig
from utils.checkpoint import load_checkpoint, load_state, save_checkpoint
from utils.errors import UserError
from utils.run_dir import RunDir
from utils.training import FitConfig

SIZE = 16
SPEC = {"name": "Counting", "options": {"size": SIZE}}


@pytest.fixture(autouse=True)
def counting_env(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(envs._TABLE, "Counting", ("tests.envs.counting", "make_vec", {}))


def write_dataset(root: Path, episodes: int = 10, policies: Sequence[str] = ("brown",)) -> Path:
    header = DatasetHeader(SPEC, (SIZE, SIZE, 3), 3, 0, 100)
    writer, rng = ShardWriter(header), np.random.default_rng(0)
    for i in range(episodes):
        steps = 12 + i
        for frame in rng.integers(0, 256, (steps + 1, SIZE, SIZE, 3), np.uint8):
            writer.add(i, frame)
        actions = rng.uniform(0, 1, (steps, 3)).astype(np.float32)
        rewards = rng.normal(size=steps).astype(np.float32)
        writer.close_episode(i, actions, rewards, i % 2 == 0, i % 2 == 1, i, policies[i % len(policies)])
    (root / "shards").mkdir(parents=True)
    writer.save(root / "shards" / "episodes-000000-000009.h5")
    return root


def write_vision(logs: Path, latent: int = 4, seed: int = 0) -> None:
    torch.manual_seed(seed)
    sizes = NVAEConfig(
        image_size=SIZE, latent_size=latent, encoder_channels=(4, 4), decoder_channels=(4, 4, 4)
    )
    save_checkpoint(RunDir(logs, "vae").best, NVAE(sizes).to_checkpoint({"env": SPEC}))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    write_vision(tmp_path)
    return tmp_path


def train(logs: Path, dataset: Path, *flags: str) -> None:
    trainmdrnn.main(
        ["--preset", "tiny", "--logs", str(logs), "--dataset", str(dataset), "--device", "cpu", *flags]
    )


def test_it_trains_and_leaves_all_that_later_stages_need(logs: Path, dataset: Path):
    train(logs, dataset)
    files = run_files(logs)
    trained = load_world_model(files)
    assert trained.env_spec == SPEC
    assert (trained.world_model.latent_size, trained.world_model.hidden_size) == (4, 16)
    starts = load_starts(files)
    assert len(starts) == trainmdrnn.NUM_STARTS
    assert starts.low.tolist() == [-1, 0, 0]
    run = RunDir(logs, "mdrnn")
    assert (run.pictures / "dreams.png").stat().st_size > 0
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert rows[-1]["step"] == 6
    wanted = {"nll", "reward_r2", "termination_recall", "terminations"}
    assert wanted <= {name.removeprefix("validation/") for name in rows[-1]}
    known = set(json.loads((run.path / "quality.json").read_text()))
    assert wanted - {"termination_recall"} <= known, "the one test episode does not terminate"


def test_m_is_scored_on_whole_episodes_that_nothing_was_chosen_by(logs: Path, dataset: Path):
    def quality(*flags: str) -> dict[str, float]:
        train(logs, dataset, "--max-steps", "0", "--fresh", *flags)
        return json.loads((RunDir(logs, "mdrnn").path / "quality.json").read_text())

    scores = quality("--seq-len", "5")
    assert quality("--seq-len", "9", "--batch-size", "3") == scores
    world_model = load_world_model(run_files(logs)).world_model
    latents = load_latents(RunDir(logs, "mdrnn").path / "latents.h5")
    (test,) = latents.lengths[latents.episodes("test")]
    batch = SequenceSet(latents, "test", int(test), 1).ordered_batch(0)
    assert batch.mask.all()
    assert scores["nll"] == pytest.approx(evaluate(world_model.m, [batch])["nll"], rel=1e-5)


def test_fresh_removes_no_m_before_the_dataset_has_been_read(
    logs: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail_to_read(*_: object):
        raise UserError("a shard is damaged.")

    train(logs, dataset)
    best, latents = RunDir(logs, "mdrnn").best, RunDir(logs, "mdrnn").path / "latents.h5"
    before, made = best.read_bytes(), latents.stat().st_mtime_ns
    train(logs, dataset, "--fresh")
    assert latents.stat().st_mtime_ns == made, "V and the dataset are the same"
    monkeypatch.setattr(trainmdrnn, "load_or_encode", fail_to_read)
    with pytest.raises(UserError, match="damaged"):
        train(logs, dataset, "--fresh")
    assert best.read_bytes() == before


def test_dreams_may_begin_in_the_newest_rollouts_of_evolved_drivers(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def newest(*policies: str) -> list[int]:
        made = write_dataset(tmp_path / "-".join(policies), 10, policies=policies)
        return trainmdrnn.newest_drives(trainmdrnn.open_dataset(made, None))

    monkeypatch.setattr(trainmdrnn, "NEWEST", 2)
    assert newest("brown", "dreamer", "lane", "controller") == [5, 9]
    assert newest("brown", "controller") == [7, 9], "where none was evolved in a dream"
    assert newest("brown", "lane") == []
    own = tmp_path / "brown-dreamer-lane-controller"
    train(logs, own, "--driver-starts", "1")
    latents = load_latents(RunDir(logs, "mdrnn").path / "latents.h5")
    rows = [int(np.flatnonzero((latents.mu == z.numpy()).all(1))[0]) for z in load_starts(run_files(logs)).z]
    episodes = latents.ids[np.searchsorted(latents.offsets, rows, side="right") - 1]
    assert set(episodes.tolist()) <= {5, 9}


def test_dreams_can_be_made_from_the_run_directory_alone(logs: Path, dataset: Path):
    train(logs, dataset)
    for env in (make_frames(3, logs=logs), envs.make("dream", 3, logs=str(logs), max_steps=2)):
        obs, _ = env.reset(seed=0)
        assert (obs.shape, obs.dtype) == ((3, SIZE, SIZE, 3), np.uint8)
        env.step(np.zeros((3, 3), np.float32))
    assert env.step(np.zeros((3, 3), np.float32))[3].any(), "max_steps is the horizon"


def test_statistics_are_those_of_the_training_set(logs: Path, dataset: Path):
    train(logs, dataset)
    weights = load_checkpoint(RunDir(logs, "mdrnn").best).weights
    assert weights["reward_scale"].item() == pytest.approx(1.0, rel=0.2)
    assert (weights["z_std"] > 0.5).all(), "the posterior's own spread belongs to z"
    assert not torch.equal(weights["z_mean"], torch.zeros(4))


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(logs: Path, dataset: Path, tmp_path: Path):
    train(logs, dataset, "--eval-every", "2")
    other = tmp_path / "other"
    shutil.copytree(logs / "vae", other / "vae")
    interrupted_at(other, dataset, step=4)
    train(other, dataset, "--eval-every", "2")
    one, two = (load_checkpoint(RunDir(root, "mdrnn").latest).weights for root in (logs, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def interrupted_at(logs: Path, dataset: Path, step: int) -> None:
    class PullThePlugError(Exception):
        pass

    whole = SequenceSet.batch_at

    def until(self: SequenceSet, at: int):
        if at == step + 1:
            raise PullThePlugError
        return whole(self, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequenceSet, "batch_at", until)
        with pytest.raises(PullThePlugError):
            train(logs, dataset, "--eval-every", "2")
    assert load_state(RunDir(logs, "mdrnn").state)["progress"]["step"] == step


def test_a_finished_run_says_so_and_goes_on_when_asked(
    logs: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
):
    train(logs, dataset)
    assert "is finished" not in capsys.readouterr().out
    before = RunDir(logs, "mdrnn").best.read_bytes(), run_files(logs).starts.read_bytes()
    train(logs, dataset)
    assert "is finished at step 6" in capsys.readouterr().out
    after = RunDir(logs, "mdrnn").best.read_bytes(), run_files(logs).starts.read_bytes()
    assert after == before, "or an evolution in these dreams would be set aside"
    train(logs, dataset, "--max-steps", "8")
    assert load_state(RunDir(logs, "mdrnn").state)["progress"]["step"] == 8


def test_losses_of_other_weights_are_not_compared(logs: Path, dataset: Path):
    """A heavier reward makes every loss larger: none of the later models would be better than the first best."""
    train(logs, dataset)
    before = RunDir(logs, "mdrnn").best.read_bytes()
    train(logs, dataset, "--max-steps", "8", "--reward-weight", "1000")
    assert RunDir(logs, "mdrnn").best.read_bytes() != before


def test_losses_on_other_windows_are_not_compared():
    judged = {
        trainmdrnn.judged_by(config)
        for config in (
            trainmdrnn.TrainMDRNNConfig(),
            trainmdrnn.TrainMDRNNConfig(fit=FitConfig(batch_size=65)),
            trainmdrnn.TrainMDRNNConfig(fit=FitConfig(seed=1)),
        )
    }
    assert len(judged) == 3


def test_an_epoch_has_the_batches_that_the_windows_fill(logs: Path, dataset: Path):
    train(logs, dataset, "--epochs", "2", "--max-steps", "1000")
    windows = SequenceSet(load_latents(RunDir(logs, "mdrnn").path / "latents.h5"), "train", 8, batch_size=4)
    assert windows.num_windows % 4, "the last batch is not full"
    assert load_state(RunDir(logs, "mdrnn").state)["progress"]["step"] == 2 * windows.steps_per_epoch


def test_the_memories_of_another_m_are_no_start_states(logs: Path, dataset: Path):
    train(logs, dataset)
    old = run_files(logs).starts.read_bytes()
    train(logs, dataset, "--max-steps", "9")
    load_starts(run_files(logs))
    run_files(logs).starts.write_bytes(old)
    with pytest.raises(UserError, match=r"M has changed since .*starts.safetensors was made"):
        load_starts(run_files(logs))


def test_an_untrained_m_is_a_yardstick(logs: Path, dataset: Path):
    train(logs, dataset, "--max-steps", "0")
    quality = json.loads((RunDir(logs, "mdrnn").path / "quality.json").read_text())
    train(logs, dataset, "--max-steps", "6", "--fresh")
    trained = json.loads((RunDir(logs, "mdrnn").path / "quality.json").read_text())
    assert trained["nll"] < quality["nll"]


def test_an_untrained_m_gives_way_to_another(logs: Path, dataset: Path):
    train(logs, dataset, "--max-steps", "0")
    train(logs, dataset, "--max-steps", "0", "--hidden-size", "8")
    assert load_checkpoint(RunDir(logs, "mdrnn").best).config["hidden_size"] == 8
    write_vision(logs, seed=1)
    train(logs, dataset, "--max-steps", "0")
    load_world_model(run_files(logs))


def test_one_command_at_a_time(logs: Path, dataset: Path):
    with RunDir(logs, "mdrnn").lock(), pytest.raises(UserError, match="another command is at work"):
        train(logs, dataset)
    assert not RunDir(logs, "mdrnn").checkpoints.exists()


def test_a_new_v_is_noticed(logs: Path, dataset: Path, capsys: pytest.CaptureFixture[str]):
    train(logs, dataset)
    write_vision(logs, seed=1)
    with pytest.raises(UserError, match=r"V has changed since M was trained .* --fresh"):
        train(logs, dataset)
    train(logs, dataset, "--max-steps", "8")
    captured = capsys.readouterr()
    assert "M goes on from step 6 with the new latents" in captured.out
    assert "encoding again" in captured.err
    load_world_model(run_files(logs))


def test_a_new_v_is_noticed_where_the_clock_has_ended_m(logs: Path, dataset: Path):
    train(logs, dataset, "--max-steps", "100", "--max-minutes", "1e-6")
    write_vision(logs, seed=1)
    for _ in range(2):
        with pytest.raises(UserError, match=r"V has changed since M was trained .* --max-minutes"):
            train(logs, dataset, "--max-steps", "100", "--max-minutes", "1e-6")


def test_missing_v_and_missing_dataset_are_one_sentence_each(tmp_path: Path, dataset: Path, logs: Path):
    with pytest.raises(UserError, match=r"no trained V .* run trainvae\.py"):
        train(tmp_path / "nothing", dataset)
    with pytest.raises(UserError, match="holds no dataset"):
        train(logs, tmp_path / "nowhere")


def test_too_few_rollouts_are_refused(tmp_path: Path, logs: Path):
    with pytest.raises(UserError, match="too few rollouts"):
        train(logs, write_dataset(tmp_path / "few", episodes=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [(["--hidden-size", "8"], "hidden_size 16, but --hidden-size"), (["--components", "3"], "components 2")],
)
def test_another_size_than_the_checkpoints_is_refused(
    logs: Path, dataset: Path, change: list[str], message: str
):
    train(logs, dataset)
    before = RunDir(logs, "mdrnn").latest.read_bytes()
    with pytest.raises(UserError, match=message):
        train(logs, dataset, *change)
    assert RunDir(logs, "mdrnn").latest.read_bytes() == before


def test_another_latent_size_than_the_checkpoints_is_refused(logs: Path, dataset: Path):
    train(logs, dataset)
    write_vision(logs, latent=5)
    with pytest.raises(UserError, match="latent_size 4, but V or the dataset now asks for 5"):
        train(logs, dataset)
    train(logs, dataset, "--fresh")
    assert load_checkpoint(RunDir(logs, "mdrnn").best).config["latent_size"] == 5


def test_a_v_of_another_frame_size_is_refused(logs: Path, dataset: Path):
    wrong = NVAEConfig(image_size=32, latent_size=4, encoder_channels=(4, 4), decoder_channels=(4, 4, 4))
    save_checkpoint(RunDir(logs, "vae").best, NVAE(wrong).to_checkpoint({}))
    with pytest.raises(UserError, match="32x32 frames"):
        train(logs, dataset)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(logs: Path, dataset: Path):
    with pytest.raises(UserError, match="the batch is kept"):
        train(logs, dataset, "--learning-rate", "1e37", "--warmup-steps", "0")
    run = RunDir(logs, "mdrnn")
    batch = torch.load(run.path / "bad_batch.pt", weights_only=True)
    assert batch["z"].shape[1:] == (9, 4)
    assert not run.best.exists()


@pytest.mark.parametrize(
    "flags", [["--seq-len", "0"], ["--hidden-size", "-3"], ["--epochs", "0"], ["--reward-weight", "-1"]]
)
def test_impossible_values_are_refused(tmp_path: Path, flags: list[str]):
    with pytest.raises(UserError, match=flags[0]):
        trainmdrnn.main(["--logs", str(tmp_path), *flags])
    assert not (tmp_path / "mdrnn").exists()


def test_dry_run_needs_nothing_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainmdrnn.main(["--logs", str(tmp_path / "run"), "--dry-run"])
    out = capsys.readouterr().out
    assert "parameters at 32 latents" in out
    assert '"seq_len": 32' in out
    assert not (tmp_path / "run").exists()
