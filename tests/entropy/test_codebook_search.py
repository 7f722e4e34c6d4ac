"""The search finds what a comparison with all codewords finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.entropy import codebooks
from vqcodec.entropy.codebook_search import Search, nearest, nearest_scalars
from vqcodec.transform.layouts import LATENT_UNIT
from vqcodec.weights import registry

MODEL = registry.find("photo-lite")


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.13, 2.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_residuals_come_back_from_their_symbols(seed: int, rate: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    search = Search.from_codebooks(MODEL.codebooks, [rate] * len(MODEL.codebooks))
    for number, book in enumerate(MODEL.codebooks):
        x = rng.laplace(0, rng.choice([0.3, 3, 300]), (40, book.dim)).astype(np.float32)
        if book.dim == 1:
            places = nearest_scalars(search.scalars, np.full(len(x), search.origin[number]), x[:, 0], share)
            table = search.scalars
            symbols, low, words = (array[places] for array in (table.symbols, table.low, table.codewords))
            np.testing.assert_array_equal(search.scalars.widths[places], book.raw_bits[symbols])
            np.testing.assert_array_equal(codebooks.with_low_bits(book.rows[symbols, 0].copy(), low), words)
            if rate * share == 0:  # the nearest integer at least
                inside = np.abs(x[:, 0]) < codebooks.SCALAR_MAX
                assert np.all(np.abs(x[:, 0] - words / LATENT_UNIT)[inside] <= 1)
        else:
            x[:20] *= np.sqrt(max(0.0, search.reach[number]) / (x[:20] ** 2).sum(axis=1, keepdims=True))  # on the edge
            index, costs = nearest(x, search.vectors[number].weights)
            words = book.rows[index] / LATENT_UNIT
            assert not np.any(index == book.escape)
            every = ((x[:, None] - book.codewords.T[None] / LATENT_UNIT) ** 2).sum(axis=2) + rate * book.bits
            if book.escape >= 0:
                every[:, book.escape] = np.inf
            found = ((x - words) ** 2).sum(axis=1) + rate * book.bits[index]
            np.testing.assert_allclose(found, every.min(axis=1), rtol=1e-3, atol=1e-3 * (1 + float((x * x).max())))
            np.testing.assert_allclose(costs + (x * x).sum(axis=1), found, rtol=1e-3, atol=1e-3 * (1 + float((x * x).max())))
            near = (x * x).sum(axis=1) <= search.reach[number]
            assert np.all(index[near] == search.zero[number])
            assert not np.any(words[near])
            assert book.escape < 0 or np.all(found[near] <= rate * book.bits[book.escape] + 1e-6)
