"""The range coder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.errors import CorruptError
from vqcodec.format.range_coder import TOTAL, RangeDecoder, RangeEncoder


def starts_of(weights: list[int]) -> list[int]:
    """Cumulative frequencies near to some weights."""
    found = [1 + weight * (TOTAL - len(weights)) // max(1, sum(weights)) for weight in weights]
    found[0] += TOTAL - sum(found)
    return [0, *np.cumsum(found).tolist()]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), st.lists(st.integers(0, 2**16), max_size=300))
def test_symbols_and_values_come_back(weights: list[int], numbers: list[int]) -> None:
    starts, code = starts_of(weights), RangeEncoder()
    for number in numbers:
        if number % 3:
            code.put([number % len(weights)], starts)
        else:
            code.put_value(number & (1 << number % 17) - 1, number % 17)
    data = code.to_bytes()
    reader = RangeDecoder(data)
    for number in numbers:
        if number % 3:
            assert list(reader.take(1, starts)) == [number % len(weights)]
        else:
            assert reader.take_value(number % 17) == number & (1 << number % 17) - 1
    reader.finish()


def test_the_code_is_as_long_as_the_symbols_are_improbable() -> None:
    rng = np.random.default_rng(0)
    starts = starts_of([900, 80, 15, 5])
    shares = np.diff(starts) / TOTAL
    symbols = rng.choice(4, 20_000, p=shares)
    code = RangeEncoder()
    code.put(symbols.tolist(), starts)
    assert len(code.to_bytes()) < -np.log2(shares[symbols]).sum() / 8 * 1.001 + 2


def test_certain_symbols_take_nothing() -> None:
    code = RangeEncoder()
    code.put([0] * 1000, [0, TOTAL])
    assert code.to_bytes() == b""


def test_any_bytes_decode_and_bytes_left_over_are_refused() -> None:
    rng = np.random.default_rng(0)
    for size in range(40):
        reader = RangeDecoder(rng.bytes(size))
        assert max(reader.take(100, starts_of([3, 1, 1])), default=0) <= 2
        assert 0 <= reader.take_value(16) < 1 << 16
    for data in (b"12345", b"\0"):
        with pytest.raises(CorruptError, match="left over"):
            RangeDecoder(data).finish()
