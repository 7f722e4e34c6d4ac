"""Fits of codebooks."""

import numpy as np
import pytest

from vqcodec.entropy.codebooks import alphabet_symbols
from vqcodec.train import codebooks
from vqcodec.transform.layouts import LATENT_UNIT


def around(centres: np.ndarray, count: int, spread: float = 0.05) -> np.ndarray:
    """Vectors float32 [n, d] around the centres in turn."""
    rng = np.random.default_rng(0)
    return (np.resize(centres, (count, centres.shape[1])) + spread * rng.standard_normal((count, centres.shape[1]))).astype(
        np.float32
    )


def test_codewords_lie_where_vectors_do_and_outliers_are_left_to_the_escape() -> None:
    centres = np.array([[0.3, 0.3], [4, 0], [0, -5], [-4, 4]])
    x = np.concatenate([around(centres, 2000), np.full((7, 2), 900, np.float32)])
    start = np.append(np.round(centres), [[0, 0]], axis=0).T.astype(np.float32)
    base = codebooks.TrainedCodebook(start, np.ones(5), True)
    book = codebooks.fit_vector_codebook(x, 0.13, np.random.default_rng(0), base)
    assert book.escape
    assert not book.codewords[:, 0].any()  # zero is always a codeword
    for centre in centres[1:]:
        assert np.linalg.norm(book.codewords[:, :-1] - centre[:, None], axis=0).min() < 0.1
    assert np.abs(book.codewords).max() < 10
    assert book.counts[-1] == 7
    assert book.counts[:-1].sum() == 2000


def test_unused_codewords_restart() -> None:
    far = np.concatenate([np.zeros((2, 1)), 500 + np.arange(80).reshape(2, 40), np.zeros((2, 1))], axis=1).astype(np.float32)
    base = codebooks.TrainedCodebook(far, np.ones(42), True)
    centres = np.array([(y, x) for y in range(-2, 3) for x in range(-2, 3)])
    book = codebooks.fit_vector_codebook(around(centres, 2000), 0.13, np.random.default_rng(0), base, 0.0)
    assert sum(np.linalg.norm(book.codewords - centre[:, None], axis=0).min() < 0.2 for centre in centres) > 15


def test_a_base_models_codewords_count_as_strength_vectors() -> None:
    words = np.array([[0, 4, 0], [0, 0, 0]], np.float32)  # the last one is the escape
    base, x = codebooks.TrainedCodebook(words, np.array([1.0, 3, 0]), True), around(np.array([[5, 0]]), 100)
    places = []
    for strength in (0, 400, 40000):
        book = codebooks.fit_vector_codebook(x, 0.13, np.random.default_rng(0), base, strength)
        assert book.counts[:-1].sum() == pytest.approx(100 + strength)
        places.append(book.codewords[0, 1])
    assert places == pytest.approx([5, (100 * 5 + 300 * 4) / 400, 4], abs=0.05)


def test_small_integers_are_reconstructed_where_their_values_lie() -> None:
    x = np.concatenate([np.full(3000, 1.3), np.full(3000, -1.9), np.zeros(3000)]).astype(np.float32)
    book = codebooks.fit_scalar_codebook(x, 1.0, 0.13, None, 0.0)
    one, less_two = alphabet_symbols(np.array([1, -2]))
    assert book.codewords[0, one] == pytest.approx(1.3, abs=0.02)
    assert book.codewords[0, less_two] == pytest.approx(-1.9, abs=0.02)
    assert book.counts[[0, one, less_two]] == pytest.approx(3000, rel=0.01)
    assert (book.counts > 0).all()


def test_codewords_are_ranked_by_count() -> None:
    trained = codebooks.TrainedCodebook(np.array([[0, 1, 2, 0]], np.float32).repeat(2, axis=0), np.array([10.0, 80, 1, 40]), True)
    found = codebooks.ranked(trained)
    book, order = found.codebook, found.order
    assert order.tolist() == [1, 3, 0, 2]
    assert book.codewords[0].tolist() == [LATENT_UNIT, 0, 0, 2 * LATENT_UNIT]
    assert book.escape == 1
    np.testing.assert_allclose(book.bits, -np.log2(np.array([80, 40, 10, 1]) / 131), atol=0.1)
