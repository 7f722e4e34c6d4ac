"""Symbols of residuals are read as they were written."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.codec import symbols
from vqcodec.entropy import codebooks, linear
from vqcodec.weights import registry
from vqcodec.weights.exact import AC_SET

MODEL = registry.find("photo-lite")
seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from([1, 2, 4, 8]), st.integers(1, 40), st.sampled_from([0.0, 0.13]), st.sampled_from([256, 128, None]))
def test_residuals_of_a_half_tile_come_back(seed: int, size: int, count: int, weight: float, word_size: int | None) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.permutation(60)[:count]
    means = rng.integers(-99, 99, (size, count)).astype(np.int32)
    classes = rng.integers(0, linear.CLASSES, count).astype(np.uint8)
    targets = np.clip(rng.laplace(0, rng.choice([0.1, 3, 300]), (11, 60)), -1000, 1000).astype(np.float32)
    sizes = word_size or rng.integers(128, 862, count).astype(np.int32)
    arguments = (AC_SET, slice(2, 2 + size), cells, means, classes, sizes)
    writer = symbols.SymbolWriter(MODEL, targets, symbols.search_lambdas(MODEL, weight))
    writer.start_layer(0)
    residuals = writer.code(*arguments)
    raw = writer.symbols().raw[0]
    streams: list[list[np.ndarray]] = [[np.zeros(0, np.uint8)] for _ in MODEL.streams[0]]
    for book, found in writer.calls[0]:
        streams[MODEL.maps[0][book]].append(found)
    found = [np.concatenate(parts) for parts in streams]
    reader = symbols.SymbolReader(
        MODEL, [symbols.GroupStreams(lambda layer: symbols.LayerStreams(found, raw, MODEL.maps[0].tolist()))]
    )
    reader.start_layer(0)
    np.testing.assert_array_equal(reader.code(*arguments), residuals)
    reader.finish()
    if weight == 0:  # each value no worse than the nearest integer, or as many sizes, which are rounded to sixteenths
        wanted = targets[2 : 2 + size, cells] - means / 16
        worst = 1.0 if word_size == codebooks.NATURAL_SIZE else np.asarray(sizes) / codebooks.NATURAL_SIZE + 1 / 32
        assert np.all(((wanted - residuals / 16) ** 2).sum(axis=0) <= size * worst**2 * 1.0001)
