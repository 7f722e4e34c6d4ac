"""Encoder choices: quality -> step, layout, layers, tile groups; and the search for a step that meets a target.

Nothing here is known to a decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np

from vqcodec.arrays import Bool, Float32, Pixels
from vqcodec.codec import aiming, chroma, clipping, decoder, walk
from vqcodec.errors import LimitError
from vqcodec.format import container, zstd_blocks
from vqcodec.format.header import Header, Section
from vqcodec.nets.synthesis import MIN_STEP_LEVELS
from vqcodec.runtime import progress
from vqcodec.runtime.workers import side_by_side
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY, LAYOUTS, Layout
from vqcodec.weights.exact import ExactModel

FINEST_STEP: Final = 32
"""Half a grey level: below it the DC of a white block is more steps than a latent holds. Differences of two may be too large for a
codebook up to twice this step (TooFineError)."""
_COARSER: Final = 1.05
"""The step that is tried next, over one that is too fine."""
RATE: Final = 0.13
"""Lambda of the encoder's search, squared steps per bit: at high rate dD/dR of a uniform quantiser is -0.12 step^2."""
_RATE_BEFORE_SYNTHESIS: Final = 0.10
"""Lambda for models with a synthesis: it keeps more texture, for this and the refiner to go on from, at the same PSNR."""
_FINE_DCS_FROM: Final = 24.0
"""Step in grey levels from which on DCs are fine: below it half a step is not seen."""
_CHROMA_STEPS: Final = 1024 * 2.0 ** (-np.arange(45) / 4)
"""Steps in grey levels, from coarse to fine, at which the layout is decided (chroma.py)."""
DEFAULT_QUALITY: Final = 60.0
_QUALITIES: Final = (0.0, 50.0, 75.0, 95.0, 100.0)
_STEPS: Final = (130.0, 28.0, 12.7, 4.0, 2.0)
_GROUPED_ABOVE: Final = 1 << 22  # pixels
DEFAULT_TILE: Final = 1024
_FIRST_STEP: Final = 28 * 64
_BYTES_TOLERANCE: Final = 0.002
_PSNR_TOLERANCE: Final = 0.01
_ROUGH: Final = 0.01
"""Relative error of the bytes that ends the search without aiming: aiming moves them by as much."""
_BYTES_SLOPE: Final = -1.1
_PSNR_SLOPE: Final = -6.0
"""About what a step e times as large does to the logarithm of the bytes, and to the PSNR in dB."""
DEFAULT_EFFORT: Final = 5


@dataclass(frozen=True)
class Effort:
    """How much time an encoder takes."""

    levels: tuple[int, ...] = zstd_blocks.LEVELS
    """Levels of zstd that are tried."""
    maps_ahead: int = 1
    """Merge maps that are tried after one that did not make the file smaller (codec.pack)."""
    rounds: int = 0
    """Rounds of aiming (aiming.py), for a model with a synthesis. Each takes three to four times as long as coding itself."""


_FASTEST, _FAST, _THOROUGH = Effort(zstd_blocks.FAST_LEVELS, 0), Effort(zstd_blocks.FAST_LEVELS), Effort()
EFFORTS: Final = (_FASTEST, _FAST, _FAST, *[_THOROUGH] * 3, Effort(rounds=1), Effort(rounds=2), Effort(rounds=4))
"""Efforts 1 to 9. Neighbours that are the same leave room for what encoders will learn (docs/results.md has gains and times)."""
_AIM_SHARE: Final = 0.35
"""Of the way to an aim that targets go in each round: with all of it they swing."""
_AIM_REACH: Final = np.float32(0.5)
"""Steps by which a target is off at most: where the synthesis errs by several, as on flat saturated colours, aims go far."""
TUNES: Final = ("psnr", "ssim")
"""What an encoder aims at, at equal bytes: the least squared error, or likeness, which counts more for low frequencies and where a
picture is quiet."""
_MASKING: Final = 4
"""Strength of masking (masking.py) for likeness."""
_MAX_TRIALS: Final = 18
_MUCH: Final = 100.0
"""An excess that says no more than that the step is to be coarser."""
Kept = TypeVar("Kept")


def step_of_quality(quality: float, depth: int = 8) -> int:
    """Quality 0..100 to a step in 1/64 of a grey level; log-linear between the anchors above, finer at the end for deep samples."""
    steps = (*_STEPS[:-1], max(_STEPS[-1] / (1 << (depth - 8)), FINEST_STEP / 64))
    return max(FINEST_STEP, round(64 * float(np.exp(np.interp(quality, _QUALITIES, np.log(steps))))))


def rounds_of(model: ExactModel, effort: int) -> int:
    """Rounds of aiming at an effort 1..9: none where the model has no synthesis to aim at."""
    return 0 if model.synthesis is None else EFFORTS[effort - 1].rounds


def aimed_targets(
    coefficients: Float32,
    cells: tuple[int, int],
    model: ExactModel,
    settings: walk.Settings,
    rounds: int,
) -> Float32:
    """What latents should be, float32 [C, h * w] in steps, for coefficients float32 [C', h * w] in grey levels of a tile group.

    Each round codes the group and moves the targets some way towards its aims: two steps of the caller's stage. With rounds C' is
    that of COLOR_8X8 in colour.
    """
    network, step, layout = model.synthesis, settings.step_64 / 64, LAYOUTS[settings.layout]
    wanted = coefficients * np.float32(1 / step)
    if network is None or not rounds or step < MIN_STEP_LEVELS:
        return wanted[: layout.channels]
    targets = wanted[: layout.channels].copy()
    for _ in range(rounds):
        latents = walk.encode_group(targets, cells, model, settings).latents
        progress.advance()
        targets += np.float32(_AIM_SHARE) * (aiming.gradient_targets(network, latents, wanted, step, cells, layout) - targets)
        np.clip(targets, wanted[: layout.channels] - _AIM_REACH, wanted[: layout.channels] + _AIM_REACH, out=targets)
        progress.advance()
    return targets


def rate_of(model: ExactModel) -> float:
    """Lambda of the search in squared steps per bit."""
    return RATE if model.synthesis is None else _RATE_BEFORE_SYNTHESIS


def fine_dcs(components: int, step: float) -> bool:
    """Whether to code DCs finely at a step in grey levels. Small grey pictures would grow by 0.1 %, and have no colour to lose."""
    return components == 3 and step >= _FINE_DCS_FROM


class TooFineError(Exception):
    """At this step something of the picture is more than codebooks have words for."""


class Encoder:
    """One picture and a model, to be coded at one step or several; a small picture is transformed once."""

    def __init__(
        self,
        pixels: Pixels,
        model: ExactModel,
        threads: int,
        effort: int = DEFAULT_EFFORT,
        *,
        depth: int = 8,
        tile: int | None = None,
        layers: int | None = None,
        others: Sequence[Section] = (),
        tune: str = TUNES[0],
        visible: Bool | None = None,
    ) -> None:
        """`pixels` [H, W, 1 or 3] of `depth` bits a sample; `others` are sections that the file has besides. Tile groups are
        `tile` pixels square, a power of two from 64 to 65536; None: of 1024 in large pictures, none in others. `layers` 1 to 3:
        by default 3 where there are tile groups, else 1.

        `effort` 1..9 picks one of EFFORTS. `tune` is one of TUNES. `visible` bool [H, W] says which
        pixels count in `psnr_db`; None: all.
        """
        self.effort = EFFORTS[effort - 1]
        self.rounds = rounds_of(model, effort)
        self.visible = visible
        self.pixels, self.model, self.threads, self.depth, self.others = pixels, model, threads, depth, others
        if tile is None and pixels.shape[0] * pixels.shape[1] > _GROUPED_ABOVE:
            tile = DEFAULT_TILE
        self.group_log2 = 0 if tile is None else tile.bit_length() - 4
        height, width, self.components = pixels.shape
        self._frame = Header(
            width=width,
            height=height,
            layout=(COLOR_4X4 if self.components == 3 else GREY).code,
            layers=layers or (1 if tile is None else 3),
            group_log2=self.group_log2,
            model_id=model.file_id,
            step_64=container.MAX_STEP,
            depth=depth,
            alpha=any(section.type == container.ALPHA for section in others),
            masking=_MASKING if tune == "ssim" else 0,
        )
        self._coefficients: dict[int, Float32] = {}
        self._chroma_gain = np.zeros((0, 2))
        self._large_layout = False

    def header(self, step: int) -> Header:
        """The header of a file at a step, but for its merge map."""
        fine = fine_dcs(self.components, step / 64)
        return replace(self._frame, layout=self.layout(step).code, step_64=step, fine_dcs=fine)

    def code(self, step: int) -> list[walk.CodedGroup]:
        """Every tile group coded at a step."""
        return self._each_group(step, lambda coded: coded)

    def layout(self, step: int) -> Layout:
        """The layout at a step: 8x8 chroma from the coarsest step on at which chroma's high frequencies pay."""
        if self.components == 1:
            return GREY
        if self._large_layout:
            return COLOR_8X8
        steps = _CHROMA_STEPS[: np.count_nonzero(step / 64 <= _CHROMA_STEPS)]
        if len(steps) > len(self._chroma_gain):
            more = steps[len(self._chroma_gain) :]
            with progress.stage("choosing the layout"):
                found = self._side_by_side(lambda number: chroma.estimate_gain(self._high_chroma(number), more))
            self._chroma_gain = np.concatenate([self._chroma_gain, sum(found)])
        restored = (self.model.synthesis is not None) & (steps >= MIN_STEP_LEVELS)
        return COLOR_8X8 if chroma.worth_coding(self._chroma_gain[: len(steps)], restored).any() else COLOR_4X4

    def _group(self, number: int, layout: Layout) -> Float32:
        """Coefficients float32 [C, h * w] of a tile group in grey levels."""
        if number in self._coefficients:
            return self._coefficients[number][: layout.channels]
        if self.group_log2:  # a large picture's coefficients are made again rather than kept
            return dct.forward(self._part(number), layout, self.model.color, self.depth)
        self._coefficients[number] = dct.forward(self._part(number), layout.whole, self.model.color, self.depth)
        return self._coefficients[number][: layout.channels]

    def _high_chroma(self, number: int) -> Float32:
        """Chroma's coefficients beyond 4x4 of a tile group, float32 [K, h * w] in grey levels."""
        channels = slice(COLOR_4X4.channels, None)
        if self.group_log2:
            return dct.forward(self._part(number), COLOR_8X8, self.model.color, self.depth, channels)
        return self._group(number, COLOR_8X8)[channels]

    def _part(self, number: int) -> Pixels:
        """The pixels of a tile group."""
        top, left, h, w = self._frame.groups[number]
        return self.pixels[8 * top : 8 * (top + h), 8 * left : 8 * (left + w)]

    def _side_by_side(self, one: Callable[[int], Kept]) -> list[Kept]:
        return side_by_side(one, range(len(self._frame.groups)), self.threads)

    def _each_group(self, step: int, kept: Callable[[walk.CodedGroup], Kept]) -> list[Kept]:
        """What is kept of every tile group coded at a step."""
        header = self.header(step)
        settings, layout = self.settings(header), self.transformed(header)

        def one(number: int) -> Kept:
            coefficients = self._group(number, layout)
            overshoot = clipping.overshoot(self._part(number), self.model.color, self.depth)
            if overshoot.any():
                coefficients = coefficients.copy()
                coefficients[: self.components] += overshoot * np.float32(step / 64)
            return kept(self.code_group(coefficients, self._frame.groups[number][2:], settings))

        with progress.stage("coding"):
            return self._side_by_side(one)

    def unaimed(self) -> Encoder:
        """The same picture, coded without aiming: two to three times as fast, at nearly the same rate and PSNR."""
        other = copy(self)
        other.rounds = 0
        return other

    def with_large_layout(self) -> Encoder:
        """The same colour picture, coded with 8x8 chroma at every step: for targets between the last file without it and the first
        one with it."""
        other = copy(self)
        other._large_layout = True
        return other

    def transformed(self, header: Header) -> Layout:
        """The coefficients that coding looks at: with a synthesis in the loop those that it restores, too."""
        return COLOR_8X8 if self.rounds and self.components == 3 else LAYOUTS[header.layout]

    def code_group(self, coefficients: Float32, cells: tuple[int, int], settings: walk.Settings) -> walk.CodedGroup:
        """A tile group of coefficients float32 [C', h * w] in grey levels, aimed for the synthesis."""
        with progress.stage("", 2 * self.rounds + 1):  # each round codes, and then aims
            targets = aimed_targets(coefficients, cells, self.model, settings, self.rounds)
            return walk.encode_group(targets, cells, self.model, settings)

    def settings(self, header: Header) -> walk.Settings:
        return walk.Settings(header.step_64, header.layout, header.layers, header.fine_dcs, rate_of(self.model), header.masking)

    def file(self, step: int) -> bytes:
        """The file at a step. Raises TooFineError."""
        symbols = self._each_group(step, lambda coded: coded.symbols)  # latents of a large picture are as large as it is
        if any(group.clipped for group in symbols):
            raise TooFineError
        header, effort = self.header(step), self.effort
        return walk.pack(header, symbols, self.model, effort.levels, self.others, self.threads, effort.maps_ahead)

    def psnr_db(self, step: int) -> float:
        """PSNR over all visible samples of the decode at a step, with the model's synthesis, where it has one. Raises
        TooFineError."""
        header, coded = self.header(step), self.code(step)
        if any(group.symbols.clipped for group in coded):
            raise TooFineError
        if self.model.synthesis is None or step / 64 < MIN_STEP_LEVELS:
            decoded = decoder.reconstruct(header, [group.latents for group in coded], self.model, self.threads)
        else:
            whole = np.empty((LAYOUTS[header.layout].channels, *header.cells), np.int16)
            for place, group in zip(header.groups, coded, strict=True):
                decoder.place_latents(whole, place, group.latents)
            decoded = decoder.refine(header, whole, self.model, self.pixels.shape[:2], self.threads)
            decoder.smooth_seams(header, decoded, (0, 0))
        error = np.subtract(decoded, self.pixels, dtype=np.int32)
        if self.visible is not None:
            error = error[self.visible]
        mse = float(np.mean(np.square(error, dtype=np.int64 if self.depth > 8 else np.int32))) if error.size else 0.0
        peak = float((1 << self.depth) - 1)
        return float("inf") if mse == 0 else 10 * float(np.log10(peak**2 / mse))


def file_of_step(encoder: Encoder, step: int) -> bytes:
    """The file at a step, or at the next coarser one that is not too fine."""
    while True:
        try:
            return encoder.file(step)
        except TooFineError:
            step = math.ceil(step * _COARSER)


def file_of_size(encoder: Encoder, size: int) -> bytes:
    """The largest file of at most `size` bytes that the search finds. Raises LimitError if none fits."""
    best, best_step, too_large = b"", 0, FINEST_STEP

    def log_excess(of: Encoder, step: int) -> float:
        nonlocal best, best_step, too_large
        try:
            data = of.file(step)
        except TooFineError:
            return _MUCH
        if of.rounds == encoder.rounds and len(best) < len(data) <= size:
            best, best_step = data, step
        if len(data) > size:
            too_large = max(too_large, step)
        return float(np.log(len(data) / max(size, 1)))

    start = _FIRST_STEP
    if encoder.rounds:
        start = _search(partial(log_excess, encoder.unaimed()), start, _BYTES_SLOPE, (-_ROUGH, _ROUGH))
    _search(partial(log_excess, encoder), start, _BYTES_SLOPE, (-_BYTES_TOLERANCE, 0))
    if 0 < len(best) < (1 - _BYTES_TOLERANCE) * size and encoder.layout(best_step) is not encoder.layout(too_large):
        _search(partial(log_excess, encoder.with_large_layout()), best_step, _BYTES_SLOPE, (-_BYTES_TOLERANCE, 0))
    if not best:
        smallest = encoder.file(container.MAX_STEP)
        if len(smallest) > size:
            besides = sum(len(section.data) for section in encoder.others)
            held = f", of which {besides} are alpha, colour profile, EXIF and XMP" if besides else ""
            raise LimitError(f"no file of at most {size} bytes: the smallest that the model can make has {len(smallest)}{held}")
        best = smallest
    return best


def file_of_psnr(encoder: Encoder, psnr_db: float) -> bytes:
    """The file of the largest step that the search finds whose PSNR is at least `psnr_db`. Raises LimitError if none is."""
    best, above, most, too_coarse = 0, 0.0, -float("inf"), container.MAX_STEP

    def excess(of: Encoder, step: int) -> float:
        nonlocal best, above, most, too_coarse
        try:
            found = of.psnr_db(step) - psnr_db
        except TooFineError:
            return _MUCH
        if of.rounds == encoder.rounds:
            most = max(most, found)
            if found < 0:
                too_coarse = min(too_coarse, step)
            elif step > best:
                best, above = step, found
        return min(found, _MUCH)  # of a picture without error: infinity

    start = _FIRST_STEP
    if encoder.rounds:
        start = _search(partial(excess, encoder.unaimed()), start, _PSNR_SLOPE, (0, _PSNR_TOLERANCE))
    _search(partial(excess, encoder), start, _PSNR_SLOPE, (0, _PSNR_TOLERANCE))
    if not best:
        raise LimitError(f"no file of at least {psnr_db:g} dB: the most that the model can make here is {psnr_db + most:.2f}")
    if above > _PSNR_TOLERANCE and (encoder.layout(best), encoder.layout(too_coarse)) == (COLOR_8X8, COLOR_4X4):
        encoder = encoder.with_large_layout()
        _search(partial(excess, encoder), best, _PSNR_SLOPE, (0, _PSNR_TOLERANCE))
    return encoder.file(best)


def _search(excess: Callable[[int], float], start: int, slope: float, enough: tuple[float, float]) -> int:
    """A step (1/64) whose excess lies within `enough`, or is on the way from above to below; the last one that was tried.

    The excess falls with the step, about by `-slope` for each unit of the step's logarithm: a line through the nearest trials on
    either side tells where to look next, and the middle between them after every third trial.
    """
    low, high = FINEST_STEP - 1, container.MAX_STEP + 1
    above, below = None, None  # the excess at low and at high
    wanted = (enough[0] + enough[1]) / 2
    step = start
    for trial in range(1, _MAX_TRIALS + 1):
        with progress.stage(f"trial {trial}"):
            found = excess(step)
        if enough[0] <= found <= enough[1]:
            break
        if found > wanted:
            low, above = step, found
        else:
            high, below = step, found
        if high - low <= 1:
            break
        if above is not None and below is not None:
            share = 0.5 if trial % 3 == 0 else (above - wanted) / (above - below)
            guess = low * (high / low) ** share
        else:
            guess = step * float(np.exp((found - wanted) / -slope))
        step = min(max(round(guess), low + 1), high - 1)
    return step
