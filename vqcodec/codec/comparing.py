"""Comparing the two decodes of a picture while it is coded: the file then says which one `--refine best` shows.

The synthesis restores what the quantiser took from photographs. Where it took little, the synthesis adds errors instead: in flat
graphics, whose coefficients are either 0 or large, and in pictures that were JPEG files. Running the synthesis takes as long as
coding, so pictures whose coefficients are like a photograph's are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Int16, Pixels
from vqcodec.codec import reconstruction
from vqcodec.codec.groups import CodedGroup, Errors
from vqcodec.codec.rate_control import TooFineError
from vqcodec.codec.reconstruction import Plain
from vqcodec.codec.source import Source
from vqcodec.format.header import Header
from vqcodec.nets.synthesis import MIN_STEP_LEVELS
from vqcodec.transform import dct
from vqcodec.transform.layouts import LAYOUTS, Layout
from vqcodec.transform.rect import Rect

_SMALL_CELLS: Final = 256
"""Cells up to which a picture is always compared."""
_SAMPLED_CELLS: Final = 1 << 9
_SAMPLED_PIXELS: Final = 1 << 11
"""Cells and pixels, about, that are looked at in larger pictures."""
_FEW_COLOURS: Final = 256
"""Colours of a palette; the sampled pixels of a photograph have several times as many."""
_UNTOUCHED_LEVELS: Final = 1.0
"""Magnitude in grey levels up to which a coefficient hardly changes by becoming 0. Rounding of samples alone makes 0.3."""
_FLAT: Final = 0.95
"""Share of such coefficients, among those that become 0, from which on a picture is flat."""
_STEP_LEVELS: Final = (6.0, 16.0, 50.0)
_FEW_BETWEEN: Final = (0.1, 0.13, 0.3)
"""Coefficients of a quarter to half a step for each larger one, at these steps; photographs have more."""
_UNTOUCHED: Final = (0.85, 0.72, 0.72)
_BETWEEN: Final = 0.52
"""Share of untouched coefficients from which on a picture may have been a JPEG file, and the most between then."""
_COMPARED_CELLS: Final = 1 << 15
"""Cells, about, that are compared in larger pictures; twice as many are compared in full."""
_REGION_CELLS: Final = 1 << 14
_REGION_ROWS: Final = 16
"""Cells that are compared at a time, about, and rows of cells at least."""
_WORTH: Final = 10**0.002
"""Least ratio of squared errors at which the plain decode is chosen: 0.02 dB. The choice takes up to 10 bytes in small files."""


def comparison(source: Source, header: Header, *, with_latents: bool) -> Callable[[int, CodedGroup], CodedGroup]:
    """A function (number, group) that returns a coded tile group with its errors, and with or without its latents."""
    wanted = synthesis_may_hurt(source, header)

    def compare(number: int, group: CodedGroup) -> CodedGroup:
        errors = errors_of(source, number, header, group.latents) if wanted else Errors()
        return replace(group, errors=errors, latents=group.latents if with_latents else np.empty((0, 0), np.int16))

    return compare


def chosen(header: Header, coded: Sequence[CodedGroup]) -> Header:
    """The header with the choice of a decode, by the errors of all tile groups. Raises TooFineError."""
    if any(group.symbols.clipped for group in coded):
        raise TooFineError
    plain, best = (sum(errors) for errors in zip(*(group.errors for group in coded), strict=True))
    return replace(header, best_is_plain=plain * _WORTH < best)


def synthesis_may_hurt(source: Source, header: Header) -> bool:
    """Whether the plain decode may be closer to the picture than the synthesis, by a sample of its rows of cells."""
    step_levels = header.step_levels
    if source.model.synthesis is None or step_levels < MIN_STEP_LEVELS:
        return False
    if math.prod(header.cells) <= _SMALL_CELLS:
        return True
    pixels, layout = _sampled_rows(source.pixels, math.prod(header.cells)), LAYOUTS[header.layout]
    coefficients = dct.forward(pixels, layout, source.model.color, header.depth, slice(layout.components, None))
    return _has_palette(pixels) or _is_unlike_photographs(np.abs(coefficients), layout, step_levels)


def _sampled_rows(pixels: Pixels, cells: int) -> Pixels:
    """Some complete rows of cells of a picture [H, W, components] that has `cells`; all of it if it is less than 8 pixels high."""
    whole = len(pixels) // dct.BLOCK
    if whole == 0:
        return pixels
    lines = pixels[: whole * dct.BLOCK].reshape(whole, dct.BLOCK, *pixels.shape[1:])
    every = min(max(1, cells // _SAMPLED_CELLS), whole)
    return lines[every // 2 :: every].reshape(-1, *pixels.shape[1:])


def _has_palette(pixels: Pixels) -> bool:
    """Whether some of the pixels [H, W, components] have few colours; False for grey."""
    colours = pixels.reshape(-1, pixels.shape[2])
    some = colours[:: max(1, len(colours) // _SAMPLED_PIXELS)].astype(np.int64)  # int64 [n, components]
    if some.shape[1] != 3:
        return False
    keys = np.sort(some @ (1, 1 << 16, 1 << 32))  # not np.unique: that imports numpy.ma, 10 ms
    return 1 + int(np.count_nonzero(keys[1:] != keys[:-1])) <= _FEW_COLOURS


def _is_unlike_photographs(magnitudes: Float32, layout: Layout, step_levels: float) -> bool:
    """Whether coefficients float32 [C', n] without DCs are distributed unlike those of photographs; magnitudes in grey levels."""
    of_channels = np.count_nonzero(magnitudes >= step_levels / 2, axis=1)  # int64 [C']: coefficients that do not become 0
    coded = int(of_channels.sum())
    chroma = int(of_channels[[component > 0 for component, _, _ in layout.positions[layout.components :]]].sum())
    between = np.count_nonzero(magnitudes >= step_levels / 4) - coded
    untouched, lost = np.count_nonzero(magnitudes < _UNTOUCHED_LEVELS), magnitudes.size - coded
    few_between, many_untouched = (np.interp(step_levels, _STEP_LEVELS, limits) for limits in (_FEW_BETWEEN, _UNTOUCHED))
    was_jpeg = untouched >= many_untouched * lost and between <= _BETWEEN * coded
    return bool(untouched >= _FLAT * lost or between <= few_between * coded or was_jpeg or chroma > coded - chroma)


def errors_of(source: Source, number: int, header: Header, latents: Int16) -> Errors:
    """The errors of a tile group with latents int16 [C, h * w]; in pictures of more than 4 megapixels, those of a part of it.

    The synthesis does not see the neighbouring groups here, and seams are not smoothed.
    """
    original, visible, place = source.part(number), source.visible_part(number), header.groups[number]
    alone = replace(header, height=original.shape[0], width=original.shape[1], group_log2=0)
    cells = Rect(0, 0, *place.shape)
    errors = Errors()
    for rows in _compared_rows(number, header):
        region = rows.scale(dct.BLOCK).intersection(Rect(0, 0, *original.shape[:2]))
        images = Plain(alone, source.model, region), reconstruction.best(alone, source.model, region)
        wanted = original[region.rows]
        shown = None if visible is None else visible[region.rows]
        for image in images:
            image.add(cells, latents)
        plain, best = (_squared_error(image.pixels(), wanted, shown) for image in images)
        errors = Errors(errors.plain + plain, errors.best + best)
    return errors


def _compared_rows(number: int, header: Header) -> Iterator[Rect]:
    """The rows of cells of a tile group that are compared: all of them, or a part in pictures of more than 4 megapixels.

    The part lies elsewhere in each group.
    """
    h, w = header.groups[number].shape
    cells = math.prod(header.cells)
    if cells > 2 * _COMPARED_CELLS:
        rows = min(h, max(_REGION_ROWS, h * _COMPARED_CELLS // cells))
        yield Rect(int((h - rows) * (number * 0.618 % 1)), 0, rows, w)
        return
    rows = max(_REGION_ROWS, _REGION_CELLS // w)
    for top in range(0, h, rows):
        yield Rect(top, 0, min(rows, h - top), w)


def _squared_error(decoded: Pixels, original: Pixels, visible: Bool | None) -> float:
    """The sum of squared errors of samples [H, W, components] over the `visible` ones bool [H, W]; None: all."""
    error = np.subtract(decoded, original, dtype=np.float32)
    counted = (error if visible is None else error[visible]).reshape(-1)
    return float(np.vdot(counted, counted))
