"""Inputs and outputs of the synthesis network."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from helpers.networks import random_network
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import FEATURES, OUTPUTS, plain_coefficients, synthesis_features, synthesise
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_strips_have_no_seams(layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = convolution.ConvNetwork.from_tensors(random_network(6, 2, 0.2), "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    run = partial(convolution.run_network, network)
    h, w = 37, 5
    latents = np.random.default_rng(2).integers(-200, 200, (layout.channels, h * w)).astype(np.int16)
    whole = synthesise(run, network.halo, latents, 20.0, (h, w), layout, (0, h))
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 1)
    monkeypatch.setattr(convolution, "_CHUNK", 3)
    strips = convolution.strips(network.halo, (h, w))
    assert len(strips) > 3
    parts = [synthesise(run, network.halo, latents, 20.0, (h, w), layout, rows) for rows in strips]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-4)


def test_features_are_what_their_formula_says() -> None:
    latents = np.random.default_rng(4).integers(-32768, 32768, (GREY.channels, 50)).astype(np.int16)
    found = synthesis_features(latents, GREY, 10.0)
    coded = [COLOR_4X4.positions.index(position) for position in GREY.positions]
    np.testing.assert_allclose(found[coded], np.sign(latents) * np.log1p(np.abs(latents / 16)), rtol=1e-5)
    assert not np.delete(found[:-1], coded, axis=0).any()
    np.testing.assert_allclose(found[-1], np.log(10 / 32), rtol=1e-6)


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_a_silent_network_gives_the_plain_coefficients(layout: Any) -> None:
    network = convolution.ConvNetwork.from_tensors(random_network(6, 2, 0.0), "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    run = partial(convolution.run_network, network)
    latents = np.random.default_rng(2).integers(-200, 200, (layout.channels, 6 * 5)).astype(np.int16)
    found = synthesise(run, network.halo, latents, 20.0, (6, 5), layout, (1, 4))
    np.testing.assert_allclose(found, plain_coefficients(latents, 20.0, (6, 5), layout, (1, 4)), rtol=1e-6)
