"""The command compare."""

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.commands import pixels_of, run
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import program_command, program_environment


def test_compare_takes_files_of_a_model(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(REPOSITORY / "models" / "photo-lite", tmp_path / "mine")
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-m", tmp_path / "mine")[0] == 0
    assert run(capsys, "compare", photo, tmp_path / "a.vqz", "-m", tmp_path / "mine")[0] == 0
    assert run(capsys, "compare", photo, tmp_path / "a.vqz", "-m", "photo")[0] == 4


def test_a_lossless_file_is_identical(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "encode", "--lossless", photo, tmp_path / "a.vqz", "--effort", 1)[0] == 0
    code, out, _ = run(capsys, "compare", photo, tmp_path / "a.vqz", "-m", "photo")
    assert code == 0
    assert re.search(r"^psnr +identical\npsnr y +identical$", out, re.MULTILINE)
    assert re.search(r"^pixels that differ +0$", out, re.MULTILINE)
    facts = json.loads(run(capsys, "compare", photo, tmp_path / "a.vqz", "--json")[1])
    assert (facts["psnr"], facts["largest_difference"]) == (None, 0)


@pytest.mark.slow
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
    assert re.match(r"psnr +identical\npsnr y +identical\nssim +1\n", out)
    if find_spec("ssimulacra2") is not None:
        assert re.search(r"^ssimulacra2 +100$", out, re.MULTILINE)
        assert 0 < facts["ssimulacra2"] < 100
    Image.new("L", (9, 9)).save(tmp_path / "small.png")
    reported = f"vqcodec: {photo} has 48 x 40 pixels and {tmp_path}/small.png 9 x 9: only pictures of equal size can be compared\n"
    assert run(capsys, "compare", photo, tmp_path / "small.png") == (3, "", reported)
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


def test_compare_with_transparency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A white picture with a transparent right half, compared with others."""
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[:, 4:] = (10, 20, 30, 0)
    hidden = rgba.copy()
    hidden[:, 4:, :3] = 200  # invisible
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


def test_compare_writes_a_page(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.open(photo).save(tmp_path / "other.jpg", quality=20)
    photo.chmod(0o600)
    page = tmp_path / "page.html"
    code, out, _ = run(capsys, "compare", photo, tmp_path / "other.jpg", "--html", page, "-o", tmp_path / "d.png")
    assert code == 0
    text = page.read_text(encoding="utf-8")
    assert "<title>photo.png and other.jpg</title>" in text
    assert str(tmp_path) not in text
    assert f"<td>photo.png</td><td>{photo.stat().st_size:,} bytes" in text
    assert re.search(r"^psnr +(\S+)$", out, re.MULTILINE)[1] in text
    assert page.stat().st_mode & 0o777 == 0o600  # it shows a private picture
    assert run(capsys, "compare", photo, tmp_path / "other.jpg", "--html", page)[0] == 5
    assert run(capsys, "compare", photo, tmp_path / "other.jpg", "--html", tmp_path / "page.png")[0] == 2
