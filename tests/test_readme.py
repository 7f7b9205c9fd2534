"""What the documents say can be typed and followed: commands parse, make targets and linked files exist."""

import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from utils import cli

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "pretrained").rglob("*.md"))]


class ParsedError(Exception):
    """Raised instead of starting the work."""


def command_lines() -> list[list[str]]:
    """The commands of the bash blocks of README and docs/carla.md, cut into words."""
    text = "\n".join(path.read_text() for path in (README, ROOT / "docs" / "carla.md"))
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [part for line in lines for part in shlex.split(line, comments=True) and line.split("&&")]
    return [shlex.split(command, comments=True) for command in commands]


@pytest.mark.parametrize("words", [c for c in command_lines() if c[0] == "python"], ids=" ".join)
def test_every_python_command_of_the_readme_parses(words: list[str], monkeypatch: pytest.MonkeyPatch):
    """Each script's own main runs until its flags are understood; no dataset, V or M is needed for that."""
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]), f"there is no module {words[2]}"
        return
    assert (ROOT / words[1]).is_file()
    parse = cli.parse

    def parse_only(*args: Any, **options: Any) -> Any:
        parse(*args, **options)
        raise ParsedError

    monkeypatch.setattr(cli, "parse", parse_only)
    script = importlib.import_module(words[1].removesuffix(".py").replace("/", "."))
    with pytest.raises(ParsedError):
        script.main(words[2:])


def test_every_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for words in command_lines() if words[0] == "make" for word in words[1:] if "=" not in word}
    assert named, "the README tells what to make"
    assert named <= targets


def links() -> list[tuple[str, str]]:
    """(document, target) of every relative link and picture."""
    found = []
    for path in DOCUMENTS:
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)\s#]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
        found += [(str(path.relative_to(ROOT)), target) for target in targets if ":" not in target]
    return found


@pytest.mark.parametrize(("document", "target"), links())
def test_every_relative_link_leads_somewhere(document: str, target: str):
    assert ((ROOT / document).parent / target).exists(), f"{document} points to {target}"


def test_links_are_found_at_all():
    assert ("README.md", "docs/alignment.md") in links()
