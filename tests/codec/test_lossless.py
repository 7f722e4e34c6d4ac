"""Lossless files: every sample of every kind of picture comes back."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vqcodec
from helpers.contents import CONTENTS, DEPTHS, noise, samples, smooth
from helpers.golden import pixels_digest
from helpers.lossless_golden import FILES
from helpers.paths import REPOSITORY
from vqcodec.codec import predicted
from vqcodec.errors import InputError
from vqcodec.runtime.progress import share_done, watched


@given(
    st.sampled_from(CONTENTS),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 4),
    st.sampled_from(DEPTHS),
    st.sampled_from((1, 5, 9)),
    st.integers(0, 1 << 32),
)
def test_every_sample_comes_back(content, height, width, channels, depth, effort, seed):
    pixels = samples(content, np.random.default_rng(seed), (height, width, channels), depth)
    data = vqcodec.encode(pixels, lossless=True, effort=effort)
    decoded = vqcodec.decode(data)
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels[:, :, 0] if channels == 1 else pixels)


@pytest.mark.parametrize("content", CONTENTS)
def test_regions_and_tile_groups(content):
    pixels = samples(content, np.random.default_rng(7), (200, 150, 3), 8)
    data = vqcodec.encode(pixels, lossless=True, tile=64)
    with vqcodec.open_vqz(data) as opened:
        assert len(opened.header.groups) == 12
        assert np.array_equal(opened.read(), pixels)
        assert np.array_equal(opened.read((30, 50, 70, 90)), pixels[50:140, 30:100])


def test_a_smaller_picture_is_the_mean():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    data = vqcodec.encode(pixels, lossless=True)
    with vqcodec.open_vqz(data) as opened:
        assert opened.read(scale=8).tolist() == [[32]]
        assert opened.read(scale=4).tolist() == [[14, 18], [46, 50]]


def test_smaller_pictures_weigh_colours_by_alpha():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :, 0] = 200
    pixels[:, 4:] = 255, 255, 255, 0
    pixels[:, :4, 3] = 255
    with vqcodec.open_vqz(vqcodec.encode(pixels, lossless=True)) as opened:
        assert opened.read(scale=8).tolist() == [[[200, 0, 0, 128]]]


def test_damaged_groups_are_replaced():
    pixels = samples(smooth, np.random.default_rng(1), (128, 128, 3), 8)
    data = bytearray(vqcodec.encode(pixels, lossless=True, tile=64))
    data[-10] ^= 1
    with pytest.raises(vqcodec.errors.CorruptError):
        vqcodec.decode(bytes(data))
    with vqcodec.open_vqz(bytes(data), allow_partial=True) as opened:
        found = opened.read()
        assert opened.lost == {3}
    assert np.array_equal(found[:64], pixels[:64])
    assert (found[64:, 64:] == 128).all()


def test_no_target_beside_lossless():
    with pytest.raises(InputError, match="lossless has no quality"):
        vqcodec.encode(np.zeros((8, 8), np.uint8), lossless=True, quality=50)


def test_hidden_colours_stay():
    pixels = noise(np.random.default_rng(3), 40, 40, 4, 255).astype(np.uint8)
    pixels[:20, :, 3] = 0
    assert np.array_equal(vqcodec.decode(vqcodec.encode(pixels, lossless=True)), pixels)


def test_progress_within_a_tile_group(monkeypatch):
    shares: list[float] = []

    def watching(writer, *arguments):
        shares.append(share_done(stages).done)
        return code(writer, *arguments)

    code = predicted._Writer.code
    monkeypatch.setattr(predicted._Writer, "code", watching)
    pixels = np.random.default_rng(3).integers(0, 256, (60, 70, 3), np.uint8)
    with watched() as stages:
        vqcodec.encode(pixels, lossless=True, threads=1)
    assert shares == sorted(shares)
    assert len(set(shares)) > 10
    assert shares[0] < 0.8 < shares[-1] < 1


def test_golden_pixels():
    """The pixels of a golden file never change, in any release."""
    paths = sorted((REPOSITORY / "tests" / "golden" / "lossless").glob("*.vqz"))
    assert {path.stem for path in paths} == set(FILES)
    for path in paths:
        wanted = path.with_suffix(".sha256").read_text().strip()
        for threads in (1, 2):
            assert pixels_digest(path.read_bytes(), threads) == wanted, path.name


def test_small_gradients_are_smaller_than_png():
    y, x = np.mgrid[:32, :32]
    shades = np.stack([8.2 * x, 8.1 * y, 5 * (31 - x) + 3.1 * (31 - y)], axis=2)
    shades[np.kron(np.random.default_rng(0).random((8, 8)) < 0.4, np.ones((4, 4), bool))] *= 0.5
    pixels = shades.clip(0, 255).astype(np.uint8)
    png = BytesIO()
    Image.fromarray(pixels).save(png, "PNG", optimize=True)
    assert len(vqcodec.encode(pixels, lossless=True)) < 0.9 * png.tell()
