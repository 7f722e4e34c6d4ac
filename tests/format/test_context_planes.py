"""Symbols in contexts are read as they were written, and in few bytes; damaged bytes are refused, soon and in little memory."""

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.contents import grain
from helpers.networks import random_pixel_contexts
from helpers.pixel_files import Part, part_bytes
from helpers.vqz_fields import bomb
from vqcodec.entropy.pixel_contexts import PixelContexts
from vqcodec.errors import CorruptError, FormatError, TruncatedError
from vqcodec.format import context_planes, zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.neighbours import GreyLevels
from vqcodec.format.zstd_blocks import Mode, StoredPart

ONE_CLASS = bytes((1, 1, 1, 1, 1))
"""The start of a plane with a single context."""
PIXELS = "streams of contexts do not match their pixels"
RUNS = "a stream's runs do not match its symbols"
NETWORK = PixelContexts.from_tensors(random_pixel_contexts())
INDEX = "an index is not below the number of colours"


def round_trip(plane: np.ndarray, mask: np.ndarray | None, alphabet: int, levels: tuple[int, ...] = (3,)) -> bytes:
    """Bytes of a plane; asserts that it comes back, and that no byte after it is read."""
    data = context_planes.pack(plane, mask, alphabet, levels)
    reader = ByteReader(data + b"rest")
    found = context_planes.unpack(reader, plane.shape, mask, alphabet)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, plane)
    assert reader.take(4) == b"rest"
    return data


def unpack(data: bytes, shape: tuple[int, int], alphabet: int, mask: np.ndarray | None = None) -> list[list[int]]:
    """The symbols of a plane; asserts that all of `data` is read."""
    reader = ByteReader(data)
    found = context_planes.unpack(reader, shape, mask, alphabet)
    assert reader.cursor == len(data)
    return found.tolist()


def direct(symbols: Part, count: int | None = None) -> bytes:
    """A stream without split; `count` in place of its number of symbols."""
    size = len(symbols) if isinstance(symbols, bytes) else symbols.size
    return write_varint(2 * (size if count is None else count)) + (part_bytes(symbols) if size else b"")


def split(count: int, common: int, runs: Part, others: Part, lengths: tuple[int, int] | None = None) -> bytes:
    """A stream with split; `lengths` in place of those of its runs and its other symbols."""
    sizes = [len(part) if isinstance(part, bytes) else part.size for part in (runs, others)]
    head = write_varint(2 * count + 1) + bytes((common,)) + b"".join(map(write_varint, lengths or sizes))
    return head + b"".join(part_bytes(part) for part, size in zip((runs, others), sizes, strict=True) if size)


def random_mask(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> np.ndarray | None:
    """A mask of a kind, with at least one pixel."""
    if kind == "none":
        return None
    mask = rng.random(shape) < 0.6 if kind == "holes" else np.full(shape, kind == "all")
    mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
    return mask


def random_plane(rng: np.random.Generator, shape: tuple[int, int], alphabet: int, content: str) -> np.ndarray:
    """A plane of symbols below `alphabet`, the largest of which is there."""
    if content == "grain":
        plane = grain(rng, *shape, alphabet)
    elif content == "rare":
        plane = np.where(rng.random(shape) < 0.03, rng.integers(0, alphabet, shape), rng.integers(alphabet)).astype(np.uint8)
    else:
        plane = rng.integers(0, alphabet, shape).astype(np.uint8)
    plane[rng.integers(shape[0]), rng.integers(shape[1])] = alphabet - 1
    return plane


# ------------------------------------------------------------------------------------------------ round trips


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (1, 50), (50, 1), (3, 2), (2, 30), (30, 2), (17, 40), (40, 17), (16, 16)]),
    st.sampled_from([2, 3, 24, 255, 256]),
    st.sampled_from(["noise", "grain", "rare"]),
    st.sampled_from(["none", "all", "holes", "one"]),
)
def test_symbols_come_back(seed: int, shape: tuple[int, int], alphabet: int, content: str, kind: str) -> None:
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, shape, kind)
    plane = random_plane(rng, shape, alphabet, content)
    round_trip(plane if mask is None else plane * mask, mask, alphabet)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 50), (50, 1), (3, 2), (30, 2), (17, 40), (40, 17)]),
    st.sampled_from([2, 3, 24, 255, 256]),
    st.sampled_from(["none", "all", "holes", "one"]),
)
def test_symbols_come_back_in_contexts_of_a_model(seed: int, shape: tuple[int, int], alphabet: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, shape, kind)
    plane = random_plane(rng, shape, alphabet, "grain")
    plane = plane if mask is None else plane * mask
    model = GreyLevels(NETWORK, rng.integers(0, 128, alphabet).astype(np.uint8))
    reader = ByteReader(context_planes.pack_by_model(plane, mask, model, (3,)) + b"rest")
    np.testing.assert_array_equal(context_planes.unpack(reader, shape, mask, alphabet, model), plane)
    assert reader.take(4) == b"rest"


def test_contexts_of_a_model_need_it() -> None:
    with pytest.raises(CorruptError, match="contexts of a model that has none"):
        unpack(b"\0\1", (2, 2), 2)


def test_a_mask_of_all_pixels_changes_nothing() -> None:
    plane = grain(np.random.default_rng(0), 17, 40, 5)
    assert round_trip(plane, np.ones(plane.shape, bool), 5) == round_trip(plane, None, 5)


@pytest.mark.parametrize("alphabet", [2, 3, 12, 24])
@pytest.mark.parametrize("masked", [False, True])
def test_symbols_like_their_neighbours_take_fewer_bytes_than_with_zstd(alphabet: int, masked: bool) -> None:
    plane = grain(np.random.default_rng(0), 96, 120, alphabet)
    mask = np.ones(plane.shape, bool)
    mask[40:64, 24:56] = not masked
    by_zstd = len(zstd_blocks.compress_whole(plane[mask].tobytes(), (19,)).data)
    assert len(round_trip(plane * mask, mask if masked else None, alphabet, (19,))) < 0.95 * by_zstd


@pytest.mark.parametrize(("symbol", "alphabet"), [(0, 2), (1, 2), (0, 24), (23, 24), (200, 256)])
@pytest.mark.parametrize("masked", [False, True])
def test_constant_planes_take_few_bytes(symbol: int, alphabet: int, masked: bool) -> None:
    plane = np.full((40, 60), symbol, np.uint8)
    mask = np.random.default_rng(0).random(plane.shape) < 0.6 if masked else None
    assert len(round_trip(plane if mask is None else plane * mask, mask, alphabet, (19,))) < 60


def test_rare_symbols_take_few_bytes() -> None:
    """Most classes have a common symbol, so that their streams are split."""
    rng = np.random.default_rng(0)
    plane = np.where(rng.random((100, 100)) < 0.01, rng.integers(0, 24, (100, 100)), 7).astype(np.uint8)
    assert len(round_trip(plane, None, 24, (19,))) < 2 * np.count_nonzero(plane != 7) + 50


# ------------------------------------------------------------------------------------------------ the bytes of a plane


def test_the_order_of_pixels() -> None:
    """Pixels come in the order of x + 2 y, the upper one of equal ones first."""
    data = ONE_CLASS + direct(bytes(range(10)))
    assert unpack(data, (2, 5), 10) == [[0, 1, 2, 4, 6], [3, 5, 7, 8, 9]]
    assert unpack(data, (5, 2), 10) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    data = ONE_CLASS + direct(bytes(range(15)))
    assert unpack(data, (3, 5), 15) == [[0, 1, 2, 4, 6], [3, 5, 7, 9, 11], [8, 10, 12, 13, 14]]
    holes = np.array([[True, False, True, True, True], [False, True, True, True, True]])
    assert unpack(ONE_CLASS + direct(bytes(range(1, 9))), (2, 5), 9, holes) == [[1, 0, 2, 3, 5], [0, 4, 6, 7, 8]]


def test_the_context_of_a_pixel() -> None:
    """With bins 4 2 4 2 of 4 symbols, left 3, above 2, above right 1 and above left 2 are context ((3 * 2 + 1) * 4 + 1) * 2 + 1."""
    classes = bytearray(64)
    classes[((3 * 2 + 1) * 4 + 1) * 2 + 1] = 1
    data = bytes((4, 2, 4, 2, 2)) + part_bytes(bytes(classes)) + direct(bytes((2, 2, 1, 3, 2))) + direct(b"\0")
    assert unpack(data, (2, 3), 4) == [[2, 2, 1], [3, 0, 2]]


def test_pixels_outside_count_as_0() -> None:
    """Three classes are those of the symbol to the left, then of that above right."""
    classes = part_bytes(bytes((0, 1, 2)))
    mask = np.array([[True, True, False, True, True, True]])
    data = bytes((3, 1, 1, 1, 3)) + classes + direct(b"\2\1") + direct(b"\2") + direct(b"\1\0")
    assert unpack(data, (1, 6), 3, mask) == [[2, 1, 0, 1, 2, 0]]
    data = bytes((1, 1, 3, 1, 3)) + classes + direct(b"\1\2\1") + direct(b"") + direct(b"\0")
    assert unpack(data, (2, 2), 3) == [[1, 2], [0, 1]]


def test_there_may_be_more_bins_than_symbols() -> None:
    data = bytes((5, 1, 1, 1, 2)) + part_bytes(bytes((0, 0, 1, 0, 0))) + direct(b"\1\0") + direct(b"\0")
    assert unpack(data, (1, 3), 2) == [[1, 0, 0]]  # the bin of symbol 1 is 1 * 5 // 2


def test_the_most_contexts() -> None:
    assert unpack(bytes((16, 16, 16, 16, 1)) + direct(b"\1\0"), (1, 2), 2) == [[1, 0]]
    with pytest.raises(CorruptError, match="number of contexts"):
        unpack(bytes((241, 17, 16, 1, 1)) + direct(b"\1\0"), (1, 2), 2)  # 241 * 17 is 4097


def test_the_most_classes() -> None:
    data = bytes((255, 1, 1, 1, 255)) + part_bytes(bytes(range(255))) + direct(b"\xfe") + direct(b"") * 253 + direct(b"\7")
    assert unpack(data, (1, 2), 255) == [[254, 7]]


def test_a_split_stream() -> None:
    """Runs are of the common symbol, and so is the end; a run goes on after a byte 255."""
    assert unpack(ONE_CLASS + split(7, 5, b"\2\1", b"\0\4"), (1, 7), 6) == [[5, 5, 0, 5, 4, 5, 5]]
    symbols = [1] * 258 + [0, 0] + [1] * 40
    assert unpack(ONE_CLASS + split(300, 1, b"\xff\3\0", b"\0\0"), (1, 300), 2) == [symbols]
    assert unpack(ONE_CLASS + split(260, 1, b"\xff\3\0", b"\0\0"), (1, 260), 2) == [symbols[:260]]


# ------------------------------------------------------------------------------------------------ hostile bytes

TWO_CLASSES = bytes((2, 1, 1, 1, 2)) + part_bytes(b"\0\1")
"""The start of a plane of two symbols in which that to the left is the class."""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes((1, 0, 1, 1, 1)) + direct(bytes(4)), "number of contexts"),
        (bytes((1, 1, 1, 0, 1)) + direct(bytes(4)), "number of contexts"),
        (bytes((255, 255, 2, 1, 1)) + direct(bytes(4)), "number of contexts"),
        (bytes((255, 255, 255, 255, 1)) + direct(bytes(4)), "number of contexts"),
        (bytes((1, 1, 1, 1, 0)), "number of contexts"),  # no classes
        (bytes((2, 1, 1, 1, 2)) + part_bytes(b"\0\2") + direct(bytes(4)) + direct(b""), "class of a context"),
        (ONE_CLASS + direct(bytes(3)), PIXELS),
        (ONE_CLASS + direct(b""), PIXELS),
        (ONE_CLASS + direct(bytes(5)), PIXELS),
        (ONE_CLASS + split(5, 0, b"\0", b"\1"), PIXELS),
        (ONE_CLASS + b"\1" + direct(bytes(4)), PIXELS),  # split without symbols
        (ONE_CLASS + split(4, 0, b"", b""), PIXELS),  # no runs
        (ONE_CLASS + split(4, 0, bytes(5), bytes(1)), PIXELS),
        (ONE_CLASS + split(4, 0, bytes(1), bytes(5)), PIXELS),
        (TWO_CLASSES + direct(bytes(3)) + direct(bytes(2)), PIXELS),
        (TWO_CLASSES + direct(bytes(2)) + direct(bytes(1)), PIXELS),
        (TWO_CLASSES + direct(bytes(3)) + direct(bytes(1)), PIXELS),  # no pixel is in the second class
        (TWO_CLASSES + direct(b"") + direct(bytes(4)), PIXELS),
        (TWO_CLASSES + direct(b"\1\1\1") + direct(b"\1"), PIXELS),  # each class has two pixels
        (ONE_CLASS + direct(b"\0\1\2\0"), INDEX),
        (ONE_CLASS + split(4, 2, b"\1", b"\1"), INDEX),
        (ONE_CLASS + split(4, 0, b"\1", b"\2"), INDEX),
        (ONE_CLASS + split(4, 0, b"\1", b""), PIXELS),  # no tails
        (ONE_CLASS + split(1, 2, b"\0", b"\0") + direct(b""), INDEX),  # a common symbol that does not occur
        (ONE_CLASS + split(4, 0, b"\1", b"\1\1"), RUNS),
        (ONE_CLASS + split(4, 0, b"\xff", b"\1"), RUNS),
        (ONE_CLASS + split(4, 0, b"\1\xff", b"\1"), RUNS),
        (ONE_CLASS + split(4, 0, b"\4", b"\1"), "a stream is too long"),
        (ONE_CLASS + write_varint(8) + b"\3" + bytes(4), "invalid part"),  # mode
        (ONE_CLASS + write_varint(8) + b"\4" + bytes(4), "invalid part"),  # packing
        (bytes((2, 1, 1, 1, 2)) + b"\4" + bytes(2), "invalid part"),
        (ONE_CLASS + direct(StoredPart(4, Mode.FRAME, b"\xff" * 4)), "does not decompress"),
    ],
)
def test_corrupt_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        context_planes.unpack(ByteReader(data), (2, 2), None, 2)


@pytest.mark.parametrize(
    "data",
    [
        ONE_CLASS + write_varint(2 * 5),
        ONE_CLASS + write_varint(2 * 5 + 1),
        ONE_CLASS + write_varint(2**35 - 1),
        ONE_CLASS + write_varint(2 * 4 + 1) + b"\0" + write_varint(5) + b"\1",
        ONE_CLASS + write_varint(2 * 4 + 1) + b"\0" + write_varint(2**34) + b"\1",
        ONE_CLASS + write_varint(2 * 4 + 1) + b"\0\1" + write_varint(5),
        TWO_CLASSES + direct(bytes(3)) + write_varint(2 * 2),
        TWO_CLASSES + direct(bytes(4)) + write_varint(2 * 1),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_counts_are_refused_before_parts_are_read(data: bytes, masked: bool) -> None:
    """The bytes end after the count, so they would be truncated if a part was read."""
    mask = np.array([[True, True, False], [True, False, True]]) if masked else None
    with pytest.raises(CorruptError, match=PIXELS):
        context_planes.unpack(ByteReader(data), (2, 3) if masked else (2, 2), mask, 2)


def test_truncated_bytes_are_refused() -> None:
    plane = grain(np.random.default_rng(0), 30, 40, 4)
    by_hand = TWO_CLASSES + split(3, 0, b"\1", b"\1") + direct(b"\0")
    assert unpack(by_hand, (1, 4), 2) == [[0, 1, 0, 0]]
    for data, shape, alphabet in ((context_planes.pack(plane, None, 4, (19,)), plane.shape, 4), (by_hand, (1, 4), 2)):
        for length in range(len(data)):
            with pytest.raises(TruncatedError):
                context_planes.unpack(ByteReader(data[:length]), shape, None, alphabet)


def unpacked_or_refused(data: bytes, shape: tuple[int, int], mask: np.ndarray | None, alphabet: int) -> None:
    """Assert that bytes are refused with a documented error, or are a plane of valid symbols."""
    with suppress(FormatError):
        found = context_planes.unpack(ByteReader(data), shape, mask, alphabet)
        assert found.shape == shape
        assert found.max() < alphabet
        assert mask is None or not found[~mask].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 256]), st.sampled_from(["none", "holes"]))
def test_flipped_bits_raise_only_format_errors(seed: int, alphabet: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    plane = random_plane(rng, (12, 15), alphabet, str(rng.choice(["grain", "rare"])))
    mask = random_mask(rng, plane.shape, kind)
    data = context_planes.pack(plane if mask is None else plane * mask, mask, alphabet, (3,))
    for _ in range(10):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(min(len(data), rng.choice([6, 40, 1 << 20])))] ^= 1 << rng.integers(8)
        unpacked_or_refused(bytes(damaged), plane.shape, mask, alphabet)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 4), st.integers(1, 4), st.sampled_from([2, 256]))
def test_any_bytes_raise_only_format_errors(data: bytes, height: int, width: int, alphabet: int) -> None:
    unpacked_or_refused(data, (height, width), None, alphabet)
    unpacked_or_refused(ONE_CLASS + data, (height, width), None, alphabet)


@pytest.mark.parametrize(
    "data",
    [
        ONE_CLASS + direct(bomb(1 << 24, claimed=64)),
        ONE_CLASS + split(64, 0, bomb(1 << 24, claimed=64), b"\1"),
        ONE_CLASS + split(64, 0, b"\1", bomb(1 << 24, claimed=64)),
        bytes((16, 16, 16, 16, 2)) + part_bytes(bomb(1 << 24, claimed=1 << 16)),
    ],
)
def test_a_bomb_allocates_no_more_than_the_plane(data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(CorruptError, match="does not decompress"):
        context_planes.unpack(ByteReader(data), (8, 8), None, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("shape", [(1, 1500), (1500, 1), (1000, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_tall_planes_take_memory_by_their_pixels(shape: tuple[int, int], masked: bool) -> None:
    plane = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    mask = np.ones(shape, bool) if masked else None
    tracemalloc.start()
    round_trip(plane, mask, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
