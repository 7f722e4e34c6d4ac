"""Inputs and outputs of encode and decode that are not named one by one."""

import json
from pathlib import Path

import pytest
from PIL import Image

from helpers.commands import run
from helpers.pictures import smooth_picture


def test_an_output_is_beside_its_input_if_not_named(
    photo: Path, vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    vqz.rename("old")
    assert run(capsys, "encode", "photo.png", "--quiet") == (0, "", "")
    assert Path("photo.vqz").read_bytes() == Path("old").read_bytes()
    before = photo.read_bytes()
    assert run(capsys, "encode", "photo.png")[::2] == (5, "vqcodec: photo.vqz exists already; -f overwrites it\n")
    assert run(capsys, "decode", "photo.vqz")[0] == 5
    assert photo.read_bytes() == before
    assert run(capsys, "decode", "photo.vqz", "-f") == (0, "", "")
    assert photo.read_bytes() != before
    assert run(capsys, "decode", "old", "--to", "webp", "--quality", "30")[0] == 0
    with Image.open("old.webp") as image:
        assert (image.format, image.size) == ("WEBP", (48, 40))
    assert run(capsys, "encode", "photo.png", "-o", "named.vqz")[0] == 0
    assert Path("named.vqz").is_file()


def test_several_inputs_go_to_one_folder(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("photo.jpg", "sub/b.png"):
        Image.fromarray(smooth_picture(20, 24)).save(name)
    Path("text").write_text("no picture")
    names = ["photo.png", "text", "none.png", "photo.jpg", "sub", "sub/b.png"]
    code, out, err = run(capsys, "encode", *names, "-o", "out", "--json", "--manifest", "m.jsonl", "-m", "photo-lite")
    facts = json.loads(out)
    assert (code, facts["done"], facts["skipped"]) == (3, 3, [])
    assert {failed["source"]: failed["error"] for failed in facts["failed"]} == {
        "text": "text: not a picture (text)",
        "none.png": "cannot read none.png: No such file or directory",
        "sub": "cannot read sub: it is a folder, which needs a command of its own",
    }
    assert err.splitlines()[-1].split() == ["failed", "3"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["b.vqz", "photo.jpg.vqz", "photo.png.vqz"]
    again = json.loads(run(capsys, "encode", *names, "-o", "out", "--json", "--manifest", "m.jsonl")[1])
    assert (again["done"], again["left_out"]) == (0, 3)
    files = sorted(Path("out").iterdir())
    assert run(capsys, "decode", *files, "--output", "back", "--to", "jpg", "--quality", "20", "--quiet") == (0, "", "")
    assert sorted(path.name for path in Path("back").iterdir()) == ["b.jpg", "photo.jpg.jpg", "photo.png.jpg"]
    assert run(capsys, "encode", "sub/b.png", "-o", "one", "--quiet")[0] == 0  # a single match of a pattern
    assert Path("one/b.vqz").is_file()


def test_several_inputs_are_converted_beside_themselves(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("photo.jpg", "sub/b.png"):
        Image.fromarray(smooth_picture(20, 24)).save(name)
    assert run(capsys, "encode", "photo.png", "sub/b.png", "--quiet", "--effort", "1", "--keep-times") == (
        0,
        "",
        "",
    )  # two names, too
    assert Path("photo.vqz").stat().st_mtime_ns == photo.stat().st_mtime_ns
    names = ["photo.png", "sub/b.png", "photo.jpg", "photo.vqz", "none.png"]
    code, out, err = run(capsys, "encode", *names, "--json", "--effort", "1", "--manifest", "m.jsonl")
    assert (code, json.loads(out)["done"]) == (5, 2)
    assert {failed["source"]: failed["error"] for failed in json.loads(out)["failed"]} == {
        "sub/b.png": "sub/b.vqz exists already; -f overwrites it",
        "photo.vqz": "photo.vqz: a .vqz file already",
        "none.png": "cannot read none.png: No such file or directory",
    }
    made = {"photo.vqz", "photo.png.vqz", "photo.jpg.vqz"}  # equal names keep their suffixes
    assert {path.name for path in Path().iterdir()} == {"photo.png", "photo.jpg", "sub", "m.jsonl", *made}
    assert Path("sub/b.vqz").is_file()
    rows = [line.split() for line in err.splitlines()[-3:]]
    assert rows[0] == ["files", "megapixels", "bytes", "in", "bytes", "out", "change", "time"]
    sizes = [f"{sum(Path(f'photo.{kind}{end}').stat().st_size for kind in ('png', 'jpg')):,}" for end in ("", ".vqz")]
    assert rows[1][:5] == ["done", "2", "0.0", *sizes]
    assert rows[2] == ["failed", "3"]
    Path("sub/b.png").unlink()
    assert run(capsys, "decode", "photo.vqz", "sub/b.vqz", "--to", "webp", "-j", "2", "--quiet") == (0, "", "")
    assert Path("photo.webp").is_file()
    assert Path("sub/b.webp").is_file()
