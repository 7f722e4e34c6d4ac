"""Encoder choices: quality -> step, layout, layers, tile groups; and the search for a step that meets a target.

Nothing here is known to a decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import aim, codec, container, dct, frames, networks
from vqcodec.bands import COLOR_4X4, COLOR_8X8, GREY, LAYOUTS, Layout
from vqcodec.model import Model
from vqcodec.types import Header

RATE: Final = 0.13
"""Lambda of the encoder's search, squared steps per bit: at high rate dD/dR of a uniform quantiser is -0.12 step^2."""
FULL_CHROMA_BELOW: Final = 10.0
"""Step in grey levels below which chroma's high frequencies are coded."""
DEFAULT_QUALITY: Final = 60.0
_QUALITIES: Final = (0.0, 50.0, 75.0, 95.0, 100.0)
_STEPS: Final = (130.0, 28.0, 12.7, 4.0, 2.0)
_GROUPED_ABOVE: Final = 1 << 22  # pixels
_GROUP_LOG2: Final = 7  # 1024 pixels
_BYTES_TOLERANCE: Final = 0.002
_AIM_ABOVE: Final = 6
"""Effort above which each more is one more round of aiming (aim.py)."""
_AIM_SHARE: Final = 0.35
"""Of the way to an aim that targets go in each round: with all of it they swing."""
_MAX_TRIALS: Final = 18


def step_of_quality(quality: float) -> int:
    """Quality 0..100 to a step in 1/64 of a grey level; log-linear between the anchors above."""
    return max(1, round(64 * float(np.exp(np.interp(quality, _QUALITIES, np.log(_STEPS))))))


def layout_for(components: int, step: float) -> Layout:
    """The layout for a step in grey levels."""
    if components == 1:
        return GREY
    return COLOR_8X8 if step < FULL_CHROMA_BELOW else COLOR_4X4


class Encoder:
    """One picture and a model, to be coded at one step or several; transforms are done once a layout."""

    def __init__(self, pixels: NDArray[np.uint8], model: Model, threads: int, effort: int = 5) -> None:
        """`pixels` uint8 [H, W, 1 or 3]. `effort` 1..9: below 4 only the fastest zstd level is tried; from 7 on latents
        are chosen for the model's synthesis, where it has one, in one more round for each."""
        self.levels = frames.FAST_LEVELS if effort < 4 else frames.LEVELS
        self.rounds = max(0, effort - _AIM_ABOVE) if model.synthesis is not None else 0
        self.pixels, self.model, self.threads = pixels, model, threads
        large = pixels.shape[0] * pixels.shape[1] > _GROUPED_ABOVE
        self.group_log2, self.layers = (_GROUP_LOG2, 3) if large else (0, 1)
        self._coefficients: dict[tuple[int, int], NDArray[np.float32]] = {}

    def header(self, step: int) -> Header:
        """The header of a file at a step, but for its merge map."""
        height, width, components = self.pixels.shape
        layout = layout_for(components, step / 64).code
        return Header(width, height, layout, self.layers, self.group_log2, self.model.file_id, step, 0)

    def code(self, step: int) -> list[codec.CodedGroup]:
        """Every tile group coded at a step."""
        header = self.header(step)
        settings = self.settings(header)

        def one(number: int) -> codec.CodedGroup:
            top, left, h, w = header.groups[number]
            key = (header.layout, number)
            if key not in self._coefficients:
                part = self.pixels[8 * top : 8 * (top + h), 8 * left : 8 * (left + w)]
                found = dct.forward(part, self.transformed(header), self.model.color)
                if self.group_log2:  # a large picture's coefficients are made again rather than kept
                    return self.code_group(found, (h, w), settings)
                self._coefficients[key] = found
            return self.code_group(self._coefficients[key], (h, w), settings)

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(one, range(len(header.groups))))

    def transformed(self, header: Header) -> Layout:
        """The coefficients that coding looks at: with a synthesis in the loop those that it restores, too."""
        return COLOR_8X8 if self.rounds and self.pixels.shape[2] == 3 else LAYOUTS[header.layout]

    def code_group(
        self, coefficients: NDArray[np.float32], cells: tuple[int, int], settings: codec.Settings
    ) -> codec.CodedGroup:
        """A tile group of coefficients float32 [C', h * w] in grey levels; at high effort aimed for the synthesis."""
        network, step, layout = self.model.synthesis, settings.step / 64, LAYOUTS[settings.layout]
        coded = codec.encode_group(coefficients, cells, self.model, settings)
        if network is None or not self.rounds or step < networks.MIN_STEP:
            return coded
        wanted = coefficients * np.float32(1 / step)
        target = wanted[: layout.channels].copy()
        for _ in range(self.rounds):
            target += np.float32(_AIM_SHARE) * (aim.aims(network, coded.latents, wanted, step, cells, layout) - target)
            coded = codec.encode_group(target * np.float32(step), cells, self.model, settings)
        return coded

    def settings(self, header: Header) -> codec.Settings:
        return codec.Settings(header.step, header.layout, header.layers, header.group_log2, RATE, self.levels)

    def file(self, step: int) -> bytes:
        """The file at a step."""
        height, width = self.pixels.shape[:2]
        return codec.pack(width, height, self.code(step), self.model, self.settings(self.header(step)))

    def psnr_db(self, step: int) -> float:
        """PSNR over all samples of the decode at a step: with the model's synthesis, where it has one, as `decode` does."""
        header, coded = self.header(step), self.code(step)
        if self.model.synthesis is None or step / 64 < networks.MIN_STEP:
            decoded = codec.reconstruct(header, [group.latents for group in coded], self.model, self.threads)
        else:
            whole = codec.empty_latents(header)
            for place, group in zip(header.groups, coded, strict=True):
                codec.place_latents(whole, place, group.latents)
            decoded = codec.refine(header, whole, self.model, self.threads)
        error = np.subtract(decoded, self.pixels, dtype=np.int16)
        mse = float(np.mean(np.square(error, dtype=np.int32)))
        return float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))


def file_of_size(encoder: Encoder, size: int) -> bytes:
    """The largest file of at most `size` bytes that the search finds; the smallest there is if none fits."""
    best = b""

    def fits(step: int) -> tuple[bool, bool]:
        nonlocal best
        data = encoder.file(step)
        good = len(data) <= size
        if good and len(data) > len(best):
            best = data
        return good, good and len(data) >= size * (1 - _BYTES_TOLERANCE)

    _search(fits)
    return best or encoder.file(container.MAX_STEP)


def file_of_psnr(encoder: Encoder, psnr_db: float) -> bytes:
    """The file at the largest step whose PSNR is at least `psnr_db`; the finest step if none is."""

    def misses(step: int) -> tuple[bool, bool]:
        found = encoder.psnr_db(step)
        return found < psnr_db, False

    return encoder.file(max(1, _search(misses) - 1))


def _search(test: Callable[[int], tuple[bool, bool]]) -> int:
    """Smallest step (1/64) in a log-bisection for which test(step)[0]; stops early when test(step)[1]."""
    low, high = 1, container.MAX_STEP
    for trial in range(_MAX_TRIALS):
        if high - low <= 1:
            break
        middle = 28 * 64 if trial == 0 else round((low * high) ** 0.5)
        middle = min(max(middle, low + 1), high - 1)
        good, enough = test(middle)
        if enough:
            return middle
        low, high = (low, middle) if good else (middle, high)
    return high
