"""The pipeline page: encode and decode are inverse, and the API gives the same files and pixels."""

import zlib
from typing import Any

import numpy as np
import pytest

from helpers.golden import CROPS, LITE_CROPS, pixels_digest
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import psnr_db, sample, smooth_picture
from vqcodec import api
from vqcodec.codec import pipeline
from vqcodec.errors import CorruptError, FormatError, InputError, LimitError, ModelError, TruncatedError, VqcodecError
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.weights import registry

SAMPLES = REPOSITORY / "samples"


@pytest.fixture(scope="module")
def small() -> bytes:
    return api.encode(sample("still_life", (300, 200, 396, 296)), quality=50)


@pytest.mark.parametrize("model", ["photo-lite", "mnist-token"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_are_those_of_the_api(model: str, channels: int) -> None:
    """With and without alpha, for both kinds of models."""
    pixels = smooth_picture(28, 28, 1).reshape(28, 28)
    if channels == 2:
        pixels = np.dstack([pixels, np.full((28, 28), 200, np.uint8)])
    found, metadata = registry.find_any(model), Metadata(icc=b"profile")
    data = pipeline.encode(pixels, found, EncodeOptions(effort=1), metadata)
    assert data == api.encode(pixels, model=model, effort=1, metadata=metadata)
    np.testing.assert_array_equal(pipeline.decode(data, found, DecodeOptions(refine="none")), api.decode(data, refine="none"))


def test_a_damaged_file_is_refused() -> None:
    model = registry.find("photo-lite")
    data = bytearray(pipeline.encode(smooth_picture(16, 16, 3), model, EncodeOptions(effort=1)))
    data[-1] ^= 1
    with pytest.raises(CorruptError):
        pipeline.decode(bytes(data), model, DecodeOptions())


def test_the_page_is_a_page() -> None:
    """The page has at most 150 lines."""
    assert pipeline.__file__ is not None
    with open(pipeline.__file__) as file:
        lines = file.read().splitlines()
    assert len(lines) <= 150


@pytest.mark.parametrize(
    ("height", "width"), fast_first([(1, 1), (17, 3), (1, 17), (7, 9), (16, 16), (1, 700), (700, 1), (65, 130)], 5)
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", fast_first([100, 0, 60], 2))
def test_any_size_comes_back(height: int, width: int, channels: int, quality: float) -> None:
    rng = np.random.default_rng(height * width)
    pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    decoded = api.decode(api.encode(pixels, quality=quality))
    assert decoded.shape == ((height, width, 3) if channels == 3 else (height, width))
    if quality == 100:  # even noise, at the finest step
        assert psnr_db(pixels.reshape(decoded.shape), decoded) > 40


@pytest.mark.parametrize(
    "options", fast_first([{"psnr": 59.0}, {"bpp": 40.0}, {"size": 100_000}]), ids=lambda options: next(iter(options))
)
def test_white_does_not_overflow_at_the_finest_step(options: dict[str, Any]) -> None:
    pixels = np.clip(np.random.default_rng(0).normal(255, 2, (40, 48, 3)), 0, 255).astype(np.uint8)
    assert psnr_db(pixels, api.decode(api.encode(pixels, **options))) > 59


@pytest.mark.parametrize(
    "options",
    [{"bpp": 0.0}, {"bpp": float("nan")}, {"size": -10}, {"psnr": float("inf")}, {"effort": 0}, {"effort": 10}, {"effort": -1}],
    ids=str,
)
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} is a"):
        api.encode(sample("still_life", (100, 80, 164, 144)), **options)


@pytest.mark.slow
def test_threads_and_tile_groups_change_no_pixel() -> None:
    pixels = sample("still_life")[:100, :140]
    data = api.encode(pixels, quality=40, threads=2, effort=3, tile=64)
    assert data == api.encode(pixels, quality=40, threads=1, effort=3, tile=64)
    assert api.info(data)["groups"] > 1
    once, twice = api.decode(data, threads=1), api.decode(data, threads=2)
    assert np.array_equal(once, twice)
    assert psnr_db(pixels, once) > 30


def test_same_bytes_twice(small: bytes) -> None:
    assert small == api.encode(sample("still_life", (300, 200, 396, 296)), quality=50)


def test_every_truncation_is_refused(small: bytes) -> None:
    for length in range(len(small)):
        with pytest.raises(FormatError):
            api.decode(small[:length])
    with pytest.raises(TruncatedError):
        api.decode(small[:9])
    with pytest.raises(FormatError):
        api.decode(small + b"\0")


def test_no_bit_flip_passes_silently(small: bytes) -> None:
    rng = np.random.default_rng(7)
    for position in rng.integers(0, 8 * len(small), 20_000).tolist():
        damaged = bytearray(small)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(VqcodecError):
            container.read_file(bytes(damaged))


def resealed(data: bytearray, cursor: int) -> bytes:
    """A file without a table with its checksum corrected; it lies before the section at `cursor`."""
    checksum = zlib.crc32(data[cursor:], zlib.crc32(data[: cursor - 4]))
    data[cursor - 4 : cursor] = checksum.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.slow
def test_flips_with_checksums_made_right_end_in_documented_errors(small: bytes) -> None:
    _, _, cursor = container.read_header(small)
    shape = api.decode(small).shape
    rng = np.random.default_rng(11)
    outcomes = {"error": 0, "image": 0}
    for _ in range(40):
        damaged = bytearray(small)
        position = int(rng.integers(8 * cursor, 8 * len(small)))
        damaged[position // 8] ^= 1 << position % 8
        try:
            assert api.decode(resealed(damaged, cursor)).shape == shape
            outcomes["image"] += 1
        except FormatError:
            outcomes["error"] += 1
    assert outcomes["error"] > 0


def test_limits_and_models(small: bytes) -> None:
    with pytest.raises(LimitError):
        api.decode(small, max_pixels=1000)
    with pytest.raises(ModelError):
        registry.find("no-such-model")
    other = bytearray(small)
    start = 8 + 1 + 2 + 1  # magic, version, two one-byte sides, layout: the model id
    other[start] ^= 1
    _, _, cursor = container.read_header(small)
    with pytest.raises(ModelError):
        api.decode(resealed(other, cursor))


def test_golden_pixels() -> None:
    """The pixels of a golden file never change, in any release."""
    paths = sorted((REPOSITORY / "tests" / "golden" / "decode").glob("*.vqz"))
    assert {path.stem for path in paths} == {*CROPS, *LITE_CROPS}
    for path in paths:
        wanted = path.with_suffix(".sha256").read_text().strip()
        for threads in (1, 2):
            assert pixels_digest(path.read_bytes(), threads) == wanted, path.name
