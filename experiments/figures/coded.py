"""Files of one picture by several codecs, each with its size and PSNR."""

import importlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.arrays import Float64, Pixels
from vqcodec.bench.metrics import psnr_db
from vqcodec.options import DEFAULT_EFFORT


@dataclass(frozen=True)
class Coded:
    """A file of a picture, and its PSNR in dB."""

    size_bytes: int
    psnr_db: float  # infinite if every pixel is equal

    def __str__(self) -> str:
        return f"{self.size_bytes:,}" + ("" if math.isinf(self.psnr_db) else f" ({self.psnr_db:.1f} dB)")


class RefusedError(Exception):
    """A codec does not hold a picture, or is not installed."""


# ------------------------------------------------------------------------------------------------ codecs


def vqz(pixels: Pixels) -> Coded:
    """vqcodec at its default settings."""
    data = api.encode(pixels, threads=1)
    return _coded(pixels, data, api.decode(data, threads=1))


def lossless_vqz(pixels: Pixels, effort: int = DEFAULT_EFFORT) -> Coded:
    """vqcodec's lossless mode."""
    data = api.encode(pixels, lossless=True, effort=effort, threads=1)
    return _exact(_coded(pixels, data, api.decode(data, threads=1)))


def webp(pixels: Pixels, quality: int = 75) -> Coded:
    """Lossy WebP as Pillow writes it."""
    return _pillow(pixels, "WEBP", quality=quality)


def lossless_webp(pixels: Pixels, *, exact: bool = True) -> Coded:
    """WebP's smallest lossless settings; `exact` keeps colours under alpha 0, as PNG does."""
    return _exact(_pillow(pixels, "WEBP", lossless=True, method=6, quality=100, exact=exact))


def webp_of_psnr(pixels: Pixels, least_db: float) -> Coded:
    """The smallest WebP file of at least a PSNR: a lossy one or the lossless one."""
    lossy = smallest_of_psnr(partial(webp, pixels), least_db)
    return min(lossless_webp(pixels), lossy, key=lambda coded: (coded.psnr_db < least_db, coded.size_bytes))


def smallest_of_psnr(at_quality: Callable[[int], Coded], least_db: float) -> Coded:
    """The smallest file of at least a PSNR, by bisection of the quality, 0 to 100; that of quality 100 if none has it."""
    best, low, high = at_quality(100), 0, 99
    while low <= high and best.psnr_db >= least_db:
        quality = (low + high) // 2
        coded = at_quality(quality)
        if coded.psnr_db >= least_db:
            best, high = min(best, coded, key=lambda file: file.size_bytes), quality - 1
        else:
            low = quality + 1
    return best


def png(pixels: Pixels) -> Coded:
    """PNG as Pillow writes it, optimised. Raises RefusedError for more than 8 bits, except of grey."""
    return _exact(_pillow(pixels, "PNG", optimize=True))


def avif(pixels: Pixels, quality: int = 75, *, subsampling: str = "4:2:0") -> Coded:
    """AVIF as Pillow writes it, with speed 6."""
    return _pillow(pixels, "AVIF", quality=quality, subsampling=subsampling)


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
    """A format by Pillow. Raises RefusedError for more than 8 bits, except of grey as PNG."""
    if pixels.dtype != np.uint8 and (file_format != "PNG" or pixels.ndim > 2):
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
