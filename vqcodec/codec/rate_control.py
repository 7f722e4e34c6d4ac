"""Rate control: quality -> quantiser step, and the search for the step that meets a target of bytes or PSNR."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, Self

import numpy as np

from vqcodec.arrays import Pixels
from vqcodec.errors import LimitError
from vqcodec.format import container
from vqcodec.format.header import Section
from vqcodec.options import DEFAULT_QUALITY, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, Layout

FINEST_STEP_64: Final = 32
"""Finest step in 1/64 grey level: below it the DC of a white block does not fit a latent. Up to twice this step, differences of two
latents may still exceed the codebooks' range (TooFineError)."""
_COARSER: Final = 1.05
"""Factor from a step that is too fine to the next one tried."""
_QUALITIES: Final = (0.0, 50.0, 75.0, 95.0, 100.0)
_STEP_LEVELS: Final = (130.0, 28.0, 12.7, 4.0, 2.0)
"""Anchors of quality, and their steps in grey levels."""
_FIRST_STEP_64: Final = 28 * 64
_BYTES_TOLERANCE: Final = 0.002
_PSNR_TOLERANCE: Final = 0.01
_ROUGH: Final = 0.01
"""Relative error in bytes at which the search without aiming ends: aiming changes the size by as much."""
_BYTES_SLOPE: Final = -1.1
_PSNR_SLOPE: Final = -6.0
"""Approximate derivatives of log(bytes) and of PSNR in dB by the logarithm of the step."""
_MAX_TRIALS: Final = 18
_MUCH: Final = 100.0
"""Excess returned for a step that is too fine to be coded."""


class TooFineError(Exception):
    """A residual of the picture at this step exceeds the codebooks' range."""


class StepEncoder(Protocol):
    """The part of pipeline.Encoder that rate control uses; steps are in 1/64 grey level."""

    @property
    def pixels(self) -> Pixels: ...
    @property
    def depth(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def others(self) -> Sequence[Section]: ...
    def file(self, step_64: int) -> bytes:
        """The file at a step. Raises TooFineError."""
        ...

    def psnr_db(self, step_64: int) -> float:
        """PSNR of the decode at a step. Raises TooFineError."""
        ...

    def layout(self, step_64: int) -> Layout: ...
    def without_aiming(self) -> Self: ...
    def with_large_layout(self) -> Self: ...


def step_of_quality(quality: float, depth: int = 8) -> int:
    """The quantiser step in 1/64 grey level of a quality 0..100: log-linear between anchors, finer at the end for deep samples."""
    step_levels = (*_STEP_LEVELS[:-1], max(_STEP_LEVELS[-1] / (1 << (depth - 8)), FINEST_STEP_64 / 64))
    return max(FINEST_STEP_64, round(64 * float(np.exp(np.interp(quality, _QUALITIES, np.log(step_levels))))))


def file_for(encoder: StepEncoder, options: EncodeOptions) -> bytes:
    """The file that meets the options' target. Raises LimitError if no file does."""
    if options.psnr is not None:
        return file_of_psnr(encoder, options.psnr)
    size = size_of(encoder.pixels, options)
    if size is not None:
        return file_of_size(encoder, size)
    return file_of_step(encoder, step_of_quality(DEFAULT_QUALITY if options.quality is None else options.quality, encoder.depth))


def size_of(pixels: Pixels, options: EncodeOptions) -> int | None:
    """The most bytes that a file of pixels [H, W, C] may have; None without a target of bytes."""
    return options.size if options.bpp is None else int(min(options.bpp * pixels.shape[0] * pixels.shape[1] / 8, sys.maxsize))


def file_of_step(encoder: StepEncoder, step_64: int) -> bytes:
    """The file at a step, or at the next coarser one that the codebooks can code."""
    while True:
        try:
            return encoder.file(step_64)
        except TooFineError:
            step_64 = math.ceil(step_64 * _COARSER)


def file_of_size(encoder: StepEncoder, size: int) -> bytes:
    """The largest file of at most `size` bytes that the search finds. Raises LimitError if there is none."""
    best, best_step_64, too_large = b"", 0, FINEST_STEP_64

    def log_excess(coder: StepEncoder, step_64: int) -> float:
        """log(bytes / size) of the file at a step. Remembers the best file made with all of the effort's aiming."""
        nonlocal best, best_step_64, too_large
        try:
            data = coder.file(step_64)
        except TooFineError:
            return _MUCH
        if coder.rounds == encoder.rounds and len(best) < len(data) <= size:
            best, best_step_64 = data, step_64
        if len(data) > size:
            too_large = max(too_large, step_64)
        return float(np.log(len(data) / max(size, 1)))

    start = _FIRST_STEP_64
    if encoder.rounds:
        start = _search(partial(log_excess, encoder.without_aiming()), start, _BYTES_SLOPE, (-_ROUGH, _ROUGH))
    _search(partial(log_excess, encoder), start, _BYTES_SLOPE, (-_BYTES_TOLERANCE, 0))
    if 0 < len(best) < (1 - _BYTES_TOLERANCE) * size and encoder.layout(best_step_64) is not encoder.layout(too_large):
        _search(partial(log_excess, encoder.with_large_layout()), best_step_64, _BYTES_SLOPE, (-_BYTES_TOLERANCE, 0))
    if not best:
        smallest = encoder.file(container.MAX_STEP_64)
        if len(smallest) > size:
            other_bytes = sum(len(section.data) for section in encoder.others)
            held = f", of which {other_bytes} are alpha, colour profile, EXIF and XMP" if other_bytes else ""
            raise LimitError(f"no file of at most {size} bytes: the smallest that the model can make has {len(smallest)}{held}")
        best = smallest
    return best


def file_of_psnr(encoder: StepEncoder, psnr_db: float) -> bytes:
    """The file at the largest step that the search finds with a PSNR of at least `psnr_db`. Raises LimitError if there is none."""
    best_step_64, best_excess, largest_excess, too_coarse = 0, 0.0, -float("inf"), container.MAX_STEP_64

    def excess(coder: StepEncoder, step_64: int) -> float:
        """PSNR at a step less the target. Remembers the largest step that meets the target with all of the effort's aiming."""
        nonlocal best_step_64, best_excess, largest_excess, too_coarse
        try:
            found = coder.psnr_db(step_64) - psnr_db
        except TooFineError:
            return _MUCH
        if coder.rounds == encoder.rounds:
            largest_excess = max(largest_excess, found)
            if found < 0:
                too_coarse = min(too_coarse, step_64)
            elif step_64 > best_step_64:
                best_step_64, best_excess = step_64, found
        return min(found, _MUCH)  # infinite for a decode without error

    start = _FIRST_STEP_64
    if encoder.rounds:
        start = _search(partial(excess, encoder.without_aiming()), start, _PSNR_SLOPE, (0, _PSNR_TOLERANCE))
    _search(partial(excess, encoder), start, _PSNR_SLOPE, (0, _PSNR_TOLERANCE))
    if not best_step_64:
        raise LimitError(
            f"no file of at least {psnr_db:g} dB: the most that the model can make here is {psnr_db + largest_excess:.2f}"
        )
    if best_excess > _PSNR_TOLERANCE and (encoder.layout(best_step_64), encoder.layout(too_coarse)) == (COLOR_8X8, COLOR_4X4):
        encoder = encoder.with_large_layout()
        _search(partial(excess, encoder), best_step_64, _PSNR_SLOPE, (0, _PSNR_TOLERANCE))
    return encoder.file(best_step_64)


def _search(excess: Callable[[int], float], start: int, slope: float, enough: tuple[float, float]) -> int:
    """The last step tried, in 1/64 grey level, in a search for one whose excess over the target lies within `enough` (least, most).

    The excess falls with the step, by about `-slope` for each unit of the step's logarithm. Regula falsi between the nearest trials
    above and below, with a bisection after every third trial.
    """
    low, high = FINEST_STEP_64 - 1, container.MAX_STEP_64 + 1
    above, below = None, None  # the excess at low and at high
    wanted = (enough[0] + enough[1]) / 2
    step_64 = start
    for trial in range(1, _MAX_TRIALS + 1):
        with progress.stage(f"trial {trial}"):
            found = excess(step_64)
        if enough[0] <= found <= enough[1]:
            break
        if found > wanted:
            low, above = step_64, found
        else:
            high, below = step_64, found
        if high - low <= 1:
            break
        if above is not None and below is not None:
            share = 0.5 if trial % 3 == 0 else (above - wanted) / (above - below)
            guess = low * (high / low) ** share
        else:
            guess = step_64 * float(np.exp((found - wanted) / -slope))
        step_64 = min(max(round(guess), low + 1), high - 1)
    return step_64
