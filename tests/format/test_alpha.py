"""Alpha planes are read as they were written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vqcodec.errors import CorruptError
from vqcodec.format.alpha import decode_alpha, encode_alpha


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 255)))
def test_alpha_planes_come_back(plane: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_alpha(encode_alpha(plane, (1,)), *plane.shape), plane)


def test_usual_alpha_planes_take_few_bytes() -> None:
    y, x = np.mgrid[:200, :300]
    opaque = np.full((200, 300), 255, np.uint8)
    disc = ((y - 100) ** 2 + (x - 150) ** 2 < 5000).astype(np.uint8) * 255
    ramp = (x * 255 // 300).astype(np.uint8)
    for plane, most in ((opaque, 40), (disc, 700), (ramp, 300)):
        assert len(encode_alpha(plane, (1, 9))) < most


@pytest.mark.parametrize("data", [b"", b"\x10abc", b"\x0cabc", b"\x00abc", b"\x04abc"])
def test_invalid_alpha_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_alpha(data, 3, 3)
