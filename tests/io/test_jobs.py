"""Files of a folder: which are converted, to which outputs, and why others are skipped."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vqcodec
from helpers.batches import encoding, jobs_of, names, run
from helpers.pictures import smooth_picture
from vqcodec.errors import InputError
from vqcodec.io.batch import run_batch
from vqcodec.io.jobs import Skipped


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.Jpg", "c.txt"):
        (tmp_path / name).write_bytes(b"anything")
    found = jobs_of(tmp_path, tmp_path / "out")
    assert [(job.source.name, job.output.name) for job in found] == [("a.PNG", "a.vqz"), ("b.Jpg", "b.vqz")]


def test_a_sidecar_does_not_change_the_name_of_an_output(tmp_path: Path) -> None:
    Image.fromarray(smooth_picture(8, 8)).save(tmp_path / "a.png")
    for name in ("a.xmp", "a.txt", "a"):
        (tmp_path / name).write_text("about a")
    assert [job.output.name for job in jobs_of(tmp_path, tmp_path / "out")] == ["a.vqz"]


def test_an_output_inside_the_input_is_not_read(tree: Path) -> None:
    (tree / "out").mkdir()
    shutil.copy(tree / "a.png", tree / "out" / "made.png")
    found = jobs_of(tree, tree / "out")
    assert found
    assert all("made" not in str(job.source) for job in found)


def test_no_two_files_become_one(tmp_path: Path) -> None:
    for name in ("a.ppm", "a.bmp", "a.ppm.png", "b.png", "B.jpg", "c.png", "c.png.png"):
        (tmp_path / name).write_bytes(b"anything")
    found = {job.source.name: job.output.name for job in jobs_of(tmp_path, tmp_path / "out")}
    assert found == {
        "a.ppm": "a.ppm.vqz",
        "a.bmp": "a.bmp.vqz",
        "a.ppm.png": "a.ppm.png.vqz",
        "b.png": "b.png.vqz",  # on file systems that ignore case, b.vqz is B.vqz
        "B.jpg": "B.jpg.vqz",
        "c.png": "c.vqz",
        "c.png.png": "c.png.vqz",
    }


def test_every_file_is_encoded_or_skipped_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    folder, output = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    picture = Image.fromarray(smooth_picture(16, 24))
    readable = {
        "a.jfif": "JPEG", "b.jpe": "JPEG", "c.tga": "TGA", "d.ico": "ICO", "e.j2k": "JPEG2000", "f.apng": "PNG", "g.dib": "BMP",
        "none": "PNG", "h.jpg": "WEBP", "i.txt": "GIF", "sub/tga": "TGA", "sub/.hidden": "QOI",
    }  # fmt: skip
    for name, format in readable.items():
        picture.save(folder / name, format)
    contents = {
        "k.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
        "l.CR2": b"II*\0\x10\0\0\0CR\2\0",
        "m.jxl": b"\xff\x0a\0",
        "n.svg": b"<svg></svg>",
        "o.xmp": b"<x:xmpmeta/>",
        "p.mp4": b"\0\0\0\x18ftypisom",
        "q.png": b"",
        "r": b"\0\1\2\3",
        "s.vqz": vqcodec.encode(smooth_picture(8, 8), model="photo-lite"),
        ".0123456789abcdef.tmp": b"\x89PN",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.png")
    (folder / "link").symlink_to("sub")
    (folder / "broken.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "to.png").symlink_to("none")
    manifest = folder / "m.jsonl"
    settings = encoding(folder, output, manifest=manifest)
    summary, seen = run(settings)
    assert not summary.failed
    assert {os.path.relpath(outcome.source, folder) for outcome in seen} == readable.keys() | {"to.png"}
    assert summary.done == len(names(output)) == len(readable) + 1
    reasons = {os.path.relpath(skipped.source, folder): skipped.reason for skipped in summary.skipped}
    assert reasons == {
        "k.HEIC": "HEIC needs the package pillow-heif: pip install pillow-heif, or convert it to PNG first",
        "l.CR2": "raw camera file (CR2): develop it to TIFF or PNG first",
        "m.jxl": "JPEG XL is not read: convert it to PNG or TIFF first",
        "n.svg": "SVG is a vector format: draw it as a PNG first",
        "o.xmp": "not a picture (text)",
        "p.mp4": "not a picture (video)",
        "q.png": "the file is empty",
        "r": "not a picture",
        "s.vqz": "a .vqz file already",
        ".0123456789abcdef.tmp": "a temporary file",
        "pipe.png": "a pipe",
        "link": "a link to a folder is not followed",
        "broken.png": "a broken link",
        "loop.png": "a link that cannot be followed: Too many levels of symbolic links",
        "zero.jpg": "a device",
    }
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert {os.path.relpath(line["source"], folder): line["skipped"] for line in lines if "skipped" in line} == reasons
    summary, _ = run(settings)
    assert (summary.done, summary.left_out, len(summary.skipped)) == (0, len(readable) + 1, len(reasons))
    assert len(manifest.read_text().splitlines()) == len(lines)  # known skips are not written again
    (folder / "q.png").write_bytes((folder / "none").read_bytes())
    summary, seen = run(settings)
    assert [Path(outcome.source).name for outcome in seen] == ["q.png"]


def test_a_file_that_cannot_be_read_is_a_failure(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind of the file is unknown. `open` is replaced because tests may run as root, who can read everything."""
    opened = open

    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        if os.fspath(path) == str(tree / "notes.txt"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refusing)
    summary, _ = run(encoding(tree, tmp_path / "out"))
    assert not summary.skipped
    assert {outcome.error for outcome in summary.failed if "bad" not in outcome.source} == {
        f"cannot read {tree}/notes.txt: Permission denied"
    }


def test_unreadable_folders_are_reported(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "link").symlink_to(tree / "sub")
    scandir = os.scandir

    def refusing(place: str) -> Any:
        if Path(place).name == "deep":
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)  # tests may run as root, whom the system does not refuse
    manifest = tmp_path / "m.jsonl"
    summary, _ = run(encoding(tree, tmp_path / "out", manifest=manifest))
    assert summary.done == 4
    reported = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [entry["error"] for entry in reported if entry["source"] == str(tree / "sub/deep")] == [
        "cannot read the folder: Permission denied"
    ]
    assert {(outcome.source, outcome.error) for outcome in summary.failed if "bad" not in outcome.source} == {
        (str(tree / "sub/deep"), "cannot read the folder: Permission denied")
    }
    assert Skipped(str(tree / "link"), "a link to a folder is not followed") in summary.skipped
    (alone,) = run(encoding(tree / "sub/deep", tmp_path / "out"))[0].failed
    assert alone.error == "cannot read the folder: Permission denied"


def test_folders_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("none", "empty"):
        with pytest.raises(InputError, match=folder):
            run_batch(encoding(tmp_path / folder, tmp_path / "out"), print, print)
    (tmp_path / "empty" / "text").write_text("no picture")
    summary, _ = run(encoding(tmp_path / "empty", tmp_path / "out"))
    assert summary.skipped == [Skipped(str(tmp_path / "empty" / "text"), "not a picture (text)")]
    assert [(failed.error, failed.exit_code) for failed in summary.failed] == [("no pictures in it", 3)]
