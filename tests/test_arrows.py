"""A room imports only rooms to its left: utils <- models <- envs <- data <- root scripts <- tests, benchmarks."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ["utils", "models", "envs", "data", "scripts", "benchmarks"]
FORBIDDEN = {"models": {"tyro", "gymnasium", "h5py", "tqdm"}, "utils": {"gymnasium", "carla"}}


def room_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first if first in ROOMS else "scripts"


def sources() -> list[Path]:
    rooms = [path for room in ROOMS if room != "scripts" for path in (ROOT / room).rglob("*.py")]
    return sorted(rooms + list(ROOT.glob("*.py")))


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_left(path):
    room = room_of(path)
    scripts = {script.stem for script in ROOT.glob("*.py")} | {"data.generation_script"}
    for name in imports(path):
        first = name.split(".")[0]
        assert name not in scripts, f"{path.name} imports the script {name}"
        assert first != "tests", f"{path.name} imports tests"
        assert first not in FORBIDDEN.get(room, set()), f"{room} imports {first}"
        if first in ROOMS:
            assert ROOMS.index(first) <= ROOMS.index(room), f"{room} imports {first}"
        if first == "carla":
            assert "envs/carla" in path.as_posix(), "carla is imported inside envs/carla only"


def modules_named(path: Path) -> set[str]:
    """Modules of ours that a file names in a string of its code, to be imported later."""
    texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    names = {text.partition(":")[0] for text in texts if isinstance(text, str)}
    dotted = {name for name in names if re.fullmatch(r"\w+(\.\w+)+", name)}
    return {name for name in dotted if (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()}


def test_two_modules_alone_are_named_from_their_left():
    """`envs` is the door to dreams and to their page, which `data` makes, since it loads run directories."""
    right = set()
    for path in sources():
        here = ROOMS.index(room_of(path))
        named = modules_named(path)
        right |= {name for name in named if ROOMS.index(room_of(ROOT / name.replace(".", "/"))) > here}
    assert right == {"data.dreams", "data.dream_page.command"}


def test_no_module_bears_a_librarys_name():
    libraries = {"torch", "numpy", "gymnasium", "cma", "h5py", "tqdm", "carla", "tyro", "cv2", "av"}
    assert not libraries & {path.stem for path in (ROOT / "data").glob("*.py")}
