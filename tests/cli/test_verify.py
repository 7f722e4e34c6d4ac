"""The command verify."""

import json
from pathlib import Path

import pytest

from helpers.commands import run


def test_verify_a_folder(mixed: Path, vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = ", ".join(str(mixed / name) for name in ("link", "notes.txt", "pipe"))
    code, out, err = run(capsys, "verify", mixed, vqz)
    assert code == 3
    assert out.splitlines() == [
        f"{mixed}/a.vqz: ok",
        f"{mixed}/sub/cut.VQZ: FAILED: corrupt file: its checksum is wrong",
        f"{mixed}/sub/plain: ok",
        f"{vqz}: ok",
    ]
    assert err == f"vqcodec: 3 ok, 1 failed; 3 skipped (not .vqz files): {skipped}\n"
    assert run(capsys, "verify", mixed, "--quiet") == (3, f"{out.splitlines()[1]}\n", "")
    code, out, err = run(capsys, "verify", mixed, "--json", "--quiet")
    assert (code, err) == (3, "")
    facts = json.loads(out)
    assert (facts["ok"], facts["failed"], facts["skipped"]) == (2, 1, skipped.split(", "))
    assert [(Path(one["file"]).name, one["ok"], one.get("exit_code")) for one in facts["files"]] == [
        ("a.vqz", True, None),
        ("cut.VQZ", False, 3),
        ("plain", True, None),
    ]


def test_verify_continues_after_a_failure(vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(vqz.read_bytes())
    damaged[-3] ^= 0x10
    (tmp_path / "bad\n.vqz").write_bytes(damaged)
    code, out, err = run(capsys, "verify", tmp_path / "bad\n.vqz", vqz, tmp_path / "none.vqz")
    first, second, third = out.splitlines()
    assert (code, err) == (3, "vqcodec: 1 ok, 2 failed\n")
    assert first.startswith(f"{tmp_path}/bad\\n.vqz: FAILED: ")
    assert second == f"{vqz}: ok"
    assert "FAILED: cannot read" in third
    assert run(capsys, "verify", vqz) == (0, f"{vqz}: ok\n", "")
