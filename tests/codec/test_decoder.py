"""Files as they are read: whole or in part, smaller, damaged; alpha, depth and metadata."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.errors import CorruptError, FormatError, InputError, TruncatedError
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_8X8, GREY
from vqcodec.weights import registry

LITE = registry.find("photo-lite")
PHOTO = registry.find("photo")


def grouped(pixels: np.ndarray, quality: float = 60, model: Any = LITE) -> bytes:
    """A file of three layers and tile groups of 64 pixels."""
    return api.encode(pixels, quality=quality, model=model, effort=4, tile=64, threads=1)


@pytest.fixture(scope="module")
def file() -> bytes:
    return grouped(smooth_picture(150, 170))


# ------------------------------------------------------------------------------------------------ alpha


@pytest.mark.parametrize("channels", [2, 4])
def test_pictures_with_alpha(channels: int) -> None:
    pixels = smooth_picture(33, 41, channels)
    data = api.encode(pixels, model="photo-lite")
    decoded = api.decode(data)
    assert decoded.shape == pixels.shape
    np.testing.assert_array_equal(decoded[:, :, -1], pixels[:, :, -1])
    assert np.abs(decoded.astype(int) - pixels).mean() < 4
    assert api.info(data)["channels"] == channels
    plain = api.encode(np.ascontiguousarray(pixels[:, :, :-1]), model="photo-lite")
    np.testing.assert_array_equal(api.decode(plain).reshape(33, 41, -1), decoded[:, :, :-1])


# ------------------------------------------------------------------------------------------------ depth


@pytest.mark.parametrize("bits", fast_first([9, 16, 10, 12]))
def test_deep_grey_keeps_its_depth(bits: int) -> None:
    levels = 1 << bits
    fine = smooth_picture(64, 80, 1).astype(float) / 256 + np.random.default_rng(0).normal(0, 0.002, (64, 80))
    pixels = np.clip(fine * levels, 0, levels - 1).astype(np.uint16)
    pixels[0, 0] = levels - 1
    kept = max(bits, 10)
    for options, most in (({"quality": 60}, 8.0), ({"psnr": 60.0}, 0.26), ({"quality": 100}, 0.26)):
        data = api.encode(pixels, model="photo-lite", **options)
        decoded = api.decode(data)
        assert decoded.dtype == np.uint16
        error = np.sqrt(np.square(decoded.astype(float) - pixels).mean()) / (1 << (kept - 8))
        assert error < most  # in levels of 8 bits: of these alone, rounding would leave 0.29
    assert api.info(data)["depth"] == kept
    np.testing.assert_array_equal(api.decode(data, refine="none"), decoded)


def test_deep_grey_of_eight_bits_decodes_to_the_pixels_of_eight() -> None:
    """Both take the same road: a sample of 16 bits is one of 8 with a fraction."""
    pixels = smooth_picture(40, 48, 1)
    shallow = api.decode(api.encode(pixels, quality=60, model="photo-lite"))
    deep = api.decode(api.encode(pixels.astype(np.uint16) << 8, quality=60, model="photo-lite"))
    assert np.abs(deep / 256 - shallow).max() <= 0.5


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_synthesis_of_deep_grey(depth: int) -> None:
    pixels = smooth_picture(64, 80, 1).astype(np.uint16) << (depth - 8)
    pixels[0, 0] = (1 << depth) - 1
    data = api.encode(pixels, quality=40, model="photo")
    plain, refined = (api.decode(data, refine=refine).astype(float) for refine in ("none", "best"))
    assert refined.max() > (1 << depth) / 2
    assert 0 < np.abs(plain - refined).mean() < 6 * (1 << (depth - 8))


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)],
)
def test_arrays_that_are_no_pictures(pixels: np.ndarray) -> None:
    with pytest.raises(InputError):
        api.encode(pixels)


# ------------------------------------------------------------------------------------------------ metadata


def test_metadata_is_kept_and_costs_no_pixels() -> None:
    pixels, given = smooth_picture(30, 30), Metadata(b"profile", b"II*\0exif", b"<xmp/>")
    data = api.encode(pixels, metadata=given)
    with api.open_vqz(io.BytesIO(data)) as opened:
        assert opened.metadata == given
    without = api.encode(pixels)
    np.testing.assert_array_equal(api.decode(data), api.decode(without))
    assert len(without) + 7 + 8 + 6 < len(data) < len(without) + 7 + 8 + 6 + 40


def test_metadata_counts_for_a_target() -> None:
    pixels = smooth_picture(64, 64)
    data = api.encode(pixels, size=1500, metadata=Metadata(icc=bytes(700)), model="photo-lite")
    assert len(data) <= 1500


def test_too_much_metadata_is_refused() -> None:
    with pytest.raises(InputError, match="16 MiB"):
        api.encode(smooth_picture(8, 8), metadata=Metadata(xmp=bytes((1 << 24) + 1)))


# ------------------------------------------------------------------------------------------------ parts


@pytest.mark.parametrize("tile", fast_first([128, 64, 1024, 65536]))
def test_tiles(tile: int) -> None:
    pixels = smooth_picture(150, 170)
    data = api.encode(pixels, model="photo-lite", tile=tile, threads=1)
    assert api.info(data)["groups"] == -(-150 // tile) * -(-170 // tile)
    assert np.abs(api.decode(data, threads=1).astype(int) - pixels).mean() < 4
    assert api.encode(pixels, model="photo-lite", tile=float(tile), threads=1) == data  # type: ignore[arg-type]  # as numbers are compared
    for bad in (0, 63, 100, 131072):
        with pytest.raises(InputError, match="64, 128"):
            api.encode(pixels, tile=bad)


@pytest.mark.slow
def test_there_is_no_seam_between_tiles(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error's step across a border of tile groups is about that across other borders of blocks; it was half as much again."""
    with Image.open(samples / "landscape.png") as image:
        pixels = np.asarray(image.convert("RGB"))[:320, :448]
    data = api.encode(pixels, quality=15, model="photo", effort=4, tile=64)

    def step_at_seams(refine: str) -> float:
        error = api.decode(data, refine=refine).astype(int) - pixels
        steps = np.abs(np.diff(error, axis=1)).mean(axis=(0, 2))
        borders = np.arange(7, pixels.shape[1] - 1, 8)
        seams = borders % 64 == 63
        return float(steps[borders[seams]].mean() / steps[borders[~seams]].mean())

    assert step_at_seams("none") < 1.15
    assert step_at_seams("best") < 1.15
    monkeypatch.setattr("vqcodec.transform.seams.smooth_seams", lambda *_: None)
    assert step_at_seams("none") > 1.3
    assert step_at_seams("best") > 1.3


class Short(io.BytesIO):
    """Gives five bytes at most at a time, as unbuffered streams may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(5 if size is None or size < 0 else min(size, 5))


class Longer(io.BytesIO):
    """Says that it is longer than it is, as files do that are cut off while they are open."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(offset, whence) + (100_000 if whence == 2 else 0)


@pytest.mark.parametrize("tile", [None, 64])
def test_streams_that_give_little_at_a_time(tile: int | None) -> None:
    data = api.encode(smooth_picture(70, 130), model="photo-lite", tile=tile, threads=1)
    with api.open_vqz(Short(data)) as opened:
        np.testing.assert_array_equal(opened.read(threads=1), api.decode(data, threads=1))


@pytest.mark.parametrize("tile", [None, 64])
def test_streams_that_end_before_their_end(tile: int | None) -> None:
    data = api.encode(smooth_picture(70, 130), model="photo-lite", tile=tile, threads=1)
    for size in (0, 3, 10, 20, 60, len(data) - 1):
        with pytest.raises(FormatError), api.open_vqz(Longer(data[:size])) as opened:
            opened.read(threads=1)


class Slow(io.BytesIO):
    """Others get their turn between a seek and the read that wants its place."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place = super().seek(offset, whence)
        time.sleep(0.001)
        return place


def test_threads_read_one_file_in_turn(file: bytes) -> None:
    opened = container.File(Slow(file))
    sections = [section.data for section in container.read_file(file)[1]]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened.section, range(len(sections)))) == sections


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_opened_as_a_file_is(file: bytes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, file)
        with api.open_vqz(tmp_path / "pipe") as opened:
            np.testing.assert_array_equal(opened.read(), api.decode(file))


def test_pixels_are_the_callers_own(file: bytes) -> None:
    """Not in the memory that copies of a process share: a fork's changes would be everybody's."""
    owner: Any = api.decode(file)
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert owner is None


def test_of_a_large_file_that_is_none_little_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + 30 * b"\xff")
        file.truncate(1 << 40)
    with pytest.raises(FormatError, match=r"not a \.vqz file"), api.open_vqz(path):
        pass


def test_open_reads_little(file: bytes) -> None:
    with api.open_vqz(io.BytesIO(file)) as opened:
        assert opened.size == (170, 150)
        assert opened.channels == 3
    long = io.BytesIO(file + bytes(1 << 20))
    with api.open_vqz(long) as opened:
        assert opened.file.read_bytes < 1 << 15


@pytest.mark.parametrize("model", fast_first([LITE, PHOTO]))
def test_regions_are_parts_of_the_whole(model: Any) -> None:
    pixels = smooth_picture(150, 170)
    data = grouped(pixels, 50, model)
    whole = api.decode(data, model=model, threads=1).astype(int)
    with api.open_vqz(io.BytesIO(data), model=model) as opened:
        parts = ((0, 0, 170, 150), (3, 5, 20, 30), (60, 60, 10, 10), (169, 149, 1, 1), (0, 140, 170, 10), (100, 0, 1, 150))
        for x, y, w, h in parts:
            part = opened.read((x, y, w, h), threads=1)
            assert np.abs(part.astype(int) - whole[y : y + h, x : x + w]).max() <= (model is PHOTO)


def test_a_region_reads_the_groups_that_it_touches(file: bytes) -> None:
    with api.open_vqz(io.BytesIO(file + bytes(0))) as opened:
        before = opened.file.read_bytes
        opened.read((70, 70, 50, 50))  # within one of 3 x 3 groups
        table = opened.file.table
        assert opened.file.read_bytes - before == sum(table[layer * 9 + 4][1] for layer in range(3))


def test_regions_are_of_any_kind_of_whole_number(file: bytes) -> None:
    with api.open_vqz(io.BytesIO(file)) as opened:
        wanted = opened.read((100, 60, 30, 20))
        for kind in (np.uint8, np.uint32, np.uint64, np.int16):
            np.testing.assert_array_equal(opened.read(tuple(map(kind, (100, 60, 30, 20)))), wanted)
        for wrong in ((1.5, 0, 5, 5), (0, 0, 5)):
            with pytest.raises(InputError, match="four whole numbers"):
                opened.read(wrong)


@pytest.mark.parametrize("region", [(0, 0, 171, 1), (-1, 0, 5, 5), (0, 0, 0, 5), (170, 0, 1, 1)])
def test_regions_outside_are_refused(file: bytes, region: tuple[int, int, int, int]) -> None:
    with api.open_vqz(io.BytesIO(file)) as opened, pytest.raises(InputError, match="170x150"):
        opened.read(region)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_smaller_pictures_are_the_means_of_boxes(channels: int, scale: int) -> None:
    y, x = np.mgrid[:96, :120]
    pixels = np.stack([128 + 60 * np.sin(x / (30 + 9 * c)) * np.cos(y / 25) for c in range(channels)], 2).astype(np.uint8)
    pixels = pixels[:, :, 0] if channels == 1 else pixels
    data = api.encode(pixels, quality=90, model="photo-lite")
    with api.open_vqz(io.BytesIO(data)) as opened:
        small = opened.read(scale=scale).astype(float)
    boxes = pixels.reshape(96 // scale, scale, 120 // scale, scale, -1).mean(axis=(1, 3))
    assert np.abs(small.reshape(boxes.shape) - boxes).max() < 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_smaller_pictures_have_all_low_frequencies(channels: int, scale: int) -> None:
    """Noise has as much of one as of another: none may be missing."""
    pixels = np.random.default_rng(0).integers(60, 196, (40, 48, channels), dtype=np.uint8)
    layout, side = (GREY if channels == 1 else COLOR_8X8), 8 // scale
    matrix, low = dct.scaled_matrix(layout, LITE.color, side)
    wanted = np.empty((5 * side, 6 * side, channels), np.uint8)
    dct.inverse_float(dct.forward(pixels, layout, LITE.color)[low], 6, matrix, wanted)
    with api.open_vqz(io.BytesIO(api.encode(pixels, quality=100, model=LITE))) as opened:
        found = opened.read(scale=scale)
    assert np.abs(found.reshape(wanted.shape).astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_smaller_alpha_is_the_mean_of_boxes_and_halves_are_rounded_up(scale: int) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (37, 50), dtype=np.uint8)
    data = api.encode(np.dstack([plane, plane]), model=LITE)
    with api.open_vqz(io.BytesIO(data)) as opened:
        found = opened.read(scale=scale)[:, :, 1]
    padded = np.pad(plane.astype(int), ((0, -37 % scale), (0, -50 % scale)), mode="edge")
    sums = padded.reshape(len(found), scale, -1, scale).sum(axis=(1, 3))
    np.testing.assert_array_equal(found, (2 * sums + scale**2) // (2 * scale**2))


@pytest.mark.parametrize("shape", [(1, 65535, 3), (65535, 1)])
def test_the_longest_lines(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert api.decode(api.encode(pixels, quality=30, model="photo-lite", effort=1)).shape == shape


def test_smaller_pictures_of_any_size() -> None:
    for height, width in ((1, 1), (7, 9), (8, 17), (3, 100)):
        data = api.encode(smooth_picture(height, width, 2), model="photo-lite")
        with api.open_vqz(io.BytesIO(data)) as opened:
            for scale in (2, 4, 8):
                assert opened.read(scale=scale).shape == (-(-height // scale), -(-width // scale), 2)
            with pytest.raises(InputError):
                opened.read((0, 0, 1, 1), scale=2)


# ------------------------------------------------------------------------------------------------ damage


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 16,)) + data[at + 1 :]


def test_a_damaged_group_costs_no_other(file: bytes) -> None:
    whole = api.decode(file)
    _, table, start = container.read_header(file)
    ends = np.cumsum([start, *(length for _, length, _ in table)])
    for layer, worst in ((0, 200), (1, 40), (2, 20)):
        damaged = flipped(file, int(ends[9 * layer + 4]) + 3)
        with pytest.raises(CorruptError):
            api.decode(damaged)
        with api.open_vqz(io.BytesIO(damaged), allow_partial=True) as opened:
            found = opened.read()
            assert opened.lost == {4}
        outside = np.ones(whole.shape[:2], bool)
        outside[60:132, 60:132] = False  # the group, and what seams.py changes beside it
        np.testing.assert_array_equal(found[outside], whole[outside])
        assert 0 < np.abs(found[~outside].astype(int) - whole[~outside]).mean() < worst


def test_every_longer_prefix_gives_a_better_picture(file: bytes) -> None:
    pixels = smooth_picture(150, 170).astype(float)
    errors = []
    for share in (0.35, 0.6, 0.8, 1.0):
        data = file[: int(len(file) * share)]
        with api.open_vqz(io.BytesIO(data), allow_partial=True) as opened:
            errors.append(np.square(opened.read() - pixels).mean())
            assert bool(opened.lost) == (share < 1)
        if share < 1:
            with pytest.raises(TruncatedError):
                api.decode(data)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.5 * errors[-1]


def test_a_damaged_header_is_never_read_in_part(file: bytes) -> None:
    for at in range(0, 40, 3):
        with pytest.raises(FormatError), api.open_vqz(io.BytesIO(flipped(file, at)), allow_partial=True):
            pass


def test_damaged_alpha_is_opaque_in_part() -> None:
    data = api.encode(smooth_picture(20, 20, 4), model="photo-lite")
    with api.open_vqz(io.BytesIO(flipped(data, len(data) - 2)), allow_partial=True) as opened:
        assert (opened.read()[:, :, 3] == 255).all()
        assert opened.lost == set()
        assert opened.notes == ["the alpha plane was damaged: all is opaque"]


def test_damaged_metadata_is_told_of() -> None:
    data = api.encode(smooth_picture(20, 20), model="photo-lite", metadata=Metadata(exif=b"e" * 50, xmp=b"x" * 50))
    with api.open_vqz(io.BytesIO(flipped(data, data.index(b"e" * 50))), allow_partial=True) as opened:
        assert opened.metadata == Metadata(xmp=b"x" * 50)
        assert opened.notes == ["EXIF was damaged and is left out"]


def test_errors_of_the_callers_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "a.vqz").write_bytes(api.encode(smooth_picture(9, 9), model="photo-lite"))
    with pytest.raises(FileNotFoundError), api.open_vqz(str(tmp_path / "a.vqz")):
        open(tmp_path / "none")  # noqa: SIM115


def test_a_long_table_is_read_from_a_file(tmp_path: Path) -> None:
    """The table is longer than the first read."""
    header, _ = container.read_file(api.encode(smooth_picture(8, 8, 1), model="photo-lite"))
    many = replace(header, width=4096, height=4096, group_log2=3)
    data = container.write_file(many, [container.Section(container.INDICES, b"")] * len(many.groups))
    assert len(data) > 20_000
    (tmp_path / "long.vqz").write_bytes(data)
    with api.open_vqz(tmp_path / "long.vqz") as opened:
        assert len(opened.file.table) == 4096
    for cut in (10, 18_000, len(data) - 1):
        (tmp_path / "cut.vqz").write_bytes(data[:cut])
        with pytest.raises(TruncatedError), api.open_vqz(tmp_path / "cut.vqz"):
            pass
