"""The scalar alphabet, and the table that symbols are looked up in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vqcodec.entropy import codebooks
from vqcodec.weights import registry

MODEL = registry.find("photo-lite")


@given(hnp.arrays(np.int64, 50, elements=st.integers(-codebooks.SCALAR_MAX, codebooks.SCALAR_MAX)))
def test_the_alphabet_covers_every_integer_once(values: np.ndarray) -> None:
    letters = codebooks.alphabet_symbols(values)
    first, raw = codebooks.ALPHABET[letters].astype(int), codebooks.ALPHABET_RAW_BITS[letters].astype(int)
    rest = np.abs(values) - np.abs(first)
    assert np.all((rest >= 0) & (rest < 1 << raw) & (np.sign(first) == np.sign(values)))


@pytest.mark.parametrize("dim", [1, 2, 4, 8])
def test_a_symbol_table_has_the_entries_of_its_codebooks(dim: int) -> None:
    table = codebooks.SymbolTable.from_codebooks(MODEL.codebooks, dim)
    own = [number for number, codebook in enumerate(MODEL.codebooks) if codebook.dim == dim]
    assert own
    for number in own:
        codebook = MODEL.codebooks[number]
        entries = table.first[number] + np.arange(256)
        np.testing.assert_array_equal(table.codewords[entries[: codebook.size]].T, codebook.codewords)
        raw = codebook.raw_bits if dim == 1 else np.zeros(codebook.size)
        np.testing.assert_array_equal(table.raw_bits[entries[: codebook.size]], raw)
        np.testing.assert_array_equal(table.bits[entries[: codebook.size]], codebook.bits + raw)
        assert (table.raw_bits[entries[codebook.size :]] == codebooks.NO_CODEWORD).all()


def test_scaled_codewords_are_rounded_half_up() -> None:
    codewords = np.array([[-3, -2, -1, 0, 1, 2, 3], [16, 32, 48, -16, -32, -48, 5]], np.int32)
    assert codebooks.scaled_codewords(codewords, codebooks.NATURAL_SIZE) is codewords
    np.testing.assert_array_equal(codebooks.scaled_codewords(codewords, codebooks.NATURAL_SIZE // 2), (codewords + 1) >> 1)
    sizes = np.array([128, 181, 215, 256, 304, 362, 512], np.int32)
    np.testing.assert_array_equal(codebooks.scaled_codewords(codewords, sizes), np.floor(codewords * (sizes / 256) + 0.5))
