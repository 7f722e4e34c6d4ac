"""Files without layers: every cell is stored as pixels, graphic cells as palette indices and the others by prediction.

They need no model. What the encoder was given is what the decoder gives back; a picture may have been changed before (graphics.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from vqcodec.arrays import Bool, Pixels, UInt32
from vqcodec.codec import content, inspection, predicted
from vqcodec.codec.choices import effort_of, tile_of
from vqcodec.codec.file_palette import check_depth, empty_palette, palette_of, samples_of
from vqcodec.codec.picture import Picture
from vqcodec.codec.reader import Reader
from vqcodec.entropy.pixel_pyramid import Shape
from vqcodec.errors import CorruptError, FormatError
from vqcodec.format import container, index_planes, palettes, pixel_sections
from vqcodec.format.header import Header, Section
from vqcodec.format.pixel_sections import PixelSection
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side, usable_cores
from vqcodec.transform import downscaling
from vqcodec.transform.dct import sample_type
from vqcodec.transform.layouts import COLOR_8X8, GREY
from vqcodec.transform.palette import CELL, Palette, pixels_of_cells
from vqcodec.transform.rect import Rect
from vqcodec.weights.builtin import BuiltIn
from vqcodec.weights.refiner import Refiner

_SHAPES: Final = ((1 << 12, Shape(1, False, 1)), (1 << 15, Shape(1, True, 1)), (1 << 17, Shape(2, True, 1)))
"""Extent of the weights of predictions in groups of up to so many samples: larger groups pay for more weights."""
_LARGE: Final = Shape(3, True, 2)
_DEFAULT, _THOROUGH, _MOST = 4, 7, 9
"""Efforts from which several maps are compared, and all maps; the effort of the search for palettes in small pictures."""
_MOSTLY: Final = 0.9
"""Share of cells of few colours from which on a picture without any graphic cell is not tried."""
_FEW_COLOURS: Final = 32
"""Most colours of a cell that is graphic in a mixed picture."""
_RARE: Final = 0.01
"""Share of cells below which a kind of cell is not worth a map."""


# ------------------------------------------------------------------------------------------------ encoding


def header_of(pixels: Pixels, depth: int, tile: int | None, *, lossless: bool) -> Header:
    """The header of a file without layers for samples [H, W, C]. `lossless`: they are those of the picture that was given."""
    height, width, channels = pixels.shape
    return Header(
        width=width,
        height=height,
        layout=(COLOR_8X8 if channels > 2 else GREY).code,
        layers=0,
        group_log2=0 if tile is None else tile.bit_length() - 4,
        model_id=b"",
        step_64=0,
        depth=depth,
        alpha=channels % 2 == 0,
        pixels=True,
        lossless=lossless,
    )


def file_of_map(pixels: Pixels, graphic: Bool, header: Header, others: Sequence[Section], options: EncodeOptions) -> bytes:
    """The file of samples [H, W, C] with a map of graphic cells bool [h, w]; `others` are its metadata sections."""
    places = header.groups
    parts = [pixels[place.scale(8).rows, place.scale(8).columns] for place in places]  # [8 h, 8 w, C]
    maps = [graphic[place.rows, place.columns] for place in places]  # bool [h, w]
    effort = _MOST if pixels.shape[0] * pixels.shape[1] <= content.SMALL else options.effort
    threads = options.threads or usable_cores()

    def one(number: int) -> bytes:
        rest = b"" if maps[number].all() else _predict(parts[number], maps[number], header.depth, options.effort)
        section = PixelSection(maps[number], packed.groups[number] if packed else b"", rest)
        return pixel_sections.write(section, layers=False)

    with progress.stage("", 2):
        packed = index_planes.pack_all(parts, maps, effort, threads) if graphic.any() else None
        progress.advance()
        sections = side_by_side(one, range(len(places)), threads)
    found = [Section(container.PIXELS, data) for data in sections]
    table = [Section(container.PALETTE, packed.palette)] if packed and packed.palette != palettes.EMPTY else []
    return container.write_file(header, [*found, *table, *others])


def _predict(pixels: Pixels, graphic: Bool, depth: int, effort: int) -> bytes:
    """The predicted pixels of a tile group [H, W, C]: all but those of graphic cells."""
    planes = predicted.planes_of(pixels)  # [C, H, W]
    coded = ~pixels_of_cells(graphic, *pixels.shape[:2]) if graphic.any() else None
    samples = planes.size if coded is None else len(planes) * int(np.count_nonzero(coded))
    shape = next((shape for most, shape in _SHAPES if samples <= most), _LARGE)
    return predicted.encode(planes, coded, (1 << depth) - 1, shape, effort_of(effort).residual_levels)


def maps_to_try(pixels: Pixels, depth: int, effort: int) -> list[Bool]:
    """Maps of graphic cells bool [h, w] that may give the smallest file of samples [H, W, C]; more of them at high efforts."""
    height, width, _ = pixels.shape
    cells = -(-height // CELL), -(-width // CELL)
    everything, nothing = np.ones(cells, bool), np.zeros(cells, bool)
    thorough = effort >= _THOROUGH or height * width <= content.SMALL
    if not thorough and not content.may_hold_graphics(pixels, depth):
        return [nothing]
    mixed = content.few_coloured(pixels, _FEW_COLOURS)
    share = float(mixed.mean())
    if effort < _DEFAULT and not thorough:
        return [everything if share > 1 - _RARE else mixed]
    found = [everything]
    if thorough or share < _MOSTLY:
        found.append(nothing)
    if _RARE < share < 1 - _RARE:
        found.append(mixed)
    return found


# ------------------------------------------------------------------------------------------------ decoding


def decode_group(data: bytes, header: Header, place: Rect, palette: Palette) -> Pixels:
    """Samples [8 h, 8 w, C] of the tile group at `place` in cells, fewer at the picture's edges. Raises CorruptError."""
    section = pixel_sections.read(data, place.shape, layers=False)
    shape = place.scale(8).intersection(Rect(0, 0, header.height, header.width)).shape
    pixels = index_planes.unpack(section.indices, shape, palette, section.graphic)
    if not section.graphic.all():
        planes = predicted.planes_of(pixels)
        coded = ~pixels_of_cells(section.graphic, *shape) if section.graphic.any() else None
        predicted.decode(section.predicted, planes, coded, (1 << header.depth) - 1)
        pixels = predicted.pixels_of(planes)
    check_depth(pixels, header.depth)
    return pixels


class PixelCodec:
    """Encodes and decodes files without layers."""

    def __init__(self, model: BuiltIn) -> None:
        self.model = model

    def encode(self, picture: Picture, options: EncodeOptions) -> bytes:
        """The smallest exact file found of a picture's samples."""
        return self._smallest(picture, options, maps_to_try(picture.samples, picture.depth, options.effort))

    def encode_graphic(self, picture: Picture, options: EncodeOptions) -> bytes:
        """The exact file of a picture's samples with graphic cells alone."""
        height, width, _ = picture.samples.shape
        return self._smallest(picture, options, [np.ones((-(-height // CELL), -(-width // CELL)), bool)])

    def _smallest(self, picture: Picture, options: EncodeOptions, maps: list[Bool]) -> bytes:
        """The smallest of the exact files with these maps of graphic cells, bool [h, w]."""
        pixels = picture.samples  # [H, W, C]
        header = header_of(pixels, picture.depth, tile_of(pixels, options.tile), lossless=picture.unchanged)
        files = [file_of_map(pixels, cells, header, picture.metadata, options) for cells in progress.steps(maps, "coding")]
        return min(files, key=len)

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: Pixels | None, refiner: Refiner | None
    ) -> Pixels:
        """The samples [H', W', C] of a file, alpha included."""
        header, threads = reader.header, options.threads or usable_cores()
        whole = Rect(0, 0, header.height, header.width)
        wanted = region or whole
        palette = self._palette(reader)
        pixels = shared_empty((*wanted.shape, samples_of(header)), sample_type(header.depth))
        numbers = [number for number, place in enumerate(header.groups) if not place.scale(8).intersection(wanted).empty]
        # read here: forks would share one file offset
        sections = {number: self._section(reader, number, without_graphic=palette is None) for number in numbers}

        def one(number: int) -> None:
            place, data = header.groups[number], sections[number]
            here = place.scale(8).intersection(whole)
            seen = here.intersection(wanted)
            target = pixels[seen.shift(-wanted.top, -wanted.left).rows, seen.shift(-wanted.top, -wanted.left).columns]
            if data is None:
                target[:] = 1 << (header.depth - 1)
                return
            inner = seen.shift(-here.top, -here.left)
            target[:] = decode_group(data, header, place, palette or empty_palette(header))[inner.rows, inner.columns]

        with progress.stage("decoding"):
            side_by_side(one, numbers, threads)
        return pixels if options.scale == 1 else downscaling.downscale_picture(pixels, options.scale, alpha=header.alpha)

    def _palette(self, reader: Reader) -> Palette | None:
        """The palette of a file; None if it is damaged and the reader allows that."""
        try:
            return palette_of(reader)
        except FormatError:
            if not reader.allow_partial:
                raise
            return None

    def _section(self, reader: Reader, number: int, *, without_graphic: bool) -> bytes | None:
        """The pixel section of a tile group; None if it is damaged, or has graphic cells that it must not have, and the reader
        allows that."""
        try:
            data = reader.file.pixels(number)
            if without_graphic and pixel_sections.read(data, reader.header.groups[number].shape, layers=False).graphic.any():
                raise CorruptError("corrupt file: graphic cells without a palette")
            return data
        except FormatError:
            if not reader.allow_partial:
                raise
            reader.lost.add(number)
            return None

    def check(self, header: Header) -> None:
        """Raise CorruptError unless the file has no layers."""
        if header.layers or header.tokens:
            raise CorruptError("corrupt file: it names no model")

    def indices(self, reader: Reader) -> dict[str, UInt32]:
        """Columns without entries: the file has no codebook of a model."""
        return {name: np.zeros(0, np.uint32) for name in ("index", "row", "column")}

    def describe(self, reader: Reader) -> dict[str, Any]:
        """Bytes of the parts of the pixel sections (inspection.describe_pixels). Decodes everything.

        Raises CorruptError, TruncatedError.
        """
        self.decode(reader, DecodeOptions(), None, None, None)
        return inspection.describe_pixels(reader)
