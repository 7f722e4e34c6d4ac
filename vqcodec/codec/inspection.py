"""The inside of a file for those who study it: its codebook indices, and the bytes of each stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from vqcodec.arrays import Bool, Int32, Int64, Intp, UInt8, UInt32
from vqcodec.codec import streams, tokens
from vqcodec.codec.graphics import Overlay
from vqcodec.codec.groups import Indices, decode_group
from vqcodec.codec.reader import Reader
from vqcodec.codec.symbols import ClassSpan, GroupStreams, Sizes, SymbolReader
from vqcodec.codec.walk import walk
from vqcodec.entropy.codebooks import NATURAL_SIZE
from vqcodec.entropy.features import Grid
from vqcodec.errors import CorruptError, ModelError
from vqcodec.format import container
from vqcodec.format.bits import ByteReader
from vqcodec.format.header import Header
from vqcodec.format.stream_records import read_streams, stored_bytes
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.runtime import progress
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.transform.rect import Rect
from vqcodec.weights.exact import ExactModel

_ANY_SIZE = 1 << 35


def header_facts(reader: Reader) -> dict[str, Any]:
    """Facts of a file that need no model, as a JSON-able dict: size, coding, sections; `model` is None.

    Raises CorruptError, TruncatedError.
    """
    file, header = reader.file, reader.header
    layout = LAYOUTS[header.layout]
    return {
        "width": header.width,
        "height": header.height,
        "channels": header.channels,
        "depth": header.depth,
        "layout": "tokens" if header.tokens else layout.name if header.layers else "pixels",
        "version": ".".join(map(str, container.PIXELS_VERSION if header.pixels else container.VERSION)),
        "model": None,
        "model_id": header.model_id.hex(),
        "lossless": header.lossless,
        **_coding_facts(reader),
        "bytes": file.size,
        "bpp": 8 * file.size / (header.width * header.height),
        "sections": [
            {"type": container.NAMES.get(kind, f"{kind:#04x}"), "bytes": length, "checksum": f"{checksum:08x}"}
            for kind, length, checksum in file.table
        ],
    }


def _coding_facts(reader: Reader) -> dict[str, Any]:
    """Facts of the way in which a file is coded: by DCT, as tokens or as pixels. Raises CorruptError, TruncatedError."""
    header = reader.header
    if header.tokens:
        return tokens.header_facts(header)
    of_pixels = _pixel_facts(reader) if header.pixels else {}
    if not header.layers:
        return {"groups": len(header.groups), **of_pixels}
    return {
        "step": header.step_levels,
        "layers": header.layers,
        "groups": len(header.groups),
        "merge_map": header.merge_map,
        "masking": header.masking,
        "best_is_plain": header.best_is_plain,
        **of_pixels,
    }


@dataclass(frozen=True)
class _PixelContents:
    """Sums over the pixel sections of a file."""

    cells: int = 0
    graphic_cells: int = 0
    graphic_pixels: int = 0
    map_bytes: int = 0
    index_bytes: int = 0
    predicted_bytes: int = 0
    copied_cells: int = 0
    copied_pixels: int = 0

    def __add__(self, other: _PixelContents) -> _PixelContents:
        return _PixelContents(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def _pixel_contents(reader: Reader) -> _PixelContents:
    """The contents of all pixel sections. Raises CorruptError, TruncatedError."""
    from vqcodec.format import pixel_sections  # slow to import, and photographs do not need it
    from vqcodec.transform.palette import pixels_of_cells

    header = reader.header
    total = _PixelContents()
    for number, place in enumerate(header.groups):
        data = reader.file.pixels(number)
        section = pixel_sections.read(data, place.shape, layers=header.layers > 0, copied=header.patterns)
        shape = place.scale(8).intersection(Rect(0, 0, header.height, header.width)).shape
        total += _PixelContents(
            cells=section.graphic.size,
            graphic_cells=int(np.count_nonzero(section.drawn)),
            graphic_pixels=int(np.count_nonzero(pixels_of_cells(section.drawn, *shape))),
            copied_cells=int(np.count_nonzero(section.copied)),
            copied_pixels=int(np.count_nonzero(pixels_of_cells(section.copied, *shape))),
            map_bytes=len(data) - len(section.indices) - len(section.predicted),
            index_bytes=len(section.indices),
            predicted_bytes=len(section.predicted),
        )
    return total


def _pixel_facts(reader: Reader) -> dict[str, Any]:
    """Numbers of cells, of graphic ones, of copied ones with a pattern codebook, and of the palette's colours.

    Raises CorruptError, TruncatedError.
    """
    found, palette = _pixel_contents(reader), reader.file.other(container.PALETTE)
    colours = ByteReader(palette).varint() >> 1 if palette else 0
    copied = {"copied_cells": found.copied_cells} if reader.header.patterns else {}
    return {"cells": found.cells, "graphic_cells": found.graphic_cells, **copied, "colours": colours}


def describe_pixels(reader: Reader) -> dict[str, Any]:
    """Bytes of the maps, graphic pixels and predicted pixels of a file without layers, and their shares with the palette's.

    Copied cells are in the bytes of the maps.

    Raises CorruptError, TruncatedError.
    """
    header, found = reader.header, _pixel_contents(reader)
    predicted_pixels = header.width * header.height - found.graphic_pixels - found.copied_pixels
    counts = {"map": found.cells, "graphic pixels": found.graphic_pixels, "predicted pixels": predicted_pixels}
    sizes = {"map": found.map_bytes, "graphic pixels": found.index_bytes, "predicted pixels": found.predicted_bytes}
    palette = len(reader.file.other(container.PALETTE))
    total = max(sum(sizes.values()) + palette, 1)
    return {
        "streams": [{"name": name, "count": counts[name], "bytes": size} for name, size in sizes.items()],
        "shares": {name: size / total for name, size in {"palette": palette, **sizes}.items()},
    }


@dataclass(frozen=True)
class _Found:
    """The symbols uint8 [n] of some cells: each cell's vectors of one codebook and scale class."""

    codebook: int
    scale_class: int
    channel: int
    cells: Intp
    symbols: UInt8


class _Recorder(SymbolReader):
    """A reader of one tile group that keeps the index of every vector."""

    def __init__(self, model: ExactModel, group: GroupStreams) -> None:
        super().__init__(model, [group])
        self._found: list[_Found] = []

    def code(
        self, codebook_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE
    ) -> Int32:
        order = np.argsort(classes, kind="stable")
        self._channel, self._cells, self._classes = channels.start, cells[order], classes[order]
        return super().code(codebook_set, channels, cells, means, classes, sizes)

    def take(self, span: ClassSpan, count: int) -> UInt8:
        symbols = super().take(span, count)
        cells = self._cells[span.start : span.start + span.length]
        self._found.append(_Found(span.codebook, int(self._classes[span.start]), self._channel, cells, symbols))
        return symbols

    def columns(self) -> dict[str, UInt32]:
        """Columns uint32 [n]: index (rank in its codebook), codebook, class, channel (of the vector's first coefficient), cell."""
        columns: dict[str, list[Int64]] = {name: [] for name in ("index", "codebook", "class", "channel", "cell")}
        for found in self._found:
            count = len(found.symbols)
            vectors = count // len(found.cells)  # in each cell
            columns["index"].append(found.symbols.astype(np.int64))
            columns["codebook"].append(np.full(count, found.codebook))
            columns["class"].append(np.full(count, found.scale_class))
            firsts = found.channel + self.codebooks[found.codebook].dim * np.arange(vectors)
            columns["channel"].append(np.tile(firsts, len(found.cells)))
            columns["cell"].append(np.repeat(found.cells, vectors))
        return {name: np.concatenate(parts).astype(np.uint32) for name, parts in columns.items()}


def index_table(
    header: Header, indices: Indices, model: ExactModel, graphic: Mapping[int, Bool] | None = None
) -> dict[str, UInt32]:
    """Every index of a file in decoding order: columns uint32 [n] index, codebook, class, channel, row, column.

    `graphic`: graphic cells bool [h, w] by tile group; None: none. Raises CorruptError.
    """
    tables = []
    for number, place in enumerate(header.groups):
        recorder = _Recorder(model, streams.unpack(header, indices(number, header.layers), place.shape, model))
        walk(Grid(*place.shape, LAYOUTS[header.layout], None if graphic is None else graphic[number]), model, header, recorder)
        table = recorder.columns()
        row, column = np.divmod(table.pop("cell"), np.uint32(place.width))
        tables.append(table | {"row": np.uint32(place.top) + row, "column": np.uint32(place.left) + column})
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def describe(header: Header, indices: Indices, model: ExactModel, graphic: Mapping[int, Bool] | None = None) -> dict[str, Any]:
    """Bytes of each stream, and the share of each band in the ideal code length, which is the sum of all codewords' code lengths.

    Decodes all indices. `graphic`: graphic cells bool [h, w] by tile group; None: none. Raises CorruptError.
    """
    layout, merged = LAYOUTS[header.layout], model.streams[header.merge_map]
    names = [
        f"{stream}.{part}" if len(entry.dictionaries) > 1 else str(stream)
        for stream, entry in enumerate(merged)
        for part in range(len(entry.dictionaries))
    ] + ["raw bits"]
    counts, stored = [0] * len(names), [0] * len(names)
    bits = np.zeros(layout.channels)
    for number, place in enumerate(progress.steps(header.groups, "decoding")):
        sections = indices(number, header.layers)
        for section in sections:
            assert isinstance(section, bytes)
            parts, raw = read_streams(section, streams.mean_lengths(merged), _ANY_SIZE)
            for number_of_part, part in enumerate([*parts, StoredPart(len(raw), Mode.VERBATIM, raw)]):
                counts[number_of_part] += part.size
                stored[number_of_part] += stored_bytes(part)
        decode_group(header, sections, place.shape, model, bits, None if graphic is None else graphic[number])
    total = max(float(bits.sum()), 1e-9)
    shares: dict[str, float] = {}
    for channel, (component, v, u) in enumerate(layout.positions):
        plane = ("luma", "chroma 1", "chroma 2")[component]
        band = "dc" if u == v == 0 else "low" if u + v <= 3 else "high"
        shares[f"{plane} {band}"] = shares.get(f"{plane} {band}", 0.0) + float(bits[channel]) / total
    return {
        "ideal_bytes": round(float(bits.sum()) / 8),
        "streams": [{"name": name, "count": count, "bytes": size} for name, count, size in zip(names, counts, stored, strict=True)],
        "shares": shares,
    }


@dataclass(frozen=True)
class ExactFiles:
    """The checks and descriptions of files of an exact model; the base of ExactCodec."""

    model: ExactModel

    def check(self, header: Header) -> None:
        """Raise ModelError or CorruptError unless the file was made with this model."""
        model = self.model
        if not model.decodes(header.model_id):
            raise ModelError(f"the file was made with model {header.model_id.hex()}, not with {model.name} ({model.file_id.hex()})")
        if header.tokens:
            raise CorruptError("corrupt file: it has tokens, and its model has none")
        if header.merge_map >= len(model.maps):
            raise CorruptError("corrupt file: its merge map is not in the model")

    def indices(self, reader: Reader) -> dict[str, UInt32]:
        """Every codebook index (index_table). Raises CorruptError, TruncatedError."""
        graphic = Overlay(reader, range(len(reader.header.groups))).cells
        return index_table(reader.header, reader.indices, self.model, graphic)

    def describe(self, reader: Reader) -> dict[str, Any]:
        """Bytes of streams and shares of bands (describe). Raises CorruptError, TruncatedError."""
        overlay = Overlay(reader, range(len(reader.header.groups)))
        return describe(reader.header, reader.indices, self.model, overlay.cells) | overlay.describe()
