"""Two pictures against each other: the figures of the bench, and a picture of their difference."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import api
from vqcodec.bench.metrics import measure, psnr_db
from vqcodec.container import MAGIC
from vqcodec.errors import InputError
from vqcodec.files import STREAM, printable, read_input, stream_limit
from vqcodec.imageio import read_opaque

AMPLIFIED: Final = 8
"""Times that differences are shown larger than they are."""


def read_any(path: Path, max_pixels: int, model: str | None = None) -> NDArray[np.uint8]:
    """A picture, or the decode of a .vqz file of a `model`: uint8 [H,W] or [H,W,3]. Raises VqcodecErrors."""
    data = read_input(path, limit_bytes=stream_limit(max_pixels))
    name = "standard input" if path == STREAM else printable(path)
    if not data.startswith(MAGIC):
        return read_opaque(BytesIO(data), name=name, max_pixels=max_pixels)
    pixels = api.decode(data, model=model, max_pixels=max_pixels)
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise InputError(f"{name} has alpha or more than 8 bits per sample, which are not compared")
    return np.asarray(pixels, np.uint8)


def compare(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Figures, and the difference uint8 [H,W] or [H,W,3]: 128 where the pixels are the same, `AMPLIFIED` elsewhere.

    With the package ssimulacra2 installed its figure is among them. Raises InputError if they are not of one size. Grey and colour
    are compared as colour.
    """
    if first.ndim != second.ndim:
        first, second = (p if p.ndim == 3 else np.repeat(p[:, :, None], 3, axis=2) for p in (first, second))
    if first.shape != second.shape:
        sizes = [f"{p.shape[1]}x{p.shape[0]}" for p in (first, second)]
        raise InputError(f"pictures of {' and '.join(sizes)} pixels cannot be compared")
    found = measure(first, second)
    difference = second.astype(np.int16) - first
    facts: dict[str, Any] = {
        "psnr": psnr_db(found.mse_rgb),
        "psnr_y": psnr_db(found.mse_y),
        "ssim": found.ssim,
        "ms_ssim": found.ms_ssim,
        "largest_difference": int(np.abs(difference).max()),
        "pixels_that_differ": int((difference.reshape(*difference.shape[:2], -1) != 0).any(axis=2).sum()),
    }
    if not math.isnan(found.ssimulacra2):
        facts["ssimulacra2"] = found.ssimulacra2
    return facts, np.clip(128 + AMPLIFIED * difference, 0, 255).astype(np.uint8)
