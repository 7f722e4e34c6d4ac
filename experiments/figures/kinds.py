"""The table of kinds of pictures: the samples by several codecs at their default settings."""

import importlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.arrays import Float64, Pixels
from vqcodec.bench.metrics import psnr_db
from vqcodec.bench.report import markdown_table
from vqcodec.errors import VqcodecError
from vqcodec.io.image_reader import read_image

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
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


@dataclass(frozen=True)
class Coded:
    """A file of a picture, and its PSNR in dB."""

    size_bytes: int
    psnr_db: float  # infinite if every pixel is equal

    def __str__(self) -> str:
        return f"{self.size_bytes:,}" + ("" if math.isinf(self.psnr_db) else f" ({self.psnr_db:.1f} dB)")


class RefusedError(Exception):
    """A codec does not hold a picture, or is not installed."""


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


# ------------------------------------------------------------------------------------------------ codecs


def vqz(pixels: Pixels) -> Coded:
    """vqcodec at its default settings."""
    data = api.encode(pixels, threads=1)
    return _coded(pixels, data, api.decode(data, threads=1))


def lossless_vqz(pixels: Pixels) -> Coded:
    """vqcodec's lossless mode."""
    data = api.encode(pixels, lossless=True, threads=1)
    return _exact(_coded(pixels, data, api.decode(data, threads=1)))


def webp(pixels: Pixels, quality: int = 75) -> Coded:
    """Lossy WebP as Pillow writes it."""
    return _pillow(pixels, "WEBP", quality=quality)


def lossless_webp(pixels: Pixels) -> Coded:
    """WebP's smallest lossless settings; `exact` keeps colours under alpha 0, as PNG does."""
    return _exact(_pillow(pixels, "WEBP", lossless=True, method=6, quality=100, exact=True))


def webp_of_psnr(pixels: Pixels, least_db: float) -> Coded:
    """The smallest WebP file of at least a PSNR: a lossy one, by bisection of the quality, or the lossless one."""
    best, low, high = lossless_webp(pixels), 0, 100
    while low <= high:
        quality = (low + high) // 2
        coded = webp(pixels, quality)
        if coded.psnr_db >= least_db:
            best, high = min(best, coded, key=lambda file: file.size_bytes), quality - 1
        else:
            low = quality + 1
    return best


def avif(pixels: Pixels) -> Coded:
    """AVIF as Pillow writes it: quality 75, speed 6, 4:2:0."""
    return _pillow(pixels, "AVIF")


def jxl(pixels: Pixels) -> Coded:
    """JPEG XL at distance 1 and effort 7, libjxl's defaults."""
    return _jxl(pixels, distance=1.0)


def lossless_jxl(pixels: Pixels) -> Coded:
    """Lossless JPEG XL at effort 7."""
    return _exact(_jxl(pixels, lossless=True))


def _jxl(pixels: Pixels, **options: object) -> Coded:
    """JPEG XL by imagecodecs. Raises RefusedError without it."""
    try:
        library = importlib.import_module("imagecodecs")
        data = bytes(library.jpegxl_encode(pixels, effort=7, numthreads=1, **options))
    except (ImportError, AttributeError) as error:  # imagecodecs built without libjxl has only a stub
        raise RefusedError from error
    return _coded(pixels, data, np.asarray(library.jpegxl_decode(data, numthreads=1)))


def _pillow(pixels: Pixels, file_format: str, **options: object) -> Coded:
    """A format by Pillow. Raises RefusedError for more than 8 bits."""
    if pixels.dtype != np.uint8:
        raise RefusedError
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    with Image.open(stream) as image:
        return _coded(pixels, stream.getvalue(), np.asarray(image))


# ------------------------------------------------------------------------------------------------ distance


def _coded(pixels: Pixels, data: bytes, decoded: Pixels) -> Coded:
    return Coded(len(data), picture_psnr_db(pixels, decoded))


def _exact(coded: Coded) -> Coded:
    """The file, which must be lossless. Raises RuntimeError if it is not."""
    if math.isfinite(coded.psnr_db):
        raise RuntimeError(f"a lossless file has {coded.psnr_db:.1f} dB")
    return coded


def picture_psnr_db(original: Pixels, decoded: Pixels) -> float:
    """PSNR in dB over all channels, colours times alpha. A grey original is compared with a decoded RGB by its three channels.

    Raises ValueError if the dtypes or other shapes differ.
    """
    if original.ndim == 2 and decoded.ndim == 3:
        original = np.repeat(original[:, :, None], 3, axis=2)
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        raise ValueError(f"cannot compare {original.dtype} {original.shape} with {decoded.dtype} {decoded.shape}")
    return psnr_db(float(np.mean(np.square(_visible(original) - _visible(decoded)))))


def _visible(pixels: Pixels) -> Float64:
    """Samples from 0 to 255; where there is alpha, the other channels are multiplied by it."""
    samples = pixels * (255 / np.float64(np.iinfo(pixels.dtype).max))
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        samples[:, :, :-1] *= samples[:, :, -1:] / 255
    return samples
