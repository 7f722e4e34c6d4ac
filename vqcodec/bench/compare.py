"""Comparison of two pictures: the metrics of the bench, and a picture of their difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vqcodec import api
from vqcodec.arrays import Pixels, UInt8
from vqcodec.bench.metrics import DEEP, MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, measure, measure_errors, psnr_db, psnr_rgb_db
from vqcodec.errors import InputError
from vqcodec.format.container import MAGIC
from vqcodec.io.files import name_of, naming, read_input, stream_limit
from vqcodec.io.image_reader import read_image
from vqcodec.runtime import progress

AMPLIFICATION: Final = 8
"""Factor by which the picture of the difference amplifies it."""
BACKGROUNDS: Final = {"black": 0, "white": 1}
"""The backgrounds for transparent pictures, in shares of white."""


class Comparison(NamedTuple):
    """Figures by name, in the order to show them, and a picture of the difference."""

    figures: dict[str, float | int | str]
    difference: UInt8  # [H, W] or [H, W, 3]: 128 where the pictures are equal
    shown: tuple[UInt8, UInt8]  # the compared pictures, [H, W] or [H, W, 3], reduced to 8 bits


class Source(NamedTuple):
    """A picture to compare, [H, W] or [H, W, 2 to 4], and the size of its file."""

    pixels: Pixels
    bytes: int


class _Layers(NamedTuple):
    colours: Pixels  # [H, W, 1 or 3]
    alpha: Pixels | None  # [H, W]


def read_any(path: Path, max_pixels: int, model: str | None = None) -> Source:
    """Read a picture, or decode a .vqz file with `model`.

    Raises VqcodecError.
    """
    name = name_of(path)
    with naming(path), progress.stage(f"reading {name}"):
        data = read_input(path, limit_bytes=stream_limit(max_pixels))
        if data.startswith(MAGIC):
            pixels = api.decode(data, model=model, max_pixels=max_pixels)
        else:
            pixels = read_image(BytesIO(data), name=name, max_pixels=max_pixels).pixels
    return Source(pixels, len(data))


def compare(first: Pixels, second: Pixels) -> Comparison:
    """Compare two pictures [H, W] or [H, W, 1 to 4] of equal size. Raises InputError for different sizes.

    Grey against colour is compared as colour, and uint8 against uint16 as uint16, whose white is 65535. If a picture has an alpha
    plane, `psnr_alpha` compares the alpha planes (a picture without one is opaque), and the colours are compared after compositing:
    both pictures are composited on black and on white, and the figures are those of the `background` with the larger error.
    SSIMULACRA2 is included for 8 bits if its package is installed.
    """
    if first.shape[:2] != second.shape[:2]:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (first, second)]
        raise InputError(f"pictures of {' and '.join(sizes)} pixels cannot be compared")
    if first.dtype != second.dtype:
        first, second = (pixels if pixels.dtype == np.uint16 else pixels * np.uint16(DEEP) for pixels in (first, second))
    white = int(np.iinfo(first.dtype).max)
    layers = _split_alpha(first), _split_alpha(second)
    colours = [layer.colours for layer in layers]
    if colours[0].shape[2] != colours[1].shape[2]:
        colours = [np.broadcast_to(c, (*c.shape[:2], 3)) for c in colours]
    of_alpha: dict[str, float | int | str] = {}
    if any(layer.alpha is not None for layer in layers):
        alphas = [np.full(first.shape[:2], white, first.dtype) if layer.alpha is None else layer.alpha for layer in layers]
        composited = {
            name: [_composited(c, a, share * white, white) for c, a in zip(colours, alphas, strict=True)]
            for name, share in BACKGROUNDS.items()
        }
        background = max(composited, key=lambda name: measure_errors(*composited[name]).mse_rgb)
        colours = composited[background]
        of_alpha = {"background": background, "psnr_alpha": psnr_rgb_db(*alphas)}
    one, other = (c[:, :, 0] if c.shape[2] == 1 else np.ascontiguousarray(c) for c in colours)
    with progress.stage("measuring"):
        distance = measure(one, other)
    difference = other.astype(np.int32) - one  # int32 [H, W] or [H, W, 3]
    amplified = AMPLIFICATION * difference if white == 255 else np.rint(difference * (AMPLIFICATION / DEEP))
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
    return Comparison(figures, np.clip(128 + amplified, 0, 255).astype(np.uint8), (_reduced(one), _reduced(other)))


def spoken(figures: Mapping[str, float | int | str]) -> list[tuple[str, str]]:
    """Names and values of figures as text; undefined ones are left out, and an infinite PSNR is "identical"."""
    lines = []
    for name, value in figures.items():
        if isinstance(value, str):
            lines.append((name.replace("_", " "), value))
        elif not math.isnan(value):
            shown = "identical" if math.isinf(value) else format(value, "d" if isinstance(value, int) else ".6g")
            lines.append((name.replace("_", " "), shown))
    return lines


def undefined(shape: tuple[int, ...]) -> list[str]:
    """Notes on the metrics that are undefined for pictures of this shape [H, W, ...] because SSIM's window does not fit."""
    side = min(shape[:2])
    return [
        f"{name} is left out: it needs {needed} pixels a side, and the shorter side has {side}"
        for name, needed in (("SSIM", SSIM_MIN_SIDE), ("MS-SSIM", MS_SSIM_MIN_SIDE))
        if side < needed
    ]


def _split_alpha(pixels: Pixels) -> _Layers:
    """Separate pixels [H, W] or [H, W, 1 to 4] into colours and alpha plane."""
    pixels = np.atleast_3d(pixels)
    return _Layers(pixels, None) if pixels.shape[2] in (1, 3) else _Layers(pixels[:, :, :-1], pixels[:, :, -1])


def _composited(colours: Pixels, alpha: Pixels, level: int, white: int) -> Pixels:
    """Colours [H, W, c] with an alpha plane [H, W] on a background of one grey level, 0 to `white`, rounded."""
    weight = alpha[:, :, None].astype(np.int64)
    return ((colours * weight + level * (white - weight) + white // 2) // white).astype(colours.dtype)


def _reduced(pixels: Pixels) -> UInt8:
    """Pixels rounded to 8 bits."""
    levels = pixels if pixels.dtype == np.uint8 else (pixels.astype(np.uint32) + DEEP // 2) // DEEP
    return levels.astype(np.uint8)
