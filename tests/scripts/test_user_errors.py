"""What users do wrong, over all six commands: one sentence, exit code 2, and nothing written, changed or removed."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import run_pipeline
from data.trained import load_controller, load_world_model, run_files
from tests.data.tiny_store import make_store
from tests.scripts.six_commands import COMMANDS, SPEC, checkpoint, collect, score, train_c, train_m, train_v
from tests.scripts.tiny_run import make_run
from utils import cli
from utils.checkpoint import FORMAT, fingerprint, load_checkpoint, load_state, save_checkpoint
from utils.run_dir import RunDir


@pytest.mark.parametrize(
    ("command", "flags", "missing"),
    [
        ("M", (), "vae/checkpoints/best.safetensors"),
        ("C", (), "vae/checkpoints/best.safetensors"),
        ("score", (), "vae/checkpoints/best.safetensors"),
        ("collect", ("--policy", "controller"), "vae/checkpoints/best.safetensors"),
        ("C", (), "mdrnn/checkpoints/best.safetensors"),
        ("score", (), "mdrnn/checkpoints/best.safetensors"),
        ("collect", ("--policy", "controller"), "mdrnn/checkpoints/best.safetensors"),
        ("collect", ("--policy", "controller"), "controller/checkpoints/best.safetensors"),
        ("C", ("--env", "dream"), "mdrnn/starts.safetensors"),
        ("score", ("--env", "dream"), "mdrnn/starts.safetensors"),
        ("collect", ("--env", "dream"), "mdrnn/starts.safetensors"),
        ("V", (), "data"),
        ("M", (), "data"),
    ],
)
def test_what_is_missing_is_named(root: Path, refuse, command: str, flags: tuple[str, ...], missing: str):
    path = root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if missing.startswith("controller/"):
        shutil.rmtree(root / "controller-dream")  # it would drive instead
    said = refuse(command, *flags)
    assert str(path) in said
    assert "run train" in said or "make one with: python data/generation_script.py" in said


def foreign(path: Path, config: str | None, info: str = "{}", kind: str | None = None) -> None:
    """A safetensors file with our mark, whose header says something else."""
    header = {"format": FORMAT, "kind": kind, "config": config, "info": info}
    save_file({"w": torch.zeros(1)}, path, {name: text for name, text in header.items() if text is not None})


HARM: dict[str, Callable[[Path, str], object]] = {
    "truncated": lambda path, kind: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path, kind: path.write_bytes(b""),
    "not ours": lambda path, kind: save_file({"w": torch.zeros(1)}, path),
    "no kind": lambda path, kind: foreign(path, "{}"),
    "no JSON": lambda path, kind: foreign(path, "{", kind=kind),
    "a list": lambda path, kind: foreign(path, "[]", kind=kind),
    "a strange config": lambda path, kind: foreign(path, '{"low": null, "latent_size": "x"}', kind=kind),
    "another kind": lambda path, kind: foreign(path, "{}", kind="teapot"),
}
WHO_READS: dict[str, tuple[str, str, list[tuple[str, tuple[str, ...]]]]] = {
    "V": ("vae/checkpoints/best", "nvae", [("M", ()), ("C", ()), ("score", ())]),
    "M": ("mdrnn/checkpoints/best", "mdrnn", [("C", ()), ("collect", ("--policy", "controller"))]),
    "C": (
        "controller/checkpoints/best",
        "controller",
        [("score", ()), ("collect", ("--policy", "controller"))],
    ),
    "starts": ("mdrnn/starts", "starts", [("C", ("--env", "dream")), ("score", ("--env", "dream"))]),
    "V to go on with": ("vae/checkpoints/latest", "nvae", [("V", ("--max-steps", "8"))]),
    "M to go on with": ("mdrnn/checkpoints/latest", "mdrnn", [("M", ("--max-steps", "8"))]),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("what", WHO_READS)
def test_a_foreign_or_damaged_checkpoint_is_named_by_whoever_reads_it(
    root: Path, refuse, what: str, harm: str
):
    place, kind, readers = WHO_READS[what]
    path = root / f"{place}.safetensors"
    HARM[harm](path, kind)
    for command, flags in readers:
        said = refuse(command, *flags)
        assert str(path.parent.parent) in said
        assert any(words in said for words in ("again", "--fresh", "point --logs", "needed"))


STATES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "junk": lambda path: path.write_bytes(b"junk"),
    "another dict": lambda path: torch.save({"a": 1}, path),
    "a list": lambda path: torch.save([1], path),
    "hollow": lambda path: torch.save({name: {} for name in torch.load(path)}, path),
}


@pytest.mark.parametrize("harm", STATES)
@pytest.mark.parametrize(("command", "stage"), [("V", "vae"), ("M", "mdrnn"), ("C", "controller")])
def test_a_foreign_or_damaged_state_is_named(root: Path, refuse, command: str, stage: str, harm: str):
    path = checkpoint(root, stage, "state.pt")
    flags = ("--generations", "2") if command == "C" else ("--max-steps", "8")
    if (command, harm) == ("C", "hollow"):  # of this V and M, else it would be set aside
        torch.save({**load_state(path), "evolution": {}}, path)
    else:
        STATES[harm](path)
    said = refuse(command, *flags)
    assert str(path) in said
    assert "--fresh" in said


def test_other_stages_state_and_optimizer_are_refused(root: Path, refuse):
    assert "another model or optimizer" in refuse("V", "--optimizer", "adam", "--max-steps", "8")
    assert "another model or optimizer" in refuse("M", "--optimizer", "rmsprop", "--max-steps", "8")
    shutil.copy(checkpoint(root, "vae", "state.pt"), checkpoint(root, "mdrnn", "state.pt"))
    assert "another model or optimizer" in refuse("M", "--max-steps", "8")
    shutil.copy(checkpoint(root, "vae", "state.pt"), checkpoint(root, "controller", "state.pt"))
    assert "--fresh" in refuse("C", "--generations", "2")


def test_a_best_that_was_deleted_comes_back(root: Path):
    params = load_controller(run_files(root).controller, {20}).params
    for stage in ("vae", "mdrnn", "controller"):
        checkpoint(root, stage).unlink()
    train_v(root)
    train_m(root, "--max-steps", "8")
    load_world_model(run_files(root))
    shutil.rmtree(root / "controller")
    train_c(root)
    checkpoint(root, "controller").unlink()
    train_c(root)
    assert load_controller(run_files(root).controller, {20}).params.shape == params.shape


@pytest.mark.parametrize("harm", ["truncated", "junk"])
def test_damaged_latents_are_named_and_made_again(root: Path, capsys: pytest.CaptureFixture[str], harm: str):
    path = root / "mdrnn" / "latents.h5"
    whole = path.read_bytes()
    STATES[harm](path)
    train_m(root)
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said
    assert "Encoding the dataset again" in said
    assert len(path.read_bytes()) == len(whole)


def test_sizes_that_do_not_belong_together_are_refused(root: Path, refuse, tmp_path: Path):
    assert "--latent-size 4, not 6" in refuse("V", "--latent-size", "6")
    assert "hidden_size 16" in refuse("M", "--hidden-size", "6")
    assert "4 candidates" in refuse("C", "--pop-size", "6", "--generations", "2")
    other = make_run(tmp_path / "other", latent=6, env_spec=SPEC)
    for stage in ("vae", "mdrnn"):
        shutil.copy(checkpoint(other, stage), checkpoint(root, stage))
        if stage == "vae":
            assert "latent_size 4, but V or the dataset now asks for 6" in refuse("M")
            assert "another V" in refuse("C")
            assert "another V" in refuse("score")
    assert "sees 20 features" in refuse("score")
    assert "sees 20 features" in refuse("collect", "--policy", "controller")
    assert "M has changed since" in refuse("C", "--env", "dream", "--fresh")


def test_datasets_of_another_env_or_frame_size_or_too_small_are_refused(root: Path, refuse, tmp_path: Path):
    other = {"name": "WorldModels/CarRacing-v3", "options": SPEC["options"]}
    make_store(tmp_path / "v3", env_spec=other)
    make_store(tmp_path / "large", size=32, env_spec=SPEC)
    make_store(tmp_path / "few", episodes=1, env_spec=SPEC)
    make_store(tmp_path / "gone", env_spec={"name": "Gone-v0", "options": {}})
    for command in ("V", "M"):
        said = refuse(command, "--dataset", str(tmp_path / "v3"), "--max-steps", "8")
        assert "CarRacing-v2" in said
        assert "WorldModels/CarRacing-v3" in said
        for fresh in ((), ("--fresh",)):
            assert "32x32" in refuse(command, "--dataset", str(tmp_path / "large"), *fresh)
            assert "too few rollouts" in refuse(command, "--dataset", str(tmp_path / "few"), *fresh)
    assert "Gone-v0" in refuse("M", "--dataset", str(tmp_path / "gone"), "--fresh")
    said = refuse("collect", "--rootdir", str(root / "data"), "--size", "32", "--seq-len", "7")
    assert "was recorded with env" in said
    assert "multiple of 8" in refuse("collect", "--size", "17")
    assert "no env 'Gone-v0'" in refuse("collect", "--env", "Gone-v0")


def test_an_env_that_no_longer_fits_is_refused_before_anything_is_removed(root: Path, refuse):
    for spec, words in (
        ({"name": "Gone-v0", "options": {}}, "no env 'Gone-v0'"),
        ({"name": "CarRacing-v2", "options": {"wings": 2}}, "no option 'wings'"),
        ({"name": "CarRacing-v2", "options": {"size": 32}}, "V was trained on 16x16 frames"),
        ({"name": "CarRacing-v2"}, "does not say on which env"),
    ):
        memory = load_checkpoint(checkpoint(root, "mdrnn"))
        save_checkpoint(checkpoint(root, "mdrnn"), memory._replace(info={**memory.info, "env": spec}))
        files = run_files(root)
        starts = load_checkpoint(files.starts)
        save_checkpoint(files.starts, starts._replace(info={"memory": fingerprint(files.memory)}))
        assert words in refuse("C", "--fresh")
        assert words in refuse("score")


NOWHERE = ["under a file", "a file", "in /proc", "a name too long"]


@pytest.mark.parametrize("where", NOWHERE)
def test_a_folder_that_cannot_be_written_is_named_before_the_work(root: Path, refuse, where: str):
    (root / "file").write_text("mine")
    long = "x" * 300
    path = {
        "under a file": root / "file" / "x",
        "a file": root / "file",
        "in /proc": Path("/proc/x"),
        "a name too long": root / long,
    }[where]
    assert str(path) in refuse("collect", "--rootdir", str(path))
    assert str(path) in refuse("V", "--logs", str(path))
    assert str(path) in refuse("pipeline", "--logs", str(path))
    if where != "a file":
        for flag, name in (("--json", "a.json"), ("--record", "a.mp4")):
            assert str(path) in refuse("score", flag, str(path / name))
    for command, stage in (("V", "vae"), ("M", "mdrnn"), ("C", "controller")):
        shutil.rmtree(RunDir(root, stage).path / "pictures", ignore_errors=True)
        if where == "a file" and stage == "controller":
            shutil.rmtree(root / stage)
            (root / stage).write_text("mine")
            assert str(root / stage) in refuse(command)


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """What `ulimit -f` does: writing beyond fails, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("command", "kilobytes"),
    [
        ("collect", 8),
        ("V", 1),
        ("V", 30),
        ("M", 1),
        ("M", 30),
        ("C", 30),
        ("score", 0),
    ],
)
def test_a_full_disk_leaves_nothing_half_made_and_the_same_command_goes_on(
    root: Path, capsys: pytest.CaptureFixture[str], command: str, kilobytes: int
):
    flags = {
        "collect": ("--rollouts", "20", "--seq-len", "8"),
        "C": ("--generations", "2"),
        "score": ("--json", str(root / "a.json"), "--record", str(root / "a.gif")),
    }.get(command, ("--max-steps", "8"))
    if command == "M":
        (root / "mdrnn" / "latents.h5").unlink()
    capsys.readouterr()
    with no_file_above(1024 * kilobytes), pytest.raises(SystemExit) as stop:
        cli.run(lambda: COMMANDS[command](root, *flags))
    last = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2
    assert last.startswith("error: ")
    assert "size limit" in last or "cannot be written" in last
    assert not list(root.rglob("*.partial-*"))
    for path in root.rglob("*.safetensors"):
        load_checkpoint(path)
    for path in root.rglob("state.pt"):
        load_state(path)
    COMMANDS[command](root, *flags)


def test_a_pipeline_forgives_a_slip_before_anything_was_done_but_no_foreign_record(root: Path, refuse):
    folder = root / "all"
    config = run_pipeline.PRESETS["tiny"]
    run_pipeline.open_record(run_pipeline.replace(config, logs=folder, seed=9))
    assert (
        run_pipeline.open_record(run_pipeline.replace(config, logs=folder))["config"]["seed"] == config.seed
    )
    for text in ("{", "{}", "[1]", json.dumps({"config": {}, "done": {}})):
        (folder / "pipeline.json").write_text(text)
        assert str(folder / "pipeline.json") in refuse("pipeline")


def test_the_base_of_these_tests_is_sound(root: Path):
    """Without the harm, the same commands succeed: so it is the harm that they refuse."""
    score(root, "--json", str(root / "a.json"))
    assert np.isfinite(json.loads((root / "a.json").read_text())["mean"])
    train_c(root, "--generations", "2")
    collect(root, "--policy", "controller", "--seq-len", "3")
