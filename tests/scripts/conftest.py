"""What these tests share: runs that hold V and M, or everything, and a command that must refuse."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.tiny_store import make_store
from tests.scripts.six_commands import COMMANDS, SPEC, train_c, train_m, train_v
from tests.scripts.tiny_run import make_run
from utils import cli


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with V, M and start states, all of them tiny."""
    return make_run(tmp_path_factory.mktemp("models"))


@pytest.fixture
def logs(models: Path, tmp_path: Path) -> Path:
    return shutil.copytree(models, tmp_path / "run")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a dataset and everything that the stages leave, made by the commands themselves."""
    root = tmp_path_factory.mktemp("whole")
    make_store(root / "data", env_spec=SPEC)
    train_v(root)
    train_m(root)
    for env in ("real", "dream"):
        train_c(root, "--env", env)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def contents(root: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


@pytest.fixture
def refuse(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail as a user would have it; returns its one sentence."""

    def run(command: str, *flags: str, at: Path = root) -> str:
        capsys.readouterr()
        before = contents(root.parent)
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: COMMANDS[command](at, *flags))
        said = capsys.readouterr().err
        assert stop.value.code == 2, said
        assert said.startswith("error: "), said
        assert said.count("\n") == 1, said
        after = contents(root.parent)
        assert after.keys() == before.keys(), after.keys() ^ before.keys()
        assert [path for path in before if before[path] != after[path]] == []
        return said

    return run
