"""The quantiser: the scalar alphabet, and the search against all codewords."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vqcodec.entropy import codebooks
from vqcodec.weights import registry

MODEL = registry.find("photo-lite")
seeds = st.integers(0, 2**32 - 1)


@given(hnp.arrays(np.int64, 50, elements=st.integers(-codebooks.SCALAR_MAX, codebooks.SCALAR_MAX)))
def test_the_alphabet_covers_every_integer_once(values: np.ndarray) -> None:
    letters = codebooks.alphabet_symbols(values)
    first, raw = codebooks.ALPHABET[letters].astype(int), codebooks.ALPHABET_RAW_BITS[letters].astype(int)
    rest = np.abs(values) - np.abs(first)
    assert np.all((rest >= 0) & (rest < 1 << raw) & (np.sign(first) == np.sign(values)))


@pytest.mark.slow
@given(seeds, st.sampled_from([0.0, 0.13, 2.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_residuals_come_back_from_their_symbols(seed: int, rate: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    search = codebooks.Search.of(MODEL.codebooks, [rate] * len(MODEL.codebooks))
    for number, book in enumerate(MODEL.codebooks):
        x = rng.laplace(0, rng.choice([0.3, 3, 300]), (40, book.dim)).astype(np.float32)
        if book.dim == 1:
            places = codebooks.quantize_scalar(search.scalars, np.full(len(x), search.origin[number]), x[:, 0], share)
            symbols, low, words = (array[places] for array in (search.scalars.symbols, search.scalars.low, search.scalars.words))
            np.testing.assert_array_equal(search.scalars.widths[places], book.raw_bits[symbols])
            np.testing.assert_array_equal(codebooks.with_low_bits(book.rows[symbols, 0].copy(), low), words)
            if rate * share == 0:  # the nearest integer at least
                inside = np.abs(x[:, 0]) < codebooks.SCALAR_MAX
                assert np.all(np.abs(x[:, 0] - words / codebooks.LATENT_UNIT)[inside] <= 1)
        else:
            x[:20] *= np.sqrt(max(0.0, search.reach[number]) / (x[:20] ** 2).sum(axis=1, keepdims=True))  # on the edge
            index, costs = codebooks.nearest(x, search.vectors[number].weights)
            words = book.rows[index] / codebooks.LATENT_UNIT
            assert not np.any(index == book.escape)
            every = ((x[:, None] - book.words.T[None] / codebooks.LATENT_UNIT) ** 2).sum(axis=2) + rate * book.bits
            if book.escape >= 0:
                every[:, book.escape] = np.inf
            found = ((x - words) ** 2).sum(axis=1) + rate * book.bits[index]
            np.testing.assert_allclose(found, every.min(axis=1), rtol=1e-3, atol=1e-3 * (1 + float((x * x).max())))
            np.testing.assert_allclose(costs + (x * x).sum(axis=1), found, rtol=1e-3, atol=1e-3 * (1 + float((x * x).max())))
            near = (x * x).sum(axis=1) <= search.reach[number]
            assert np.all(index[near] == search.zero[number])
            assert not np.any(words[near])
            assert book.escape < 0 or np.all(found[near] <= rate * book.bits[book.escape] + 1e-6)
