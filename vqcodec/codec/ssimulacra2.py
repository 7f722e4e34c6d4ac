"""SSIMULACRA2 (Sneyers 2022), a measure of likeness to the eye, by the optional package ssimulacra2 (extra `metrics`).

100 for equal pictures, 90 for no visible difference, 70 for high quality, 30 for low quality; bad pictures are below 0. Samples
have 8 bits and are taken as sRGB; grey is measured as RGB.
"""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import Final

import numpy as np

from vqcodec.arrays import Pixels, UInt8
from vqcodec.codec.picture import Picture
from vqcodec.errors import InputError, LimitError, MissingExtraError

MIN_SIDE: Final = 8
"""Least side in pixels. For smaller pictures the package returns 100 whatever they are."""
_MAX_PIXELS: Final = 1 << 26
"""Most pixels of a picture: the package takes 490 bytes a pixel, and Pillow warns of pictures a third larger."""
_MID_GREY: Final = np.float32(128)


def is_installed() -> bool:
    """True if the package is installed."""
    return find_spec("ssimulacra2") is not None


def require() -> None:
    """Raise MissingExtraError if the package is not installed."""
    if not is_installed():
        raise MissingExtraError("SSIMULACRA2 needs its package: pip install 'vqcodec[metrics]'")


def check(picture: Picture) -> None:
    """Raise InputError or LimitError for a picture that cannot be measured, MissingExtraError without the package."""
    require()
    height, width = picture.colours.shape[:2]
    if picture.depth > 8:
        raise InputError(f"SSIMULACRA2 measures samples of 8 bits, and this picture has {picture.depth}: choose another target")
    if min(height, width) < MIN_SIDE:
        raise InputError(f"SSIMULACRA2 needs {MIN_SIDE} pixels a side, and this picture has {width} x {height}")
    if height * width > _MAX_PIXELS:
        raise LimitError(f"SSIMULACRA2 takes 490 bytes a pixel: pictures of more than {_MAX_PIXELS >> 20} megapixels are refused")


def as_seen(colours: Pixels, opacity: Pixels | None) -> UInt8:
    """Samples uint8 [H, W, 1 or 3] over mid grey, as alpha [H, W] says; unchanged without alpha."""
    shown = colours.astype(np.uint8, copy=False)
    if opacity is None:
        return shown
    share = opacity[:, :, None] * np.float32(1 / 255)  # float32 [H, W, 1]
    return np.rint(_MID_GREY + share * (shown - _MID_GREY)).astype(np.uint8)


def score(original: UInt8, decoded: UInt8) -> float:
    """SSIMULACRA2 of a decoded picture, at most 100; both uint8 [H, W] or [H, W, 1 or 3], of MIN_SIDE pixels a side at least."""
    import ssimulacra2

    return float(ssimulacra2.compute_ssimulacra2(_ppm(original), _ppm(decoded)))


def _ppm(pixels: UInt8) -> BytesIO:
    """A PPM file: the package reads files, and this kind takes no time to write."""
    height, width = pixels.shape[:2]
    rgb = np.broadcast_to(pixels.reshape(height, width, -1), (height, width, 3))
    return BytesIO(b"P6 %d %d 255\n" % (width, height) + rgb.tobytes())
