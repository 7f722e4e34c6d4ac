"""The command encode: options, files, interrupts and permissions."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import vqcodec
from helpers.commands import pixels_of, run, temporary_files
from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from helpers.processes import program_command, program_environment
from vqcodec.codec.ssimulacra2 import score


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


def test_an_ssimulacra2_needs_its_package(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)  # hides it
    message = "vqcodec: SSIMULACRA2 needs its package: pip install 'vqcodec[metrics]'\n"
    for source in (photo, photo.parent):  # of a folder, too, there is one line
        assert run(capsys, "encode", source, tmp_path / "out", "--ssimulacra2", "70") == (2, "", message)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("ssimulacra2") is None, reason="the package ssimulacra2 is not installed")
def test_an_ssimulacra2_is_reached(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(photo.read_bytes())
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "--ssimulacra2", "70")[0] == 0
    assert run(capsys, "encode", tmp_path / "in", tmp_path / "out", "--ssimulacra2", "70")[0] == 0
    assert (tmp_path / "out" / "a.vqz").read_bytes() == (tmp_path / "a.vqz").read_bytes()
    assert score(pixels_of(photo), vqcodec.decode(tmp_path / "a.vqz")) >= 70


def test_json(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "encode", photo, tmp_path / "a.vqz", "--json")
    facts = json.loads(out)
    size = (tmp_path / "a.vqz").stat().st_size
    assert code == 0
    assert (facts["width"], facts["height"], facts["channels"], facts["bytes"]) == (48, 40, 3, size)
    assert facts["bpp"] == pytest.approx(8 * size / (48 * 40))
    assert (facts["notes"], facts["lossless"]) == ([], False)


def test_notes(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(photo) as image:
        image.quantize(64).save(tmp_path / "palette.png")
    code, _, err = run(capsys, "encode", tmp_path / "palette.png", tmp_path / "a.vqz")
    assert code == 0
    assert err.startswith("vqcodec: note: converted from a palette\n")


def test_a_file_larger_than_its_source_has_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pattern.png"  # of 1,024 equal tiles
    Image.fromarray(np.tile(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), (32, 32, 1))).save(source)
    code, out, err = run(capsys, "encode", source, tmp_path / "a.vqz", "-q", 95, "--json")
    reported = f"larger than its source ({source.stat().st_size:,} bytes): try a lower -q, or keep the original"
    assert (code, json.loads(out)["grew"], json.loads(out)["notes"]) == (0, True, [reported])
    assert err.splitlines()[0] == f"vqcodec: note: {reported}"
    assert json.loads(run(capsys, "encode", source, tmp_path / "b.vqz", "-q", 1, "--json")[1])["grew"] is False


def test_an_exact_file_larger_than_its_source_has_another_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "diagonal.pgm"
    Image.fromarray(np.eye(4, dtype=np.uint8) * np.uint8(255)).save(source)
    code, out, _ = run(capsys, "encode", source, tmp_path / "a.vqz", "--json")
    facts = json.loads(out)
    reported = f"larger than its source ({source.stat().st_size} bytes), but exact: try a higher --effort, or keep the original"
    assert (code, facts["grew"], facts["notes"]) == (0, True, [reported])


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


def test_force_overwrites(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.vqz").write_bytes(b"old")
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-f")[0] == 0
    assert run(capsys, "verify", tmp_path / "a.vqz")[0] == 0


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


@pytest.mark.slow
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
        if number == signal.SIGTERM:  # before the program's first line, Python itself answers SIGINT
            assert b"Traceback" not in errors


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
        (tmp_path / "a.png").chmod(0o644)  # public, and overwritten by a private file
        assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png", "-f", "--keep-times")[0] == 0
        assert (mode("a.png"), (tmp_path / "a.png").stat().st_mtime_ns) == (0o600, 11 * 10**17)
        assert run(capsys, "denoise", photo, tmp_path / "calm.png")[0] == 0
        assert mode("calm.png") == 0o640
        photo.chmod(0o666)
        assert run(capsys, "encode", photo, tmp_path / "open.vqz")[0] == 0
        assert mode("open.vqz") == 0o644
    finally:
        os.umask(before)
