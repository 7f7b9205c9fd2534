"""A page in one file: pictures and videos are embedded, nothing is fetched."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from utils.files import atomic_write

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.words { text-align: left; } td.words { white-space: normal; }
th { background: var(--soft); }
figure { margin: 1rem 0; } figcaption { font-size: .88rem; opacity: .8; }
img, video { max-width: 100%; } img.pixels { image-rendering: pixelated; } video { width: 100%; background: #000; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: .82rem; }
.lead { font-size: 1.15rem; }
"""


class Page:
    """A page under construction; every method appends and escapes what it is given."""

    def __init__(self, title: str):
        self._title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """A section's heading."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, lead: bool = False) -> None:
        """A paragraph."""
        self._parts.append(f"<p{' class=lead' if lead else ''}>{html.escape(text)}</p>")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; numbers are the caller's to format, long texts wrap."""
        body = "".join(_row(row, "td") for row in rows)
        self._parts.append(f"<table><thead>{_row(head, 'th')}</thead><tbody>{body}</tbody></table>")

    def pictures(self, items: Sequence[tuple[bytes, str]]) -> None:
        """PNG pictures with their captions, side by side where the window is wide enough."""
        figures = "".join(
            f'<figure><img class="pixels" alt="{html.escape(caption)}" src="{_data_url("image/png", png)}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for png, caption in items
        )
        self._parts.append(f'<div class="row">{figures}</div>')

    def video(self, mp4: bytes, caption: str) -> None:
        """An H.264 video."""
        self._parts.append(
            f'<figure><video controls loop muted playsinline src="{_data_url("video/mp4", mp4)}"></video>'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )

    def details(self, summary: str, text: str) -> None:
        """Preformatted text that opens on a click."""
        self._parts.append(
            f"<details><summary>{html.escape(summary)}</summary><pre>{html.escape(text)}</pre></details>"
        )

    def write(self, path: Path) -> None:
        """Write the page, atomically."""
        head = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self._title)}</title><style>{STYLE}</style></head>"
        )
        atomic_write(path, f"{head}<body>{''.join(self._parts)}</body></html>\n".encode())


def _row(cells: Sequence[object], tag: str) -> str:
    texts = [html.escape(str(cell)) for cell in cells]
    return "<tr>" + "".join(f"<{tag}{' class=words' * (len(t) > 40)}>{t}</{tag}>" for t in texts) + "</tr>"


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
