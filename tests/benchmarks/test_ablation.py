"""The tables of ablations fill themselves, at tiny size, and go on where they stopped."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import ablation
from benchmarks.ablation import TABLES, Ablation, AblationConfig, Row
from data import generation_script
from data.episodes import EpisodeStore
from data.frames import FrameSet
from models.vae import VAE, VAEConfig
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError


def test_rows_of_a_table_are_trained_evolved_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    dataset, logs = tmp_path / "data", tmp_path / "ablation"
    flags = ["--seq-len", "30", "--action-repeat", "8", "--policy", "brown", "--threads", "1"]
    generation_script.main(["--rollouts", "10", "--rootdir", str(dataset), *flags])
    monkeypatch.setitem(ablation.TABLES, "levers", [Row("z alone", controller=("--features", "z"))])
    sizes = {"--seeds": 2, "--generations": 1, "--vae-steps": 2, "--mdrnn-steps": 2, "--episodes": 2}
    flags = [str(part) for pair in sizes.items() for part in pair] + ["--validation-episodes", "2", "--tiny"]
    argv = ["--table", "levers", "--logs", str(logs), "--dataset", str(dataset), *flags]
    capsys.readouterr()
    ablation.main(argv)
    first = capsys.readouterr().out
    runs = json.loads((logs / "levers.json").read_text())["runs"]
    assert [(run["row"], run["seed"]) for run in runs] == [("z alone", 0), ("z alone", 1)]
    returns = np.array([run["returns"] for run in runs])
    assert returns.shape == (2, 2)
    assert np.isfinite(returns).all()
    each = ", ".join(f"{mean:.0f}" for mean in returns.mean(axis=1))
    medians = ", ".join(f"{median:.0f}" for median in np.median(returns, axis=1))
    curves = "; ".join(", ".join(f"{v:.0f}" for v in run["validation"].values()) for run in runs)
    assert f"| z alone | {each} | {returns.mean():.0f} | {medians} | 2, 2 | {curves} |" in first
    log = (logs / "levers" / "v-m" / "log.txt").read_text()
    assert log.count("NLL ") == 1, "two jobs, side by side, need the same M: it is trained once"
    best = logs / "levers" / "c-z-alone-0" / "controller-dream" / "checkpoints" / "best.safetensors"
    assert load_checkpoint(best).config["feature_size"] == 32, "the row's flag was heeded"
    shutil.rmtree(dataset)
    ablation.main(argv)
    assert capsys.readouterr().out == first, "nothing is done twice"
    ablation.main([*argv, "--generations", "2"])
    longer = json.loads((logs / "levers.json").read_text())["runs"]
    assert [list(run["validation"]) for run in longer] == [["0", "1", "2"]] * 2, "the same evolutions go on"
    for flag in ("--mdrnn-steps", "3"), ("--generations", "1"):
        with pytest.raises(UserError, match="begun with other settings"):
            ablation.main([*argv, *flag])


@pytest.mark.parametrize("table", TABLES)
def test_a_row_changes_one_thing_and_has_a_name_of_its_own(table: str):
    rows = TABLES[table]
    assert not any(rows[0][1:]), "the first row changes nothing"
    assert len({row.name for row in rows}) == len({row[1:] for row in rows}) == len(rows)


@pytest.mark.parametrize("table", TABLES)
def test_rows_share_v_and_m_only_where_their_flags_are_the_same(table: str):
    rows = TABLES[table]
    assert len({row.vision_name for row in rows}) == len({row.vae for row in rows})
    assert len({row.world_name for row in rows}) == len({(row.vae, row.mdrnn) for row in rows})


def test_a_v_whose_training_was_killed_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = Ablation(AblationConfig(logs=tmp_path))
    calls: list[str] = []
    monkeypatch.setattr(asked, "run", lambda script, *_: calls.append(script))
    weights = tmp_path / "parts" / "v" / "vae" / "checkpoints" / "best.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()  # the best so far
    assert asked.vision(Row("any")) == weights
    (tmp_path / "parts" / "v" / "vae" / "quality.json").touch()
    assert asked.vision(Row("any")) == weights
    assert calls == ["trainvae.py"]


def test_an_untrained_v_is_scaled_so_that_its_numbers_differ_between_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset = tmp_path / "data"
    generation_script.main(
        [
            "--rollouts",
            "10",
            "--rootdir",
            str(dataset),
            "--seq-len",
            "8",
            "--policy",
            "brown",
            "--threads",
            "1",
        ]
    )
    weights = tmp_path / "parts" / "v-arch-vae---max-steps-0" / "vae" / "checkpoints" / "best.safetensors"
    torch.manual_seed(0)
    model = VAE(VAEConfig(image_size=64))
    save_checkpoint(weights, model.to_checkpoint({"env": "some"}))
    (weights.parents[1] / "quality.json").touch()
    monkeypatch.setattr(ablation, "SCALED_ON", 64)
    asked = Ablation(AblationConfig(logs=tmp_path, dataset=dataset))
    row = next(row for row in TABLES["parts"] if row.vae == ablation.RANDOM)
    scaled = load_checkpoint(asked.vision(row))
    assert scaled.info == {"env": "some"}
    frames = FrameSet(EpisodeStore(dataset), "train").batch_at(0, 64, seed=0)
    std, mean = torch.std_mean(VAE.from_checkpoint(scaled).encode(frames)[0], dim=0)
    assert model.encode(frames)[0].std(dim=0).max() < 0.5
    assert torch.allclose(mean, torch.zeros(32), atol=1e-3)
    assert torch.allclose(std, torch.ones(32), atol=1e-3)
    assert asked.vision(row).name == "scaled.safetensors"


def test_impossible_numbers_are_refused():
    with pytest.raises(UserError, match="--jobs must be positive"):
        AblationConfig(jobs=0)
