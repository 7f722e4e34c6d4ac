"""The decoder agrees with a second reader that was written from the specification alone."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.contents import blocks, samples, smooth
from helpers.layers import encode_blocks
from helpers.networks import random_context
from helpers.reference_reader import TILES, read_latents, read_pixels, tile_coefficients
from vqcodec import api
from vqcodec.codec import groups, inspection
from vqcodec.codec.graphics import Overlay
from vqcodec.codec.picture import picture_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.codec.reader import Reader
from vqcodec.entropy import masking
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.options import EncodeOptions
from vqcodec.transform.rect import Rect
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import save_model

TESTS = Path(__file__).resolve().parents[1]
MODEL = TESTS.parent / "models" / "photo-lite"


def assert_readers_agree(data: bytes, model_folder: Path = MODEL) -> int:
    """Assert that both readers decode the same latents and pixels. Returns the number of tile groups."""
    file = container.File(io.BytesIO(data))
    header = file.header
    model = ExactModel.load(model_folder)
    inspection.ExactFiles(model).check(header)
    together: dict[Rect, np.ndarray] = {}  # as pixels are decoded: the DCs of several groups at once

    def finish(opened: groups.OpenGroup) -> None:
        together[opened.place] = groups.finish_group(header, opened, model)

    overlay = Overlay(Reader(io.BytesIO(data)), range(len(header.groups)))
    groups.open_each(header, overlay, model, range(len(header.groups)), finish, threads=1)
    found = read_latents(data, model_folder)
    for number, (group, latents) in enumerate(zip(header.groups, found, strict=True)):
        np.testing.assert_array_equal(together[group], latents)
        graphic = None if overlay.cells is None else overlay.cells[number]
        alone = groups.decode_group(header, file.indices(number, header.layers), group.shape, model, graphic=graphic)
        np.testing.assert_array_equal(alone, latents)
    pixels = api.decode(data, model=model, refine="none", threads=1)
    np.testing.assert_array_equal(np.atleast_3d(pixels), read_pixels(data, found, model_folder))
    return len(found)


def file_of(encoder: Encoder, step: int) -> bytes:
    """The encoder's file at a step. At the finest steps latents are clamped, so pixels are wrong, but both readers must agree."""
    header = encoder.header(step)
    return encoder.write(header, [encoder.group(number, header) for number in range(len(header.groups))])


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((TESTS / "golden" / "decode").glob("*.vqz")), ids=lambda path: path.stem)
def test_golden_file(path: Path) -> None:
    assert_readers_agree(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colour-q20", "colour-q40", "grey-q60", "masked-q30", "pixel"])
def test_golden_file_of_a_neural_model(name: str) -> None:
    assert_readers_agree((TESTS / "golden" / "neural" / f"{name}.vqz").read_bytes(), TESTS.parent / "models" / "photo")


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "step"), [(2, 640), (3, 1800), (3, 9)])  # the finest step makes escapes and raw bits
def test_layers_and_groups(layers: int, step: int, samples: Path) -> None:
    with Image.open(samples / "still_life.png") as image:
        pixels = np.asarray(image.convert("RGB"))[100:173, 120:209]
    encoder = Encoder(pixels, ExactModel.load(MODEL), EncodeOptions(threads=1, tile=64), layers=layers)
    assert assert_readers_agree(file_of(encoder, step)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("colour", ["L", "RGB"])
def test_long_strip(colour: str, samples: Path) -> None:
    """More than 32 cells wide: the coarsest strides share weights; the finest step clamps latents."""
    with Image.open(samples / "still_life.png") as image:
        pixels = np.atleast_3d(np.asarray(image.convert(colour)))[100:117, :270]
    encoder = Encoder(pixels, ExactModel.load(MODEL), EncodeOptions(threads=1), layers=3)
    assert assert_readers_agree(file_of(encoder, 1)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "depth", "quality"), [(3, 16, 50), (4, 16, 97), (2, 16, 60), (4, 10, 40), (3, 12, 100)])
def test_deep_colour_and_alpha(channels: int, depth: int, quality: int, samples: Path) -> None:
    with Image.open(samples / "still_life.png") as image:
        pixels = np.asarray(image.convert("RGB"))[100:173, 120:209].astype(np.uint16) * 257
    pixels = np.minimum(pixels * np.float32(1.2), 65535).astype(np.uint16)[:, :, : channels - 1 + channels % 2]
    if channels in (2, 4):
        y, x = np.indices(pixels.shape[:2])
        pixels = np.dstack([pixels, np.clip((x + y) * 500, 0, 65535).astype(np.uint16)])
    data = encode_blocks(pixels >> (16 - depth), model="photo-lite", quality=quality, tile=64, threads=1)
    assert api.info(data)["depth"] == depth
    assert assert_readers_agree(data) == 4


@pytest.mark.slow
@pytest.mark.parametrize("colour", ["L", "RGB"])
@pytest.mark.parametrize(("model", "strength", "step"), [("photo-lite", 5, 1800), ("photo", 7, 900), ("photo-lite", 7, 20)])
def test_masking(model: str, strength: int, step: int, colour: str, samples: Path) -> None:
    """Quiet and busy cells; the finest step makes escapes, raw bits, and differences that are clamped."""
    with Image.open(samples / "still_life.png") as image:
        pixels = np.atleast_3d(np.asarray(image.convert(colour)))[100:173, 120:209]
    encoder = Encoder(pixels, ExactModel.load(MODEL.parent / model), EncodeOptions(threads=1, effort=1, tune="ssim"))
    encoder.frame = replace(encoder.frame, masking=strength)
    dcs = encoder.group(0, encoder.header(step)).latents[0].reshape(10, 12)
    assert len(np.unique(masking.codeword_sizes(dcs, step, strength).levels)) > 7
    assert assert_readers_agree(file_of(encoder, step), MODEL.parent / model) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("colour", "step"), [("RGB", 1024), ("RGB", 240), ("RGB", 9), ("L", 700)])
def test_context_network(colour: str, step: int, samples: Path, tmp_path: Path) -> None:
    """Both layouts of chroma and a grey picture; the finest step clamps latents."""
    plain = ExactModel.load(MODEL)
    save_model(tmp_path / "model", ExactModel("random", plain.tensors | random_context(), plain.summary))
    with Image.open(samples / "still_life.png") as image:
        pixels = np.atleast_3d(np.asarray(image.convert(colour)))[100:141, 120:171]
    encoder = Encoder(pixels, ExactModel.load(tmp_path / "model"), EncodeOptions(threads=1))
    assert assert_readers_agree(file_of(encoder, step), tmp_path / "model") == 1
    with_network, without = (
        e.group(0, e.header(step)).latents for e in (encoder, Encoder(pixels, plain, EncodeOptions(threads=1)))
    )
    assert np.mean(with_network != without) > 0.1  # the network is in play


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "channels", "depth", "tile", "step", "tune"),
    [
        ("photo-lite", 3, 8, 64, 1800, "psnr"),
        ("photo-lite", 1, 8, None, 1800, "ssim"),
        ("photo-lite", 4, 12, 64, 300, "psnr"),
        ("photo-lite", 2, 16, None, 60, "psnr"),
        ("photo", 3, 8, None, 2400, "ssim"),
        ("photo", 3, 16, 64, 9, "psnr"),
    ],
)
def test_graphic_cells(model: str, channels: int, depth: int, tile: int | None, step: int, tune: str) -> None:
    """Coarse steps have fine DCs; graphic cells are at edges and across the borders of tile groups."""
    rng = np.random.default_rng(channels)
    pixels = samples(smooth, rng, (75, 90, channels), depth)
    pixels[20:70] = samples(blocks, rng, (50, 90, channels), depth)
    graphic = rng.random((10, 12)) < 0.4
    options = EncodeOptions(threads=1, tile=tile, tune=tune)
    picture = picture_of(pixels, options, Metadata())
    data = file_of(Encoder(picture, ExactModel.load(MODEL.parent / model), options, graphic), step)
    header, _ = container.read_file(data)
    assert (header.pixels, header.depth, header.layers > 0, header.masking > 0) == (True, depth, True, tune == "ssim")
    assert assert_readers_agree(data, MODEL.parent / model) == (4 if tile else 1)


def test_tiles_hold_each_coefficient_once() -> None:
    found = sorted((component, pair) for component, pairs in map(tile_coefficients, range(len(TILES))) for pair in pairs)
    assert found == [(component, f"{v}{u}") for component in range(3) for v in range(8) for u in range(8) if v or u]
