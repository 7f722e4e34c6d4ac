"""The command decode: formats, qualities, parts and damaged files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.commands import pixels_of, run


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".webp", ".tif", ".bmp", ".jpg", ""])
def test_output_formats(vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    target = tmp_path / f"back{suffix}"
    assert run(capsys, "decode", vqz, target, "--refine", "none")[0] == 0
    error = np.abs(pixels_of(target).astype(int) - vqcodec.decode(vqz.read_bytes(), refine="none"))
    assert error.mean() < (4 if suffix == ".jpg" else 1e-9)


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


def test_regions_scales_and_damaged_files(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    reported = (3, "", f"vqcodec: {tmp_path}/a.vqz: corrupt file: bytes after the last section\n")
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png") == reported
    assert not (tmp_path / "a.png").exists()
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png", "--allow-partial")[0] == 0
