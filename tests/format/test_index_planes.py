"""Graphic pixels are read as they were written, at every effort; damaged bytes are refused within the memory of the picture."""

import tracemalloc
from contextlib import nullcontext, suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.contents import grain
from helpers.pixel_files import contexts_at_any_cost, part_bytes
from vqcodec.errors import CorruptError, FormatError, TruncatedError
from vqcodec.format import index_planes, palettes
from vqcodec.format.index_planes import Packed
from vqcodec.transform.palette import Palette, pixels_of_cells

LIMIT = 1 << 20
CONTEXTS = b"\0\0"
"""The start of a group in contexts."""


def round_trip(pictures: list[np.ndarray], graphic: list[np.ndarray | None], effort: int) -> int:
    """Bytes of pictures; asserts that their graphic pixels come back and all others are 0."""
    packed = index_planes.pack_all(pictures, graphic, effort)
    assert_unpacks(packed, pictures, graphic)
    return len(packed.palette) + sum(map(len, packed.groups))


def assert_unpacks(packed: Packed, pictures: list[np.ndarray], graphic: list[np.ndarray | None]) -> Palette:
    """Assert that the graphic pixels of pictures come back and all others are 0. Returns the palette."""
    palette = palettes.unpack_palette(packed.palette, pictures[0].shape[2], pictures[0].dtype, LIMIT)
    for picture, cells, data in zip(pictures, graphic, packed.groups, strict=True):
        shape = picture.shape[:2]
        found = index_planes.unpack(data, shape, palette, cells)
        kept = np.ones(shape, bool) if cells is None else pixels_of_cells(cells, *shape)
        np.testing.assert_array_equal(found, np.where(kept[..., None], picture, 0))
        assert found.dtype == picture.dtype
    return palette


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


# ------------------------------------------------------------------------------------------------ contexts


def noisy(seed: int, shape: tuple[int, int] = (96, 120), levels: int = 12) -> np.ndarray:
    """A graphic [H, W, 1] of noisy greys, whose neighbouring pixels are alike."""
    return (grain(np.random.default_rng(seed), *shape, levels) * (255 // levels))[..., None]


def assert_in_contexts(pictures: list[np.ndarray], graphic: list[np.ndarray | None]) -> Palette:
    """Assert that all groups with graphic cells are in contexts at effort 5, and come back. Returns their palette."""
    packed = index_planes.pack_all(pictures, graphic, 5)
    for cells, group in zip(graphic, packed.groups, strict=True):
        assert group[:2] == (CONTEXTS if cells is None or cells.any() else b"")
    return assert_unpacks(packed, pictures, graphic)


def test_noisy_graphics_are_smaller_in_contexts() -> None:
    picture = noisy(0)
    fast, usual = (index_planes.pack_all([picture], [None], effort) for effort in (1, 5))
    assert (fast.groups[0][:2] != CONTEXTS, usual.groups[0][:2]) == (True, CONTEXTS)
    assert len(usual.groups[0]) < 0.95 * len(fast.groups[0])
    for packed in (fast, usual):
        palette = assert_unpacks(packed, [picture], [None])
        assert (palette.levels, palette.complete) == ((12,), True)


def test_contexts_with_a_map_of_graphic_cells() -> None:
    picture = noisy(1)
    cells = np.ones((12, 15), bool)
    cells[5:7, 3:10] = cells[0, 0] = cells[-1, -2:] = False
    assert_in_contexts([picture], [cells])
    other = np.where(pixels_of_cells(cells, 96, 120)[..., None], picture, np.uint8(0))
    assert index_planes.pack_all([picture], [cells], 5) == index_planes.pack_all([other], [cells], 5)


@pytest.mark.parametrize("repeats", [1, 4])
def test_contexts_with_many_colours(repeats: int) -> None:
    """The colours of the last rows are in a higher level if they repeat, else rare."""
    rng = np.random.default_rng(0)
    picture = noisy(0).astype(np.uint16)
    others = rng.permutation(60_000)[:300] + 300
    picture.reshape(-1)[-300 * repeats :] = rng.permutation(np.tile(others, repeats))
    with contexts_at_any_cost():
        palette = assert_in_contexts([picture], [None])
    if repeats > 1:
        assert (sum(palette.levels), len(palette.levels) > 1, palette.complete) == (312, True, True)
    else:
        assert not palette.complete


def test_contexts_in_several_groups() -> None:
    """A group without graphic cells, one without contexts to choose from, and one of another size."""
    pictures = [noisy(3), noisy(4, (16, 24)), noisy(5, (9, 7)), noisy(6, (50, 90)), noisy(7, (1, 1))]
    maps = [None, np.zeros((2, 3), bool), None, np.random.default_rng(0).random((7, 12)) < 0.7, None]
    assert_in_contexts(pictures, maps)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 17, 255, 256, 400]),
    st.integers(1, 4),
    st.sampled_from([np.uint8, np.uint16]),
    st.booleans(),
)
def test_contexts_come_back(seed: int, colours: int, components: int, dtype: type, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    shapes = [tuple(map(int, rng.integers(1, 24, 2))) for _ in range(rng.integers(1, 3))]
    pictures = [few_colours(rng, shape, colours, components, dtype) for shape in shapes]
    maps = [rng.integers(0, 2, (-(-h // 8), -(-w // 8))).astype(bool) if masked else None for h, w in shapes]
    with contexts_at_any_cost():
        round_trip(pictures, maps, 2)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_damage_of_contexts_raises_only_format_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    packed = many_colours(in_contexts=True)
    assert packed.groups[0][:2] == CONTEXTS
    unpack_damaged(packed, rng)


def test_truncated_contexts_are_refused() -> None:
    picture = few_colours(np.random.default_rng(0), (20, 24), 300, 3, np.uint8)
    with contexts_at_any_cost():
        packed = index_planes.pack_all([picture], [None], 2)
    palette = assert_unpacks(packed, [picture], [None])
    assert packed.groups[0][:2] == CONTEXTS
    for length in range(len(packed.groups[0])):
        with pytest.raises(TruncatedError):
            index_planes.unpack(packed.groups[0][:length], (20, 24), palette, None)


ONE_CONTEXT = CONTEXTS + bytes((1, 1, 1, 1, 1))


def test_the_bytes_of_a_group_in_contexts() -> None:
    """Symbols of the first level are in the order of the contexts; all that follows is row by row."""
    symbols = ONE_CONTEXT + bytes((20,)) + part_bytes(bytes((0, 1, 0, 1, 1, 0, 0, 1, 1, 0)))  # upper ones of equal x + 2 y first
    plane = [[10, 20, 10, 20, 10], [20, 10, 20, 20, 10]]
    assert index_planes.unpack(symbols, (2, 5), TWO_COLOURS, None)[..., 0].tolist() == plane


def test_the_bytes_of_higher_levels_and_rare_colours_after_contexts() -> None:
    palette = Palette(np.array([[10], [20], [30], [40], [50]], np.uint8), 3, complete=False)
    first = ONE_CONTEXT + bytes((20,)) + part_bytes(bytes((0, 1, 3, 3, 3, 2, 1, 3, 0, 3)))
    second = part_bytes(bytes((0, 2, 2, 1, 0)))  # two rare colours
    rare = bytes((2,)) + part_bytes(bytes((5, 251)))  # LEFT: 40 + 5, 0 - 5
    plane = [[10, 20, 40, 45, 20], [251, 30, 50, 10, 40]]
    assert index_planes.unpack(first + second + rare, (2, 5), palette, None)[..., 0].tolist() == plane


@pytest.mark.parametrize("colours", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_contexts_need_two_symbols(colours: int, masked: bool) -> None:
    """A palette of a single colour has none to tell apart, nor has one without colours."""
    palette = Palette(np.full((colours, 1), 10, np.uint8), 255, complete=colours == 1)
    with pytest.raises(CorruptError, match="contexts of a palette without two symbols"):
        index_planes.unpack(
            ONE_CONTEXT + bytes((8,)) + part_bytes(bytes(4)), (2, 2), palette, np.ones((1, 1), bool) if masked else None
        )


def test_contexts_of_a_single_colour_and_rare_ones() -> None:
    palette = Palette(np.array([[10]], np.uint8), 255, complete=False)
    data = ONE_CONTEXT + bytes((8,)) + part_bytes(b"\0\1\1\0") + bytes((0,)) + part_bytes(b"\7\x08")
    assert index_planes.unpack(data, (2, 2), palette, None)[..., 0].tolist() == [[10, 7], [8, 10]]


# ------------------------------------------------------------------------------------------------ the bytes of a group

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
        bytes((0, 0, 0, 1, 1, 1, 1)),  # contexts without bins
        bytes((0, 0, 1, 1, 1, 1, 1, 8, 0, 0, 1, 1)),  # contexts of three pixels
        bytes((0, 0, 1, 1, 1, 1, 1, 8, 0, 0, 1, 1, 2)),  # an index of 2 colours
        bytes((0, 0, 1, 1, 1, 1, 1, 8, 0, 0, 1, 1, 1, 0)),  # too long
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


@cache
def many_colours(*, in_contexts: bool) -> Packed:
    """A picture of 40x40 pixels, packed at effort 2."""
    picture = few_colours(np.random.default_rng(0), (40, 40), 300, 3, np.uint8)
    with contexts_at_any_cost() if in_contexts else nullcontext():
        return index_planes.pack_all([picture], [None], 2)


def unpack_damaged(packed: Packed, rng: np.random.Generator) -> None:
    """Unpack `many_colours` after up to three of its bytes, most often of the first ones, were replaced."""
    data = [bytearray(packed.palette), bytearray(packed.groups[0])]
    for _ in range(rng.integers(1, 4)):
        part = data[rng.integers(2)]
        part[rng.integers(min(len(part), rng.choice([10, 1 << 20])))] = rng.integers(256)
    with suppress(FormatError):
        palette = palettes.unpack_palette(bytes(data[0]), 3, np.dtype(np.uint8), 1600)
        assert index_planes.unpack(bytes(data[1]), (40, 40), palette, None).shape == (40, 40, 3)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_damage_raises_only_format_errors(seed: int) -> None:
    packed = many_colours(in_contexts=False)
    assert packed.groups[0][:2] != CONTEXTS
    unpack_damaged(packed, np.random.default_rng(seed))


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
