"""A picture prepared for coding at any quantiser step: its tile groups, their coefficients, the layout and the header."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Final, Self, TypeVar

import numpy as np

from vqcodec.arrays import Bool, Float32, Pixels
from vqcodec.codec import choices, chroma, graphics, ssimulacra2
from vqcodec.codec.groups import Settings
from vqcodec.codec.picture import Picture, picture_of
from vqcodec.format import container
from vqcodec.format.header import Header, Metadata, Section
from vqcodec.nets.synthesis import MIN_STEP_LEVELS
from vqcodec.options import EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.workers import side_by_side, usable_cores
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY, LAYOUTS, Layout
from vqcodec.weights.exact import ExactModel

_CHROMA_STEP_LEVELS: Final = 1024 * 2.0 ** (-np.arange(45) / 4)
"""Steps in grey levels, from coarse to fine, at which the layout is decided (chroma.py)."""
Kept = TypeVar("Kept")


class Source:
    """A picture and a model. Coefficients are kept if there is one tile group, and computed anew for each trial otherwise."""

    def __init__(
        self,
        pixels: Pixels | Picture,
        model: ExactModel,
        options: EncodeOptions | None = None,
        graphic: Bool | None = None,
        *,
        layers: int | None = None,
    ) -> None:
        """`pixels`: a picture, or samples [H, W, 1 or 3], which are coded as they are; `graphic` bool [h, w]: graphic cells,
        None: none; `layers` 1..3, by default 3 with tile groups, else 1.
        """
        options = options or EncodeOptions()
        if isinstance(pixels, Picture):
            picture = pixels if graphic is not None else pixels.in_grey()
        else:
            picture = picture_of(pixels, options, Metadata())
        self.pixels, self.model, self.visible, self.opacity = picture.colours, model, picture.visible, picture.opacity
        self.others, self.depth = picture.sections(options.effort), picture.depth
        self.effort = choices.effort_of(options.effort)
        self.rounds = choices.rounds_of(model, options.effort)
        self.threads = options.threads or usable_cores()
        height, width, self.components = self.pixels.shape
        tile = choices.tile_of(self.pixels, options.tile)
        self.frame = Header(
            width=width,
            height=height,
            layout=(COLOR_4X4 if self.components == 3 else GREY).code,
            layers=layers or (1 if tile is None else 3),
            group_log2=0 if tile is None else tile.bit_length() - 4,
            model_id=model.file_id,
            step_64=container.MAX_STEP_64,
            depth=picture.depth,
            alpha=picture.opacity is not None,
            pixels=graphic is not None,
            masking=choices.masking_of(options.tuned_for),
            equal_components=picture.equal_components,
        )
        self._graphics = None if graphic is None else graphics.pack(picture.flat, graphic, self.frame, options.effort, self.threads)
        self._coded = self.pixels if self._graphics is None else graphics.without_graphics(self.pixels, self._graphics)
        self._coefficients: dict[int, Float32] = {}
        self._chroma_gain = np.zeros((0, 2))
        self._large_layout = False

    def header(self, step_64: int) -> Header:
        """The header of the file at a step; its merge map is chosen later."""
        fine = choices.fine_dcs(self.components, step_64 / 64)
        return replace(self.frame, layout=self.layout(step_64).code, step_64=step_64, fine_dcs=fine)

    def settings(self, header: Header) -> Settings:
        """Settings of the tile groups."""
        return Settings.of(header, choices.lambda_of(self.model))

    def layout(self, step_64: int) -> Layout:
        """The layout at a step: 8x8 chroma at and below the coarsest step where coding chroma's high frequencies pays."""
        if self.components == 1:
            return GREY
        if self._large_layout:
            return COLOR_8X8
        step_levels = _CHROMA_STEP_LEVELS[: np.count_nonzero(step_64 / 64 <= _CHROMA_STEP_LEVELS)]
        if len(step_levels) > len(self._chroma_gain):
            more = step_levels[len(self._chroma_gain) :]
            with progress.stage("choosing the layout"):
                found = self.each_group(lambda number: chroma.estimate_gain(self._high_chroma(number), more))
            self._chroma_gain = np.concatenate([self._chroma_gain, sum(found)])
        restored = (self.model.synthesis is not None) & (step_levels >= MIN_STEP_LEVELS)
        return COLOR_8X8 if chroma.worth_coding(self._chroma_gain[: len(step_levels)], restored).any() else COLOR_4X4

    def transformed(self, header: Header) -> Layout:
        """The layout of the coefficients that coding needs: the header's, or with aiming all that the synthesis restores."""
        return COLOR_8X8 if self.rounds and self.components == 3 else LAYOUTS[header.layout]

    def part(self, number: int) -> Pixels:
        """The pixels [8 h, 8 w, components] of a tile group, fewer at the picture's edges; smooth in graphic cells."""
        place = self.frame.groups[number].scale(8)
        return self._coded[place.rows, place.columns]

    def graphic_cells(self, number: int) -> Bool | None:
        """The graphic cells of a tile group, bool [h, w]; None without a map."""
        place = self.frame.groups[number]
        return None if self._graphics is None else self._graphics.cells[place.rows, place.columns]

    @property
    def graphic_sections(self) -> list[Section]:
        """The sections with the pixels of graphic cells."""
        return [] if self._graphics is None else self._graphics.sections

    def visible_part(self, number: int) -> Bool | None:
        """The pixels of a tile group that PSNR counts, bool of the shape of `part`; None: all. Graphic ones have no error."""
        place = self.frame.groups[number].scale(8)
        counted = None if self.visible is None else self.visible[place.rows, place.columns]
        if self._graphics is None:
            return counted
        others = ~self._graphics.pixels[place.rows, place.columns]
        return others if counted is None else counted & others

    def coefficients(self, number: int, layout: Layout) -> Float32:
        """Coefficients float32 [C, h * w] of a tile group in grey levels (dct.forward)."""
        if number in self._coefficients:
            return self._coefficients[number][: layout.channels]
        if self.frame.group_log2:
            return dct.forward(self.part(number), layout, self.model.color, self.depth)
        self._coefficients[number] = dct.forward(self.part(number), layout.whole, self.model.color, self.depth)
        return self._coefficients[number][: layout.channels]

    def _high_chroma(self, number: int) -> Float32:
        """Chroma coefficients float32 [K, h * w] of a tile group, beyond the low 4x4, in grey levels."""
        channels = slice(COLOR_4X4.channels, None)
        if self.frame.group_log2:
            return dct.forward(self.part(number), COLOR_8X8, self.model.color, self.depth, channels)
        return self.coefficients(number, COLOR_8X8)[channels]

    def each_group(self, one: Callable[[int], Kept]) -> list[Kept]:
        """`one(number)` of each tile group, on all cores."""
        return side_by_side(one, range(len(self.frame.groups)), self.threads)

    def psnr_of(self, decoded: Pixels) -> float:
        """PSNR in dB of decoded samples [H, W, components] over the visible ones; infinity if they are equal."""
        error = np.subtract(decoded, self.pixels, dtype=np.int32)
        if self._graphics is not None:
            error[self._graphics.pixels] = 0
        if self.visible is not None:
            error = error[self.visible]
        mse = float(np.mean(np.square(error, dtype=np.int64 if self.depth > 8 else np.int32))) if error.size else 0.0
        peak = float((1 << self.depth) - 1)
        return float("inf") if mse == 0 else 10 * float(np.log10(peak**2 / mse))

    def ssimulacra2_of(self, decoded: Pixels) -> float:
        """SSIMULACRA2 of decoded samples uint8 [H, W, components], transparent ones over mid grey. Graphic cells have no error."""
        shown = decoded if self._graphics is None else np.where(self._graphics.pixels[:, :, None], self.pixels, decoded)
        with progress.stage("measuring"):
            return ssimulacra2.score(*(ssimulacra2.as_seen(each, self.opacity) for each in (self.pixels, shown)))

    def without_aiming(self) -> Self:
        """A copy that codes without aiming: several times as fast, at nearly the same bytes and PSNR."""
        other = copy(self)
        other.rounds = 0
        return other

    def with_large_layout(self) -> Self:
        """A copy that codes colour with 8x8 chroma at every step; its files fill the gap in size between the two layouts."""
        other = copy(self)
        other._large_layout = True
        return other
