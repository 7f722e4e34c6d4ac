"""Files whose pixels have the contexts of a graphic model's network."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import vqcodec
from helpers.graphic_models import contexts_model, graphic_model, grown, saved_model
from helpers.reference_reader import read_without_layers
from helpers.vqz_fields import put_together, resealed, take_apart
from vqcodec.codec import content
from vqcodec.errors import CorruptError, FormatError, ModelError
from vqcodec.format import container
from vqcodec.weights.graphic import GraphicModel, tensors_of

MODEL = contexts_model()
COLOURS = {
    1: np.array([[255], [0], [128], [60], [200]], np.uint8),
    2: np.array([[255, 255], [0, 255], [0, 0], [128, 99]], np.uint8),
    3: np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 90, 0], [9, 9, 200]], np.uint8),
    4: np.array([[255, 255, 255, 255], [0, 0, 0, 255], [200, 0, 0, 128], [0, 0, 0, 0]], np.uint8),
}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 64])
def test_a_file_of_expected_pixels_is_smaller_and_exact(channels: int, tile: int | None, tmp_path: Path) -> None:
    pixels = grown(MODEL, COLOURS[channels], 70, 90)
    plain = vqcodec.encode(pixels, lossless=True, tile=tile, threads=1)
    data = vqcodec.encode(pixels, lossless=True, tile=tile, model=MODEL, threads=1)
    assert len(data) < 0.8 * len(plain)
    assert np.array_equal(vqcodec.decode(data, model=MODEL).reshape(pixels.shape), pixels)
    assert np.array_equal(read_without_layers(data, saved_model(tmp_path, MODEL)), pixels)
    header = container.read_header(data).header
    assert (header.patterns, header.model_id, header.lossless) == (True, MODEL.file_id, True)


def test_predicted_cells_and_rare_colours_beside_them(tmp_path: Path) -> None:
    pixels = grown(MODEL, COLOURS[3], 80, 96)
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:40, :48]
    pixels[:40, 48:] = (rng.integers(0, 5, (40, 48, 3)) + y[:, :, None] + x[:, :, None]).astype(np.uint8)
    rows, columns = rng.integers(40, 80, 300), rng.integers(0, 96, 300)
    pixels[rows, columns] = rng.integers(0, 256, (300, 3))
    data = vqcodec.encode(pixels, lossless=True, model=MODEL, threads=1, effort=7)
    assert container.read_header(data).header.patterns
    assert np.array_equal(vqcodec.decode(data, model=MODEL), pixels)
    assert np.array_equal(read_without_layers(data, saved_model(tmp_path, MODEL)), pixels)


def test_with_the_pattern_codebook_of_the_same_model(tmp_path: Path) -> None:
    first, second = (grown(MODEL, COLOURS[3], 64, 80, seed) for seed in (1, 2))
    second[10:50, 20:70] = first[3:43, 9:59]
    sheets = graphic_model([first], ())
    both = GraphicModel("both", {**sheets.tensors, **MODEL.tensors, **tensors_of(sheets.sheets, [])})
    both = GraphicModel("both", both.tensors, {"name": "both", "kind": "graphic", "id": both.id})
    sizes = [len(vqcodec.encode(second, lossless=True, model=model, threads=1)) for model in (sheets, MODEL, both)]
    assert sizes[2] < min(sizes[:2])
    data = vqcodec.encode(second, lossless=True, model=both, threads=1)
    assert np.array_equal(vqcodec.decode(data, model=both), second)
    assert np.array_equal(read_without_layers(data, saved_model(tmp_path, both)), second)


def test_a_part_of_a_file() -> None:
    pixels = grown(MODEL, COLOURS[3], 70, 150)
    data = vqcodec.encode(pixels, lossless=True, tile=64, model=MODEL, threads=1)
    with vqcodec.open_vqz(data, model=MODEL) as opened:
        assert np.array_equal(opened.read((60, 20, 50, 40)), pixels[20:60, 60:110])


def test_a_file_with_loss_is_smaller() -> None:
    levels = np.array([[0], [4], [90], [94], [180], [184], [250], [255]], np.uint8)
    pixels = grown(MODEL, levels, 160, 160)
    plain, data = (vqcodec.encode(pixels, model=model, threads=1) for model in (None, MODEL))
    assert container.read_header(plain).header.layers == 0
    assert len(data) < len(plain)
    assert container.read_header(data).header.model_id == MODEL.file_id
    assert np.abs(vqcodec.decode(data, model=MODEL).astype(int) - pixels[:, :, 0]).max() <= 10


def test_a_scan_without_clear_cells_is_coded_in_contexts_without_loss() -> None:
    """Black dots in grain: hardly a cell has few colours."""
    rng = np.random.default_rng(0)
    ink = 255 - 85 * np.add.outer(np.arange(160) // 16 % 2, 2 * (np.arange(160) // 16 % 2))
    pixels = np.clip(ink - np.abs(rng.normal(0, 9, (160, 160))), 0, 255).astype(np.uint8)
    pixels[rng.random((160, 160)) < 0.3] = 0
    assert not content.may_hold_graphics(pixels[:, :, None], 8)
    data = vqcodec.encode(pixels, lossless=True, threads=1)
    assert vqcodec.info(data)["graphic_cells"] == 400
    assert np.array_equal(vqcodec.decode(data), pixels)


def test_a_photograph_is_coded_by_the_default_model() -> None:
    y, x = np.mgrid[:160, :160]
    noise = np.random.default_rng(0).normal(0, 6, (160, 160, 3))
    pixels = np.clip(np.stack([y, x, (x + y) / 2], axis=2) + 40 + noise, 0, 255).astype(np.uint8)
    data = vqcodec.encode(pixels, model=MODEL, threads=1)
    assert data == vqcodec.encode(pixels, threads=1)
    assert np.array_equal(vqcodec.decode(data, model=MODEL), vqcodec.decode(data))


def test_deep_samples_have_no_contexts_of_a_model() -> None:
    pixels = grown(MODEL, COLOURS[3], 48, 48).astype(np.uint16) * 257
    assert vqcodec.encode(pixels, lossless=True, model=MODEL, threads=1) == vqcodec.encode(pixels, lossless=True, threads=1)


def test_the_model_is_needed() -> None:
    data = vqcodec.encode(grown(MODEL, COLOURS[3], 48, 48), lossless=True, model=MODEL, threads=1)
    with pytest.raises(ModelError, match="needs model"):
        vqcodec.decode(data)
    with pytest.raises(ModelError, match="was made with model"):
        vqcodec.decode(data, model=contexts_model(1))


def test_a_model_without_a_network_is_refused() -> None:
    """A damaged file may name a model that exists but has no network."""
    other = graphic_model([COLOURS[3][None]], ())
    data = vqcodec.encode(grown(MODEL, COLOURS[3], 48, 48), lossless=True, model=MODEL, threads=1)
    renamed = put_together(take_apart(data) | {"model": other.file_id})
    with pytest.raises(CorruptError, match="contexts of a model that has none"):
        vqcodec.decode(renamed, model=other)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_refused_or_decode(seed: int) -> None:
    data = vqcodec.encode(grown(MODEL, COLOURS[3], 40, 48), lossless=True, model=MODEL, threads=1)
    start = len(data) - len(take_apart(data)["body"])
    rng = np.random.default_rng(seed)
    for _ in range(60):
        changed = bytearray(data)
        changed[rng.integers(start, len(data))] = rng.integers(256)
        with suppress(FormatError):
            assert vqcodec.decode(resealed(bytes(changed)), model=MODEL).shape == (40, 48, 3)
