"""Tests of bench/page.py: the choice of files for crops, and the sheet of crops."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import open_codec
from vqcodec.bench.page import crop_sheet, largest_within, make_crops, to_html
from vqcodec.bench.results import BenchResults, ImageFile


class LinearCodec:
    """Files of 2 x quality bytes; an error of a tenth of the quality in every sample."""

    version, description, has_grey, lossless = "1.0", "for tests", True, False

    def __init__(self, name: str, lowest: int) -> None:
        self.name = name
        self.qualities = tuple(range(lowest, 200))
        self.files: dict[bytes, UInt8] = {}

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        data = bytes([int(quality)]) * int(2 * quality)
        self.files[data] = pixels + np.uint8(quality // 10)
        return data

    def decode(self, data: bytes) -> UInt8:
        return self.files[data].copy()


def save(path: Path, *shape: int) -> ImageFile:
    """Save a grey PNG of values up to 200, so that the codec's error cannot wrap."""
    pixels = np.random.default_rng(0).integers(0, 200, size=shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return ImageFile(path.stem, path)


def test_crops_are_the_middles_of_the_largest_files_within_the_rate(tmp_path: Path) -> None:
    small, large = save(tmp_path / "small.png", 32, 40), save(tmp_path / "large.png", 264, 20)
    codecs = [LinearCodec("fine", 10), open_codec("none"), open_codec("png")]
    found = {entry.image: entry.crops for entry in make_crops([small, large], codecs)}
    assert [crop.codec for crop in found["small"]] == ["original", "fine"]
    for image, quality in ((small, 20), (large, 82)):  # 0.25 bpp: 40 and 165 bytes
        original, fine = found[image.name]
        pixels = np.asarray(Image.open(image.path))
        middle = pixels[4:260] if image is large else pixels
        np.testing.assert_array_equal(original.pixels, middle)
        np.testing.assert_array_equal(fine.pixels, middle + np.uint8(quality // 10))
        assert fine.bpp == 8 * 2 * quality / pixels.size
        assert fine.psnr_db == pytest.approx(20 * math.log10(255 / (quality // 10)))


def test_a_crop_is_left_out_if_no_file_is_near_the_rate(tmp_path: Path) -> None:
    (entry,) = make_crops([save(tmp_path / "small.png", 32, 40)], [LinearCodec("coarse", 26)])
    original, coarse = entry.crops
    assert (coarse.pixels, coarse.bpp) == (None, 8 * 2 * 26 / (32 * 40))
    with Image.open(io.BytesIO(crop_sheet([entry]))) as sheet:
        assert sheet.size == (80, 32)
        assert np.asarray(sheet)[:, 40:].min() == 255  # white where the crop is left out
        np.testing.assert_array_equal(np.asarray(sheet)[:, :40, 0], original.pixels)


def test_the_smallest_file_is_taken_if_none_is_small_enough() -> None:
    assert len(largest_within(LinearCodec("fine", 10), np.zeros((2, 2), np.uint8), 1)) == 20


def test_the_page_leads_with_the_bd_rates(results: BenchResults) -> None:
    page = to_html(results, "<?xml?><svg></svg>", [])
    headings = [part.split("</h2>")[0] for part in page.split("<h2>")[1:]]
    assert headings[:2] == ["BD-rate vs jpeg", "BD-rate vs jpeg of the mean curves"]
    assert page.index(headings[0]) < page.index("<svg>") < page.index(headings[1])
    assert "<tr><td>vqz</td><td>-20.0 %</td><td>1.0</td><td>10.0</td></tr>" in page
