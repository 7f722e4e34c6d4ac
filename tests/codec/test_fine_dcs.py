"""DCs that condition others are coded with finer quantisation."""

from dataclasses import replace

import numpy as np
import pytest

from vqcodec.codec import choices, reconstruction, symbols
from vqcodec.codec.pipeline import Encoder
from vqcodec.entropy import codebooks
from vqcodec.options import EncodeOptions
from vqcodec.weights import registry
from vqcodec.weights.exact import DC_SET

MODEL = registry.find("photo-lite")


@pytest.mark.parametrize("component", [0, 1, 2])
def test_dcs_that_others_are_predicted_from_are_nearer_to_what_they_should_be(component: int) -> None:
    cells = 256 * 256
    wanted = np.resize(np.linspace(-1, 1, cells // 64, dtype=np.float32), cells)
    classes = np.full(cells // 4, 8, np.uint8)  # a quiet class: anything but zero is dear
    means = np.zeros((1, cells // 4), np.int32)

    def error(density: float, word_size: int = codebooks.NATURAL_SIZE) -> float:
        some = np.arange(int(density * cells))
        writer = symbols.EncoderWriter(MODEL, np.tile(wanted, (3, 1)), 0.13)
        writer.start_layer(0)
        found = writer.code(DC_SET, slice(component, component + 1), some, means[:, some], classes[some], word_size)
        return float(np.abs(wanted[some] - found[0] / 16).max())

    assert error(1 / 64) < error(1 / 16) < error(1 / 4)
    assert error(1 / 64, codebooks.NATURAL_SIZE // 2) < error(1 / 64)


@pytest.mark.parametrize("components", [1, 3])
def test_fine_dcs_are_nearer_in_smooth_pictures(components: int) -> None:
    """Each DC of a slow gradient is less than a step from the DCs around: with coarse words whole areas are off."""
    gradient = 100 + 20 * np.add.outer(np.sin(np.arange(256) / 40), np.cos(np.arange(256) / 50))
    pixels = np.clip(gradient[..., None] + np.array((0, 12, -9))[:components], 0, 255).astype(np.uint8)

    def error(fine: bool) -> float:
        encoder = Encoder(pixels, MODEL, EncodeOptions(threads=1))
        header = replace(encoder.header(64 * 100), fine_dcs=fine)
        image = reconstruction.Plain(header, MODEL)
        image.add(header.groups[0], encoder.group(0, header).latents)
        decoded = image.pixels()
        return float(np.abs((decoded - pixels.astype(float)).reshape(8, 32, 8, 32, components).mean(axis=(1, 3))).mean())

    assert error(fine=True) < 0.9 * error(fine=False)
    assert choices.fine_dcs(components, 100) == (components == 3)
    assert not choices.fine_dcs(components, 20)
