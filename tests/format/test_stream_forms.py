"""Symbol streams are read as they were written, in each form."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.errors import CorruptError
from vqcodec.format.stream_forms import Direct, Form, Pairs, Split
from vqcodec.train.streams import pair_table, rank_pairs
from vqcodec.weights import registry

MODEL = registry.find("photo-lite")
MODEL_PAIRS = [s.form for streams in MODEL.streams[:1] for s in streams if isinstance(s.form, Pairs)]
seeds = st.integers(0, 2**32 - 1)


def skewed(seed: int, count: int, size: int) -> np.ndarray:
    """Symbols uint8 [count], mostly zeros, all below `size`."""
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(rng.uniform(0.2, 0.98), count) - 1, size - 1).astype(np.uint8)


def forms(seed: int) -> list[Form]:
    symbols = np.append(skewed(seed, 3000, 60), np.uint8(1))
    return [Direct(), Split(), *(pair_table(rank_pairs(symbols), size) for size in (5, 100, 247)), *MODEL_PAIRS]


@settings(max_examples=40)
@given(seeds, st.integers(0, 3000), st.integers(1, 256))
def test_streams_come_back_in_every_form(seed: int, count: int, size: int) -> None:
    symbols = skewed(seed, count, size)
    wanted = np.trim_zeros(symbols, "b")
    for form in forms(seed):
        parts = form.pack(symbols)
        assert len(parts) == form.parts
        np.testing.assert_array_equal(form.unpack(parts, len(symbols)), wanted)
        if len(wanted):
            with pytest.raises(CorruptError):
                form.unpack(parts, len(wanted) - 1)


@settings(max_examples=40)
@given(seeds, st.sampled_from([f for f in MODEL_PAIRS if f.lengths is not None]))
def test_code_lengths_make_pairs_cheaper(seed: int, form: Pairs) -> None:
    assert form.lengths is not None
    lengths = np.where(form.lengths > 0, form.lengths, 16).astype(int)
    symbols = skewed(seed, 1000, 20)
    longest, cheapest = (np.frombuffer(f.pack(symbols)[0], np.uint8) for f in (replace(form, lengths=None), form))
    assert lengths[cheapest].sum() <= lengths[longest].sum()


@given(st.lists(st.binary(max_size=90), min_size=3, max_size=3))
def test_any_bytes_are_a_stream_or_corrupt(parts: list[bytes]) -> None:
    for form in forms(1):
        try:
            symbols = form.unpack(parts[: form.parts], 4000)
        except CorruptError:
            continue
        np.testing.assert_array_equal(form.unpack(form.pack(symbols), 4000), np.trim_zeros(symbols, "b"))


def test_unfinished_runs_are_refused() -> None:
    np.testing.assert_array_equal(Split().unpack([b"\xff\3", b"\1"], 259), np.append(np.zeros(258), 1))
    for runs in (b"\3\xff", b"\3\xff\xff", b"\3\4", b""):
        with pytest.raises(CorruptError, match="runs do not match"):
            Split().unpack([runs, b"\1"], 999)
