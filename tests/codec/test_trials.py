"""Trials of the encoder: which files they choose."""

import numpy as np
import pytest

import vqcodec
from helpers.contents import samples, smooth
from vqcodec.arrays import Bool, Pixels
from vqcodec.codec import content
from vqcodec.format import index_planes

LETTERS = 255 - 255 * np.kron(np.random.default_rng(0).integers(0, 2, (24, 32)), np.ones((5, 5))).astype(np.uint8)


def scan() -> Pixels:
    """Black letters [120, 160] with soft edges and noise, whose contrast was raised as for scans."""
    blurred = LETTERS.astype(np.float64)
    for axis in (0, 1):
        blurred = (np.roll(blurred, 1, axis) + 2 * blurred + np.roll(blurred, -1, axis)) / 4
    noise = np.random.default_rng(1).normal(0, 6, blurred.shape)
    return np.rint(3 * (blurred + noise - 128) + 128).clip(0, 255).astype(np.uint8)


def psnr_db(one: Pixels, other: Pixels) -> float:
    return 10 * float(np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def without_layers(data: bytes) -> bool:
    with vqcodec.open_vqz(data) as opened:
        return not opened.header.layers


def test_scans_of_letters_become_indices_of_few_grey_levels() -> None:
    pixels = scan()
    data = vqcodec.encode(pixels)
    assert without_layers(data)
    assert 1 < len(np.unique(vqcodec.decode(data))) < 64
    assert not vqcodec.info(data)["lossless"]
    assert len(data) < 0.7 * len(vqcodec.encode(pixels, lossless=True))


def test_few_colours_are_tried_for_scans_that_are_no_graphics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "may_hold_graphics", lambda *_: False)
    assert all(without_layers(vqcodec.encode(scan(), quality=quality)) for quality in (20, 60))
    rng = np.random.default_rng(0)
    assert not without_layers(vqcodec.encode(samples(smooth, rng, (120, 160, 3), 8)))


def test_grain_is_not_coded_as_indices_to_find_that_it_takes_more(monkeypatch: pytest.MonkeyPatch) -> None:
    expected: list[float] = []
    bytes_in_contexts = content.bytes_in_contexts

    def watching(pixels: Pixels) -> float:
        expected.append(bytes_in_contexts(pixels))
        return expected[-1]

    monkeypatch.setattr(content, "bytes_in_contexts", watching)
    monkeypatch.setattr(index_planes, "pack_all", lambda *_: pytest.fail("indices were coded"))
    rng = np.random.default_rng(0)
    pixels = (0.3 * np.cumsum(rng.normal(0, 9, (120, 160)), axis=1) + rng.normal(128, 12, (120, 160))).clip(0, 255).astype(np.uint8)
    data = vqcodec.encode(pixels)
    assert not without_layers(data)
    assert expected[0] > len(data)


def test_a_file_that_loses_by_its_sketch_is_not_coded_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    efforts: list[int] = []
    pack = index_planes.pack_all

    def watching(pictures: list[Pixels], maps: list[Bool | None], effort: int, threads: int, _: None) -> index_planes.Packed:
        efforts.append(effort)
        return pack(pictures, maps, effort, threads)

    monkeypatch.setattr(index_planes, "pack_all", watching)
    monkeypatch.setattr(content, "may_hold_graphics", lambda *_: True)
    monkeypatch.setattr(content, "graphic_map", lambda pixels, *_: np.zeros((15, 20), bool))
    data = vqcodec.encode(scan(), effort=5, threads=1)
    assert efforts == [1, 1, 5]  # sketches of the picture and of one with fewer colours, which is smaller
    assert len(data) <= len(vqcodec.encode(scan(), effort=1, threads=1))
    efforts.clear()
    vqcodec.encode(samples(smooth, np.random.default_rng(0), (120, 160, 3), 8), effort=5, threads=1)
    assert set(efforts) == {1}  # blocks cost less than any file without layers can


def test_a_lower_quality_takes_fewer_bytes() -> None:
    sizes = [len(vqcodec.encode(scan(), quality=quality)) for quality in (20, 40, 60, 80, 100)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("target_db", [25, 35, 45])
def test_fewer_colours_meet_a_psnr(target_db: float) -> None:
    pixels = scan()
    data = vqcodec.encode(pixels, psnr=target_db)
    assert psnr_db(vqcodec.decode(data), pixels) >= target_db
    assert len(data) < len(vqcodec.encode(pixels, lossless=True))


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_fewer_colours_meet_a_size(share: float) -> None:
    pixels = scan()
    most = int(share * len(vqcodec.encode(pixels, lossless=True)))
    data = vqcodec.encode(pixels, size=most)
    assert 0.3 * most < len(data) <= most


def test_colours_stay_where_hidden_ones_count() -> None:
    pixels = np.dstack([scan()] * 3 + [np.where(LETTERS > 0, 255, 0).astype(np.uint8)])
    data = vqcodec.encode(pixels, exact=True, quality=60)
    np.testing.assert_array_equal(vqcodec.decode(data)[:, :, 3], pixels[:, :, 3])
    if without_layers(data):
        np.testing.assert_array_equal(vqcodec.decode(data), pixels)
