"""Fixtures of the tests of files and folders."""

from pathlib import Path

import pytest
from PIL import Image

from helpers.pictures import smooth_picture


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six pictures in three folders, one of them damaged and two with the same stem, and a text file."""
    folder = tmp_path / "tree"
    for number, name in enumerate(("a.png", "b.jpg", "sub/c.png", "sub/c.jpg", "sub/deep/d.webp")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_picture(16, 24, seed=number)).save(path)
    (folder / "sub" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (folder / "notes.txt").write_text("no picture")
    return folder
