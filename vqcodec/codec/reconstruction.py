"""Latents -> pixels: exactly, through the networks, or at a smaller size.

A reconstruction says which tile groups and layers it needs, takes the latents of each group as they are decoded, and gives the
pixels at the end:

    Plain       exact; the whole picture or a region
    Restored    the same through a synthesis of the model, and a refiner behind it
    Scaled      the picture 2, 4 or 8 times smaller, from low frequencies
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import numpy as np

from vqcodec.arrays import Int16, Pixels
from vqcodec.codec.sharpening import Sharpener
from vqcodec.codec.walk import layer_of_tile
from vqcodec.format.header import Header
from vqcodec.nets import convolution
from vqcodec.nets.convolution import ConvNetwork, RunNetwork
from vqcodec.nets.synthesis import MIN_STEP_LEVELS, DecodeRows, plain_coefficients, synthesise
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side
from vqcodec.transform import dct, downscaling, seams
from vqcodec.transform.layouts import LAYOUTS, Layout
from vqcodec.transform.rect import Rect
from vqcodec.weights.exact import ExactModel


class Reconstruction(ABC):
    """Base class of the three; `header` and `layout` are those of the file, `groups` the numbers of the tile groups it needs."""

    groups: Sequence[int]
    layers: int
    """Layers that it needs, from the first."""

    def __init__(self, header: Header) -> None:
        self.header, self.layout = header, LAYOUTS[header.layout]
        self.layers = header.layers

    def tiles_of(self, place: Rect) -> int | None:
        """Tiles that it needs of the tile group at `place` in cells, from the first; None: all."""
        return None

    @abstractmethod
    def add(self, place: Rect, latents: Int16) -> None:
        """Take the latents int16 [C, h * w] of the tile group at `place` in cells.

        May run in a copy of this process, so it stores into shared memory only.
        """

    @abstractmethod
    def pixels(self, threads: int = 1) -> Pixels:
        """Pixels [H, W, components], once every group has been added."""


class Plain(Reconstruction):
    """The exact decode of the whole picture, or of a `region` in pixels."""

    def __init__(self, header: Header, model: ExactModel, region: Rect | None = None) -> None:
        super().__init__(header)
        self._region = region or Rect(0, 0, header.height, header.width)
        self._around = _with_seams(header, self._region)
        self._matrix = dct.inverse_matrix(self.layout, model.color)
        self._pixels = shared_empty((*self._around.shape, self.layout.components), dct.sample_type(header.depth))
        self.groups = _groups_touched(header, self._around)

    def add(self, place: Rect, latents: Int16) -> None:
        header, around = self.header, self._around
        picture = Rect(0, 0, header.height, header.width)
        cells = _cells_touched(around).intersection(place)
        covered = cells.scale(8).intersection(picture)  # in pixels
        wanted = covered.intersection(around)
        part = latents.reshape(-1, *place.shape)[:, *_slices(cells, place)]  # int16 [C, h', w']
        target = self._pixels[_slices(wanted, around)]
        whole = target if wanted == covered else np.empty((*covered.shape, self.layout.components), target.dtype)
        flat = np.ascontiguousarray(part).reshape(len(part), -1)
        dct.inverse(flat, header.step_64, cells.shape, self._matrix, whole, header.depth)
        if whole is not target:
            target[:] = whole[_slices(wanted, covered)]

    def pixels(self, threads: int = 1) -> Pixels:
        smooth_seams(self.header, self._pixels, self._around)
        return self._pixels[_slices(self._region, self._around)]


class Restored(Reconstruction):
    """The decode through a synthesis of the model, if it has one, and a sharpener; within 1 of 255 the same on every machine."""

    def __init__(
        self,
        header: Header,
        model: ExactModel,
        region: Rect | None = None,
        *,
        run: RunNetwork | None = None,
        sharpener: Sharpener | None = None,
    ) -> None:
        """`run` runs the synthesis on another device, strip by strip. None: numpy."""
        super().__init__(header)
        self._color, self._run, self._sharpener = model.color, run, sharpener
        self._synthesis = model.syntheses.get(synthesis_kind(header, model, sharpener))
        self._region = region or Rect(0, 0, header.height, header.width)
        self._around = _with_seams(header, self._region)
        halo = (self._synthesis.halo if self._synthesis else 0) + (sharpener.halo if sharpener else 0)
        grid = Rect(0, 0, *header.cells)
        touched = _cells_touched(self._around)
        reached = Rect(touched.top - halo, touched.left - halo, touched.height + 2 * halo, touched.width + 2 * halo)
        self._cells = reached.intersection(grid)  # cells that the pixels depend on
        self._latents = shared_empty((self.layout.channels, *self._cells.shape), np.int16)
        self.groups = _groups_touched(header, self._cells.scale(8))

    def add(self, place: Rect, latents: Int16) -> None:
        common = place.intersection(self._cells)
        given = latents.reshape(-1, *place.shape)[:, *_slices(common, place)]
        self._latents[:, *_slices(common, self._cells)] = given

    def pixels(self, threads: int = 1) -> Pixels:
        header, cells = self.header, self._cells
        h, w = cells.shape
        covered = cells.scale(8).intersection(Rect(0, 0, header.height, header.width))
        matrix = (dct.inverse_matrix(self.layout.whole, self._color) / (1 << dct.SHIFT)).astype(np.float32)
        pixels = shared_empty((*covered.shape, self.layout.components), dct.sample_type(header.depth))
        latents, step_levels = self._latents.reshape(len(self._latents), -1), header.step_levels
        decode_rows, halo = best_coefficients(self._synthesis, latents, step_levels, (h, w), self.layout, self._run)
        elsewhere = self._run is not None
        if (sharpener := self._sharpener) is not None:
            halo, elsewhere = sharpener.halo, elsewhere or sharpener.run is not None
            decode_rows = partial(
                sharpener.sharpen,
                decoded=decode_rows,
                latents=latents,
                step_levels=step_levels,
                grid=(h, w),
                layout=self.layout,
                corner=(cells.top, cells.left),
            )

        def strip(rows: convolution.Rows) -> None:
            coefficients = decode_rows(rows)  # float32 [C', n] in grey levels
            dct.inverse_float(coefficients, w, matrix, pixels[8 * rows[0] : 8 * rows[1]], header.depth)

        with progress.stage("restoring"):
            side_by_side(strip, convolution.strips(halo, (h, w)), 1 if elsewhere else threads)
        around = pixels[_slices(self._around, covered)]
        smooth_seams(header, around, self._around)
        return around[_slices(self._region, self._around)]


class Scaled(Reconstruction):
    """The whole picture at 1/2, 1/4 or 1/8 (`scale` 2, 4, 8) of its size, rounded up, from its low frequencies alone; not exact.

    If `opacity` [H, W] says that pixels of one square are not equally opaque, their tile group is decoded as a whole and
    their colours are weighted by it.
    """

    def __init__(self, header: Header, model: ExactModel, scale: int, opacity: Pixels | None = None) -> None:
        super().__init__(header)
        layout, self._scale, self._side = self.layout, scale, 8 // scale
        self._matrix, self._channels = dct.scaled_matrix(layout, model.color, self._side)
        self._tiles = sum(tile.first <= self._channels[-1] for tile in layout.tiles)
        self._whole_matrix = dct.inverse_matrix(layout, model.color)
        self._opacity = opacity
        self._mixed = None if opacity is None else downscaling.mixed_squares(opacity, scale)
        if self._mixed is None or not self._mixed.any():
            self.layers = 1 if self._tiles == 0 else 1 + layer_of_tile(layout, header.layers, self._tiles - 1)
        shape = -(-header.height // scale), -(-header.width // scale), layout.components
        self._pixels = shared_empty(shape, dct.sample_type(header.depth))
        self.groups = range(len(header.groups))

    def tiles_of(self, place: Rect) -> int | None:
        return None if self._is_mixed(place) else self._tiles

    def add(self, place: Rect, latents: Int16) -> None:
        header, here = self.header, _slices(place.scale(self._side))
        part = self._pixels[here]
        coefficients = latents[self._channels] * np.float32(header.step_64 / (64 * 16))  # float32 [C', h * w] in grey levels
        dct.inverse_float(coefficients, place.width, self._matrix, part, header.depth)
        if self._mixed is not None and self._opacity is not None and self._is_mixed(place):
            opacity = self._opacity[_slices(place.scale(8))]
            group = np.empty((*opacity.shape, self.layout.components), part.dtype)
            dct.inverse(latents, header.step_64, place.shape, self._whole_matrix, group, header.depth)
            downscaling.weigh_colours(part, self._mixed[here], group, opacity, self._scale)

    def pixels(self, threads: int = 1) -> Pixels:
        return self._pixels

    def _is_mixed(self, place: Rect) -> bool:
        return self._mixed is not None and bool(self._mixed[_slices(place.scale(self._side))].any())


def synthesis_kind(header: Header, model: ExactModel, sharpener: Sharpener | None) -> str:
    """The key in `model.syntheses` of the network for a file; refiners were trained behind the one for squared error."""
    return "synthesis" if sharpener else model.synthesis_kind(header.masking)


def best(
    header: Header,
    model: ExactModel,
    region: Rect | None = None,
    *,
    run: RunNetwork | None = None,
    sharpener: Sharpener | None = None,
) -> Reconstruction:
    """The reconstruction closest to the original: Restored if there is a network and the step is coarse enough, else Plain.

    It is also Plain if the file says that this is closer; then there is no sharpener's texture either.
    """
    no_network = model.synthesis is None and sharpener is None
    if no_network or header.best_is_plain or header.step_levels < MIN_STEP_LEVELS:
        return Plain(header, model, region)
    return Restored(header, model, region, run=run, sharpener=sharpener)


def best_pixels(header: Header, model: ExactModel, latents: Sequence[Int16], threads: int) -> Pixels:
    """Pixels [H, W, components] of the best reconstruction, from the latents int16 [C, h * w] of every tile group."""
    image = best(header, model)
    side_by_side(lambda number: image.add(header.groups[number], latents[number]), range(len(latents)), threads)
    return image.pixels(threads)


def best_coefficients(
    synthesis: ConvNetwork | None,
    latents: Int16,
    step_levels: float,
    grid: tuple[int, int],
    layout: Layout,
    run: RunNetwork | None = None,
) -> tuple[DecodeRows, int]:
    """A decoder of rows of latents int16 [C, h * w], through a synthesis if there is one; and its halo in cells."""
    if synthesis is None:
        return partial(plain_coefficients, latents, step_levels, grid, layout), 0
    run = run or partial(convolution.run_network, synthesis)
    return partial(synthesise, run, synthesis.halo, latents, step_levels, grid, layout), synthesis.halo


# ------------------------------------------------------------------------------------------------ seams and rectangles


def smooth_seams(header: Header, pixels: Pixels, place: Rect) -> None:
    """Smooth, in place, the borders between tile groups in pixels [H, W, components] that cover `place` in the picture."""
    if header.group_log2:
        side = 8 << header.group_log2
        rows, columns = (
            [border - first for border in range(first // side * side + side, first + size, side)]
            for first, size in ((place.top, place.height), (place.left, place.width))
        )
        seams.smooth_seams(pixels, rows, columns, header.step_64, header.depth)


def _with_seams(header: Header, region: Rect) -> Rect:
    """A region in pixels, with the pixels around it that smoothing its seams depends on."""
    side = 8 << header.group_log2 if header.group_log2 else 0
    top, bottom = seams.needed(region.top, region.bottom, side, header.height)
    left, right = seams.needed(region.left, region.right, side, header.width)
    return Rect(top, left, bottom - top, right - left)


def _groups_touched(header: Header, region: Rect) -> list[int]:
    """Numbers of the tile groups that a region in pixels touches."""
    return [number for number, place in enumerate(header.groups) if not place.scale(8).intersection(region).empty]


def _cells_touched(region: Rect) -> Rect:
    """The cells that a region in pixels touches."""
    top, left = region.top // 8, region.left // 8
    return Rect(top, left, -(-region.bottom // 8) - top, -(-region.right // 8) - left)


def _slices(inner: Rect, outer: Rect | None = None) -> tuple[slice, slice]:
    """Rows and columns of a rectangle in an array that covers `outer`, or everything."""
    moved = inner if outer is None else inner.shift(-outer.top, -outer.left)
    return moved.rows, moved.columns
