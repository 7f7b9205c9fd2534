import json

import pytest
import torch

import models
import trainvae
from data.episodes import EpisodeStore
from data.frames import FrameSet
from data.quality import evaluate
from models.vae import VAE, VAEConfig
from models.vision import VisionModel
from tests.data.tiny_store import ENV_SPEC, make_store
from utils import cli
from utils.checkpoint import load_checkpoint, load_state
from utils.errors import UserError
from utils.logger import read_metrics
from utils.run_dir import RunDir


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    make_store(root, episodes=10)
    return root


SIZE = ["--image-size", "16", "--encoder-channels", "4", "4", "--decoder-channels", "4", "4", "4"]


def train(dataset, logs, *flags):
    common = ["--preset", "tiny", "--dataset", str(dataset), "--logs", str(logs), "--device", "cpu"]
    trainvae.main([*common, *SIZE, *flags])
    return RunDir(logs, "vae")


def test_a_run_leaves_everything_it_promises(dataset, tmp_path, capsys):
    run = train(dataset, tmp_path, "--latent-size", "5")
    checkpoint = load_checkpoint(run.best, "nvae")
    assert checkpoint.info["env"] == ENV_SPEC
    assert checkpoint.info["dataset"]
    model = models.build(checkpoint)
    assert isinstance(model, VisionModel)
    assert model.latent_size == 5
    rows = read_metrics(run.metrics)
    assert [row["step"] for row in rows] == [3, 6]
    for name in ("loss", "elbo", "kl", "kl_group_0", "kl_group_2", "mse_road", "mse_car"):
        assert f"validation/{name}" in rows[-1]
    pictures = {path.name for path in run.pictures.iterdir()}
    assert pictures == {"reconstructions.png", "samples.png", "kl_per_group.png"}
    scores = json.loads((run.path / "quality.json").read_text())
    assert scores["steps"] == 6
    assert {"mse_road", "mse_car", "elbo", "frames_per_s"} <= scores.keys()
    frames = FrameSet(EpisodeStore(dataset), "test", 16).spread(16)
    torch.manual_seed(0)
    assert scores["mse"] == evaluate(model.eval(), frames, {})["mse"], "by frames that nothing was chosen by"
    assert "MSE road" in capsys.readouterr().out


def test_one_command_at_a_time(dataset, tmp_path):
    with RunDir(tmp_path, "vae").lock(), pytest.raises(UserError, match="another command is at work"):
        train(dataset, tmp_path)
    assert not RunDir(tmp_path, "vae").checkpoints.exists()


def test_a_finished_run_says_so_and_goes_on_when_asked(dataset, tmp_path, capsys):
    run = train(dataset, tmp_path)
    before = run.best.read_bytes()
    train(dataset, tmp_path)
    assert "--fresh to start over" in capsys.readouterr().out
    assert run.best.read_bytes() == before
    train(dataset, tmp_path, "--max-steps", "9")
    assert read_metrics(run.metrics)[-1]["step"] == 9


def test_resumed_equals_uninterrupted(dataset, tmp_path, monkeypatch):
    whole = train(dataset, tmp_path / "whole")
    draw, calls = trainvae.draw, []

    def interrupt(*args):
        draw(*args)
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainvae, "draw", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "parts", "--eval-every", "2")
    monkeypatch.undo()
    parts = train(dataset, tmp_path / "parts", "--eval-every", "2")
    one, two = load_state(whole.state), load_state(parts.state)
    assert one["progress"]["step"] == two["progress"]["step"] == 6
    for kept in ("model", "average"):
        for name, value in one[kept].items():
            assert torch.equal(value, two[kept][name]), name


def test_the_yardstick_lands_beside_the_nvae(tmp_path):
    make_store(tmp_path / "data", size=64, length=2)
    flags = [
        "--preset",
        "tiny",
        "--dataset",
        str(tmp_path / "data"),
        "--logs",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    trainvae.main([*flags, "--arch", "vae", "--stage", "vae-plain", "--max-steps", "2"])
    trainvae.main([*flags, "--max-steps", "2"])
    plain = json.loads((tmp_path / "vae-plain" / "quality.json").read_text())
    ours = json.loads((tmp_path / "vae" / "quality.json").read_text())
    assert (plain["arch"], ours["arch"]) == ("vae", "nvae")
    assert plain.keys() == ours.keys()


def test_another_model_in_the_run_directory_is_refused(dataset, tmp_path):
    run = train(dataset, tmp_path)
    before = run.latest.read_bytes()
    with pytest.raises(UserError, match="--latent-size 32, not 16"):
        train(dataset, tmp_path, "--latent-size", "16")
    with pytest.raises(UserError, match="--arch nvae, not vae"):
        trainvae.check_same_model(run, VAE(VAEConfig()), EpisodeStore(dataset))
    assert run.latest.read_bytes() == before
    train(dataset, tmp_path, "--latent-size", "16", "--fresh")
    assert load_checkpoint(run.latest).config["latent_size"] == 16


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--latent-size", "1"], "latent_size must be at least 3"),
        (["--batch-size", "0"], "--batch-size must be positive"),
        (["--learning-rate", "-1"], "--learning-rate must be positive"),
        (["--validation-frames", "0"], "--validation-frames must be positive"),
        (["--max-frames", "0"], "--max-frames must be positive"),
        (["--stage", "a/b"], "--stage must be a plain folder name"),
        (["--image-size", "32"], "holds 16x16 frames but V takes 32x32"),
    ],
)
def test_impossible_flags_are_one_sentence(dataset, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        train(dataset, tmp_path, *flags)
    assert not (tmp_path / "vae").exists()


def test_a_missing_or_small_dataset_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no dataset"):
        train(tmp_path / "nowhere", tmp_path / "run")
    make_store(tmp_path / "one", episodes=1)
    with pytest.raises(UserError, match="too few rollouts"):
        train(tmp_path / "one", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_or_foreign_checkpoint_is_one_sentence(dataset, tmp_path):
    run = train(dataset, tmp_path)
    whole = run.latest.read_bytes()
    for broken in (whole[: len(whole) // 2], b"not a checkpoint"):
        run.latest.write_bytes(broken)
        with pytest.raises(UserError, match="damaged"):
            train(dataset, tmp_path)
        assert run.latest.read_bytes() == broken


def test_dry_run_prints_the_plan_and_touches_nothing(tmp_path, capsys):
    trainvae.main(["--logs", str(tmp_path / "run"), "--dataset", str(tmp_path / "none"), "--dry-run"])
    text = capsys.readouterr().out
    assert '"latent_size": 32' in text
    assert "z[22:32]" in text
    assert "parameters" in text
    assert not (tmp_path / "run").exists()


def test_unknown_flags_end_with_code_two(capsys):
    with pytest.raises(SystemExit) as error:
        cli.run(lambda: trainvae.main(["--no-such-flag"]))
    assert error.value.code == 2
    assert "no-such-flag" in capsys.readouterr().err
