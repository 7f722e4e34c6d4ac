"""Files without layers: every cell is stored as pixels, graphic cells as palette indices and the others by prediction.

They need no model, unless cells are copied from the pattern codebook of a graphic model. What the encoder was given is what the
decoder gives back; a picture may have been changed before (graphics.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Pixels, UInt32
from vqcodec.codec import content, inspection, predicted
from vqcodec.codec.choices import effort_of, tile_of
from vqcodec.codec.file_palette import check_depth, empty_palette, palette_of, samples_of
from vqcodec.codec.pattern_book import book_of
from vqcodec.codec.pattern_search import find_copies
from vqcodec.codec.picture import Picture
from vqcodec.codec.reader import Reader
from vqcodec.entropy.pixel_contexts import PixelContexts
from vqcodec.entropy.pixel_pyramid import Shape
from vqcodec.errors import CorruptError, FormatError, ModelError
from vqcodec.format import container, index_planes, palettes, patterns, pixel_sections, profile_parts
from vqcodec.format.bits import ByteReader
from vqcodec.format.header import Header, Section
from vqcodec.format.patterns import Copies, no_copies
from vqcodec.format.pixel_sections import PixelSection
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side, usable_cores
from vqcodec.transform import downscaling
from vqcodec.transform.dct import sample_type
from vqcodec.transform.layouts import COLOR_8X8, GREY
from vqcodec.transform.palette import CELL, Palette, pixels_of_cells
from vqcodec.transform.rect import Rect
from vqcodec.weights import registry
from vqcodec.weights.builtin import BuiltIn
from vqcodec.weights.graphic import GraphicModel
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
_GREY: Final = 2
"""Most channels of a grey picture."""
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


class Coded(NamedTuple):
    """The pixel sections of a picture, and its palette, b"" if it has none."""

    sections: list[PixelSection]
    palette: bytes

    def file(self, header: Header, others: Sequence[Section]) -> bytes:
        """The file with these; `others` are its metadata sections."""
        found = [Section(container.PIXELS, pixel_sections.write(section, layers=False)) for section in self.sections]
        table = [Section(container.PALETTE, self.palette)] if self.palette else []
        return container.write_file(header, [*found, *table, *others])


class OfModel(NamedTuple):
    """Copied cells, and a network of contexts, that a file takes from a graphic model."""

    copies: Sequence[Copies]
    """The copied cells of each tile group."""
    network: PixelContexts | None


def code_map(pixels: Pixels, graphic: Bool, header: Header, options: EncodeOptions, of_model: OfModel | None = None) -> Coded:
    """Samples [H, W, C] coded with a map of graphic cells bool [h, w]."""
    places = header.groups
    parts = parts_of(pixels, header)
    maps = [graphic[place.rows, place.columns] for place in places]  # bool [h, w]
    copies = of_model.copies if of_model else None
    if copies is not None:  # a copied cell is of the kind that the others are
        maps = [own | one.cells if (own | one.cells).all() else own & ~one.cells for own, one in zip(maps, copies, strict=True)]
    kinds = [PixelSection(own, b"", b"", copies[number] if copies else None) for number, own in enumerate(maps)]
    effort = _MOST if pixels.shape[0] * pixels.shape[1] <= content.SMALL else options.effort
    threads = options.threads or usable_cores()

    drawn = [kind.drawn for kind in kinds]

    def one(number: int) -> PixelSection:
        left = kinds[number].is_predicted
        rest = _predict(parts[number], left, header.depth, options.effort) if left.any() else b""
        return kinds[number]._replace(indices=packed.groups[number] if packed else b"", predicted=rest)

    with progress.stage("", 2):
        network = of_model.network if of_model else None
        packed = index_planes.pack_all(parts, drawn, effort, threads, network) if any(own.any() for own in drawn) else None
        progress.advance()
        sections = side_by_side(one, range(len(places)), threads)
    return Coded(sections, packed.palette if packed and packed.palette != palettes.EMPTY else b"")


def parts_of(pixels: Pixels, header: Header) -> list[Pixels]:
    """The samples [8 h, 8 w, C] of each tile group, fewer at the picture's edges."""
    return [pixels[place.scale(8).rows, place.scale(8).columns] for place in header.groups]


def _predict(pixels: Pixels, cells: Bool, depth: int, effort: int) -> bytes:
    """The predicted pixels of a tile group [H, W, C]: those of `cells` bool [h, w]."""
    planes = predicted.planes_of(pixels)  # [C, H, W]
    coded = None if cells.all() else pixels_of_cells(cells, *pixels.shape[:2])
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


def decode_group(data: bytes, header: Header, place: Rect, palette: Palette, model: GraphicModel | None) -> Pixels:
    """Samples [8 h, 8 w, C] of the tile group at `place` in cells, fewer at the picture's edges. Raises CorruptError."""
    network = _network_of(model, header.depth) if model else None
    section = pixel_sections.read(data, place.shape, layers=False, copied=header.patterns)
    shape = place.scale(8).intersection(Rect(0, 0, header.height, header.width)).shape
    pixels = index_planes.unpack(section.indices, shape, palette, section.drawn, network)
    if section.copies is not None and model is not None:
        book_of(model).paste(pixels, section.copies)
    left = section.is_predicted
    if left.any():
        planes = predicted.planes_of(pixels)
        coded = None if left.all() else pixels_of_cells(left, *shape)
        predicted.decode(section.predicted, planes, coded, (1 << header.depth) - 1)
        pixels = predicted.pixels_of(planes)
    check_depth(pixels, header.depth)
    return pixels


def _network_of(model: GraphicModel, depth: int) -> PixelContexts | None:
    """The network of a model that files of a depth may use."""
    return model.network if depth == 8 else None


class _Trial(NamedTuple):
    """A file without a model, and the map of graphic cells bool [h, w] that it is made with."""

    cells: Bool
    coded: Coded
    file: bytes


def _with_profile_of(model: GraphicModel, section: Section) -> Section:
    """An ICC section by means of the profiles of the model, if that is shorter; other sections as they are."""
    if section.type != container.ICC or len(model.profiles) < profile_parts.LEAST_CONTENT:
        return section
    data = profile_parts.write(section.data, model.profiles)
    return section if len(data) >= len(section.data) else Section(container.MODEL_ICC, data)


class PixelCodec:
    """Encodes and decodes files without layers."""

    def __init__(self, model: BuiltIn | GraphicModel) -> None:
        self.model = model

    def encode(self, picture: Picture, options: EncodeOptions) -> bytes:
        """The file of a picture: exact if it is to be lossless; else the default model codes what is not graphic.

        Raises InputError, LimitError, ModelError.
        """
        if options.lossless:
            return self.encode_exact(picture, options)
        from vqcodec.codec.pipeline import ExactCodec  # imports this module, too

        return ExactCodec(registry.find(None)).encode(picture, options, self.model)

    def encode_exact(self, picture: Picture, options: EncodeOptions) -> bytes:
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
        model = self.model if isinstance(self.model, GraphicModel) else None

        def trial_of(cells: Bool) -> _Trial:
            coded = code_map(pixels, cells, header, options)
            return _Trial(cells, coded, coded.file(header, picture.metadata))

        with progress.stage("coding", len(maps) + (model is not None)):
            trials = []
            for cells in maps:
                trials.append(trial_of(cells))
                progress.advance()
            best = min(trials, key=lambda trial: len(trial.file))
            contexts = index_planes.SEARCHES[options.effort - 1].contexts and not any(cells.all() for cells in maps)
            if contexts and pixels.shape[2] <= _GREY and content.bytes_in_contexts(pixels) < len(best.file):
                best = min(best, trial_of(np.ones_like(maps[0])), key=lambda trial: len(trial.file))  # a scan without clear cells
            if model is None:
                return best.file
            return min([best.file, *self._files_of_model(model, picture, best, header, options)], key=len)

    @staticmethod
    def _files_of_model(
        model: GraphicModel, picture: Picture, plain: _Trial, header: Header, options: EncodeOptions
    ) -> list[bytes]:
        """The files of a picture that use the model, with the map of the file that does not."""
        found = []
        header = replace(header, patterns=True, model_id=model.file_id)
        others = [_with_profile_of(model, section) for section in picture.metadata]
        copies = [no_copies(section.graphic.shape) for section in plain.coded.sections]
        if others != picture.metadata:
            without = [section._replace(copies=one) for section, one in zip(plain.coded.sections, copies, strict=True)]
            found.append(plain.coded._replace(sections=without).file(header, others))
        if picture.depth == 8 and model.sheets:
            book, parts = book_of(model), parts_of(picture.samples, header)
            _ = book.windows  # before other processes need them
            copies = side_by_side(
                lambda number: find_copies(parts[number], book), range(len(parts)), options.threads or usable_cores()
            )
        network = _network_of(model, picture.depth)
        if network or any(one.cells.any() for one in copies):
            of_model = OfModel(copies, network)
            found.append(code_map(picture.samples, plain.cells, header, options, of_model).file(header, others))
        return found

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: Pixels | None, refiner: Refiner | None
    ) -> Pixels:
        """The samples [H', W', C] of a file, alpha included."""
        header, threads = reader.header, options.threads or usable_cores()
        whole = Rect(0, 0, header.height, header.width)
        wanted = region or whole
        palette, model = self._palette(reader), self.model if isinstance(self.model, GraphicModel) else None
        pixels = shared_empty((*wanted.shape, samples_of(header)), sample_type(header.depth))
        numbers = [number for number, place in enumerate(header.groups) if not place.scale(8).intersection(wanted).empty]
        # read here: forks would share one file offset
        sections = {number: self._section(reader, number, without_graphic=palette is None) for number in numbers}
        if model is not None:  # once, before several processes need them
            copies = [patterns.read(ByteReader(data), header.groups[number].shape) for number, data in sections.items() if data]
            book_of(model).prepare(copies)

        def one(number: int) -> None:
            place, data = header.groups[number], sections[number]
            here = place.scale(8).intersection(whole)
            seen = here.intersection(wanted)
            target = pixels[seen.shift(-wanted.top, -wanted.left).rows, seen.shift(-wanted.top, -wanted.left).columns]
            if data is None:
                target[:] = 1 << (header.depth - 1)
                return
            inner = seen.shift(-here.top, -here.left)
            target[:] = decode_group(data, header, place, palette or empty_palette(header), model)[inner.rows, inner.columns]

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
            if without_graphic and self._read_section(reader, number, data).drawn.any():
                raise CorruptError("corrupt file: graphic cells without a palette")
            return data
        except FormatError:
            if not reader.allow_partial:
                raise
            reader.lost.add(number)
            return None

    @staticmethod
    def _read_section(reader: Reader, number: int, data: bytes) -> PixelSection:
        """The contents of the pixel section of a tile group. Raises FormatError."""
        return pixel_sections.read(data, reader.header.groups[number].shape, layers=False, copied=reader.header.patterns)

    def check(self, header: Header) -> None:
        """Raise CorruptError unless the file has no layers, and ModelError unless it was made with this model, if with one."""
        if header.layers or header.tokens:
            raise CorruptError("corrupt file: it names no model")
        if header.patterns and not (isinstance(self.model, GraphicModel) and self.model.decodes(header.model_id)):
            used = f"{self.model.name} ({self.model.file_id.hex()})"
            raise ModelError(f"the file was made with model {header.model_id.hex()}, not with {used}")

    def indices(self, reader: Reader) -> dict[str, UInt32]:
        """Columns without entries: the file has no codebook of a model."""
        return {name: np.zeros(0, np.uint32) for name in ("index", "row", "column")}

    def describe(self, reader: Reader) -> dict[str, Any]:
        """Bytes of the parts of the pixel sections (inspection.describe_pixels). Decodes everything.

        Raises CorruptError, TruncatedError.
        """
        self.decode(reader, DecodeOptions(), None, None, None)
        return inspection.describe_pixels(reader)
