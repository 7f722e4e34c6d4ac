"""Self-contained HTML pages with viewers of pictures: a divider between two of them, zoom and difference.

viewer.js makes the viewer from figures, which stand side by side where scripts are off. Nothing is loaded: pictures, style and
script are in the page, and its content security policy forbids everything else.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from PIL import Image

from vqcodec.arrays import UInt8
from vqcodec.bench.report import TextTable

_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
HELP: Final = (
    "Drag the divider, or move it with the arrow keys. Keys: s slider, l left, r right, d difference, x swap, "
    "+ and - zoom, 0 fit, 1 one to one. Ctrl and the wheel zoom, too."
)


class Figure(NamedTuple):
    """A picture of a viewer; `pixels`, uint8 [H, W] or [H, W, 3], is None where there is only the caption."""

    name: str
    caption: str
    pixels: UInt8 | None


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of parts in HTML."""
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("viewer.css", "viewer.js"))
    head = [
        "<!doctype html>",
        "<html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>",
    ]
    return "\n".join([*head, *parts, f"<script>{script}</script></body></html>"]) + "\n"


def viewer(figures: Sequence[Figure]) -> str:
    """A viewer of figures of equal size: the first is at the left, the second at the right."""
    kind = "viewer two" if len(figures) == 2 else "viewer"
    return f"<section class='{kind}'><div class='figures'>{''.join(map(_figure, figures))}</div></section>"


def table(content: TextTable) -> str:
    """A table as HTML, with its title as a heading."""
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in content.header)] if any(content.header) else []
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in content.rows]
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{html.escape(content.title)}</h2><div class='table'><table>{rows}</table></div>"


def png(image: Image.Image) -> bytes:
    """The bytes of a picture as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _figure(figure: Figure) -> str:
    caption = f"<figcaption>{html.escape(figure.caption)}</figcaption>"
    if figure.pixels is None:
        return f"<figure>{caption}</figure>"
    height, width = figure.pixels.shape[:2]
    data = base64.b64encode(png(Image.fromarray(figure.pixels))).decode()
    source = f"data:image/png;base64,{data}"
    return f"<figure><img width='{width}' height='{height}' alt='{html.escape(figure.name)}' src='{source}'>{caption}</figure>"
