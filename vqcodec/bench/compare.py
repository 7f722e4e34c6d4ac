"""Two pictures against each other: the figures of the bench, and a picture of their difference."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.metrics import MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, measure, psnr_db
from vqcodec.errors import InputError
from vqcodec.format.container import MAGIC
from vqcodec.io.files import name_of, naming, read_input, stream_limit
from vqcodec.io.images import read_image
from vqcodec.runtime import progress

AMPLIFIED: Final = 8
"""Times that differences are shown larger than they are."""
BACKGROUNDS: Final = {"black": 0, "white": 255}
"""Grey levels that transparent pictures are laid on."""


def read_any(path: Path, max_pixels: int, model: str | None = None) -> UInt8:
    """A picture, or the decode of a .vqz file of a `model`: uint8 [H,W] or [H,W,2 to 4], as `api.decode` gives it.

    Raises VqcodecErrors.
    """
    name = name_of(path)
    with naming(path), progress.stage(f"reading {name}"):
        data = read_input(path, limit_bytes=stream_limit(max_pixels))
        if data.startswith(MAGIC):
            pixels = api.decode(data, model=model, max_pixels=max_pixels)
        else:
            pixels = read_image(BytesIO(data), name=name, max_pixels=max_pixels).pixels
        if pixels.dtype != np.uint8:
            raise InputError("more than 8 bits per sample are not compared: convert it to 8 bits first")
    return np.asarray(pixels, np.uint8)


def compare(first: UInt8, second: UInt8) -> tuple[dict[str, Any], UInt8]:
    """Figures, and the difference uint8 [H,W] or [H,W,3] of two pictures [H,W] or [H,W,1 to 4] of one size: 128 where they are
    alike, `AMPLIFIED` elsewhere. Raises InputError for different sizes.

    Grey and colour are compared as colour. Where a picture has an alpha plane, `psnr_alpha` compares the planes (opaque where there
    is none), and the colours are compared as they are seen: both pictures are laid on black and on white, and the figures are those
    of the `background` on which the error is larger. With the package ssimulacra2 installed its figure is among them.
    """
    if first.shape[:2] != second.shape[:2]:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (first, second)]
        raise InputError(f"pictures of {' and '.join(sizes)} pixels cannot be compared")
    (first, first_alpha), (second, second_alpha) = _apart(first), _apart(second)
    if first.shape[2] != second.shape[2]:
        first, second = (np.broadcast_to(p, (*p.shape[:2], 3)) for p in (first, second))
    facts: dict[str, Any] = {}
    if first_alpha is not None or second_alpha is not None:
        planes = [np.full(first.shape[:2], 255, np.uint8) if a is None else a for a in (first_alpha, second_alpha)]
        seen = {
            name: [_laid_on(p, a, level) for p, a in zip((first, second), planes, strict=True)]
            for name, level in BACKGROUNDS.items()
        }
        background = max(seen, key=lambda name: _squared_error(*seen[name]))
        first, second = seen[background]
        facts = {"background": background, "psnr_alpha": psnr_db(_squared_error(*planes))}
    first, second = (p[:, :, 0] if p.shape[2] == 1 else np.ascontiguousarray(p) for p in (first, second))
    with progress.stage("measuring"):
        found = measure(first, second)
    difference = second.astype(np.int16) - first
    facts = {
        "psnr": psnr_db(found.mse_rgb),
        "psnr_y": psnr_db(found.mse_y),
        "ssim": found.ssim,
        "ms_ssim": found.ms_ssim,
        "largest_difference": int(np.abs(difference).max()),
        "pixels_that_differ": int((difference.reshape(*difference.shape[:2], -1) != 0).any(axis=2).sum()),
        **facts,
    }
    if not math.isnan(found.ssimulacra2):
        facts["ssimulacra2"] = found.ssimulacra2
    return facts, np.clip(128 + AMPLIFIED * difference, 0, 255).astype(np.uint8)


def undefined(shape: tuple[int, ...]) -> list[str]:
    """Notes on the figures that are not defined for pictures of this shape [H,W,...]: SSIM's windows do not fit into small ones."""
    side = min(shape[:2])
    least = {"SSIM": SSIM_MIN_SIDE, "MS-SSIM": MS_SSIM_MIN_SIDE}
    return [
        f"{name} is left out: it needs {most} pixels a side, and the shorter side has {side}"
        for name, most in least.items()
        if side < most
    ]


def _apart(pixels: UInt8) -> tuple[UInt8, UInt8 | None]:
    """Colours [H,W,1 or 3], and the alpha plane [H,W] if there is one."""
    pixels = np.atleast_3d(pixels)
    return (pixels, None) if pixels.shape[2] in (1, 3) else (pixels[:, :, :-1], pixels[:, :, -1])


def _laid_on(colors: UInt8, alpha: UInt8, level: int) -> UInt8:
    """Colours [H,W,c] of transparency `alpha` [H,W] on a plain background of a grey level, rounded."""
    weight = alpha[:, :, None].astype(np.uint32)
    return ((colors * weight + level * (255 - weight) + 127) // 255).astype(np.uint8)


def _squared_error(first: UInt8, second: UInt8) -> float:
    return float(np.mean(np.square(first.astype(np.int32) - second)))
