"""Comparison of two pictures: the metrics of the bench, and a picture of their difference."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.metrics import MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, measure, psnr_db
from vqcodec.errors import InputError
from vqcodec.format.container import MAGIC
from vqcodec.io.files import name_of, naming, read_input, stream_limit
from vqcodec.io.image_reader import read_image
from vqcodec.runtime import progress

AMPLIFICATION: Final = 8
"""Factor by which the picture of the difference amplifies it."""
BACKGROUNDS: Final = {"black": 0, "white": 255}
"""Grey levels of the backgrounds for transparent pictures."""


class Comparison(NamedTuple):
    """Figures by name, in the order to show them, and a picture of the difference."""

    figures: dict[str, float | int | str]
    difference: UInt8  # [H, W] or [H, W, 3]: 128 where the pictures are equal


class _Layers(NamedTuple):
    colours: UInt8  # [H, W, 1 or 3]
    alpha: UInt8 | None  # [H, W]


def read_any(path: Path, max_pixels: int, model: str | None = None) -> UInt8:
    """Read a picture, or decode a .vqz file with `model`: uint8 [H, W] or [H, W, 2 to 4], as `api.decode` returns it.

    Raises VqcodecError, also for pictures with more than 8 bits per sample.
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


def compare(first: UInt8, second: UInt8) -> Comparison:
    """Compare two pictures uint8 [H, W] or [H, W, 1 to 4] of equal size. Raises InputError for different sizes.

    Grey against colour is compared as colour. If a picture has an alpha plane, `psnr_alpha` compares the alpha planes (a picture
    without one is opaque), and the colours are compared after compositing: both pictures are composited on black and on white,
    and the figures are those of the `background` with the larger error. SSIMULACRA2 is included if its package is installed.
    """
    if first.shape[:2] != second.shape[:2]:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (first, second)]
        raise InputError(f"pictures of {' and '.join(sizes)} pixels cannot be compared")
    layers = _split_alpha(first), _split_alpha(second)
    colours = [layer.colours for layer in layers]
    if colours[0].shape[2] != colours[1].shape[2]:
        colours = [np.broadcast_to(c, (*c.shape[:2], 3)) for c in colours]
    of_alpha: dict[str, float | int | str] = {}
    if any(layer.alpha is not None for layer in layers):
        alphas = [np.full(first.shape[:2], 255, np.uint8) if layer.alpha is None else layer.alpha for layer in layers]
        composited = {
            name: [_composited(c, a, level) for c, a in zip(colours, alphas, strict=True)] for name, level in BACKGROUNDS.items()
        }
        background = max(composited, key=lambda name: _squared_error(*composited[name]))
        colours = composited[background]
        of_alpha = {"background": background, "psnr_alpha": psnr_db(_squared_error(*alphas))}
    one, other = (c[:, :, 0] if c.shape[2] == 1 else np.ascontiguousarray(c) for c in colours)
    with progress.stage("measuring"):
        distance = measure(one, other)
    difference = other.astype(np.int16) - one  # int16 [H, W] or [H, W, 3]
    figures: dict[str, float | int | str] = {
        "psnr": psnr_db(distance.mse_rgb),
        "psnr_y": psnr_db(distance.mse_y),
        "ssim": distance.ssim,
        "ms_ssim": distance.ms_ssim,
        "largest_difference": int(np.abs(difference).max()),
        "pixels_that_differ": int((difference.reshape(*difference.shape[:2], -1) != 0).any(axis=2).sum()),
        **of_alpha,
    }
    if not math.isnan(distance.ssimulacra2):
        figures["ssimulacra2"] = distance.ssimulacra2
    return Comparison(figures, np.clip(128 + AMPLIFICATION * difference, 0, 255).astype(np.uint8))


def undefined(shape: tuple[int, ...]) -> list[str]:
    """Notes on the metrics that are undefined for pictures of this shape [H, W, ...] because SSIM's window does not fit."""
    side = min(shape[:2])
    return [
        f"{name} is left out: it needs {needed} pixels a side, and the shorter side has {side}"
        for name, needed in (("SSIM", SSIM_MIN_SIDE), ("MS-SSIM", MS_SSIM_MIN_SIDE))
        if side < needed
    ]


def _split_alpha(pixels: UInt8) -> _Layers:
    """Separate pixels [H, W] or [H, W, 1 to 4] into colours and alpha plane."""
    pixels = np.atleast_3d(pixels)
    return _Layers(pixels, None) if pixels.shape[2] in (1, 3) else _Layers(pixels[:, :, :-1], pixels[:, :, -1])


def _composited(colours: UInt8, alpha: UInt8, level: int) -> UInt8:
    """Colours [H, W, c] with an alpha plane [H, W] on a background of one grey level, rounded."""
    weight = alpha[:, :, None].astype(np.uint32)
    return ((colours * weight + level * (255 - weight) + 127) // 255).astype(np.uint8)


def _squared_error(first: UInt8, second: UInt8) -> float:
    """Mean squared error."""
    return float(np.mean(np.square(first.astype(np.int32) - second)))
