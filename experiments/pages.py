"""Writes the pages of docs/ that experiments make. No command; the experiments import it."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
OUT = DOCS.parent / "out"
_UNWRAPPED = ("#", "|", "- ", "!", "```", "**")
"""Beginnings of headings, tables, lists, pictures, code and the bench's own paragraphs."""


def write_page(name: str, parts: Sequence[str]) -> None:
    """Write docs/NAME from its parts, with an empty line between them and paragraphs wrapped at 120 characters."""
    wrapped = [part if part.startswith(_UNWRAPPED) else textwrap.fill(part, 120, break_long_words=False) for part in parts]
    (DOCS / name).write_text("\n\n".join(wrapped) + "\n", encoding="utf-8")


def code_block(text: str) -> str:
    return f"```\n{text}\n```"
