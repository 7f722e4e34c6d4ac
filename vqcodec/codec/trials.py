"""Trials of the encoder: a picture coded with DCT blocks in all cells, in some, or in none. The file of least cost is kept.

The cost is bits plus error over lambda for a quality, bytes for a PSNR, and error for a size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Pixels
from vqcodec.codec import content
from vqcodec.codec.choices import lambda_of
from vqcodec.codec.picture import Picture
from vqcodec.codec.rate_control import size_of, step_of_quality
from vqcodec.errors import LimitError
from vqcodec.options import DEFAULT_QUALITY, EncodeOptions
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.exact import ExactModel

_MAPS: Final = (*[(32,)] * 6, (20, 32), (12, 32, 48), (12, 20, 32, 48))
"""Most colours of graphic cells in the maps that are tried, by effort 1 to 9."""
_CHEAP_BPP: Final = 0.5
"""Bits per pixel of an exact file up to which nothing else is tried below `_THOROUGH`: photographs take more."""
_THOROUGH: Final = 7


def smallest(
    picture: Picture,
    options: EncodeOptions,
    model: ExactModel,
    with_layers: Callable[[Bool | None], bytes],
    decode: Callable[[bytes], Pixels],
) -> bytes:
    """The file of least cost. Raises LimitError if none meets the options' target.

    `with_layers(cells)` codes a file whose graphic cells are `cells` bool [h, w], None: none;
    `decode` gives its samples [H, W, 1 or 3].
    """
    graphic = content.may_hold_graphics(picture.samples, picture.depth)
    if not graphic:
        try:
            return with_layers(None)
        except LimitError:
            if options.psnr is None:
                raise
    from vqcodec.codec.pixel_codec import PixelCodec  # slow to import, and photographs do not need it

    exact = PixelCodec(BUILT_IN).encode(picture, options)
    if not graphic:
        return exact  # it has any PSNR
    most = size_of(picture.colours, options)
    files = [exact] if most is None or len(exact) <= most else []
    height, width, _ = picture.colours.shape
    if files and options.effort < _THOROUGH and 8 * len(exact) <= _CHEAP_BPP * height * width:
        return exact
    refusal: LimitError | None = None
    for cells in [None, *_maps(picture, options.effort)]:
        try:
            files.append(with_layers(cells))
        except LimitError as error:
            refusal = refusal or error
    if not files:
        raise refusal or LimitError("no file meets the target")
    step_levels = step_of_quality(DEFAULT_QUALITY if options.quality is None else options.quality, picture.depth) / 64

    def cost(file: bytes) -> float:
        if options.psnr is not None:
            return len(file)
        error = 0.0 if file is exact else _squared_error(picture, decode(file))  # in squared grey levels
        return error if most is not None else 8 * len(file) + error / (lambda_of(model) * step_levels**2)

    return min(files, key=cost) if len(files) > 1 else files[0]


def _maps(picture: Picture, effort: int) -> list[Bool]:
    """Different maps of graphic cells, none of them uniform."""
    found: list[Bool] = []
    for most in _MAPS[effort - 1]:
        cells = content.graphic_map(picture.samples, picture.depth, most)
        if cells.any() and not cells.all() and not any(np.array_equal(cells, other) for other in found):
            found.append(cells)
    return found


def _squared_error(picture: Picture, decoded: Pixels) -> float:
    """The sum of squared errors of decoded samples, over the visible pixels, in squared grey levels (of 256)."""
    total = 0.0
    for row, own in enumerate(decoded):
        error = np.subtract(own, picture.colours[row], dtype=np.int32).astype(np.float32)
        if picture.visible is not None:
            error = error[picture.visible[row]]
        total += float(np.square(error).sum(dtype=np.float64))
    return total / 4.0 ** (picture.depth - 8)
