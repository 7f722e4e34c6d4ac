"""Graphic pixels are read as they were written, at every effort; damaged bytes are refused within the memory of the picture."""

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.errors import CorruptError, FormatError
from vqcodec.format import index_planes, palettes
from vqcodec.transform.palette import Palette, pixels_of_cells

LIMIT = 1 << 20


def round_trip(pictures: list[np.ndarray], graphic: list[np.ndarray | None], effort: int) -> int:
    """Bytes of pictures; asserts that their graphic pixels come back and all others are 0."""
    packed = index_planes.pack_all(pictures, graphic, effort)
    palette = palettes.unpack_palette(packed.palette, pictures[0].shape[2], pictures[0].dtype, LIMIT)
    for picture, cells, data in zip(pictures, graphic, packed.groups, strict=True):
        shape = picture.shape[:2]
        found = index_planes.unpack(data, shape, palette, cells)
        kept = np.ones(shape, bool) if cells is None else pixels_of_cells(cells, *shape)
        np.testing.assert_array_equal(found, np.where(kept[..., None], picture, 0))
        assert found.dtype == picture.dtype
    return len(packed.palette) + sum(map(len, packed.groups))


def few_colours(rng: np.random.Generator, shape: tuple[int, int], colours: int, components: int, dtype: type) -> np.ndarray:
    table = rng.integers(0, np.iinfo(dtype).max + 1, (colours, components)).astype(dtype)
    return table[np.minimum(rng.exponential(colours / 4, shape).astype(int), colours - 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 4, 5, 16, 17, 255, 256, 400]),
    st.integers(1, 4),
    st.sampled_from([np.uint8, np.uint16]),
    st.booleans(),
    st.sampled_from([1, 2, 5]),
)
def test_graphic_pixels_come_back(seed: int, colours: int, components: int, dtype: type, masked: bool, effort: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [tuple(map(int, rng.integers(1, 40, 2))) for _ in range(rng.integers(1, 3))]
    pictures = [few_colours(rng, shape, colours, components, dtype) for shape in shapes]
    maps = [rng.integers(0, 2, (-(-h // 8), -(-w // 8))).astype(bool) if masked else None for h, w in shapes]
    round_trip(pictures, maps, effort)


@pytest.mark.parametrize("effort", range(1, 10))
@pytest.mark.parametrize("components", [1, 3])
def test_every_effort(effort: int, components: int) -> None:
    rng = np.random.default_rng(effort)
    picture = few_colours(rng, (70, 50), 900, components, np.uint8)
    picture[20:60] = np.arange(50, dtype=np.uint8)[:, None]
    cells = rng.integers(0, 2, (9, 7)).astype(bool)
    round_trip([picture], [cells], effort)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gradients_and_noise_come_back(dtype: type) -> None:
    y, x = np.mgrid[:120, :130]
    rng = np.random.default_rng(0)
    ramp = np.stack([x * 100 + y, y * 90, x * y], axis=-1).astype(dtype)
    noise = rng.integers(0, 256, (120, 130, 3)).astype(dtype)
    assert round_trip([ramp], [None], 5) < ramp.nbytes / 4
    assert round_trip([noise], [None], 5) < noise.size + 100


def test_no_graphic_cells_take_no_bytes() -> None:
    picture = few_colours(np.random.default_rng(0), (20, 20), 9, 3, np.uint8)
    assert round_trip([picture], [np.zeros((3, 3), bool)], 5) == 1


def test_small_pictures_take_few_bytes() -> None:
    black = np.zeros((1, 1, 1), np.uint8)
    assert round_trip([black], [None], 5) <= 5
    checks = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    assert round_trip([checks], [None], 5) <= 25
    bits = np.random.default_rng(0).integers(0, 2, (32, 32, 1)).astype(np.uint8)
    assert round_trip([bits], [None], 5) <= 32 * 32 // 8 + 8


def test_pixels_outside_the_cells_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    picture = few_colours(rng, (64, 64), 200, 3, np.uint8)
    cells = np.zeros((8, 8), bool)
    cells[2:4, 3:5] = True
    other = np.where(pixels_of_cells(cells, 64, 64)[..., None], picture, rng.integers(0, 256, picture.shape)).astype(np.uint8)
    assert index_planes.pack_all([picture], [cells], 5) == index_planes.pack_all([other], [cells], 5)


def test_repeated_glyphs_cost_little_more_than_one() -> None:
    rng = np.random.default_rng(0)
    glyph = rng.integers(0, 16, (12, 9, 1)).astype(np.uint8)
    line = np.concatenate([np.zeros((12, 2, 1), np.uint8), glyph], axis=1)
    assert round_trip([np.tile(line, (1, 30, 1))], [None], 5) < 1.3 * round_trip([line], [None], 5)


TWO_COLOURS = Palette(np.array([[10], [20]], np.uint8), 255, complete=True)
RARE = Palette(np.array([[10], [20]], np.uint8), 255, complete=False)


def test_the_bytes_of_a_group() -> None:
    plane = [[10, 20, 20], [20, 10, 20]]
    data = bytes((2, 3 << 2, 0b110110))  # one strip; eight symbols in a byte, by columns, the first one lowest
    assert index_planes.unpack(data, (2, 3), TWO_COLOURS, None)[..., 0].tolist() == plane
    by_rows = bytes((1, 0, 0, 1, 1, 1, 0, 1))
    assert index_planes.unpack(by_rows, (2, 3), TWO_COLOURS, None)[..., 0].tolist() == plane
    listed = bytes((0, 2, 0, 1, 1)) + by_rows[1:]
    assert index_planes.unpack(listed, (2, 3), TWO_COLOURS, None)[..., 0].tolist() == plane


def test_the_bytes_of_rare_colours() -> None:
    data = bytes((1, 0, 0, 2, 2, 1)) + bytes((2, 0, 5, 1))  # LEFT: 10 + 5, 15 + 1
    assert index_planes.unpack(data, (1, 4), RARE, None)[..., 0].tolist() == [[10, 15, 16, 20]]
    data = bytes((1, 0, 0, 1, 2, 2)) + bytes((8, 0, 5, 1))  # PAETH: 10 + 5, 20 + 1
    assert index_planes.unpack(data, (2, 2), RARE, None)[..., 0].tolist() == [[10, 20], [15, 21]]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes((1,)),
        bytes((1, 0, 0, 1, 2, 1)),  # an index of 2 colours
        bytes((1, 3, 0, 1, 1, 1)),  # mode
        bytes((1, 4 << 2, 0)),  # packing
        bytes((1, 3 << 2, 0b11111)),  # bits that fill the byte
        bytes((1, 0, 0, 1, 1)),  # too short
        bytes((1, 0, 0, 1, 1, 1, 0)),  # too long
        bytes((0, 0, 0, 1, 1, 1)),  # no strips
        bytes((0, 3, 0, 1, 1, 1, 0, 0, 1, 1, 1)),  # more strips than rows
        bytes((0, 2, 0, 2, 0, 0, 0, 1, 1, 1)),  # a strip without rows
        bytes((0, 2, 0, 1, 2, 0, 0, 1, 1, 1)),  # more rows than the picture
        bytes((1, 1, 4, 0xFF, 0xFF, 0xFF, 0xFF)),  # no zstd frame
    ],
)
def test_damaged_groups_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        index_planes.unpack(data, (2, 2), TWO_COLOURS, None)


@pytest.mark.parametrize("head", [9, 11, 15, 16, 128])
def test_reserved_values_of_rare_colours_are_refused(head: int) -> None:
    with pytest.raises(CorruptError, match="rare colours"):
        index_planes.unpack(bytes((1, 0, 2, head, 0, 5)), (1, 1), RARE, None)


def test_a_palette_without_colours_cannot_have_pixels() -> None:
    with pytest.raises(CorruptError, match="without colours"):
        index_planes.unpack(b"\x01", (1, 1), Palette(np.zeros((0, 1), np.uint8), 255, complete=True), None)


def test_bytes_without_graphic_cells_are_refused() -> None:
    with pytest.raises(CorruptError, match="left over"):
        index_planes.unpack(b"\x01", (8, 8), TWO_COLOURS, np.zeros((1, 1), bool))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_damage_raises_only_format_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = few_colours(rng, (40, 40), 300, 3, np.uint8)
    packed = index_planes.pack_all([picture], [None], 2)
    data = [bytearray(packed.palette), bytearray(packed.groups[0])]
    for _ in range(rng.integers(1, 4)):
        part = data[rng.integers(2)]
        part[rng.integers(len(part))] = rng.integers(256)
    with suppress(FormatError):
        palette = palettes.unpack_palette(bytes(data[0]), 3, picture.dtype, 1600)
        assert index_planes.unpack(bytes(data[1]), (40, 40), palette, None).shape == picture.shape


def test_truncated_bytes_are_refused() -> None:
    picture = few_colours(np.random.default_rng(0), (40, 40), 300, 3, np.uint8)
    packed = index_planes.pack_all([picture], [None], 2)
    palette = palettes.unpack_palette(packed.palette, 3, picture.dtype, LIMIT)
    for length in range(len(packed.palette)):
        with pytest.raises(FormatError):
            palettes.unpack_palette(packed.palette[:length], 3, picture.dtype, LIMIT)
    for length in range(len(packed.groups[0])):
        with pytest.raises(FormatError):
            index_planes.unpack(packed.groups[0][:length], (40, 40), palette, None)


def test_a_bomb_allocates_no_more_than_the_picture() -> None:
    huge = index_planes.pack_all([np.tile(np.array([[[1], [2]]], np.uint8), (2048, 1024, 1))], [None], 1).groups[0]
    assert len(huge) < 1000
    tracemalloc.start()
    with pytest.raises(FormatError):
        index_planes.unpack(huge, (8, 8), TWO_COLOURS, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
