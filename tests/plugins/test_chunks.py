"""Chunks of arrays: shapes, losses, and damaged stacks."""

from typing import Any

import numpy as np
import pytest

import vqcodec
from helpers.arrays import satellite
from helpers.pictures import smooth_picture
from vqcodec.errors import CorruptError, InputError, TruncatedError, VqcodecError
from vqcodec.format import container
from vqcodec.plugins.chunks import STACK_MAGIC, ChunkOptions, decode_chunk, encode_chunk

EXACT = ChunkOptions(lossless=True, effort=1)
LOSSY = ChunkOptions(model="photo-lite", effort=1)
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("shape", "channels_last", "files"),
    [
        ((9, 7), None, 0),
        ((9, 7, 3), None, 0),
        ((9, 7, 1), None, 1),
        ((9, 7, 2), None, 2),  # no alpha
        ((9, 7, 4), None, 4),
        ((9, 7, 13), True, 13),
        ((2, 9, 7), None, 2),
        ((2, 9, 3), False, 2),
        ((2, 9, 7, 3), None, 2),
        ((2, 2, 9, 7), None, 4),
        ((2, 9, 7, 2), None, 4),
        ((1, 1), None, 0),
    ],
)
def test_chunks_of_any_shape(shape: tuple[int, ...], channels_last: bool | None, files: int, dtype: type) -> None:
    options = ChunkOptions(lossless=True, effort=1, channels_last=channels_last)
    chunk = RANDOM.integers(0, 9, shape).astype(dtype)
    data = encode_chunk(chunk, options)
    decoded = decode_chunk(data, options)
    np.testing.assert_array_equal(decoded, chunk)
    assert (decoded.dtype, decoded.flags.writeable) == (chunk.dtype, True)
    if files:
        assert data.startswith(STACK_MAGIC)
        assert data.count(container.MAGIC) == files
    else:
        np.testing.assert_array_equal(vqcodec.decode(data), chunk)  # a .vqz file


def test_memory_order_is_kept_as_numcodecs_needs_it() -> None:
    for shape in ((9, 7), (9, 7, 3), (2, 9, 7), (5, 1)):
        chunk = np.asfortranarray(RANDOM.integers(0, 9, shape).astype(np.uint8))
        decoded = decode_chunk(encode_chunk(chunk, EXACT), EXACT)
        np.testing.assert_array_equal(decoded, chunk)
        np.testing.assert_array_equal(decoded.ravel("A"), chunk.ravel("A"))


def test_lossy_chunks_are_near_and_the_plain_decode() -> None:
    chunk = np.stack([smooth_picture(160, 160, 1, seed=seed) for seed in range(2)])
    data = encode_chunk(chunk, LOSSY)
    decoded = decode_chunk(data, LOSSY)
    assert np.abs(decoded.astype(int) - chunk).mean() < 5
    assert len(data) < chunk.size / 10
    better = encode_chunk(chunk, ChunkOptions(model="photo-lite", effort=1, quality=90))
    assert np.abs(decode_chunk(better, LOSSY).astype(int) - chunk).mean() < np.abs(decoded.astype(int) - chunk).mean()
    assert len(better) > len(data)
    plain = encode_chunk(chunk[0], ChunkOptions(effort=1))
    np.testing.assert_array_equal(decode_chunk(plain, LOSSY), vqcodec.decode(plain, refine="none"))
    np.testing.assert_array_equal(decode_chunk(plain, ChunkOptions(refine="best")), vqcodec.decode(plain))


def test_bands_are_not_alpha() -> None:
    """The other bands stay as they are under a fourth band of 0."""
    chunk = satellite(160, 160, 4)
    chunk[..., 3] = 0
    decoded = decode_chunk(encode_chunk(chunk, LOSSY), LOSSY)
    assert np.abs(decoded[..., :3].astype(int) - chunk[..., :3]).mean() < 100


@pytest.mark.parametrize(
    ("chunk", "options", "message"),
    [
        (np.zeros((4, 4), np.float32), EXACT, "float32 of 2: use another codec"),
        (np.zeros((4, 4), np.int16), EXACT, "int16 of 2"),
        (np.zeros(4, np.uint8), EXACT, "uint8 of 1"),
        (np.zeros((0, 4), np.uint8), EXACT, "empty"),
        (np.zeros((4, 4), np.uint8), ChunkOptions(channels_last=True), "leave out channels_last"),
    ],
)
def test_chunks_that_are_refused(chunk: np.ndarray, options: ChunkOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_chunk(chunk, options)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 101},
        {"lossless": True, "quality": 50},
        {"lossless": True, "model": "photo"},
        {"refine": "gan"},
        {"channels_last": 1},
    ],
)
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ChunkOptions(**options)


def test_no_truncated_or_changed_stack_is_silently_wrong() -> None:
    data = encode_chunk(RANDOM.integers(0, 9, (2, 3, 3)).astype(np.uint8), EXACT)
    for length in range(len(data)):
        with pytest.raises(VqcodecError):
            decode_chunk(data[:length], EXACT)
    with pytest.raises(CorruptError):
        decode_chunk(data + b"\0", EXACT)
    with pytest.raises(TruncatedError):
        decode_chunk(data[:20], EXACT)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VqcodecError):
            decode_chunk(bytes(changed), EXACT)
