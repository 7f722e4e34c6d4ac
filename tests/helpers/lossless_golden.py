"""The golden files without layers: the pictures that they hold, and how they are written.

They cover every choice that a file can make: depths and channels, palettes, packings, strips, predictors of rare colours, maps,
extents of weights, and forms of streams.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from helpers.contents import Content, blocks, mixed, noise, samples, smooth
from helpers.paths import REPOSITORY
from helpers.pixel_files import lossless_file, numbers_of, part_bytes, predicted_bytes
from vqcodec.codec import pixel_codec, predicted
from vqcodec.entropy.pixel_pyramid import Shape
from vqcodec.format import container, sample_bytes
from vqcodec.format.header import Section
from vqcodec.transform import rare_colours
from vqcodec.transform.rare_colours import Predictor


def file_of_section(pixels: np.ndarray, section: bytes, palette: bytes = b"", depth: int = 8) -> bytes:
    """A file with one pixel section for pixels [H, W, C]."""
    header = pixel_codec.header_of(pixels, depth, None, lossless=True)
    others = [Section(container.PALETTE, palette)] if palette else []
    return container.write_file(header, [Section(container.PIXELS, section), *others])


def content_file(content: Content, shape: tuple[int, int, int], depth: int, graphic: float, tile: int | None = None) -> bytes:
    """A file of a picture of `shape`, of which a share of cells is graphic."""
    rng = np.random.default_rng(0)
    pixels = samples(content, rng, shape, depth)
    return lossless_file(pixels, rng.random((-(-shape[0] // 8), -(-shape[1] // 8))) < graphic, depth, tile=tile, effort=5)


def crop_file(picture: str, crop: tuple[int, int, int, int], graphic: bool, effort: int) -> bytes:
    """A file of a crop of a sample."""
    with Image.open(REPOSITORY / "samples" / f"{picture}.png") as image:
        pixels = np.atleast_3d(np.asarray(image.crop(crop)))
    height, width, _ = pixels.shape
    return lossless_file(pixels, np.full((-(-height // 8), -(-width // 8)), graphic), effort=effort)


def few_colours(colours: int) -> bytes:
    """A file of noise of so few colours that several symbols fit into a byte."""
    pixels = np.random.default_rng(colours).integers(0, colours, (17, 13, 1)).astype(np.uint8) * np.uint8(255 // colours)
    return lossless_file(pixels, np.ones((3, 2), bool))


def rare_file(predictor: Predictor, planes: bool, depth: int) -> bytes:
    """A file with rare colours in half of its pixels, between those of a palette of one colour."""
    rng = np.random.default_rng(predictor)
    pixels = samples(smooth, rng, (11, 9, 3), depth)
    known = rng.random((11, 9)) < 0.5
    pixels[known] = 7
    places = np.flatnonzero(~known)
    found = rare_colours.differences(pixels, places, predictor)
    stored = (sample_bytes.planes if planes else sample_bytes.interleaved)(found)
    head = (predictor & 3) + 4 * planes + 2 * (predictor & 4)
    section = bytes((0, 1)) + part_bytes((~known).astype(np.uint8).tobytes()) + bytes((head,)) + part_bytes(stored)
    colour = sample_bytes.planes(np.array([[0, 7, 0]], pixels.dtype))
    return file_of_section(pixels, section, bytes((3, 0)) + part_bytes(colour), depth)


def weights_file(levels: int, all_neighbours: bool, contexts: int) -> bytes:
    """A file with an extent of weights; its left cells are graphic."""
    rng = np.random.default_rng(levels)
    pixels = samples(smooth, rng, (19, 21, 2), 8)
    pixels[:, :8] = 9
    coded = np.ones((19, 21), bool)
    coded[:, :8] = False
    data = predicted.encode(predicted.planes_of(pixels), coded, 255, Shape(levels, all_neighbours, contexts), (19,))
    map_ = part_bytes(np.packbits([1, 1, 0, 0, 0, 0, 0, 0, 0]).tobytes())
    palette = bytes((2, 0)) + part_bytes(bytes((9, 9)))
    return file_of_section(pixels, b"\2" + map_ + bytes((1, 8)) + data, palette)


def form_file(form: int) -> bytes:
    """A file whose stream has a form."""
    symbols = np.minimum(np.random.default_rng(form).exponential(1.5, 16 * 16 - 1), 20).astype(np.uint8)
    data = predicted_bytes(numbers_of(root=100), [predicted._FORMS[form].pack(symbols)], forms=bytes((form,)))
    return file_of_section(np.zeros((16, 16, 1), np.uint8), b"\1" + data)


FILES: dict[str, Callable[[], bytes]] = {
    "grey": partial(crop_file, "scan", (100, 100, 140, 133), False, 5),
    "colour": partial(crop_file, "still_life", (300, 200, 337, 229), False, 5),
    "alpha": partial(crop_file, "logo", (40, 40, 110, 90), True, 5),
    "strips": partial(crop_file, "page", (40, 100, 140, 160), True, 5),
    "levels": partial(crop_file, "page", (40, 40, 140, 80), True, 9),
    "mixed-tiles": partial(content_file, mixed, (75, 90, 3), 8, 0.5, 64),
    "grey-alpha": partial(content_file, smooth, (20, 30, 2), 8, 0),
    "grey10": partial(content_file, smooth, (20, 30, 1), 10, 0.3),
    "colour12": partial(content_file, blocks, (40, 30, 3), 12, 1),
    "colour16": partial(content_file, smooth, (25, 30, 3), 16, 0.3),
    "alpha16": partial(content_file, mixed, (25, 30, 4), 16, 0.5),
    "noise": partial(content_file, noise, (9, 17, 3), 8, 1),
    "pixel": partial(content_file, noise, (1, 1, 3), 8, 0),
    "pixel-graphic": partial(content_file, noise, (1, 1, 4), 16, 1),
    "column": partial(content_file, smooth, (70, 1, 3), 8, 0.3),
    "row": partial(content_file, smooth, (1, 70, 1), 12, 0),
    **{f"colours-{colours}": partial(few_colours, colours) for colours in (1, 2, 4, 16)},
    "rare-none": partial(rare_file, Predictor.NONE, False, 8),
    "rare-above": partial(rare_file, Predictor.ABOVE, True, 8),
    "rare-left": partial(rare_file, Predictor.LEFT, False, 16),
    "rare-gradient": partial(rare_file, Predictor.GRADIENT, True, 12),
    "rare-paeth": partial(rare_file, Predictor.PAETH, False, 8),
    "rare-paeth16": partial(rare_file, Predictor.PAETH, True, 16),
    **{
        f"weights-{levels}-{'all' if all_neighbours else 'near'}-{contexts}": partial(
            weights_file, levels, all_neighbours, contexts
        )
        for levels in (1, 2, 3)
        for all_neighbours in (False, True)
        for contexts in (1, 2)
    },
    **{f"form-{form}": partial(form_file, form) for form in range(5)},
}
