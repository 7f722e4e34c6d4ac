"""The command line as a contract: exit codes, streams, one-line errors, and files that are whole or absent."""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image, ImageCms

import vqcodec
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import Program, program_command, program_environment
from vqcodec.cli import main as cli
from vqcodec.cli.main import main
from vqcodec.cli.options import size_of


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command run in this process."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


# ------------------------------------------------------------------------------------------------ encode and decode


def test_there_and_back(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vqz, back = tmp_path / "a.vqz", tmp_path / "a.png"
    code, out, err = run(capsys, "encode", photo, vqz)
    assert (code, out) == (0, "")
    assert re.fullmatch(rf"vqcodec: 48 x 40 pixels, {vqz.stat().st_size} bytes, \d+\.\d{{3}} bpp\n", err)
    assert run(capsys, "decode", vqz, back) == (0, "", "")
    assert pixels_of(back).shape == (40, 48, 3)
    assert np.abs(pixels_of(back).astype(int) - pixels_of(photo)).mean() < 16
    np.testing.assert_array_equal(pixels_of(back), vqcodec.decode(vqz.read_bytes()))


def test_grey_stays_grey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(smooth_picture(20, 30, channels=1)).save(tmp_path / "grey.png")
    assert run(capsys, "encode", tmp_path / "grey.png", tmp_path / "a.vqz", "--quiet") == (0, "", "")
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.pgm")[0] == 0
    assert pixels_of(tmp_path / "a.pgm").shape == (20, 30)


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".webp", ".tif", ".bmp", ".jpg", ""])
def test_output_formats(vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    target = tmp_path / f"back{suffix}"
    assert run(capsys, "decode", vqz, target, "--refine", "none")[0] == 0
    error = np.abs(pixels_of(target).astype(int) - vqcodec.decode(vqz.read_bytes(), refine="none"))
    assert error.mean() < (4 if suffix == ".jpg" else 1e-9)


@pytest.mark.slow
def test_targets(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for index, options in enumerate((["-q", "20"], ["-q", "60"], [], ["--quality", "90", "--effort", "1"])):
        target = tmp_path / f"{index}.vqz"
        assert run(capsys, "encode", photo, target, *options)[0] == 0
        sizes.append(target.stat().st_size)
    assert sizes[0] < sizes[1] == sizes[2] < sizes[3]
    for index, option in enumerate((["--size", "600"], ["--size", "0.6k"], ["--bpp", "2.5"])):
        target = tmp_path / f"target{index}.vqz"
        assert run(capsys, "encode", photo, target, *option)[0] == 0
        assert 300 < target.stat().st_size <= 600
    assert run(capsys, "encode", photo, tmp_path / "psnr.vqz", "--psnr", "30")[0] == 0
    error = vqcodec.decode((tmp_path / "psnr.vqz").read_bytes()).astype(float) - pixels_of(photo)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 29.9


def test_sizes() -> None:
    assert [size_of(text) for text in ("20000", "5B", "20k", "20K", "20kB", "20KiB")] == [
        20_000,
        5,
        *[20_000] * 3,
        20_480,
    ]
    assert [size_of(text) for text in ("1.5M", "2MiB")] == [1_500_000, 2 << 20]


def test_json(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "encode", photo, tmp_path / "a.vqz", "--json")
    facts = json.loads(out)
    size = (tmp_path / "a.vqz").stat().st_size
    assert code == 0
    assert (facts["width"], facts["height"], facts["channels"], facts["bytes"]) == (48, 40, 3, size)
    assert facts["bpp"] == pytest.approx(8 * size / (48 * 40))
    assert facts["notes"] == []


def test_notes(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(photo) as image:
        image.quantize(64).save(tmp_path / "palette.png")
    code, _, err = run(capsys, "encode", tmp_path / "palette.png", tmp_path / "a.vqz")
    assert code == 0
    assert err.startswith("vqcodec: note: converted from a palette\n")


def test_a_file_larger_than_its_source_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pattern.png"  # of 1,024 equal tiles
    Image.fromarray(np.tile(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), (32, 32, 1))).save(source)
    code, out, err = run(capsys, "encode", source, tmp_path / "a.vqz", "-q", 95, "--json")
    told = f"larger than its source ({source.stat().st_size:,} bytes): try a lower -q, or keep the original"
    assert (code, json.loads(out)["grew"], json.loads(out)["notes"]) == (0, True, [told])
    assert err.splitlines()[0] == f"vqcodec: note: {told}"
    assert json.loads(run(capsys, "encode", source, tmp_path / "b.vqz", "-q", 1, "--json")[1])["grew"] is False


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
    assert "3 failed" in err.splitlines()[-1]
    assert sorted(path.name for path in Path("out").iterdir()) == ["b.vqz", "photo.jpg.vqz", "photo.png.vqz"]
    again = json.loads(run(capsys, "encode", *names, "-o", "out", "--json", "--manifest", "m.jsonl")[1])
    assert (again["done"], again["left_out"]) == (0, 3)
    files = sorted(Path("out").iterdir())
    assert run(capsys, "decode", *files, "--output", "back", "--to", "jpg", "--quality", "20", "--quiet") == (0, "", "")
    assert sorted(path.name for path in Path("back").iterdir()) == ["b.jpg", "photo.jpg.jpg", "photo.png.jpg"]
    assert run(capsys, "encode", "sub/b.png", "-o", "one", "--quiet")[0] == 0  # as one of many that a pattern found
    assert Path("one/b.vqz").is_file()


def test_the_quality_of_jpeg_and_webp_outputs(vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decoded = vqcodec.decode(vqz.read_bytes()).astype(int)
    for suffix in ("jpg", "webp"):
        sizes, errors = [], []
        for quality in (["--quality", "5"], ["--quality", "80"], []):
            target = tmp_path / f"{''.join(quality)}.{suffix}"
            assert run(capsys, "decode", vqz, target, *quality) == (0, "", "")
            sizes.append(target.stat().st_size)
            errors.append(np.abs(pixels_of(target) - decoded).mean())
        assert sizes == sorted(sizes)
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > errors[1] > 0
        assert suffix == "jpg" or errors[2] == 0


@pytest.mark.parametrize("command", fast_first(["encode", "decode", "denoise", "generate", "repair"], 3))
def test_quiet_and_json_are_the_same_everywhere(
    photo: Path, vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(smooth_picture(28, 28, channels=1)).save(grey)
    inputs = {
        "encode": [photo, tmp_path / "new.vqz"],
        "decode": [vqz, tmp_path / "new.png"],
        "denoise": [photo, tmp_path / "new.png"],
        "generate": ["-m", "mnist-prior", "-n", 4, "-o", tmp_path / "new.png"],
        "repair": [grey, tmp_path / "new.png", "--mask", grey, "-m", "mnist-prior"],
    }[command]
    assert run(capsys, command, *inputs, "--quiet") == (0, "", "")
    code, out, err = run(capsys, command, *inputs, "--json", "--quiet", "-f")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    output = Path(facts["output"])
    assert (facts["bytes"], out.count("\n")) == (output.stat().st_size, 1)
    assert facts["input"] == (None if command == "generate" else str(inputs[0]))
    if command != "encode":
        assert pixels_of(output).shape[:2] == (facts["height"], facts["width"])
    assert {"channels", "notes", f"{command}_s"} <= facts.keys()


def test_metadata_is_kept_or_stripped(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(photo) as image:
        image.save(tmp_path / "a.jpg", exif=exif, icc_profile=profile)
    for name, options, kept in (("kept", [], "Maker"), ("stripped", ["--strip"], None)):
        assert run(capsys, "encode", tmp_path / "a.jpg", tmp_path / f"{name}.vqz", *options)[0] == 0
        assert run(capsys, "decode", tmp_path / f"{name}.vqz", tmp_path / f"{name}.png")[0] == 0
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.getexif().get(0x010F) == kept
            assert image.info.get("icc_profile") == (profile if kept else None)


def test_parts_smaller_ones_and_what_is_left(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgba = np.dstack([pixels_of(photo), np.full((40, 48), 200, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert run(capsys, "encode", tmp_path / "a.png", tmp_path / "a.vqz")[0] == 0
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "part.png", "--region", "8,10,20,5")[0] == 0
    assert pixels_of(tmp_path / "part.png").shape == (5, 20, 4)
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "small.png", "--scale", "8")[0] == 0
    assert pixels_of(tmp_path / "small.png").shape == (5, 6, 4)
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.jpg")[0] == 5
    data = (tmp_path / "a.vqz").read_bytes()
    (tmp_path / "cut.vqz").write_bytes(data[:-1])
    assert run(capsys, "decode", tmp_path / "cut.vqz", tmp_path / "cut.png")[0] == 3
    code, _, err = run(capsys, "decode", tmp_path / "cut.vqz", tmp_path / "cut.png", "--allow-partial")
    assert (code, err) == (0, "vqcodec: note: the alpha plane was damaged: all is opaque\n")


def test_bytes_behind_a_file_are_an_error(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "--tile", 64, "-m", "photo-lite")[0] == 0
    with (tmp_path / "a.vqz").open("ab") as file:
        file.write(b"\0")
    told = (3, "", f"vqcodec: {tmp_path}/a.vqz: corrupt file: bytes after the last section\n")
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png") == told
    assert not (tmp_path / "a.png").exists()
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png", "--allow-partial")[0] == 0


def test_streams(photo: Path, program: Program) -> None:
    encoded = program("encode", "-", "-", stdin=photo.read_bytes())
    assert encoded.returncode == 0
    assert encoded.stdout == vqcodec.encode(pixels_of(photo))
    decoded = program("decode", "-", "-", stdin=encoded.stdout)
    assert decoded.returncode == 0
    assert decoded.stdout.startswith(b"\x89PNG")
    assert program("verify", "-", stdin=encoded.stdout).stdout == b"-: ok\n"
    assert json.loads(program("info", "-", "--json", stdin=encoded.stdout).stdout)["width"] == 48


def test_a_stream_is_read_from_where_it_stands(vqz: Path, photo: Path, tmp_path: Path) -> None:
    for name, source in (("a.png", vqz), ("a.vqz", photo)):
        (tmp_path / "in").write_bytes(b"head\n" + source.read_bytes())
        command = program_command("decode" if name == "a.png" else "encode", "-", tmp_path / name)
        with open(tmp_path / "in", "rb", buffering=0) as stream:
            assert stream.read(5) == b"head\n"
            subprocess.run(command, stdin=stream, env=program_environment(), timeout=60, check=True)


def test_what_a_shell_appends_to_is_not_cut(vqz: Path, tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"before")
    with (tmp_path / "all").open("ab") as stream:
        command = program_command("decode", vqz, "/dev/stdout")
        subprocess.run(command, stdout=stream, env=program_environment(), timeout=60, check=True)
    assert (tmp_path / "all").read_bytes().startswith(b"before\x89PNG")


def test_no_home_is_needed(vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert run(capsys, "verify", vqz)[0] == 0


@pytest.mark.parametrize("columns", ["0", "1", "30"])
def test_lines_in_files_are_whole_whatever_the_terminal(
    vqz: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run(capsys, "info", vqz)[1]
    assert plain.startswith("width        48\n")
    monkeypatch.setenv("COLUMNS", columns)
    assert run(capsys, "info", vqz)[1] == plain


def test_what_is_imported_from_the_package() -> None:
    for name in ("encode", "decode", "open_vqz", "generate", "repair", "denoise", "info", "verify"):
        assert getattr(vqcodec, name) is getattr(vqcodec.api, name)
        assert name in dir(vqcodec)
    with pytest.raises(vqcodec.VqcodecError):
        vqcodec.decode(b"no file")


def test_an_empty_argument_is_a_variable_that_is_not_set(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["encode", "", "x"], ["encode", photo, "x", "--manifest="], ["verify", ""]):
        code, out, err = run(capsys, *words)
        assert (code, out) == (2, "")
        assert "is a shell variable not set?" in err


def test_a_file_named_as_streams_are(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "encode", photo, "./-")[:2] == (0, "")
    assert run(capsys, "verify", "./-")[0] == 0
    assert vqcodec.decode((tmp_path / "-").read_bytes()).shape == pixels_of(photo).shape


@pytest.mark.parametrize(
    "command", fast_first([["info"], ["--help"], ["info", "--json"], ["verify"], ["compare"], ["models"], ["--version"]], 2)
)
def test_a_full_disk_under_standard_output(vqz: Path, photo: Path, command: list[str]) -> None:
    names = {"info": [vqz], "verify": [vqz], "compare": [vqz, photo]}.get(command[0], [])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            program_command(*command, *names),
            stdout=full,
            stderr=subprocess.PIPE,
            env=program_environment(),
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (5, b"vqcodec: cannot write standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("closed", "command", "code", "error"),
    fast_first(
        [
            (">&-", "decode a.vqz -", 5, "cannot write standard output"),
            ("<&-", "decode - b.png", 3, "cannot read standard input"),
            (">&-", "info a.vqz", 5, "cannot write standard output"),
            (">&-", "decode a.vqz b.png", 0, ""),
            ("2>&-", "decode a.vqz b.xyz", 5, ""),
        ],
        2,
    ),
)
def test_closed_streams(vqz: Path, tmp_path: Path, closed: str, command: str, code: int, error: str) -> None:
    (tmp_path / "a.vqz").write_bytes(vqz.read_bytes())
    line = f"{shlex.join(program_command(*command.split()))} {closed}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, env=program_environment(), timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.count(b"\n") == bool(error)
    assert error in done.stderr.decode()
    assert (tmp_path / "a.vqz").read_bytes() == vqz.read_bytes()


# ------------------------------------------------------------------------------------------------ about files


def test_info(vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "info", vqz)
    assert (code, err) == (0, "")
    assert re.search(r"^width +48$", out, re.MULTILINE)
    assert re.search(r"^model +photo$", out, re.MULTILINE)
    code, out, err = run(capsys, "info", vqz, "--json")
    facts = json.loads(out)
    assert (facts["width"], facts["height"], facts["bytes"]) == (48, 40, vqz.stat().st_size)
    assert not {"streams", "shares", "ideal_bytes"} & facts.keys()
    code, out, err = run(capsys, "info", "-v", vqz, "--json")
    more = json.loads(out)
    assert {name: more[name] for name in facts} == facts
    assert sum(stream["bytes"] for stream in more["streams"]) < facts["bytes"]
    assert sum(more["shares"].values()) == pytest.approx(1)
    code, out, err = run(capsys, "info", "--streams", vqz)
    assert (code, err) == (0, "")
    assert re.search(r"^luma dc +\d+\.\d%$", out, re.MULTILINE)


def test_info_is_short_and_loads_no_model(
    vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(REPOSITORY / "models" / "photo", tmp_path / "models" / "photo")
    summary = json.loads((tmp_path / "models" / "photo" / "model.json").read_text())
    (tmp_path / "models" / "photo" / "model.json").write_text(json.dumps({**summary, "name": "by its word"}))
    (tmp_path / "models" / "photo" / "model.safetensors").write_bytes(b"")
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path / "models"))
    code, out, err = run(capsys, "info", vqz)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 12
    assert "\nmodel        by its word\n" in out
    assert re.search(r"^sections     indices \d+ bytes$", out, re.MULTILINE)


def test_info_without_the_model(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(REPOSITORY / "models" / "photo-lite", tmp_path / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VQCODEC_MODELS", str(tmp_path))
        assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-m", "photo-lite")[0] == 0
    data = bytearray((tmp_path / "a.vqz").read_bytes())
    data[12:18] = b"nobody"
    data[21:25] = zlib.crc32(data[25:], zlib.crc32(data[:21])).to_bytes(4, "little")
    (tmp_path / "b.vqz").write_bytes(data)
    code, out, err = run(capsys, "info", tmp_path / "b.vqz")
    assert (code, err) == (0, "")
    assert "\nmodel        not installed\n" in out
    assert json.loads(run(capsys, "info", tmp_path / "b.vqz", "--json")[1])["model"] is None
    code, out, err = run(capsys, "info", "-v", tmp_path / "b.vqz")
    assert (code, err) == (0, f"vqcodec: note: {tmp_path}/b.vqz: its streams are not shown, as its model is not installed\n")
    code, _, err = run(capsys, "info", tmp_path / "b.vqz", "-m", "photo-lite")
    assert code == 4
    assert err.startswith(f"vqcodec: {tmp_path}/b.vqz: the file was made with model 6e6f626f6479, not with photo-lite")


@pytest.fixture
def mixed(vqz: Path, tmp_path: Path) -> Path:
    """A folder with two good files, one of them without a suffix, a damaged one, and others."""
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.vqz").write_bytes(vqz.read_bytes())
    (folder / "sub" / "plain").write_bytes(vqz.read_bytes())
    (folder / "sub" / "cut.VQZ").write_bytes(vqz.read_bytes()[:-1])
    (folder / "notes.txt").write_text("no picture")
    (folder / "link").symlink_to(folder / "sub")
    os.mkfifo(folder / "pipe")
    return folder


def test_info_of_several(mixed: Path, vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = ", ".join(str(mixed / name) for name in ("link", "notes.txt", "pipe"))
    code, out, err = run(capsys, "info", vqz, mixed)
    assert code == 3
    assert re.findall(r"^file +(.*)$", out, re.MULTILINE) == [str(vqz), str(mixed / "a.vqz"), str(mixed / "sub" / "plain")]
    assert out.count("width        48\n") == 3
    assert err == (
        f"vqcodec: {mixed}/sub/cut.VQZ: corrupt file: its checksum is wrong\nvqcodec: note: 3 skipped (not .vqz files): {skipped}\n"
    )
    code, out, err = run(capsys, "info", mixed, "--json", "--quiet")
    assert (code, err) == (3, f"vqcodec: {mixed}/sub/cut.VQZ: corrupt file: its checksum is wrong\n")
    facts = json.loads(out)
    assert [(Path(one["file"]).name, one.get("width"), one.get("exit_code")) for one in facts["files"]] == [
        ("a.vqz", 48, None),
        ("cut.VQZ", None, 3),
        ("plain", 48, None),
    ]
    assert facts["skipped"] == skipped.split(", ")
    assert run(capsys, "info", vqz, mixed / "none.vqz")[0] == 3
    assert run(capsys, "info", mixed, "--indices", mixed / "x.npz")[0] == 2


def test_only_files_are_read_in_a_folder(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe would be waited for, and a device read for ever."""
    os.mkfifo(mixed / "pipe.vqz")
    (mixed / "zero.vqz").symlink_to("/dev/zero")
    (mixed / "sub" / "cut.VQZ").unlink()
    assert run(capsys, "verify", mixed, "--quiet") == (0, "", "")
    assert json.loads(run(capsys, "info", mixed, "--json", "--quiet")[1])["skipped"][-2:] == [
        str(mixed / "pipe.vqz"),
        str(mixed / "zero.vqz"),
    ]


def test_a_folder_without_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("info", "verify"):
        assert run(capsys, command, tmp_path) == (3, "", f"vqcodec: no .vqz files in {tmp_path}\n")


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


def test_verify_goes_on_after_a_failure(vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_files_that_the_system_refuses(
    photo: Path, vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root, whom tests may run as, may read all: refused by hand."""
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


def test_models_of_which_one_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    for name in ("model.safetensors", "model.json"):
        (tmp_path / "broken" / name).write_bytes(b"rubbish")
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path))
    code, out, err = run(capsys, "models")
    assert code == 4
    assert "photo-lite" in out
    assert err.startswith(f"vqcodec: {tmp_path / 'broken'}: ")
    assert err.count("\n") == 1
    code, out, _ = run(capsys, "models", "--json")
    assert [entry["name"] for entry in json.loads(out)["models"] if entry["error"]] == ["broken"]


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "models")
    assert code == 0
    assert "photo-lite" in out
    code, out, _ = run(capsys, "models", "--json")
    assert code == 0
    assert "photo-lite" in [model["name"] for model in json.loads(out)["models"]]


@pytest.mark.slow
def test_bench(photo: Path, tmp_path: Path, program: Program) -> None:
    done = program("bench", photo, "--codecs", "none,vqz", "--qualities", "vqz=50", "--psnr-only", "--json", tmp_path / "b.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "b.json").read_text())
    assert b"vqz" in done.stdout
    assert program("bench", photo, "--codecs", "none", "--json", tmp_path / "b.json").returncode == 5
    assert program("bench", photo, "--codecs", "frobnicate", "--qualities", "x").returncode == 2
    (tmp_path / "bad.png").write_bytes(b"rubbish")
    assert program("bench", tmp_path / "bad.png", "--codecs", "jpeg", "--psnr-only").returncode == 3  # nothing was measured


def test_train_refuses_early(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    code, _, err = run(capsys, "train", tmp_path, "-o", tmp_path / "model")
    assert (code, err) == (5, f"vqcodec: {tmp_path}/model exists already; -f overwrites it\n")
    assert run(capsys, "train", tmp_path, "-o", tmp_path / "new", "--kind", "token-prior")[0] == 2


def test_a_default_is_never_what_lies_in_the_current_folder(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPOSITORY / "models" / "photo-lite", "photo")
    assert run(capsys, "encode", photo, "a.vqz")[0] == 0
    assert json.loads(run(capsys, "info", "a.vqz", "--json")[1])["model"] == "photo"
    assert run(capsys, "encode", photo, "b.vqz", "-m", "photo")[0] == 0  # by name it is
    assert json.loads(run(capsys, "info", "b.vqz", "--json")[1])["model"] == "photo-lite"


def test_damaged_models_do_no_harm_to_others(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut, flipped = (tmp_path / name for name in ("c-whole", "a-cut", "b-flipped"))
    for folder in (whole, cut, flipped):
        shutil.copytree(REPOSITORY / "models" / "photo-lite", folder / "mine")
    tensors = (whole / "mine" / "model.safetensors").read_bytes()
    at = len(tensors) // 2
    (cut / "mine" / "model.safetensors").write_bytes(tensors[:-9])
    (flipped / "mine" / "model.safetensors").write_bytes(tensors[:at] + bytes((tensors[at] ^ 1,)) + tensors[at + 1 :])
    monkeypatch.setenv("VQCODEC_MODELS", os.pathsep.join(map(str, (cut, flipped, whole))))
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-m", whole / "mine")[0] == 0
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png")[0] == 0
    code, _, err = run(capsys, "encode", photo, tmp_path / "b.vqz", "-m", flipped / "mine")
    assert code == 4
    assert "is damaged: its tensors are not those" in err


def test_a_report_of_the_bench_is_not_written_over_its_pictures(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo.read_bytes()
    plain = photo.rename(tmp_path / "photo")
    code, _, err = run(capsys, "bench", plain, "--codecs", "jpeg", "--qualities", "30", "--psnr-only", "--json", plain, "-f")
    assert (code, plain.read_bytes()) == (5, before)
    assert "is input and output at once" in err
    code, _, err = run(capsys, "bench", plain, "--codecs", "jpeg", "--qualities", "jpg=10")
    assert code == 2
    assert "'jpg', which is not among the codecs" in err


def test_compare_takes_files_of_a_model(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(REPOSITORY / "models" / "photo-lite", tmp_path / "mine")
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-m", tmp_path / "mine")[0] == 0
    assert run(capsys, "compare", photo, tmp_path / "a.vqz", "-m", tmp_path / "mine")[0] == 0
    assert run(capsys, "compare", photo, tmp_path / "a.vqz", "-m", "photo")[0] == 4


def test_limits_of_what_files_tell_can_be_raised_and_lowered(vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("info", "verify"):
        assert run(capsys, command, vqz, "--max-pixels", 48 * 40)[0] == 0
        code, out, err = run(capsys, command, vqz, "--max-pixels", 48 * 40 - 1)
        assert code == 6
        assert "is more than 1919 pixels" in out + err


def test_info_writes_indices(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vqz, target = tmp_path / "a.vqz", tmp_path / "indices.npz"
    assert run(capsys, "encode", photo, vqz)[0] == 0
    assert run(capsys, "info", vqz, "--indices", target)[0] == 0
    with np.load(target) as found:
        assert set(found) == {"index", "codebook", "class", "channel", "row", "column"}
        assert len(found["index"]) > 100
    assert run(capsys, "info", vqz, "--indices", target)[0] == 5


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, overview, err = run(capsys)
    assert (code, err) == (0, "")
    for command in ("encode", "decode", "info", "verify", "models", "bench", "train"):
        assert f"\n  {command} " in overview
        assert run(capsys, command, "--help")[0] == 0
    assert not re.search(r"\.\.\.$", overview.replace("[ARGS]...", ""), re.MULTILINE)  # no line is cut
    assert run(capsys, "--version") == (0, f"vqcodec {vqcodec.__version__}\n", "")


@pytest.mark.parametrize("command", ["encode", "decode", "denoise", "generate", "repair"])
def test_help_is_in_whole_sentences_and_not_cut(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    overview = re.search(rf"^  {command} +(.*)$", run(capsys, "--help")[1], re.MULTILINE)
    assert overview is not None
    assert re.fullmatch(r"[A-Z].*[^.]\.", overview[1])
    shown = "".join(run(capsys, command, "--help")[1].split())
    parameters = typer.main.get_command(cli.app).commands[command].params  # type: ignore[attr-defined]  # a group has them
    for parameter in parameters:
        assert re.fullmatch(r"[A-Z].*\.( \[default: [^]]+\])?", parameter.help), parameter.name
        assert "".join(parameter.help.split()) in shown, parameter.name
        assert parameter.param_type_name == "argument" or not (parameter.default is None and parameter.show_default), parameter.name


# ------------------------------------------------------------------------------------------------ errors

ERRORS: list[tuple[int, Sequence[str], str]] = [
    (2, ["frobnicate"], "No such command 'frobnicate'"),
    (2, ["encode"], "Missing argument 'IN'"),
    (2, ["encode", "-"], "standard input: the output must be named"),
    (2, ["decode", "folder"], "folder: the output must be named"),
    (2, ["encode", "/dev/null"], "/dev/null: the output must be named"),
    (2, ["encode", "photo.png", "deep.ppm", "new.vqz"], "several inputs go to a folder, -o DIR"),
    (2, ["encode", "photo.png", "deep.ppm"], "deep.ppm is a picture's name, and encode writes .vqz files"),
    (2, ["encode", "photo.png", "new.JPG"], "new.JPG is a picture's name"),
    (2, ["encode", "photo.png", "new.heic"], "new.heic is a picture's name"),
    (2, ["decode", "photo.vqz", "cut.vqz", "-f"], "cut.vqz is a .vqz file's name, and decode writes pictures"),
    (2, ["denoise", "photo.png", "new.vqz"], "new.vqz is a .vqz file's name, and denoise writes pictures"),
    (2, ["repair", "photo.png", "new.vqz", "--mask", "photo.png", "-m", "x"], "new.vqz is a .vqz file's name"),
    (2, ["generate", "-m", "x", "-o", "new.vqz"], "new.vqz is a .vqz file's name"),
    (2, ["encode", "photo.png", "deep.ppm", "-o", "-"], "the output must be a folder"),
    (2, ["encode", "photo.png", "deep.ppm", "-o", "photo.vqz"], "the output must be a folder"),
    (2, ["encode", "photo.png", "deep.ppm", "-o", "new.vqz"], "the output must be a folder, and new.vqz is a file's name"),
    (2, ["decode", "folder", "new.png"], "the output must be a folder, and new.png is a file's name"),
    (2, ["encode", "photo.png", "-", "-o", "new"], "standard input goes to a file"),
    (2, ["encode", "photo.png", "photo.png", "-o", "new"], "photo.png and photo.png would have the same output"),
    (2, ["encode", "photo.png", "new.vqz", "--strict"], "--strict: for folders only"),
    (2, ["decode", "photo.vqz", "new.png", "--quality", "50"], "--quality is for JPEG and WebP outputs"),
    (2, ["decode", "photo.vqz", "-o", "folder", "--quality", "50"], "--quality is for JPEG and WebP outputs"),
    (2, ["decode", "photo.vqz", "new.jpg", "--quality", "101"], "range"),
    (2, ["decode", "photo.vqz", "-", "--json"], "exclude each other"),
    (2, ["denoise", "photo.png", "-", "--json"], "exclude each other"),
    (2, ["repair", "photo.png", "/dev/stdout", "--json", "--mask", "photo.png", "-m", "x"], "exclude each other"),
    (2, ["generate", "-m", "x", "-o", "-", "--json"], "exclude each other"),
    (2, ["encode", "photo.png", "new.vqz", "--frobnicate"], "No such option: --frobnicate"),
    (2, ["encode", "photo.png", "new.vqz", "-q", "101"], "from 0 to 100, not 101"),
    (2, ["encode", "photo.png", "new.vqz", "-q", "nan"], "from 0 to 100, not nan"),
    (2, ["encode", "photo.png", "new.vqz", "--bpp", "0"], "bpp is a number above 0"),
    (2, ["encode", "photo.png", "new.vqz", "--psnr", "inf"], "psnr is a number above 0"),
    (2, ["encode", "photo.png", "new.vqz", "--size", "20 apples"], "is not a size"),
    (2, ["encode", "photo.png", "new.vqz", "--effort", "10"], "effort is a whole number from 1 to 9"),
    (2, ["encode", "photo.png", "new.vqz", "--threads", "0"], "range"),
    (2, ["encode", "photo.png", "new.vqz", "-q", "5", "--bpp", "1"], "give one of quality, bpp, size and psnr"),
    (2, ["encode", "photo.png", "-", "--json"], "exclude each other"),
    (2, ["encode", "folder", "new", "--manifest", "-"], "'-' is a stream"),
    (2, ["compare", "photo.png", "photo.vqz", "-o", "-"], "standard output is for the report"),
    (2, ["info", "photo.vqz", "--indices", "-"], "standard output is for the report"),
    (2, ["info", "photo.vqz", "--indices", "new.PNG"], "new.PNG is a picture's name, and this output is something else"),
    (2, ["encode", "folder", "new", "--manifest", "new.vqz"], "new.vqz is a .vqz file's name"),
    (2, ["bench", "photo.png", "--json", "new.jpg"], "new.jpg is a picture's name"),
    (2, ["train", "folder", "-o", "new.tif"], "new.tif is a picture's name"),
    (2, ["decode", "photo.vqz", "new.png", "--to", "jpg"], "--to is for folders and for inputs without OUT"),
    (2, ["decode", "photo.vqz", "new.png", "--refine", "gan", "--strength", "nan"], "nan"),
    (2, ["decode", "photo.vqz", "new.png", "--refine", "magic"], "'magic' is not one of 'none', 'best', 'gan'"),
    (3, ["encode", "none.png", "new.vqz"], "cannot read none.png: No such file"),
    (3, ["encode", "photo.vqz", "new.vqz"], "photo.vqz: a .vqz file already"),
    (3, ["encode", "photo.vqz"], "photo.vqz: a .vqz file already"),
    (3, ["encode", "empty.vqz", "new.vqz"], "empty.vqz: the file is empty"),
    (3, ["encode", "text", "new.vqz"], "text: not a picture (text)"),
    (3, ["encode", "deep.ppm", "new.vqz"], "deep.ppm has 16 bits per sample"),
    (3, ["encode", "photo.png", "new.vqz", "-m", "mnist-token"], "photo.png: token model mnist-token is of grey pictures"),
    (3, ["denoise", "text", "new.png"], "text: not a picture (text)"),
    (3, ["denoise", "deep.ppm", "new.png"], "deep.ppm has 16 bits"),
    (3, ["repair", "photo.png", "new.png", "--mask", "text", "-m", "mnist-prior"], "text is not a picture"),
    (3, ["decode", "photo.png", "new.png"], "photo.png: not a .vqz file (PNG)"),
    (3, ["decode", "text", "new.png"], "text: not a .vqz file (text)"),
    (3, ["decode", "cut.vqz", "new.png"], "cut.vqz: "),
    (3, ["decode", "empty.vqz", "new.png"], "empty.vqz: "),
    (3, ["decode", "none.vqz", "new.png"], "vqcodec: cannot read none.vqz: No such file"),
    (3, ["decode", "photo.vqz", "new.png", "--region", "0,0,99,99"], "photo.vqz: the region"),
    (3, ["info", "cut.vqz"], ""),
    (4, ["encode", "photo.png", "new.vqz", "-m", "no-such-model"], "no-such-model"),
    (4, ["decode", "photo.vqz", "new.png", "-m", "no-such-model"], "no-such-model"),
    (4, ["decode", "photo.vqz", "new.png", "-m", "pickled"], ""),
    (5, ["encode", "photo.png", "photo.vqz"], "photo.vqz exists already; -f overwrites it"),
    (5, ["decode", "photo.vqz", "photo.png"], "photo.png exists already; -f overwrites it"),
    (5, ["encode", "none.png", "photo.vqz"], "photo.vqz exists already; -f overwrites it"),  # refused before anything is read
    (5, ["decode", "empty.vqz", "photo.png"], "photo.png exists already; -f overwrites it"),
    (5, ["denoise", "none.png", "photo.png"], "photo.png exists already; -f overwrites it"),
    (5, ["encode", "photo.png", "photo.png", "-f"], "input and output at once"),
    (5, ["encode", "photo.png", "folder"], "it is a folder"),
    (5, ["encode", "photo.png", "folder", "-f"], "it is a folder"),
    (5, ["encode", "photo.png", "nowhere/new.vqz"], "folder does not exist"),
    (5, ["encode", "photo.png", "/dev/full"], "No space left"),
    (5, ["decode", "photo.vqz", "new.xyz"], "new.xyz: unknown picture format"),
    (5, ["decode", "photo.vqz", "new.pgm"], "new.pgm: cannot write 48 x 40 pixels as PGM, which holds grey only"),
    (3, ["decode", "cut.vqz", "new.png", "--allow-partial"], "only files with tile groups are read in part"),
    (6, ["encode", "photo.png", "new.vqz", "--max-pixels", "100"], "photo.png has more than 100"),
    (6, ["encode", "photo.png", "new.vqz", "--size", "20"], "photo.png: no file of at most 20 bytes"),
    (6, ["encode", "photo.png", "new.vqz", "--psnr", "99"], "photo.png: no file of at least 99 dB"),
    (6, ["decode", "photo.vqz", "new.png", "--max-pixels", "100"], "photo.vqz: "),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"), ERRORS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_errors(
    vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    code: int, arguments: Sequence[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.vqz").touch()
    Path("text").write_text("no picture")
    Path("cut.vqz").write_bytes(vqz.read_bytes()[:-1])
    Path("deep.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    Path("pickled").mkdir()
    Path("pickled/model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    got, out, err = run(capsys, *arguments)
    assert (got, out) == (code, "")
    assert re.fullmatch(r"vqcodec: [^\n]+\n", err)
    assert message in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_debug_shows_where(tmp_path: Path, program: Program) -> None:
    done = program("info", tmp_path / "none.vqz", "--debug")
    assert done.returncode == 3
    assert b"Traceback" in done.stderr
    assert b"cannot read --debug: No such file" in program("info", "--", "--debug").stderr
    assert b"InputError: cannot read" in done.stderr


def test_an_internal_error_is_one_line(vqz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("vqcodec.api.info", broken)
    code, out, err = run(capsys, "info", vqz)
    assert (code, out) == (1, "")
    assert err == "vqcodec: internal error (ZeroDivisionError: a\\nb); --debug shows the traceback\n"


# ------------------------------------------------------------------------------------------------ files


def test_force_overwrites(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.vqz").write_bytes(b"old")
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-f")[0] == 0
    assert run(capsys, "verify", tmp_path / "a.vqz")[0] == 0


@pytest.mark.parametrize("stem", ["ünïcödé ✓", "new\nline", "x" * 251, "-dash", "\udcff"])
def test_odd_names(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.rename(f"{stem}.png")
    assert run(capsys, "encode", "--quiet", "--", f"{stem}.png", f"{stem}.vqz") == (0, "", "")
    code, out, _ = run(capsys, "verify", "--", f"{stem}.vqz")
    assert (code, out.count("\n")) == (0, 1)
    code, _, err = run(capsys, "encode", "--", f"{stem}.png", f"{stem}.vqz")
    assert (code, err.count("\n")) == (5, 1)


def test_links_and_pipes(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").symlink_to(photo)
    (tmp_path / "out").symlink_to("real.vqz")
    assert run(capsys, "encode", tmp_path / "in", tmp_path / "out")[0] == 0
    assert (tmp_path / "out").is_symlink()
    assert run(capsys, "verify", tmp_path / "real.vqz")[0] == 0

    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(photo.read_bytes()))
    writer.start()
    assert run(capsys, "encode", tmp_path / "pipe", tmp_path / "from_pipe.vqz")[0] == 0
    writer.join(10)
    assert (tmp_path / "from_pipe.vqz").read_bytes() == (tmp_path / "real.vqz").read_bytes()


@pytest.mark.slow
def test_one_of_many_writers_wins(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.vqz"
    writers = [
        subprocess.Popen(
            program_command("encode", photo, target, "-q", 30 + k), stderr=subprocess.DEVNULL, env=program_environment()
        )
        for k in range(8)
    ]
    codes = [writer.wait(60) for writer in writers]
    assert sorted(codes) == [0] + [5] * 7
    winner = codes.index(0)
    assert target.read_bytes() == vqcodec.encode(pixels_of(photo), quality=30 + winner)
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("number", fast_first([signal.SIGTERM, signal.SIGKILL, signal.SIGINT]))
def test_killed_at_any_moment(tmp_path: Path, number: signal.Signals) -> None:
    """The output is absent or complete; only SIGKILL may leave a temporary file (io/test_files.py aims at the writing)."""
    source, target = tmp_path / "a.png", tmp_path / "a.vqz"
    Image.fromarray(smooth_picture(400, 400)).save(source)
    for delay in (0.15, 0.3, 0.45, 0.6):
        target.unlink(missing_ok=True)
        process = subprocess.Popen(program_command("encode", source, target), stderr=subprocess.PIPE, env=program_environment())
        time.sleep(delay)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        if target.exists():
            vqcodec.verify(target.read_bytes())
        if number != signal.SIGKILL:
            assert temporary_files(tmp_path) == []
        assert process.returncode in (0, -number)
        if number == signal.SIGTERM:  # Python itself may answer SIGINT, before the program's first line
            assert b"Traceback" not in errors


@pytest.mark.parametrize("moment", ["app", "_report"])
def test_an_interrupt_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, moment, interrupt)
    assert main(["info", "nothing.vqz"]) == 130


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_an_output_is_no_more_open_than_its_source(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def mode(name: str) -> int:
        return (tmp_path / name).stat().st_mode & 0o777

    photo.chmod(0o640)
    os.utime(photo, ns=(10**18, 11 * 10**17))
    before = os.umask(0o022)
    try:
        assert run(capsys, "encode", photo, tmp_path / "a.vqz", "--keep-times")[0] == 0
        assert (mode("a.vqz"), (tmp_path / "a.vqz").stat().st_mtime_ns) == (0o640, 11 * 10**17)
        assert (tmp_path / "a.vqz").stat().st_atime_ns == 10**18
        (tmp_path / "a.vqz").chmod(0o600)
        assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png")[0] == 0
        assert (mode("a.png"), (tmp_path / "a.png").stat().st_mtime_ns > 12 * 10**17) == (0o600, True)
        (tmp_path / "a.png").chmod(0o644)  # open, and to be written over by what is private
        assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png", "-f", "--keep-times")[0] == 0
        assert (mode("a.png"), (tmp_path / "a.png").stat().st_mtime_ns) == (0o600, 11 * 10**17)
        assert run(capsys, "denoise", photo, tmp_path / "calm.png")[0] == 0
        assert mode("calm.png") == 0o640
        photo.chmod(0o666)
        assert run(capsys, "encode", photo, tmp_path / "open.vqz")[0] == 0
        assert mode("open.vqz") == 0o644
    finally:
        os.umask(before)


# ------------------------------------------------------------------------------------------------ start-up


@pytest.mark.parametrize("command", fast_first(["encode", "decode", "verify", "info"], 2))
def test_the_plain_path_imports_little(vqz: Path, tmp_path: Path, command: str) -> None:
    arguments = {
        "encode": ["encode", str(vqz.with_suffix(".png")), str(tmp_path / "new.vqz")],
        "decode": ["decode", str(vqz), str(tmp_path / "new.png")],
        "verify": ["verify", str(vqz)],
        "info": ["info", str(vqz)],
    }[command]
    script = (
        "import sys; from vqcodec.cli.main import main; code = main(sys.argv[1:]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules})); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=program_environment(),
        check=True,
    )
    heavy = {"scipy", "torch", "matplotlib", "rich", "pydantic", "skimage", "importlib_metadata"}
    assert heavy.isdisjoint(done.stdout.splitlines()[-1].split())


def test_compare(photo: Path, vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "compare", photo, vqz, "-o", tmp_path / "difference.png", "--json")
    assert code == 0
    facts = json.loads(out)
    difference = vqcodec.decode(vqz.read_bytes()).astype(int) - pixels_of(photo)
    assert facts["psnr"] == pytest.approx(10 * np.log10(255**2 / np.square(difference).mean()))
    assert facts["largest_difference"] == np.abs(difference).max()
    assert facts["ms_ssim"] is None  # the picture is too small for it
    np.testing.assert_array_equal(pixels_of(tmp_path / "difference.png"), np.clip(128 + 8 * difference, 0, 255))
    code, out, _ = run(capsys, "compare", photo, photo)
    assert code == 0
    assert re.match(r"psnr +inf\npsnr y +inf\nssim +1\n", out)
    if find_spec("ssimulacra2") is not None:
        assert re.search(r"^ssimulacra2 +100$", out, re.MULTILINE)
        assert 0 < facts["ssimulacra2"] < 100
    Image.new("L", (9, 9)).save(tmp_path / "small.png")
    told = f"vqcodec: {photo} has 48 x 40 pixels and {tmp_path}/small.png 9 x 9: only pictures of equal size can be compared\n"
    assert run(capsys, "compare", photo, tmp_path / "small.png") == (3, "", told)
    assert run(capsys, "compare", "-", "-")[0] == 2
    for source in (photo, vqz):
        with open(source, "rb") as stream:
            done = subprocess.run(
                program_command("compare", "-", photo, "--json"),
                stdin=stream,
                capture_output=True,
                env=program_environment(),
                check=True,
            )
        assert json.loads(done.stdout)["psnr"] == (None if source == photo else facts["psnr"])
    before = photo.read_bytes()
    assert run(capsys, "compare", vqz, photo, "-o", photo, "-f")[0] == 5  # input and output at once
    assert photo.read_bytes() == before


def test_small_pictures_have_no_ms_ssim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, left_out in ((10, ["SSIM", "MS-SSIM"]), (128, ["MS-SSIM"]), (161, [])):
        Image.fromarray(smooth_picture(side, side)).save(tmp_path / "a.png")
        code, out, err = run(capsys, "compare", tmp_path / "a.png", tmp_path / "a.png")
        assert code == 0
        assert "nan" not in out
        assert re.findall(r"note: (\S+) is left out: it needs (?:11|161) pixels a side, and the shorter side has (\d+)", err) == [
            (name, str(side)) for name in left_out
        ]
        assert ("\nms ssim" in out) == (side == 161)
    assert run(capsys, "compare", tmp_path / "a.png", tmp_path / "a.png", "--quiet")[2] == ""


def test_what_is_derived_from_a_private_file_is_private(photo: Path, vqz: Path, tmp_path: Path) -> None:
    private = tmp_path / "private.png"
    private.write_bytes(photo.read_bytes())
    vqz.chmod(0o600)
    for first, second in ((private, vqz), (vqz, private)):
        assert cli.main(["compare", str(first), str(second), "-f", "-o", str(tmp_path / "difference.png")]) == 0
        assert stat.S_IMODE((tmp_path / "difference.png").stat().st_mode) == 0o600
    assert cli.main(["info", str(vqz), "--indices", str(tmp_path / "x.npz")]) == 0
    assert stat.S_IMODE((tmp_path / "x.npz").stat().st_mode) == 0o600


def test_compare_with_transparency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A white picture whose right half is hidden, against others."""
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[:, 4:] = (10, 20, 30, 0)
    hidden = rgba.copy()
    hidden[:, 4:, :3] = 200  # which nobody sees
    clear = np.full((8, 8, 4), 255, np.uint8)
    clear[:, :, 3] = 128
    pictures = {"a": rgba, "b": hidden, "opaque": rgba[:, :, :3] // 255 * 255, "clear": clear, "grey": rgba[:, :, ::3]}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")

    def compared(first: str, second: str) -> dict[str, Any]:
        code, out, _ = run(capsys, "compare", tmp_path / f"{first}.png", tmp_path / f"{second}.png", "--json")
        assert code == 0
        return json.loads(out)

    same = compared("a", "b")
    assert (same["psnr"], same["psnr_alpha"], same["largest_difference"]) == (None, None, 0)
    opaque = compared("a", "opaque")  # on white the hidden half is 255 off, on black nothing
    assert opaque["background"] == "white"
    assert opaque["psnr"] == pytest.approx(10 * np.log10(2))
    assert opaque["psnr_alpha"] == pytest.approx(10 * np.log10(2))
    half = compared("clear", "opaque")  # on black 127 and 128 off, on white 0 and 255
    assert half["background"] == "white"
    assert compared("a", "grey")["pixels_that_differ"] == 0
    _, out, _ = run(capsys, "compare", tmp_path / "a.png", tmp_path / "opaque.png")
    assert re.search(r"^background +white$", out, re.MULTILINE)
    assert run(capsys, "encode", tmp_path / "a.png", tmp_path / "a.vqz")[0] == 0
    assert run(capsys, "compare", tmp_path / "a.png", tmp_path / "a.vqz", "-o", tmp_path / "d.png")[0] == 0
    assert pixels_of(tmp_path / "d.png").shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["encode", "photo.png", "new.vqz", "-m", "photo-gan"], "photo-gan is a refiner, for decode --refine gan --refiner"),
        (["encode", "photo.png", "new.vqz", "-m", "photo-denoise"], "photo-denoise is a denoiser, for denoise -m"),
        (["encode", "photo.png", "new.vqz", "-m", "mnist-prior"], "mnist-prior is a token prior, for generate -m and repair -m"),
        (["encode", "photo.png", "new.vqz", "-m", "MODELS/photo-gan"], "it is a refiner, for decode --refine gan --refiner"),
        (["decode", "photo.vqz", "new.png", "-m", "mnist-prior"], "mnist-prior is a token prior, for generate -m and repair -m"),
        (["info", "photo.vqz", "-m", "photo-gan"], "photo.vqz: no model named photo-gan (installed: "),
        (["decode", "photo.vqz", "new.png", "--refine", "gan", "--refiner", "photo"], "photo is a lite or neural model"),
        (["denoise", "photo.png", "new.png", "-m", "photo"], "photo is a lite or neural model, for encode -m"),
        (["denoise", "photo.png", "new.png", "-m", "MODELS/photo"], "it is a lite or neural model, for encode -m"),
        (["generate", "-m", "photo", "-o", "new.png"], "photo is a lite or neural model, for encode -m"),
        (["generate", "-m", "photo-gan", "-o", "new.png"], "photo-gan is a refiner, for decode --refine gan --refiner"),
        (
            ["repair", "photo.png", "new.png", "-m", "mnist-token", "--mask", "photo.png"],
            "mnist-token is a token model",
        ),
    ],
    ids=" ".join,
)
def test_a_model_of_another_kind_says_what_it_is(
    vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *(word.replace("MODELS", str(REPOSITORY / "models")) for word in arguments))
    assert (code, out) == (4, "")
    assert told in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("new.*"))


def test_quiet_and_json_are_options_of_all_reports(vqz: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", vqz], ["verify", vqz], ["models"], ["compare", photo, vqz]):
        code, out, err = run(capsys, *words, "--json", "--quiet")
        assert (code, err) == (0, "")
        assert isinstance(json.loads(out), dict)
    code, out, err = run(capsys, "bench", photo, "--codecs", "none", "--psnr-only", "--json", "-", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["kind"] == "vqcodec-bench"
    code, out, err = run(capsys, "bench", photo, "--codecs", "none", "--psnr-only")
    assert (code, err) == (0, "vqcodec: 1 of 1 images: photo.png\n")
