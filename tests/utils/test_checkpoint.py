import pickle

import pytest
import torch
from safetensors.torch import save_file

from utils.checkpoint import Checkpoint, fingerprint, load_checkpoint, load_state, save_checkpoint, save_state
from utils.errors import UserError

MODEL = Checkpoint("vae", {"latent_size": 4}, {"w": torch.arange(6.0).view(2, 3).T}, {"score": None})


def test_round_trip(tmp_path):
    path = tmp_path / "sub" / "best.safetensors"
    save_checkpoint(path, MODEL)
    again = load_checkpoint(path, "vae")
    assert again[:2] == MODEL[:2]
    assert again.info == MODEL.info
    assert torch.equal(again.weights["w"], MODEL.weights["w"])
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode, "others may read it, as any file"
    before = fingerprint(path)
    save_checkpoint(path, MODEL._replace(weights={"w": torch.zeros(1)}))
    assert fingerprint(path) != before


def test_the_same_model_has_the_same_bytes(tmp_path):
    """The library's own order of the metadata changes from call to call; a fingerprint must not."""
    marks = set()
    for i in range(20):
        save_checkpoint(tmp_path / f"{i}.safetensors", MODEL)
        marks.add(fingerprint(tmp_path / f"{i}.safetensors"))
    assert len(marks) == 1


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "best.safetensors"
    with pytest.raises(UserError, match="does not exist; train this stage first"):
        load_checkpoint(path)
    save_checkpoint(path, MODEL)
    with pytest.raises(UserError, match="holds a vae, but a mdnrnn is needed"):
        load_checkpoint(path, "mdnrnn")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not written by this project"):
        load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def test_state_round_trip_and_damage(tmp_path):
    path = tmp_path / "state.pt"
    state = {"step": 3, "best": float("inf"), "weights": {"w": torch.ones(2)}, "names": ["a"]}
    save_state(path, state)
    again = load_state(path)
    assert torch.equal(again["weights"]["w"], torch.ones(2))
    assert again["best"] == float("inf")
    for content in (path.read_bytes()[:100], b"", pickle.dumps(pytest.Item), b"hello"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"state\.pt is damaged or foreign"):
            load_state(path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, Checkpoint("toy", {}, {"w": torch.ones(1)}, {}))

    def locked(*_, **__):  # root may read whatever its mode says
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(path), "open", locked)
    with pytest.raises(PermissionError):
        load_checkpoint(path)
