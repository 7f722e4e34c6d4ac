"""Predicted pixels are read as they were written; damaged ones are refused within the memory of the picture."""

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.contents import CONTENTS, DEPTHS, Content, samples
from helpers.pixel_files import Part, numbers_of, predicted_bytes
from helpers.vqz_fields import bomb
from vqcodec.codec import predicted
from vqcodec.entropy.pixel_pyramid import Shape
from vqcodec.errors import FormatError, TruncatedError

seeds = st.integers(0, 2**32 - 1)
shapes = st.builds(Shape, st.integers(1, 3), st.booleans(), st.integers(1, 2))


def decoded(data: bytes, shape: tuple[int, int, int], peak: int = 255, coded: np.ndarray | None = None) -> np.ndarray:
    """Samples [H, W, C] that are decoded, from zeros."""
    planes = predicted.planes_of(np.zeros(shape, np.uint8 if peak == 255 else np.uint16))
    predicted.decode(data, planes, coded, peak)
    return predicted.pixels_of(planes)


@settings(max_examples=60)
@given(st.sampled_from(CONTENTS), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.sampled_from(DEPTHS), shapes, seeds)
def test_samples_come_back(content: Content, height: int, width: int, channels: int, depth: int, shape: Shape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (height, width, channels), depth)
    coded = rng.random((height, width)) < 0.5 if rng.random() < 0.5 else None
    planes, peak = predicted.planes_of(pixels), (1 << depth) - 1
    data = predicted.encode(planes.copy(), coded, peak, shape, (1,))
    if coded is not None:
        planes[:, coded] = 0
    predicted.decode(data, planes, coded, peak)
    assert np.array_equal(predicted.pixels_of(planes), pixels)


def test_the_bytes_of_a_picture() -> None:
    """Without weights the mean is that of the nearest neighbours; letters are 0, +1, -1, ..."""
    data = predicted_bytes(numbers_of(root=10), [[bytes((9,))]])
    assert data == bytes((0, 1, 0, 0, 0)) + bytes((31, 0, 19)) + bytes(30) + bytes((1, 0, 9))
    assert decoded(data, (1, 2, 1))[..., 0].tolist() == [[10, 15]]
    assert decoded(predicted_bytes(numbers_of(root=10), [[b""]]), (1, 2, 1))[..., 0].tolist() == [[10, 10]]


def test_large_numbers_have_raw_bits() -> None:
    numbers = numbers_of(root=200)  # 200 = (8 + 4 + 0.5) << 4: letter 31 + 16 * 3 + 2 * 4, raw bits 1000
    data = predicted_bytes(numbers, [[bytes((31 + 1,))]], raw="1")  # -(16 + 1)
    assert data[7] == 87
    assert data[-1] == 0b10001000
    assert decoded(data, (2, 1, 1))[..., 0].tolist() == [[200], [183]]


def test_a_class_has_the_stream_that_began_last() -> None:
    numbers = numbers_of(bias=5 << 12)
    data = predicted_bytes(numbers, [[b""], [b"\1"], [b""]], starts=1 | 1 << 4 | 1 << 6)
    assert decoded(data, (1, 2, 1))[..., 0].tolist() == [[10, 11]]


@pytest.mark.parametrize("form", range(5))
def test_forms(form: int) -> None:
    symbols = np.minimum(np.random.default_rng(form).exponential(1.5, 899), 20).astype(np.uint8)
    parts = predicted._FORMS[form].pack(symbols)
    data = predicted_bytes(numbers_of(root=100), [parts], forms=bytes((form,)))
    plain = predicted_bytes(numbers_of(root=100), [[symbols.tobytes()]])
    assert np.array_equal(decoded(data, (30, 30, 1)), decoded(plain, (30, 30, 1)))


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "truncated"),
    "levels": (predicted_bytes(numbers_of(), head=3), "reserved value"),
    "head": (predicted_bytes(numbers_of(), head=16), "reserved value"),
    "no first stream": (predicted_bytes(numbers_of(), starts=2), "reserved value"),
    "no stream": (predicted_bytes(numbers_of(), [], starts=0), "reserved value"),
    "form": (predicted_bytes(numbers_of(), forms=b"\5"), "reserved value"),
    "a number too few": (predicted_bytes(numbers_of()[:-1]), "right number"),
    "no numbers": (predicted_bytes([]), "right number"),
    "a number too many": (predicted_bytes([*numbers_of(), 0]), "too long"),
    "many numbers": (predicted_bytes([], letters=bomb(1 << 24, claimed=1 << 34)), "too long"),
    "numbers of another extent": (predicted_bytes(numbers_of(), head=8), "right number"),
    "no letter": (predicted_bytes([], letters=bytes([239]) + bytes(30)), "not in its alphabet"),
    "a negative first sample": (predicted_bytes(numbers_of(root=-1)), "out of range"),
    "a large first sample": (predicted_bytes(numbers_of(root=256)), "out of range"),
    "weights of means": (predicted_bytes(numbers_of(mean=16448)), "weights of predictions"),
    "weights of classes": (predicted_bytes(numbers_of(scale=13108)), "weights of predictions"),
    "bias": (predicted_bytes(numbers_of(scale=13107, bias=-256)), "weights of predictions"),
    "a large sample": (predicted_bytes(numbers_of(root=255), [[b"\1"]]), "sample is out of range"),
    "a negative sample": (predicted_bytes(numbers_of(root=0), [[b"\2"]]), "sample is out of range"),
    "no letter of a residual": (predicted_bytes(numbers_of(), [[b"\xef"]]), "not in its alphabet"),
    "missing raw bits": (predicted_bytes(numbers_of(), [[bytes((31,))]]), "ends too early"),
    "raw bits left": (predicted_bytes(numbers_of(), raw="01"), "raw bits left over"),
    "a byte left": (predicted_bytes(numbers_of(), raw="0" * 8), "raw bits left over"),
    "symbols left": (predicted_bytes(numbers_of(), [[bytes((0, 0, 0, 1))]]), "symbols left over"),
    "a stream too long": (predicted_bytes(numbers_of(), [[bytes(9)]]), "too long"),
    "parts too large": (predicted_bytes(numbers_of(), [[bytes(8), bytes(9)]], forms=b"\1"), "too long"),
    "a huge part": (predicted_bytes(numbers_of(), [[bomb(9, claimed=1 << 34)]]), "too long"),
    "runs without symbols": (predicted_bytes(numbers_of(), [[b"\1\1", b"\1"]], forms=b"\1"), "do not match"),
    "no vector": (predicted_bytes(numbers_of(), [[bytes((225,)), b""]], forms=b"\2"), "do not match"),
    "no symbols of a vector": (predicted_bytes(numbers_of(), [[b"\xff", b"\1"]], forms=b"\2"), "do not match"),
    "no frame": (predicted_bytes(numbers_of(), [[bomb(3, claimed=4)]]), "wrong size"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_bytes_are_refused(name: str) -> None:
    data, message = BAD[name]
    with pytest.raises(FormatError, match=message):
        decoded(data, (1, 4, 1))


def test_the_largest_weights_are_allowed() -> None:
    """Larger ones are refused above. Means of more than 8 bits have no limit."""
    largest = predicted_bytes(numbers_of(root=128, mean=16447, scale=13107, bias=-255))
    assert (decoded(largest, (30, 30, 1)) == 128).all()
    assert (decoded(predicted_bytes(numbers_of(mean=-131071)), (30, 30, 1), peak=1023) == 10).all()


def test_symbols_may_be_zeros_that_are_left() -> None:
    data = predicted_bytes(numbers_of(), [[bytes(8)]])
    assert decoded(data, (1, 4, 1))[..., 0].tolist() == [[10] * 4]


def test_graphic_pixels_stay_but_for_the_first() -> None:
    planes = predicted.planes_of(np.full((2, 2, 1), 7, np.uint8))
    predicted.decode(predicted_bytes(numbers_of(root=10)), planes, np.array([[False, False], [False, True]]), 255)
    assert planes[0].tolist() == [[10, 7], [7, 10]]


def test_every_truncation_is_refused() -> None:
    pixels = samples(CONTENTS[0], np.random.default_rng(0), (5, 4, 2), 16)
    planes = predicted.planes_of(pixels)
    data = predicted.encode(planes, None, 65535, Shape(1, False, 1), (1,))
    assert np.array_equal(decoded(data, pixels.shape, 65535), pixels)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decoded(data[:length], pixels.shape, 65535)
    with pytest.raises(FormatError):
        decoded(data + b"\0", pixels.shape, 65535)


def bombs(size: int, form: int) -> bytes:
    """24 streams whose parts hold `size` zeros each."""
    parts: list[Part] = [bomb(size, claimed=size)] * predicted._FORMS[form].parts
    return predicted_bytes(numbers_of(), [parts] * 24, starts=(1 << 24) - 1, forms=bytes([form] * 24))


@pytest.mark.parametrize("form", range(5))
@pytest.mark.parametrize("size", [1 << 16, 1 << 24])
def test_bombs_take_no_more_memory_than_the_picture(size: int, form: int) -> None:
    """Each stream alone would be allowed for the 65536 samples."""
    plain = predicted_bytes(numbers_of())
    data = bombs(size, form)
    assert len(data) < 20_000_000 // 256
    decoded(plain, (256, 256, 1))
    with pytest.raises(FormatError):
        decoded(data, (256, 256, 1))
    assert peak_of(data) < peak_of(plain)


def peak_of(data: bytes) -> int:
    """The largest number of bytes allocated at a time while 65536 samples are decoded."""
    tracemalloc.start()
    with suppress(FormatError):
        decoded(data, (256, 256, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_truncated_is_the_error_of_an_early_end() -> None:
    with pytest.raises(TruncatedError):
        decoded(predicted_bytes(numbers_of())[:20], (1, 2, 1))
