"""Samples come back from bytes, and the layouts are those of the specification."""

import numpy as np
import pytest

from vqcodec.format import sample_bytes

NARROW = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
WIDE = NARROW.astype(np.uint16) * 0x101


@pytest.mark.parametrize("samples", [NARROW, WIDE], ids=["uint8", "uint16"])
def test_samples_come_back(samples: np.ndarray) -> None:
    mixed = sample_bytes.from_interleaved(sample_bytes.interleaved(samples), 2, samples.dtype)
    apart = sample_bytes.from_planes(sample_bytes.planes(samples), 2, samples.dtype)
    for found in (mixed, apart):
        np.testing.assert_array_equal(found, samples)
        assert found.dtype == samples.dtype


def test_the_layouts_of_bytes() -> None:
    assert sample_bytes.interleaved(np.array([[0x102, 0x304]], np.uint16)) == bytes((2, 1, 4, 3))
    assert sample_bytes.planes(np.array([[0x102, 0x304], [0x506, 0x708]], np.uint16)) == bytes((1, 5, 2, 6, 3, 7, 4, 8))
    assert sample_bytes.planes(NARROW) == bytes((1, 3, 5, 2, 4, 6))
