"""Bits are read as they were written."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vqcodec.errors import CorruptError, TruncatedError
from vqcodec.format.bits import (
    BitReader,
    BitWriter,
    ByteReader,
    pack_bits,
    read_golomb,
    read_number,
    write_golomb,
    write_number,
    write_varint,
)


@given(st.lists(st.integers(0, 16).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, (1 << w) - 1))), max_size=60))
def test_bits_come_back(pairs: list[tuple[int, int]]) -> None:
    widths = np.array([w for w, _ in pairs], np.uint8)
    values = np.array([v for _, v in pairs], np.int32)
    data = pack_bits(values, widths)
    assert len(data) == -(-int(widths.sum(dtype=int)) // 8)
    reader = BitReader(data)
    half = len(pairs) // 2
    found = np.concatenate([reader.take_array(widths[:half]), reader.take_array(widths[half:])])
    np.testing.assert_array_equal(found, values)
    reader.finish()


def test_bits_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(CorruptError):
        BitReader(b"\x80").take_array(np.array([9], np.uint8))
    for data, width in ((b"\x00\x00", 8), (b"\x81", 1)):
        reader = BitReader(data)
        reader.take_array(np.array([width], np.uint8))
        with pytest.raises(CorruptError):
            reader.finish()


@given(st.lists(st.integers(0, 40).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, (1 << w) - 1))), max_size=30))
def test_single_values_come_back(pairs: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    for width, value in pairs:
        writer.put(value, width)
    data = writer.to_bytes()
    assert len(data) == -(-sum(width for width, _ in pairs) // 8)
    reader = BitReader(data + b"x")
    assert [reader.take(width) for width, _ in pairs] == [value for _, value in pairs]
    assert reader.skip_to_byte() == len(data)
    with pytest.raises(CorruptError, match="ends too early"):
        reader.take(9)


@given(st.integers(0, 1 << 45), st.integers(0, 20))
@example(value=0xFFFFFFFF, order=0)  # 32 zeros
def test_numbers_and_golomb_codes_come_back(value: int, order: int) -> None:
    writer = BitWriter()
    write_number(writer, value)
    write_golomb(writer, order, value & 0xFFFFFFFF)
    writer.put(1, 1)
    reader = BitReader(writer.to_bytes())
    assert read_number(reader) == value
    assert read_golomb(reader, order) == value & 0xFFFFFFFF
    assert reader.take(1) == 1
    reader.finish()


@given(st.lists(st.integers(0, 2**35 - 1), max_size=9))
def test_varints_come_back(values: list[int]) -> None:
    reader = ByteReader(b"".join(map(write_varint, values)))
    assert [reader.varint() for _ in values] == values
    with pytest.raises(TruncatedError):
        reader.varint()
