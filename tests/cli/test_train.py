"""The command train, briefly; tests/train has more."""

from pathlib import Path

import pytest

from helpers.commands import run


def test_train_refuses_early(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    code, _, err = run(capsys, "train", tmp_path, "-o", tmp_path / "model", "--kind", "lite")
    assert (code, err) == (5, f"vqcodec: {tmp_path}/model exists already; -f overwrites it\n")
    assert run(capsys, "train", tmp_path, "-o", tmp_path / "new", "--kind", "token-prior")[0] == 2
