"""The commands pack, unpack and list, and verify of packs."""

import json
from pathlib import Path

import pytest
from PIL import Image

from helpers.commands import pixels_of, run, temporary_files
from helpers.packs import opened
from helpers.pictures import smooth_picture

FAST = ("-m", "photo-lite", "-q", "40", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "in"
    (found / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/b.png")):
        Image.fromarray(smooth_picture(16, 24, seed=number)).save(found / name)
    return found


def test_pack_list_verify_unpack(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack, out = tmp_path / "all.vqzs", tmp_path / "out"
    code, text, err = run(capsys, "pack", folder, pack, *FAST)
    assert (code, text) == (0, "")
    assert "done" in err
    code, text, err = run(capsys, "list", pack)
    assert code == 0
    assert [line.split()[:2] + line.split()[3:] for line in text.splitlines()] == [["24", "16", "a.png"], ["24", "16", "sub/b.png"]]
    assert err == f"vqcodec: 2 pictures, {pack.stat().st_size} bytes\n"
    facts = json.loads(run(capsys, "list", pack, "--json")[1])
    assert [one["name"] for one in facts["pictures"]] == ["a.png", "sub/b.png"]
    assert run(capsys, "verify", pack) == (0, f"{pack}: ok, 2 pictures\n", "")
    assert run(capsys, "unpack", pack, out, "sub/b.png", "--quiet") == (0, "", "")
    assert pixels_of(out / "sub" / "b.png").shape == (16, 24, 3)
    assert not (out / "a.png").exists()
    code, text, err = run(capsys, "unpack", pack, out)
    assert (code, "exists already" in err, (out / "a.png").exists()) == (5, True, True)
    assert run(capsys, "unpack", pack, out, "-f", "--quiet", "-j", "2")[0] == 0
    assert run(capsys, "pack", folder, pack, *FAST)[0] == 5
    assert run(capsys, "pack", folder, pack, *FAST, "-f", "--quiet") == (0, "", "")
    assert not temporary_files(tmp_path)


def test_damage_is_named_and_exits_with_3(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack, cut = tmp_path / "all.vqzs", tmp_path / "cut.vqzs"
    run(capsys, "pack", folder, pack, *FAST)
    cut.write_bytes(pack.read_bytes()[: opened(pack.read_bytes()).end - 2])
    for command in (("list", cut), ("unpack", cut, tmp_path / "out")):
        code, text, err = run(capsys, *command)
        assert (code, text) == (3, "")
        assert "its end is missing (--allow-partial reads what is left)" in err
    code, text, _ = run(capsys, "verify", cut)
    assert (code, text.count("FAILED")) == (3, 1)
    code, _, err = run(capsys, "unpack", cut, tmp_path / "out", "--allow-partial")
    assert code == 0
    assert "lost: sub/b.png: truncated pack: the picture is cut off" in err
    assert (tmp_path / "out" / "a.png").exists()
    code, text, err = run(capsys, "list", cut, "--allow-partial")
    assert (code, text.count("png")) == (0, 2)


def test_verify_finds_packs_in_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Name or first bytes tell a pack, so that none is skipped as no .vqz file."""
    whole = tmp_path / "all.vqzs"
    run(capsys, "pack", folder, whole, *FAST)
    (tmp_path / "no name").write_bytes(whole.read_bytes())
    (tmp_path / "spoilt.vqzs").write_bytes(b"x" + whole.read_bytes()[1:])
    code, text, err = run(capsys, "verify", tmp_path)
    assert code == 3
    assert [line.rsplit("/", 1)[1].split(",")[0] for line in text.splitlines()[:2]] == ["all.vqzs: ok", "no name: ok"]
    assert "spoilt.vqzs: FAILED" in text
    assert "2 ok, 1 failed; 2 skipped" in err
    assert run(capsys, "info", tmp_path)[0] == 3  # `list` is for packs


def test_wrong_usage(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "all.vqzs"
    run(capsys, "pack", folder, pack, *FAST)
    (tmp_path / "text").write_text("text")
    (tmp_path / "empty").mkdir()
    for arguments, code, message in [
        (("pack", folder / "a.png", tmp_path / "new.vqzs"), 2, "is not a folder"),
        (("pack", folder, tmp_path / "new.vqzs", "--append", "-f"), 2, "exclude each other"),
        (("pack", tmp_path / "empty", tmp_path / "new.vqzs"), 3, "no pictures in it"),
        (("unpack", pack, tmp_path / "out", "--files", "--to", "jpg"), 2, "--files goes neither"),
        (("unpack", pack, tmp_path / "out", "nothing"), 3, "no picture 'nothing'"),
        (("unpack", tmp_path / "text", tmp_path / "out"), 3, "not a .vqzs pack"),
        (("list", tmp_path / "none"), 3, "cannot read"),
        (("decode", pack, tmp_path / "x.png"), 3, "a pack of pictures: unpack it"),
    ]:
        found, _, err = run(capsys, *arguments)
        assert (found, message in err) == (code, True), (arguments, err)
        assert err.count("\n") == 1
    assert not temporary_files(tmp_path)
