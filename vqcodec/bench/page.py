"""The bench's report as one self-contained HTML page: curves, tables, and crops of every codec at equal file size
in a viewer."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import Codec, bracket
from vqcodec.bench.metrics import psnr_rgb_db
from vqcodec.bench.report import NOTES, tables
from vqcodec.bench.results import BenchResults, ImageFile
from vqcodec.bench.viewer import HELP, Figure, document, png, table, viewer
from vqcodec.io.image_reader import read_opaque
from vqcodec.runtime import progress

CROP_BPP: Final = 0.25
"""Rate of the crops in bits per pixel."""
CROP_TOLERANCE: Final = 0.25
"""Largest relative error of a file's rate; beyond it the crop is left out, since crops compare codecs at equal size."""
CROPPED_IMAGES: Final = 6
_SIDE: Final = 256  # pixels


@dataclass(frozen=True)
class Crop:
    """The middle of a codec's decode of one image; `pixels` is None where no file is near CROP_BPP."""

    codec: str  # or "original"
    bpp: float  # rate of the nearest file; nan for the original
    psnr_db: float
    pixels: UInt8 | None


@dataclass(frozen=True)
class ImageCrops:
    """Crops of one image: the original, then every codec that is not lossless."""

    image: str
    crops: list[Crop]


def make_crops(images: Sequence[ImageFile], codecs: Sequence[Codec]) -> list[ImageCrops]:
    """Crops of up to CROPPED_IMAGES images, evenly spread, at CROP_BPP."""
    every = max(1, -(-len(images) // CROPPED_IMAGES))
    return [_crops_of_image(image, codecs) for image in progress.steps(images[::every], "crops")]


def _crops_of_image(image: ImageFile, codecs: Sequence[Codec]) -> ImageCrops:
    pixels = read_opaque(image.path)
    height, width = pixels.shape[:2]
    top, left = (max(0, (side - _SIDE) // 2) for side in (height, width))
    window = np.s_[top : top + _SIDE, left : left + _SIDE]
    crops = [Crop("original", float("nan"), float("inf"), pixels[window])]
    for codec in progress.steps(codecs):
        if not codec.lossless:
            data = largest_within(codec, pixels, int(CROP_BPP * height * width / 8))
            decoded = codec.decode(data)
            if decoded.ndim > pixels.ndim:
                decoded = decoded[:, :, 0]
            bpp = 8 * len(data) / (height * width)
            near = abs(bpp / CROP_BPP - 1) <= CROP_TOLERANCE
            crops.append(Crop(codec.name, bpp, psnr_rgb_db(pixels, decoded), decoded[window] if near else None))
    return ImageCrops(image.name, crops)


def largest_within(codec: Codec, pixels: UInt8, size_bytes: int) -> bytes:
    """The largest file of at most `size_bytes` among whole qualities in the codec's sweep, or its smallest file."""
    return bracket(codec, pixels, size_bytes, lowest=int(min(codec.qualities)), highest=int(max(codec.qualities))).below


def to_html(results: BenchResults, svg: str, crops: Iterable[ImageCrops]) -> str:
    """The whole page; `svg` is the plot."""
    found = list(tables(results))
    parts = [
        "<h1>vqcodec bench</h1>",
        f"<p>{len(results.compared_images())} images, {html.escape(results.date)}, {html.escape(str(results.machine['cpu']))}.</p>",
        *map(table, found[:1]),
        svg[svg.index("<svg") :],
        *map(table, found[1:]),
        f"<p class='notes'>{html.escape(NOTES)}</p>",
        f"<h2>Crops at {CROP_BPP:g} bits per pixel</h2>",
        f"<p class='notes'>The middle of each picture, from each codec's largest file of at most {CROP_BPP:g} bpp, or its "
        f"smallest file. A crop is left out if the file's rate is more than {CROP_TOLERANCE:.0%} away. {HELP} A click on a picture "
        "shows it at the right.</p>",
    ]
    parts += [f"<h3>{html.escape(entry.image)}</h3>{viewer([_figure(crop) for crop in entry.crops])}" for entry in crops]
    parts.append(f"<p><small>{html.escape(results.command)}</small></p>")
    return document("vqcodec bench", parts)


def crop_sheet(crops: Sequence[ImageCrops]) -> bytes:
    """A PNG of the crops: one row an image, one column a codec, in the page's order; white where a crop is left out."""
    shapes = [crop.pixels.shape for entry in crops for crop in entry.crops if crop.pixels is not None]
    height, width = (max((shape[axis] for shape in shapes), default=1) for axis in (0, 1))
    rows, columns = max(1, len(crops)), max((len(entry.crops) for entry in crops), default=1)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for row, entry in enumerate(crops):
        for column, crop in enumerate(entry.crops):
            if crop.pixels is not None:
                sheet.paste(Image.fromarray(crop.pixels), (column * width, row * height))
    return png(sheet)


def _figure(crop: Crop) -> Figure:
    """A crop with its caption, which says so if the crop is left out."""
    if crop.pixels is None:
        return Figure(crop.codec, f"{crop.codec}: no file near {CROP_BPP:g} bpp, the nearest has {crop.bpp:.3f}", None)
    figures = "" if crop.codec == "original" else f", {crop.bpp:.3f} bpp, {crop.psnr_db:.2f} dB"
    return Figure(crop.codec, f"{crop.codec}{figures}", crop.pixels)
