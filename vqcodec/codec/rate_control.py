"""Rate control: quality -> quantiser step, and the search for the step that meets a target of bytes, PSNR or SSIMULACRA2."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_SSIMULACRA2_TOLERANCE: Final = 0.25
_SSIMULACRA2_ROUGH: Final = 1.0
_ROUGH: Final = 0.01
"""Relative error in bytes at which the search without aiming ends: aiming changes the size by as much."""
_BYTES_SLOPE: Final = -1.1
_PSNR_SLOPE: Final = -6.0
"""Approximate derivatives of log(bytes) and of PSNR in dB by the logarithm of the step."""
_SSIMULACRA2_SLOPE: Final = -0.71
_SSIMULACRA2_FACTOR: Final = 4.5
"""100 - SSIMULACRA2 is about this factor times the step in grey levels to the power of minus the slope."""
_LEAST_LOSS: Final = 1e-9
"""Least difference of SSIMULACRA2 from 100, in place of 0, whose logarithm is infinite."""
_MAX_TRIALS: Final = 18
_MAX_SSIMULACRA2_TRIALS: Final = 8
"""Fewer than for PSNR: one takes about a second for each 0.4 megapixels."""
_SSIMULACRA2_LEAPS: Final = (1.0, 0.5, 0.25)
"""Steps that are tried beyond one that meets the target amply, as shares of the way to the target. SSIMULACRA2 does not fall
evenly: at low quality by up to a point between neighbouring steps, and it rises again further on."""
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

    def decoded(self, step_64: int) -> Pixels:
        """The decode at a step. Raises TooFineError."""
        ...

    def psnr_of(self, decoded: Pixels) -> float: ...
    def ssimulacra2_of(self, decoded: Pixels) -> float: ...

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
    if options.ssimulacra2 is not None:
        return file_of_ssimulacra2(encoder, options.ssimulacra2)
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
    goal = _Goal(
        text=f"{psnr_db:g} dB",
        excess=lambda coder, step_64: coder.psnr_of(coder.decoded(step_64)) - psnr_db,
        figure=lambda excess: psnr_db + excess,
        start_64=_FIRST_STEP_64,
        slope=_PSNR_SLOPE,
        tolerance=_PSNR_TOLERANCE,
        rough=(0, _PSNR_TOLERANCE),
        most_trials=_MAX_TRIALS,
        leaps=(),
    )
    return _file_of(encoder, goal)


def file_of_ssimulacra2(encoder: StepEncoder, target: float) -> bytes:
    """The file at the largest step that the search finds with an SSIMULACRA2 of at least `target`.

    Raises LimitError if there is none.
    """

    def log_excess(score: float) -> float:
        """log((100 - target) / (100 - score)): nearly linear in the logarithm of the step."""
        return math.log(max(100 - target, _LEAST_LOSS) / max(100 - score, _LEAST_LOSS))

    start_64 = 64 * (max(100 - target, _LEAST_LOSS) / _SSIMULACRA2_FACTOR) ** (-1 / _SSIMULACRA2_SLOPE)
    goal = _Goal(
        text=f"SSIMULACRA2 {target:g}",
        excess=lambda coder, step_64: log_excess(coder.ssimulacra2_of(coder.decoded(step_64))),
        figure=lambda excess: 100 - max(100 - target, _LEAST_LOSS) / math.exp(excess),
        start_64=max(FINEST_STEP_64, round(start_64)),
        slope=_SSIMULACRA2_SLOPE,
        tolerance=log_excess(target + _SSIMULACRA2_TOLERANCE),
        rough=(log_excess(target - _SSIMULACRA2_ROUGH), log_excess(target + _SSIMULACRA2_ROUGH)),
        most_trials=_MAX_SSIMULACRA2_TRIALS,
        leaps=_SSIMULACRA2_LEAPS,
    )
    return _file_of(encoder, goal)


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """The least value of a measure of the decode, and how to search for it."""

    text: str
    """The value in messages."""
    excess: Callable[[StepEncoder, int], float]
    """Excess of the decode at a step over the value, on a scale that falls nearly linearly with the step's logarithm."""
    figure: Callable[[float], float]
    """The measure for an excess."""
    start_64: int
    slope: float
    """Approximate derivative of the excess by the logarithm of the step."""
    tolerance: float
    rough: tuple[float, float]
    """Least and greatest excess at which the search without aiming ends."""
    most_trials: int
    """Trials of a search, unless none of them meets the value."""
    leaps: tuple[float, ...]
    """Shares of the way to the value, by the slope, that are tried last from a step whose excess is above the tolerance."""


def _file_of(encoder: StepEncoder, goal: _Goal) -> bytes:
    """The file at the largest step that the search finds to meet the goal. Raises LimitError if there is none."""
    best_step_64, best_excess, largest_excess, too_coarse = 0, 0.0, -float("inf"), container.MAX_STEP_64

    def excess(coder: StepEncoder, step_64: int) -> float:
        """The excess at a step. Remembers the largest step that meets the goal with all of the effort's aiming."""
        nonlocal best_step_64, best_excess, largest_excess, too_coarse
        try:
            found = goal.excess(coder, step_64)
        except TooFineError:
            return _MUCH
        if coder.rounds == encoder.rounds:
            largest_excess = max(largest_excess, found)
            if found < 0:
                too_coarse = min(too_coarse, step_64)
            elif step_64 > best_step_64:
                best_step_64, best_excess = step_64, found
        return min(found, _MUCH)  # infinite for a decode without error

    def search(coder: StepEncoder, start_64: int, enough: tuple[float, float]) -> int:
        return _search(partial(excess, coder), start_64, goal.slope, enough, goal.most_trials)

    start_64, enough = goal.start_64, (0.0, goal.tolerance)
    if encoder.rounds:
        start_64 = search(encoder.without_aiming(), start_64, goal.rough)
    search(encoder, start_64, enough)
    if not best_step_64:
        most = goal.figure(largest_excess)
        raise LimitError(f"no file of at least {goal.text}: the most that the model can make here is {most:.2f}")
    if best_excess > goal.tolerance and (encoder.layout(best_step_64), encoder.layout(too_coarse)) == (COLOR_8X8, COLOR_4X4):
        encoder = encoder.with_large_layout()
        search(encoder, best_step_64, enough)
    for number, leap in enumerate(goal.leaps, start=1):
        step_64 = math.ceil(best_step_64 * math.exp(leap * min(best_excess, 1) / -goal.slope))
        if best_excess > goal.tolerance and step_64 <= container.MAX_STEP_64:
            with progress.stage(f"trial {goal.most_trials + number}"):
                excess(encoder, step_64)
    return encoder.file(best_step_64)


def _search(
    excess: Callable[[int], float], start: int, slope: float, enough: tuple[float, float], most_trials: int = _MAX_TRIALS
) -> int:
    """The last step tried, in 1/64 grey level, in a search for one whose excess over the target lies within `enough` (least, most).

    The excess falls with the step, by about `-slope` for each unit of the step's logarithm. Regula falsi between the nearest trials
    above and below, with a bisection after every third trial. It ends after `most_trials` if one of them is above.
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
        if high - low <= 1 or (trial >= most_trials and above is not None and above < _MUCH):
            break
        if above is not None and below is not None:
            share = 0.5 if trial % 3 == 0 else (above - wanted) / (above - below)
            guess = low * (high / low) ** share
        else:
            guess = step_64 * float(np.exp((found - wanted) / -slope))
        step_64 = min(max(round(guess), low + 1), high - 1)
    return step_64
