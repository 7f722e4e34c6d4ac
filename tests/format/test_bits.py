"""Bits are read as they were written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.errors import CorruptError
from vqcodec.format.bits import BitReader, pack_bits


@given(st.lists(st.integers(0, 16).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, (1 << w) - 1))), max_size=60))
def test_bits_come_back(pairs: list[tuple[int, int]]) -> None:
    widths = np.array([w for w, _ in pairs], np.uint8)
    values = np.array([v for _, v in pairs], np.int32)
    data = pack_bits(values, widths)
    assert len(data) == -(-int(widths.sum(dtype=int)) // 8)
    reader = BitReader(data)
    half = len(pairs) // 2
    found = np.concatenate([reader.take(widths[:half]), reader.take(widths[half:])])
    np.testing.assert_array_equal(found, values)
    reader.finish()


def test_bits_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(CorruptError):
        BitReader(b"\x80").take(np.array([9], np.uint8))
    for data, width in ((b"\x00\x00", 8), (b"\x81", 1)):
        reader = BitReader(data)
        reader.take(np.array([width], np.uint8))
        with pytest.raises(CorruptError):
            reader.finish()
