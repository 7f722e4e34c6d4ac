"""Merge maps, stream forms and dictionaries."""

import numpy as np

from vqcodec.format.stream_forms import Direct
from vqcodec.train import streams


def test_codebooks_of_like_statistics_share_a_stream_first() -> None:
    """The number of their symbols does not matter."""
    flat, steep = np.ones(256), 0.5 ** np.arange(256)
    counts = np.stack([1000 * flat, 1000 * steep, 10 * flat, 10 * steep, 5000 * steep])
    halves, one = streams.merge_maps(counts, (2, 1))
    assert halves.tolist() == [0, 1, 0, 1, 1]
    assert not one.any()


def test_streams_have_the_form_that_takes_fewest_bytes() -> None:
    rng = np.random.default_rng(0)
    sparse = [np.where(rng.random(3000) < 0.03, 1, 0).astype(np.uint8) for _ in range(4)]
    dense = [rng.integers(0, 100, 3000).astype(np.uint8) for _ in range(4)]
    for given, is_direct in ((sparse, False), (dense, True)):
        form, _ = streams._train_stream([symbols[: np.flatnonzero(symbols)[-1] + 1] for symbols in given], 100)
        assert isinstance(form, Direct) == is_direct


def test_a_dictionary_pays_for_the_bytes_that_it_has_alone() -> None:
    """A byte that occurs once per file is rare, but a code without it would serve no file."""
    counts = np.zeros((20, 256), np.int64)
    counts[:, :64] = 32
    counts[:, 200] = 1
    found = streams._best_code(counts, 256)
    assert found is not None
    assert found.lengths[200] > 0
