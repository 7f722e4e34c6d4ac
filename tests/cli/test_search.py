"""The .vqz files that info and verify find."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import run


def test_only_files_are_read_in_a_folder(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opening a pipe would block, and reading a device would never end."""
    os.mkfifo(mixed / "pipe.vqz")
    (mixed / "zero.vqz").symlink_to("/dev/zero")
    (mixed / "sub" / "cut.VQZ").unlink()
    assert run(capsys, "verify", mixed, "--quiet") == (0, "", "")
    assert json.loads(run(capsys, "info", mixed, "--json", "--quiet")[1])["skipped"][-2:] == [
        str(mixed / "pipe.vqz"),
        str(mixed / "zero.vqz"),
    ]


def test_a_folder_without_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, missing in (("info", ".vqz files"), ("verify", ".vqz files or packs")):
        assert run(capsys, command, tmp_path) == (3, "", f"vqcodec: no {missing} in {tmp_path}\n")


def test_files_that_the_system_refuses(
    photo: Path, vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`open` is replaced because tests may run as root, who can read everything."""
    opened = open

    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(os.fspath(path)).name == "secret.vqz":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)
    monkeypatch.setattr("builtins.open", refusing)
    code, out, _ = run(capsys, "verify", tmp_path / "secret.vqz", vqz)
    assert code == 3
    assert out.splitlines() == [
        f"{tmp_path}/secret.vqz: FAILED: cannot read {tmp_path}/secret.vqz: Permission denied",
        f"{vqz}: ok",
    ]
    assert run(capsys, "decode", tmp_path / "secret.vqz", tmp_path / "x.png")[0] == 3
