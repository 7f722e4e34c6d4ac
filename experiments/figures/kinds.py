"""Default settings on pictures that are not photographs: the table of the samples, screens, scans."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from figures.coded import (
    Coded,
    RefusedError,
    avif,
    jxl,
    lossless_jxl,
    lossless_vqz,
    lossless_webp,
    smallest_of_psnr,
    vqz,
    webp,
    webp_of_psnr,
)
from figures.common import PHOTO, SAMPLES, avif_points, in_processes, largest, load, pngs, vqz_points
from vqcodec.arrays import Pixels, UInt8
from vqcodec.bench.bdrate import bd_rate
from vqcodec.bench.report import markdown_table
from vqcodec.bench.results import BD_RANGE_BPP
from vqcodec.errors import VqcodecError
from vqcodec.io.image_reader import read_image

KINDS = {
    "still_life": "photograph",
    "landscape": "photograph",
    "scan": "scan of text",
    "page": "page of text",
    "mixed_page": "mixed page",
    "screenshot": "screenshot",
    "chart": "chart",
    "pixel_art": "pixel art",
    "logo": "logo with alpha",
    "landscape_deep": "photograph, 16 bits",
    "xray": "X-ray, 16 bits",
}
"""Kind of each sample, in the order of the table."""
REFUSED = "-"
SUBSAMPLINGS = ("4:4:4", "4:2:0")
SCAN_QUALITIES = (0, 10, 20, 30, 45, 60)
SCAN_AVIF_QUALITIES = (5, 15, 25, 35, 45, 55, 65)
"""Qualities that span 0.6 to 3 bits per pixel on scans."""


def kinds(_: Path) -> None:
    """Bytes and PSNR of eleven kinds of pictures at default settings

    Prints two Markdown tables of the pictures in samples/; the data folder is not needed. PSNR is over all channels, colours times
    alpha; a lossless file has none.
    """
    pictures = {name: read_image(SAMPLES / f"{name}.png").pixels for name in KINDS}
    header = ("lossless", "", "PNG", "WebP", "JPEG XL", "**vqz --lossless**")
    print(markdown_table(header, [_lossless_row(name, pixels) for name, pixels in pictures.items()]))
    print()
    header = ("lossy", "", "**vqz**", "WebP", "WebP at the PSNR of vqz", "AVIF", "JPEG XL")
    print(markdown_table(header, [_lossy_row(name, pixels) for name, pixels in pictures.items()]))


def _lossless_row(name: str, pixels: Pixels) -> tuple[str, ...]:
    png = f"{(SAMPLES / f'{name}.png').stat().st_size:,}"
    cells = [cell(lambda make=make: make(pixels)) for make in (lossless_webp, lossless_jxl, lossless_vqz)]
    return (f"{KINDS[name]}, {name}.png", _size(pixels), png, *cells)


def _lossy_row(name: str, pixels: Pixels) -> tuple[str, ...]:
    ours = vqz(pixels)
    others = (webp, lambda x: webp_of_psnr(x, ours.psnr_db), avif, jxl)
    return (f"{KINDS[name]}, {name}.png", _size(pixels), str(ours), *(cell(lambda make=make: make(pixels)) for make in others))


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def cell(make: Callable[[], Coded]) -> str:
    """Text of a cell of the table; REFUSED if the codec refuses the picture."""
    try:
        return str(make())
    except (RefusedError, VqcodecError):
        return REFUSED


# ------------------------------------------------------------------------------------------------ screens and scans


class AgainstAvif(NamedTuple):
    """A picture's file at default settings, and AVIF's smallest file of at least its PSNR."""

    name: str
    ours: Coded
    theirs: Coded  # that of quality 100 if AVIF does not reach the PSNR

    @property
    def ratio(self) -> float:
        return self.ours.size_bytes / self.theirs.size_bytes

    @property
    def reached(self) -> bool:
        """Whether AVIF has the PSNR."""
        return self.theirs.psnr_db >= self.ours.psnr_db


def screens(data: Path) -> None:
    """Bytes of screens at default settings over AVIF's at equal PSNR.

    Where AVIF does not reach the PSNR at quality 100, as with almost all exact files, its file of quality 100 counts.
    """
    rows = list(in_processes(_against_avif, pngs(data / "graphics" / "screens")))
    for subsampling, found in zip(SUBSAMPLINGS, zip(*rows, strict=True), strict=True):
        ratio = bytes_ratio(found)
        mean = float(np.mean([one.ratio for one in found]))
        print(f"AVIF speed 6, {subsampling}: {len(found)} screens: {ratio:.3f} (bar 1, goal 0.8), mean of ratios {mean:.3f}")
        reached, missed = ([one for one in found if one.reached is wanted] for wanted in (True, False))
        if missed:
            exact = sum(math.isinf(one.ours.psnr_db) for one in missed)
            psnr_db = np.mean([one.theirs.psnr_db for one in missed])
            print(f"  AVIF does not reach the PSNR of {len(missed)}, {exact} of them exact: its quality 100 has {psnr_db:.1f} dB")
        if reached:
            print(f"  the {len(reached)} others: {bytes_ratio(reached):.3f}")
        print(f"  largest: {largest({one.name: one.ratio for one in found})}")


def bytes_ratio(files: Sequence[AgainstAvif]) -> float:
    """Bytes of our files over those of AVIF's."""
    return sum(one.ours.size_bytes for one in files) / sum(one.theirs.size_bytes for one in files)


def _against_avif(path: Path) -> list[AgainstAvif]:
    """Comparisons of a picture, one per subsampling of AVIF."""
    pixels = read_image(path).pixels
    ours = vqz(pixels)
    theirs = (smallest_of_psnr(partial(avif, pixels, subsampling=name), ours.psnr_db) for name in SUBSAMPLINGS)
    return [AgainstAvif(path.name, ours, coded) for coded in theirs]


class Gains(NamedTuple):
    """BD-rates in percent."""

    in_range: float  # within BD_RANGE_BPP
    overall: float


def scans(data: Path) -> None:
    """BD-rate on scanned newspapers against AVIF (speed 6)."""
    paths = pngs(data / "domains" / "documents" / "test")
    gains = list(in_processes(_scan_gains, load(data / "domains" / "documents" / "test", "L")))
    in_range, overall = np.nanmean(gains, axis=0)
    print(f"{PHOTO}: {len(gains)} pictures, up to {BD_RANGE_BPP[1]:g} bpp: mean {in_range:+.1f} % (bar +7, goal 0)")
    print("  " + ", ".join(f"{path.stem} {gain.in_range:+.1f}" for path, gain in zip(paths, gains, strict=True)))
    print("  (nan: there AVIF reaches none of our PSNRs)")
    print(f"  up to 3 bpp: mean {overall:+.1f} %")


def _scan_gains(image: UInt8) -> Gains:
    """BD-rates of a grey picture."""
    theirs, ours = avif_points(image, SCAN_AVIF_QUALITIES), vqz_points(image, model=PHOTO, qualities=SCAN_QUALITIES)
    return Gains(bd_rate(theirs, ours, bpp_range=BD_RANGE_BPP), bd_rate(theirs, ours))
