"""`--help` of every command equals its committed text, which so freezes the flags and shows them to readers.

`make help-texts` (or `python -m tests.test_help`) writes docs/help/ anew when a flag was changed on purpose.
"""

import contextlib
import importlib
import io
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "help"
COMMANDS = {
    "generation_script": "data.generation_script",
    "trainvae": "trainvae",
    "trainmdrnn": "trainmdrnn",
    "traincontroller": "traincontroller",
    "test_controller": "test_controller",
    "run_pipeline": "run_pipeline",
    "dream": "data.dream_page.command",
}


def help_text(module: str) -> str:
    """What the command prints for --help, in 100 columns."""
    main = importlib.import_module(module).main
    page = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(page):
        patch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as stop:
            main(["--help"])
    assert not stop.value.code
    page.seek(0)
    return page.read()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_equals_its_committed_text(name: str):
    assert help_text(COMMANDS[name]) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8"), (
        "--help has changed; if it was meant to, run: make help-texts"
    )


def test_no_text_is_left_over():
    assert {path.stem for path in FOLDER.iterdir()} == set(COMMANDS)


def write_all() -> None:
    """Write docs/help/ anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, module in COMMANDS.items():
        (FOLDER / f"{name}.txt").write_text(help_text(module), encoding="utf-8")
        print(os.path.relpath(FOLDER / f"{name}.txt"))


if __name__ == "__main__":
    write_all()
