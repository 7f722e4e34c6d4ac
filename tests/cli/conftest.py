"""Fixtures of the tests of commands."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def mixed(vqz: Path, tmp_path: Path) -> Path:
    """A folder with two good files, one without a suffix, a damaged file, and files of other kinds."""
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.vqz").write_bytes(vqz.read_bytes())
    (folder / "sub" / "plain").write_bytes(vqz.read_bytes())
    (folder / "sub" / "cut.VQZ").write_bytes(vqz.read_bytes()[:-1])
    (folder / "notes.txt").write_text("no picture")
    (folder / "link").symlink_to(folder / "sub")
    os.mkfifo(folder / "pipe")
    return folder
