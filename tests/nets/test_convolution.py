"""Inference of the convolutional networks: the formula, and the fallback when memory is short."""

from functools import partial

import numpy as np
import pytest

from helpers.networks import random_network, with_scarce_memory
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import FEATURES, OUTPUTS

NETWORK = convolution.ConvNetwork.from_tensors(random_network(6, 2, 0.15), "synthesis", inputs=FEATURES, outputs=OUTPUTS)


def test_the_network_computes_its_formula() -> None:
    network = convolution.ConvNetwork.from_tensors(random_network(5, 2, 0.3), "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    x = np.random.default_rng(1).standard_normal((FEATURES, 4, 6)).astype(np.float32)

    def layer(weights: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.einsum("wc,cij->wij", weights, x) + bias[:, None, None]

    hidden = layer(network.head, network.head_bias, x)
    for block in range(2):
        padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1)))
        mixed = np.zeros_like(hidden)
        for row, column in np.ndindex(4, 6):
            window = padded[:, row : row + 3, column : column + 3].reshape(5, 9)
            mixed[:, row, column] = (window * network.depthwise[block]).sum(axis=1) + network.depthwise_bias[block]
        wide = np.maximum(layer(network.expand[block], network.expand_bias[block], mixed), 0)
        hidden = hidden + layer(network.project[block], network.project_bias[block], wide)
    wanted = layer(network.tail, network.tail_bias, hidden)
    np.testing.assert_allclose(convolution.run_network(network, x), wanted, rtol=1e-4, atol=1e-5)


def test_the_rows_kept_are_those_of_the_whole() -> None:
    x = np.random.default_rng(2).standard_normal((FEATURES, 11, 5)).astype(np.float32)
    whole = convolution.run_network(NETWORK, x)
    for rows in ((0, 1), (4, 7), (9, 11)):
        np.testing.assert_allclose(convolution.run_network(NETWORK, x, rows), whole[:, slice(*rows)], rtol=1e-5, atol=1e-5)


def test_strips_cover_the_grid_without_overlap() -> None:
    for halo, cells in ((0, 1), (3, 1), (3, 200), (2, 10**6)):
        strips = convolution.strips(halo, (37, 5), cells)
        assert [row for top, bottom in strips for row in range(top, bottom)] == list(range(37))
        assert all(bottom - top >= 2 * halo for top, bottom in strips[:-1])


@pytest.mark.parametrize(("limit", "notes"), [(40, ""), (12, "in smaller strips"), (3, "on the CPU")])
def test_with_too_little_memory_strips_get_smaller_then_the_cpu_runs(limit: int, notes: str) -> None:
    here, reported = partial(convolution.run_network, NETWORK), []
    x = np.random.default_rng(0).standard_normal((FEATURES, 33, 4)).astype(np.float32)
    found = convolution.with_memory_fallback(with_scarce_memory(limit, here), here, NETWORK.halo, reported.append)(x)
    np.testing.assert_allclose(found, here(x), rtol=1e-4, atol=1e-4)
    assert (notes in reported[-1]) if notes else not reported


def test_a_single_row_without_halo_falls_back_to_the_cpu() -> None:
    x = np.zeros((FEATURES, 1, 4), np.float32)
    here, reported = partial(convolution.run_network, NETWORK), []
    convolution.with_memory_fallback(with_scarce_memory(0, here), here, 0, reported.append)(x)
    assert reported == ["too little memory on the GPU: a network ran on the CPU"]
