"""The page of `compare --html`: a viewer of the two pictures, their figures, and the curve of errors."""

from __future__ import annotations

import html
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64, UInt8
from vqcodec.bench.compare import Comparison, spoken
from vqcodec.bench.report import TextTable
from vqcodec.bench.viewer import HELP, Figure, document, table, viewer

_LABELS: Final = {
    "psnr": "PSNR, dB",
    "psnr y": "PSNR of luma, dB",
    "psnr alpha": "PSNR of alpha, dB",
    "ssim": "SSIM",
    "ms ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA2",
}
_WIDTH: Final = 640
_HEIGHT: Final = 200
_MARGIN: Final = 44  # for the labels of the curve; all in units of the drawing


class Named(NamedTuple):
    """A compared file as the page names it."""

    name: str
    bytes: int


def to_html(comparison: Comparison, first: Named, second: Named) -> str:
    """The whole page. Pictures have no colour profile there, so browsers take them for sRGB."""
    height, width = comparison.difference.shape[:2]
    title = f"{first.name} and {second.name}"
    sizes = [f"{file.bytes:,} bytes, {8 * file.bytes / (height * width):.3f} bpp" for file in (first, second)]
    background = comparison.figures.get("background")
    on = f" Transparent pictures are shown on {background}, where they differ more." if background else ""
    names = _distinct(first.name, second.name)
    pictures = zip(names, sizes, comparison.shown, strict=True)
    rows = [(file.name, size) for file, size in zip((first, second), sizes, strict=True)]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{width} × {height} pixels.{on}</p>",
        viewer([Figure(name, f"{name}, {size}", pixels) for name, size, pixels in pictures]),
        f"<p class='notes'>{HELP}</p>",
        table(TextTable("Figures", (), [*rows, *((_LABELS.get(name, name), value) for name, value in spoken(comparison.figures))])),
        "<h2>Errors</h2>",
        _error_curve(*comparison.shown),
    ]
    return document(title, parts)


def _distinct(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first != second else (f"{first} (A)", f"{second} (B)")


def error_shares(first: UInt8, second: UInt8) -> Float64:
    """Shares of pixels whose largest error over the channels is at most 0, 1, ... grey levels: rising to 1, [largest + 1]."""
    errors = np.abs(first.astype(np.int16) - second)
    if errors.ndim == 3:
        errors = errors.max(axis=2)
    shares: Float64 = np.cumsum(np.bincount(errors.ravel())) / errors.size
    return shares


def _error_curve(first: UInt8, second: UInt8) -> str:
    """The curve of `error_shares` as SVG, with a line that says when half and 99 % of the pixels are reached."""
    shares = error_shares(first, second)
    largest = max(1, len(shares) - 1)
    points = [(_MARGIN + (_WIDTH - 2 * _MARGIN) * level / largest, _HEIGHT * (1 - share)) for level, share in enumerate(shares)]
    if len(shares) == 1:
        points.append((_WIDTH - _MARGIN, 0))
    half, most = (int(np.searchsorted(shares, share)) for share in (0.5, 0.99))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    grid = "".join(
        f"<path d='M{_MARGIN} {_HEIGHT * (1 - share):g}H{_WIDTH - _MARGIN}' stroke='#dee2e6'/>"
        f"<text x='{_MARGIN - 6}' y='{_HEIGHT * (1 - share) + 4:g}' text-anchor='end'>{share:.0%}</text>"
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    ends = "".join(
        f"<text x='{x}' y='{_HEIGHT + 18}' text-anchor='middle'>{level}</text>"
        for x, level in ((_MARGIN, 0), (_WIDTH - _MARGIN, largest))
    )
    said = f"Half of the pixels are off by at most {half} of 255 levels, 99 % by at most {most}."
    return (
        f"<p>{said}</p><svg viewBox='0 -12 {_WIDTH} {_HEIGHT + 48}' style='max-width:{_WIDTH}px' font-size='12' fill='#5c636a' "
        f"role='img' aria-label='Share of pixels by largest error'>{grid}{ends}"
        f"<text x='{_WIDTH // 2}' y='{_HEIGHT + 34}' text-anchor='middle'>largest error of a pixel, in levels of 255</text>"
        f"<polyline points='{line}' fill='none' stroke='#d6336c' stroke-width='2'/></svg>"
    )
