"""Graphic cells in files with layers: their pixels replace those of the decode, and their DCT blocks are not coded.

The encoder fills them with smooth colours before the DCT, so that the blocks around them are predicted well.

Modules of palettes and pixel sections are imported in functions: they take 5 ms, and photographs do not need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Pixels
from vqcodec.codec import hidden
from vqcodec.codec.reader import Reader
from vqcodec.codec.streams import Stored
from vqcodec.errors import FormatError
from vqcodec.format import container
from vqcodec.format.header import Header, Section
from vqcodec.transform import downscaling
from vqcodec.transform.dct import BLOCK
from vqcodec.transform.rect import Rect

if TYPE_CHECKING:
    from vqcodec.format.pixel_sections import PixelSection
    from vqcodec.transform.palette import Palette

# ------------------------------------------------------------------------------------------------ encoding


class GraphicCells(NamedTuple):
    """The graphic cells of a picture, and the sections that hold their pixels."""

    cells: Bool
    """bool [h, w]."""
    pixels: Bool
    """The map by pixel, bool [H, W]."""
    sections: list[Section]
    """Pixel sections by tile group, then the palette section."""


def pack(colours: Pixels, cells: Bool, header: Header, effort: int, threads: int) -> GraphicCells:
    """Sections of the graphic `cells` bool [h, w] of samples [H, W, 1 or 3]; `header` tells the tile groups."""
    from vqcodec.format import index_planes, palettes, pixel_sections
    from vqcodec.format.pixel_sections import PixelSection
    from vqcodec.transform.palette import pixels_of_cells

    parts = [colours[place.scale(BLOCK).rows, place.scale(BLOCK).columns] for place in header.groups]
    maps = [cells[place.rows, place.columns] for place in header.groups]
    packed = index_planes.pack_all(parts, maps, effort, threads)
    written = [
        pixel_sections.write(PixelSection(own, data, b""), layers=True) for own, data in zip(maps, packed.groups, strict=True)
    ]
    sections = [Section(container.PIXELS, data) for data in written]
    if packed.palette != palettes.EMPTY:
        sections.append(Section(container.PALETTE, packed.palette))
    return GraphicCells(cells, pixels_of_cells(cells, *colours.shape[:2]), sections)


def without_graphics(colours: Pixels, graphic: GraphicCells) -> Pixels:
    """Samples [H, W, 1 or 3] with smooth colours in the graphic cells."""
    return hidden.fill_hidden(colours, ~graphic.pixels)


# ------------------------------------------------------------------------------------------------ decoding


class Overlay:
    """The graphic cells of some tile groups of a file."""

    def __init__(self, reader: Reader, groups: Sequence[int]) -> None:
        """Read the maps of the tile groups; damaged ones count as empty, if the reader allows that. Raises FormatError."""
        self.header = header = reader.header
        self._reader = reader
        self._unknown: set[int] = set()  # tile groups whose map is lost
        self._sections: dict[int, PixelSection] = {}
        self._palette: Palette | None = None
        if not header.pixels:
            return
        from vqcodec.codec.file_palette import palette_of
        from vqcodec.format import pixel_sections
        from vqcodec.format.pixel_sections import PixelSection

        try:
            self._palette = palette_of(reader)
        except FormatError:
            if not reader.allow_partial:
                raise
            reader.tell("the palette was damaged: graphic cells are left out")
        for number in groups:
            cells = header.groups[number].shape
            try:
                self._sections[number] = pixel_sections.read(reader.file.pixels(number), cells, layers=True)
            except FormatError:
                if not reader.allow_partial:
                    raise
                reader.lost.add(number)
                self._unknown.add(number)
                self._sections[number] = PixelSection(np.zeros(cells, bool), b"", b"")

    def indices(self, group: int, layers: int) -> Stored:
        """The index sections of the first `layers` of a tile group; None for all if its map is lost, as it tells what they hold.

        Raises TruncatedError, CorruptError.
        """
        return [None] * layers if group in self._unknown else self._reader.indices(group, layers)

    @property
    def cells(self) -> dict[int, Bool] | None:
        """Maps of graphic cells bool [h, w] by tile group; None for files without them."""
        return {number: section.graphic for number, section in self._sections.items()} if self.header.pixels else None

    def describe(self) -> dict[str, Any]:
        """Numbers of graphic cells and of colours of their palette; nothing for files without graphic cells. Decodes these cells.

        Raises CorruptError, TruncatedError.
        """
        if self._palette is None:
            return {}
        for number in self._sections:
            self._unpack(number, self._palette)
        cells = sum(int(np.count_nonzero(section.graphic)) for section in self._sections.values())
        return {"graphic_cells": cells, "colours": len(self._palette.colours)}

    def paint(self, pixels: Pixels, region: Rect | None, scale: int, opacity: Pixels | None) -> Pixels:
        """Decoded samples [H', W', 1 or 3] of a region or at 1 / scale, graphic cells painted over. Raises CorruptError."""
        if self._palette is None:
            return pixels
        from vqcodec.transform.palette import pixels_of_cells

        painted = np.array(pixels)
        for number, section in self._sections.items():
            if not section.graphic.any():
                continue
            here, found = self._place(number), self._unpack(number, self._palette)
            mask = pixels_of_cells(section.graphic, *here.shape)
            if scale > 1:
                found, mask = _smaller(found, mask, scale, None if opacity is None else opacity[here.rows, here.columns])
                here = Rect(here.top // scale, here.left // scale, *mask.shape)
            seen = here.intersection(region or Rect(0, 0, *painted.shape[:2]))
            if seen.empty:
                continue
            inner, outer = seen.shift(-here.top, -here.left), seen if region is None else seen.shift(-region.top, -region.left)
            own = mask[inner.rows, inner.columns]
            painted[outer.rows, outer.columns][own] = found[inner.rows, inner.columns][own]
        return painted

    def _place(self, number: int) -> Rect:
        """The rectangle of a tile group in pixels."""
        return self.header.groups[number].scale(BLOCK).intersection(Rect(0, 0, self.header.height, self.header.width))

    def _unpack(self, number: int, palette: Palette) -> Pixels:
        """Samples [8 h, 8 w, 1 or 3] of a tile group, 0 outside the graphic cells. Raises CorruptError, TruncatedError."""
        from vqcodec.codec.file_palette import check_depth
        from vqcodec.format import index_planes

        section = self._sections[number]
        found = index_planes.unpack(section.indices, self._place(number).shape, palette, section.graphic)
        check_depth(found, self.header.depth)
        return found


def _smaller(pixels: Pixels, mask: Bool, scale: int, opacity: Pixels | None) -> tuple[Pixels, Bool]:
    """Samples [H, W, C] and their mask at 1 / scale: means over squares, weighted by `opacity` [H, W] if there is one."""
    if opacity is None:
        small = downscaling.downscale_picture(pixels, scale, alpha=False)
    else:
        both = np.concatenate([pixels, opacity[:, :, None]], axis=2)
        small = downscaling.downscale_picture(both, scale, alpha=True)[:, :, :-1]
    return small, mask[::scale, ::scale]
