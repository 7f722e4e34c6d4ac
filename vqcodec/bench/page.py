"""The bench as one HTML page that needs nothing else: curves, tables, and crops of every codec at the same bytes."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import Codec
from vqcodec.bench.metrics import measure, psnr_db
from vqcodec.bench.report import NOTES, PSNR_HEADER, gain_cells, gain_header, looks_cells, psnr_cells, summaries
from vqcodec.bench.results import BenchResults
from vqcodec.io.images import read_opaque
from vqcodec.runtime import progress

CROP_BPP: Final = 0.25
CROP_TOLERANCE: Final = 0.25
"""Relative error of a file's rate from which on its crop is left out: crops are there to be compared at equal bytes."""
CROPPED_IMAGES: Final = 6
_SIDE: Final = 256
_TRIALS: Final = 8
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #212529; max-width: 1120px; margin: 2rem auto; padding: 0 1rem }
h1, h2 { font-weight: 600 } svg { width: 100%; height: auto } small, .notes { color: #6c757d }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .2rem .8rem .2rem 0; text-align: right }
th:first-child, td:first-child { text-align: left } tr { border-bottom: 1px solid #e9ecef }
.crops { display: flex; flex-wrap: wrap; gap: 8px } figure { margin: 0 } figcaption { font-size: 12px } img { display: block }
"""


@dataclass(frozen=True)
class Crop:
    """The middle of a codec's decode of one image. `pixels` is None where no file of the codec is near the rate asked for; `bpp` is
    the nearest one's."""

    codec: str
    bpp: float
    psnr_db: float
    pixels: UInt8 | None


def crops_at(paths: Sequence[tuple[str, Path]], codecs: Sequence[Codec]) -> list[tuple[str, list[Crop]]]:
    """The names of some images, evenly spread, each with crops of the original and of every codec at CROP_BPP."""
    all_crops = []
    for name, path in progress.steps(paths[:: max(1, -(-len(paths) // CROPPED_IMAGES))], "crops"):
        pixels = read_opaque(path)
        top, left = (max(0, (side - _SIDE) // 2) for side in pixels.shape[:2])
        window = np.s_[top : top + _SIDE, left : left + _SIDE]
        found = [Crop("original", float("nan"), float("inf"), pixels[window])]
        for codec in progress.steps(codecs):
            if codec.name != "none":
                data = nearest_below(codec, pixels, int(CROP_BPP * pixels.shape[0] * pixels.shape[1] / 8))
                decoded = codec.decode(data)
                if decoded.ndim > pixels.ndim:
                    decoded = decoded[:, :, 0]
                psnr = psnr_db(measure(pixels, decoded, psnr_only=True).mse_rgb)
                bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
                near = abs(bpp / CROP_BPP - 1) <= CROP_TOLERANCE
                found.append(Crop(codec.name, bpp, psnr, decoded[window] if near else None))
        all_crops.append((name, found))
    return all_crops


def nearest_below(codec: Codec, pixels: UInt8, size: int) -> bytes:
    """The largest file of at most `size` bytes that a bisection over the codec's whole qualities finds, or its smallest."""
    low, high = int(min(codec.qualities)), int(max(codec.qualities))
    best = codec.encode(pixels, high)
    if len(best) <= size:
        return best
    best = codec.encode(pixels, low)
    for _ in range(_TRIALS):
        if high - low <= 1:
            break
        middle = (low + high) // 2
        data = codec.encode(pixels, middle)
        if len(data) <= size:
            low, best = middle, data
        else:
            high = middle
    return best


def to_html(results: BenchResults, svg: str, crops: Iterable[tuple[str, list[Crop]]]) -> str:
    """The whole page; `svg` is the plot."""
    lines = summaries(results)
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>vqcodec bench</title><style>{_STYLE}</style>",
        "<h1>vqcodec bench</h1>",
        f"<p>{len(results.compared_images())} images, {html.escape(results.date)}, {html.escape(str(results.machine['cpu']))}.</p>",
        svg[svg.index("<svg") :],
        "<h2>Size at equal PSNR, and speed</h2>",
        _table(("codec", *gain_header(results.anchor)), ((line.codec, *gain_cells(line)) for line in lines)),
        "<h2>PSNR in dB at equal rate</h2>",
        _table(("codec", *PSNR_HEADER), ((line.codec, *psnr_cells(line)) for line in lines)),
        *(f"<h2>{name} at equal rate</h2>{_table(('codec', *PSNR_HEADER), rows)}" for name, rows in looks_cells(lines)),
        f"<p class='notes'>{html.escape(NOTES)}</p>",
        f"<h2>Crops at {CROP_BPP:g} bits per pixel</h2>",
        f"<p class='notes'>The middle of each picture, at 1:1, of the largest file of at most {CROP_BPP:g} bpp that each codec's "
        f"qualities make, or of its smallest; left out where that is more than {CROP_TOLERANCE:.0%} away.</p>",
    ]
    for name, found in crops:
        figures = "".join(map(_figure, found))
        parts.append(f"<h3>{html.escape(name)}</h3><div class='crops'>{figures}</div>")
    parts.append(f"<p><small>{html.escape(results.command)}</small></p></html>")
    return "\n".join(parts) + "\n"


def sheet_of(crops: Sequence[tuple[str, list[Crop]]]) -> bytes:
    """The crops alone as a PNG: an image in a row, a codec in a column, in the order of the page; white where one is left out."""
    shapes = [crop.pixels.shape for _, found in crops for crop in found if crop.pixels is not None]
    sides = [max((shape[axis] for shape in shapes), default=1) for axis in (0, 1)]
    rows, columns = max(1, len(crops)), max((len(found) for _, found in crops), default=1)
    sheet = Image.new("RGB", (columns * sides[1], rows * sides[0]), "white")
    for row, (_, found) in enumerate(crops):
        for column, crop in enumerate(found):
            if crop.pixels is not None:
                sheet.paste(Image.fromarray(crop.pixels), (column * sides[1], row * sides[0]))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _figure(crop: Crop) -> str:
    if crop.pixels is None:
        told = f"{crop.codec}: no file near {CROP_BPP:g} bpp, the nearest has {crop.bpp:.3f}"
        return f"<figure><figcaption>{html.escape(told)}</figcaption></figure>"
    stream = io.BytesIO()
    Image.fromarray(crop.pixels).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    told = "" if crop.codec == "original" else f", {crop.bpp:.3f} bpp, {crop.psnr_db:.2f} dB"
    caption = f"<figcaption>{html.escape(crop.codec)}{told}</figcaption>"
    return f"<figure><img alt='{html.escape(crop.codec)}' src='data:image/png;base64,{data}'>{caption}</figure>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) for tag, cells in [("th", header)]]
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
