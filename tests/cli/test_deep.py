"""Pictures of 16 bits per sample in every command that takes pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run
from helpers.deep_files import deep_png
from vqcodec.io.image_reader import read_image
from vqcodec.io.image_writer import write_image


def ramp(channels: int) -> np.ndarray:
    """A soft picture with a little noise, uint16 [136, 128, channels]."""
    y, x = np.mgrid[:136, :128]
    noise = np.random.default_rng(0).integers(0, 99, (136, 128, channels))
    return np.stack([(300 * x + (70 + 33 * c) * y + 1000 * c + noise[..., c]).astype(np.uint16) for c in range(channels)], axis=2)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder with a PNG file of grey and alpha, one of RGB and alpha, and a TIFF file of RGB."""
    folder = tmp_path / "deep"
    folder.mkdir()
    for name, channels in (("a.png", 2), ("b.png", 4)):
        (folder / name).write_bytes(deep_png(ramp(channels)).getvalue())
    with open(folder / "c.tif", "wb") as stream:
        write_image(ramp(3), stream, format="TIFF")
    return folder


def test_a_folder_to_vqz_and_back(deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coded, decoded = tmp_path / "coded", tmp_path / "decoded"
    code, _, err = run(capsys, "encode", deep, coded, "-q", "100", "-j", "1")
    assert code == 0
    assert err.splitlines()[-1].split()[:2] == ["done", "3"]
    for name, channels, section in (("a.png", 2, True), ("b.png", 4, True), ("c.tif", 3, False)):
        facts = json.loads(run(capsys, "info", coded / name.replace(name[2:], "vqz"), "--json")[1])
        assert (facts["depth"], facts["channels"]) == (16, channels)
        assert ("deep alpha" in [each["type"] for each in facts["sections"]]) == section
    assert run(capsys, "verify", coded)[0] == 0
    assert run(capsys, "decode", coded, decoded, "--to", "tif", "-j", "1")[0] == 0
    for name in ("a.png", "b.png", "c.tif"):
        wanted, found = read_image(deep / name).pixels, read_image(decoded / f"{name[0]}.tif").pixels
        assert (found.dtype, found.shape) == (np.uint16, wanted.shape)
        if wanted.shape[2] in (2, 4):
            np.testing.assert_array_equal(found[..., -1], wanted[..., -1])
        assert np.sqrt(np.square(found.astype(float) - wanted).mean()) < 100


def test_compare(deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "encode", deep / "c.tif", tmp_path / "c.vqz", "-q", "90")[0] == 0
    assert run(capsys, "decode", tmp_path / "c.vqz", tmp_path / "c.png")[0] == 0
    error = read_image(tmp_path / "c.png").pixels.astype(float) - ramp(3)
    for other in ("c.vqz", "c.png"):
        code, out, _ = run(capsys, "compare", deep / "c.tif", tmp_path / other, "-o", tmp_path / f"{other}.png", "--json")
        assert code == 0
        assert json.loads(out)["psnr"] == pytest.approx(10 * np.log10(65535**2 / np.square(error).mean()))


def test_a_region_and_a_smaller_picture(deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "encode", deep / "b.png", tmp_path / "b.vqz")[0] == 0
    for options, shape in ((["--region", "8,8,16,24"], (24, 16, 4)), (["--scale", "2"], (68, 64, 4))):
        assert run(capsys, "decode", tmp_path / "b.vqz", tmp_path / "part.png", "-f", *options)[0] == 0
        found = read_image(tmp_path / "part.png").pixels
        assert (found.dtype, found.shape) == (np.uint16, shape)


def test_what_is_refused_in_one_line(deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "encode", deep / "c.tif", tmp_path / "c.vqz", "--quiet")[0] == 0
    (tmp_path / "cut.png").write_bytes((deep / "b.png").read_bytes()[:300])
    for code, message, arguments in (
        (5, "which holds 8 bits per sample: use .png, .tif or .ppm for 16", ["decode", tmp_path / "c.vqz", tmp_path / "c.jpg"]),
        (3, "cannot read", ["encode", tmp_path / "cut.png", tmp_path / "cut.vqz"]),
        (
            3,
            "photo-preview is a token model, of 8 bits a sample",
            ["encode", deep / "c.tif", tmp_path / "new.vqz", "-m", "photo-preview"],
        ),
        (3, "8 bits", ["denoise", deep / "c.tif", tmp_path / "new.png"]),
        (6, "more than 100", ["encode", deep / "c.tif", tmp_path / "new.vqz", "--max-pixels", "100"]),
    ):
        found, _, err = run(capsys, *arguments)
        assert (found, err.count("\n")) == (code, 1), err
        assert message in err
