"""Copied cells are read as they were written; damaged ones are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pixel_files import part_bytes
from helpers.vqz_fields import bomb
from vqcodec.errors import FormatError
from vqcodec.format import patterns
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.patterns import Copies


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.sampled_from([0, 1, 3, 255, 256, 700]))
def test_copies_come_back(seed: int, h: int, w: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    displacements = rng.integers(0, 1 << 16, (count, 3)).astype(np.uint16)
    copies = Copies(displacements, rng.integers(0, count + 1, (h, w)).astype(np.uint16))
    reader = ByteReader(patterns.write(copies) + b"rest")
    found = patterns.read(reader, (h, w))
    assert np.array_equal(found.displacements, displacements)
    assert np.array_equal(found.numbers, copies.numbers)
    assert reader.take(4) == b"rest"


def test_the_bytes_of_copies() -> None:
    copies = Copies(np.array([[1, 65535, 258]], np.uint16), np.array([[0, 1, 1]], np.uint16))
    # one displacement; a part, verbatim, of its planes; a part, verbatim, of the numbers
    assert patterns.write(copies) == bytes((1, 0, 1, 0, 255, 255, 2, 1, 0, 0, 1, 1))
    assert patterns.write(patterns.no_copies((1, 3))) == b"\0"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        write_varint(1 << 16),
        b"\1" + part_bytes(bytes(6)) + part_bytes(bytes((0, 2, 1))),  # no displacement 1
        b"\1" + part_bytes(bytes(6)) + part_bytes(bytes(2)),
        b"\1" + part_bytes(bytes(5)),
        b"\1" + part_bytes(bytes(6)) + part_bytes(bomb(1 << 20, claimed=3)),
        write_varint(256) + part_bytes(bytes(6 * 256)) + part_bytes(bytes(3)),  # no high bytes
    ],
)
def test_damaged_copies_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        patterns.read(ByteReader(data), (1, 3))
