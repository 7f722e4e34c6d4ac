"""Alpha planes are read as they were written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vqcodec.errors import CorruptError
from vqcodec.format.alpha import decode_alpha, decode_deep_alpha, encode_alpha, encode_deep_alpha


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


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([10, 12, 16]).flatmap(
        lambda depth: st.tuples(
            st.just(depth),
            arrays(np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, (1 << depth) - 1)),
        )
    )
)
def test_deep_alpha_planes_come_back(given_plane: tuple[int, np.ndarray]) -> None:
    depth, plane = given_plane
    found = decode_deep_alpha(encode_deep_alpha(plane, (1,)), *plane.shape, depth)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, plane)


def test_deep_alpha_of_eight_bits_takes_the_bytes_of_eight() -> None:
    y, x = np.mgrid[:200, :300]
    disc = np.clip(600 - 8 * np.hypot(y - 100, x - 150), 0, 255).astype(np.uint8)
    widened = disc * np.uint16(257)
    data = encode_deep_alpha(widened, (1, 9))
    assert len(data) == len(encode_alpha(disc, (1, 9)))
    np.testing.assert_array_equal(decode_deep_alpha(data, 200, 300, 16), widened)
    ramp = (x * 65535 // 299).astype(np.uint16)  # every column differs by 219 or 220
    assert len(encode_deep_alpha(ramp, (1, 9))) < 1000


@pytest.mark.parametrize("data", [b"", b"\x20abc", b"\x0cabc", b"\x1cabc", b"\x00abc", b"\x10abc", b"\x04abc", b"\x14abc"])
def test_invalid_deep_alpha_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_deep_alpha(data, 3, 3, 16)


def test_deep_alpha_beyond_its_depth_is_corrupt() -> None:
    for plane in (np.array([[1024, 0]], np.uint16), np.array([[257 * 4, 0]], np.uint16)):
        data = encode_deep_alpha(plane, (1,))
        np.testing.assert_array_equal(decode_deep_alpha(data, 1, 2, 12), plane)
        with pytest.raises(CorruptError, match="too many bits"):
            decode_deep_alpha(data, 1, 2, 10)
