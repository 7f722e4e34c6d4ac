"""The pipeline: pixels -> coefficients -> latents -> symbols -> streams -> sections, and back. No input or output.

`walk` is the one description of the order in which a tile group is coded. Encoder and decoder both run it and differ only
in where a residual comes from: `SymbolWriter` searches the codebooks for it, `SymbolReader` looks it up.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec import container, dc, dct, frames, networks, prior
from vqcodec.bands import COLOR_8X8, LAYOUTS, Layout, Tile
from vqcodec.bits import pack_bits
from vqcodec.context import Context, Correction, NoCorrection
from vqcodec.errors import CorruptError, ModelError
from vqcodec.model import AC_SET, DC_SET, Model, Stream, tile_name
from vqcodec.prior import Cells, Float, Grid
from vqcodec.records import VERBATIM, read_streams, stored_bytes, write_streams
from vqcodec.symbols import Calls, IndexRecorder, Residuals, SymbolReader, SymbolWriter, search_rates
from vqcodec.types import Header, Section, StreamRecord

_MAPS_AHEAD = 2
"""Merge maps that are tried after one that made a file smaller; for small files all are."""
_SMALL_FILE = 8192
_GROUPS_TRIED = 3
"""Tile groups, evenly spread, on which merge maps are tried: all groups of a large picture would take a third of its time."""


class Coder(Protocol):
    """Where residuals come from."""

    def start_layer(self, layer: int) -> None: ...

    def code(self, book_set: int, channels: slice, cells: Cells, means: NDArray[np.int32], classes: NDArray[np.uint8]) -> Residuals:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n] and classes uint8 [n]."""
        ...


def layer_of_tile(layout: Layout, layers: int, order: int) -> int:
    """Layer of the tile that is the `order`-th of the layout."""
    if layers == 3:
        return 1 if order < layout.low_tiles else 2
    return layers - 1


def walk(grid: Grid, model: Model, step: int, layers: int, coder: Coder, correction: Correction | None = None) -> None:
    """Code all latents of a tile group, in place in `grid.latents`; `correction` stands in for the model's own."""
    if correction is None:
        correction = NoCorrection() if model.context is None else Context(model.context, grid, step)
    coder.start_layer(0)
    walk_dc(grid, model, step, coder, correction)
    grid.dc_done()
    correction.dc_done()
    layer = 0
    for order, tile in enumerate(grid.layout.tiles):
        if layer_of_tile(grid.layout, layers, order) != layer:
            layer = layer_of_tile(grid.layout, layers, order)
            coder.start_layer(layer)
        predictor = model.predictors[tile_name(tile)]
        magnitude = np.zeros(grid.h * grid.w, np.int32)
        shared = prior.products(grid, tile, predictor)
        for half in (0, 1):
            means, score = prior.expect(grid, tile, predictor, shared, step, half, magnitude)
            code_half(grid, tile, half, means, score, magnitude, coder, correction)
        grid.tile_done(tile, magnitude)


def code_half(
    grid: Grid,
    tile: Tile,
    half: int,
    means: NDArray[np.int32],
    score: Float,
    magnitude: NDArray[np.int32],
    coder: Coder,
    correction: Correction,
) -> None:
    """Code one half of a tile's cells, given linear means and scores: fills `grid.latents` and `magnitude`."""
    cells = grid.halves[half]
    added, score = correction.half(tile, half, means, score)
    residuals = coder.code(AC_SET, tile.channels, cells, means + added, prior.classes_of(score)) + added
    grid.latents[tile.channels, cells] = prior.clamp_latents(means + residuals)
    correction.half_done(tile, half, residuals)
    sums = np.abs(residuals).sum(axis=0, dtype=np.int32) * (8 // tile.size)
    magnitude[cells] = np.minimum(sums, prior.MAGNITUDE_MAX)


def walk_dc(grid: Grid, model: Model, step: int, coder: Coder, correction: Correction) -> None:
    planes = np.zeros((grid.layout.components, grid.h * grid.w), np.int32)
    magnitudes = np.zeros_like(planes)
    bias = np.array(prior.step_features(step))
    for component in range(grid.layout.components):
        channel = slice(component, component + 1)
        root = prior.classes_of((model.predictors[f"dc.root.{component}"].bias @ bias).astype(np.float32))
        first = coder.code(DC_SET, channel, np.zeros(1, np.intp), np.zeros((1, 1), np.int32), root)
        planes[component, :1] = prior.clamp_latents(first[0])
        magnitudes[component, 0] = abs(first[0, 0])
        for this in dc.passes(grid.h, grid.w, component):
            predictor = model.predictors[this.name]
            assert predictor.mean is not None
            inputs = dc.inputs(planes, magnitudes, grid.h, grid.w, this)
            score = (predictor.scale @ inputs.scale)[0] + np.float32(predictor.bias[0] @ bias)
            linear = prior.means_of(predictor.mean @ inputs.mean)  # int32 [1, n]
            added, score = correction.dc_pass(this, inputs, linear, score)
            means = inputs.base + linear
            residuals = coder.code(DC_SET, channel, this.cells, means + added, prior.classes_of(score)) + added
            planes[component, this.cells] = prior.clamp_latents(means + residuals)
            magnitudes[component, this.cells] = np.abs(residuals)
    grid.latents[: grid.layout.components] = planes


@dataclass(frozen=True)
class Settings:
    """What an encoder may choose. `rate` is lambda in squared steps per bit."""

    step: int
    layout: int
    layers: int
    group_log2: int
    rate: float
    levels: tuple[int, ...]


@dataclass(frozen=True)
class CodedGroup:
    """One tile group: its latents int16 [C, cells] and, for each layer, its calls and packed raw bits."""

    latents: NDArray[np.int16]
    calls: list[Calls]
    raw: list[bytes]


def encode_group(coefficients: NDArray[np.float32], cells: tuple[int, int], model: Model, settings: Settings) -> CodedGroup:
    """Coefficients float32 [C, h * w] in grey levels to latents and symbols."""
    layout = LAYOUTS[settings.layout]
    grid = Grid(*cells, layout)
    targets = coefficients[: layout.channels] * np.float32(64 / settings.step)
    writer = SymbolWriter(model, targets, search_rates(model, settings.rate))
    walk(grid, model, settings.step, settings.layers, writer)
    raw = []
    for layer in writer.raw:
        low = np.concatenate([values for values, _ in layer]) if layer else np.zeros(0, np.int32)
        widths = np.concatenate([width for _, width in layer]) if layer else np.zeros(0, np.uint8)
        raw.append(pack_bits(low, widths))
    # layers the walk never reached (a grid without tiles of theirs) do not exist: every layout has tiles in each
    return CodedGroup(grid.latents, writer.calls, raw)


def decode_group(
    header: Header,
    sections: Sequence[bytes],
    cells: tuple[int, int],
    model: Model,
    bits: NDArray[np.float64] | None = None,
) -> NDArray[np.int16]:
    """The index sections of one tile group, one a layer, to latents int16 [C, h * w]; raises CorruptError.

    `bits` float64 [C], if given, gains the ideal code length of what was read, by channel.
    """
    grid = Grid(*cells, LAYOUTS[header.layout])
    reader = SymbolReader(model, header.merge_map, _unpack_layers(header, sections, cells, model), bits)
    walk(grid, model, header.step, header.layers, reader)
    reader.finish()
    return grid.latents


def indices_of_group(
    header: Header, sections: Sequence[bytes], cells: tuple[int, int], model: Model
) -> dict[str, NDArray[np.uint32]]:
    """The indices of one tile group, in decoding order: the columns of `IndexRecorder.table_of_indices`. Raises CorruptError."""
    recorder = IndexRecorder(model, header.merge_map, _unpack_layers(header, sections, cells, model))
    walk(Grid(*cells, LAYOUTS[header.layout]), model, header.step, header.layers, recorder)
    recorder.finish()
    return recorder.table_of_indices()


def _unpack_layers(
    header: Header, sections: Sequence[bytes], cells: tuple[int, int], model: Model
) -> list[tuple[list[NDArray[np.uint8]], bytes]]:
    """Symbols of every stream, and raw bits, of the index sections of a tile group, one a layer."""
    limit = 2 * LAYOUTS[header.layout].channels * cells[0] * cells[1]  # symbols: at worst an escape and then its values
    streams = model.streams[header.merge_map]
    given = [dictionary for stream in streams for dictionary in stream.dictionaries]
    layers = []
    for section in sections:
        records, raw = read_streams(section, _means(streams), 2 * limit + 16)
        parts = iter([frames.decompress(r.mode, r.data, r.size, dictionary) for r, dictionary in zip(records, given, strict=True)])
        symbols = []
        left = limit
        for stream in streams:
            symbols.append(stream.form.unpack([next(parts) for _ in stream.dictionaries], left))
            left -= len(symbols[-1])
        layers.append((symbols, raw))
    return layers


def pack_layer(calls: Calls, raw: bytes, model: Model, merge_map: int, levels: tuple[int, ...]) -> bytes:
    """Symbols of one layer to an index section; the inverse stands in `decode_group`."""
    stream_of = model.maps[merge_map].tolist()
    gathered: list[list[NDArray[np.uint8]]] = [[] for _ in model.streams[merge_map]]
    for number, symbols in calls:
        gathered[stream_of[number]].append(symbols)
    records = []
    for pieces, stream in zip(gathered, model.streams[merge_map], strict=True):
        symbols = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
        for part, given in zip(stream.form.pack(symbols), stream.dictionaries, strict=True):
            mode, stored = frames.compress(part, given, levels) if part else (VERBATIM, b"")
            records.append(StreamRecord(len(part), mode, stored))
    return write_streams(records, _means(model.streams[merge_map]), raw)


def _means(streams: Sequence[Stream]) -> list[list[int]]:
    """Mean code lengths of the parts of every stream of an index section."""
    return [stream.means for stream in streams]


def pack(width: int, height: int, groups: Sequence[CodedGroup], model: Model, settings: Settings) -> bytes:
    """Coded groups to a whole file, with the merge map that makes it smallest."""
    merge_map, least = 0, sys.maxsize
    tried = groups[:: -(-len(groups) // _GROUPS_TRIED)]
    for number in range(len(model.maps)):  # from many streams, for large files, to few
        if number > merge_map + _MAPS_AHEAD and least > _SMALL_FILE:
            break
        size = sum(map(len, _sections(tried, model, number, frames.FAST_LEVELS)))
        if size < least:
            merge_map, least = number, size
    header = Header(width, height, settings.layout, settings.layers, settings.group_log2, model.file_id, settings.step, merge_map)
    stored = _sections(groups, model, merge_map, settings.levels)
    return container.write_file(header, [Section(container.INDICES, data) for data in stored])


def _sections(groups: Sequence[CodedGroup], model: Model, merge_map: int, levels: tuple[int, ...]) -> list[bytes]:
    layers = len(groups[0].calls)
    return [
        pack_layer(group.calls[layer], group.raw[layer], model, merge_map, levels) for layer in range(layers) for group in groups
    ]


def reconstruct(header: Header, latents: Sequence[NDArray[np.int16]], model: Model, threads: int = 1) -> NDArray[np.uint8]:
    """Latents of every tile group to pixels uint8 [H, W, components]; exact."""
    layout = LAYOUTS[header.layout]
    matrix = dct.inverse_matrix(layout, model.color)
    pixels = np.empty((header.height, header.width, layout.components), np.uint8)

    def place(group: tuple[int, int, int, int], values: NDArray[np.int16]) -> None:
        top, left, h, w = (8 * v for v in group)
        dct.inverse(values, header.step, group[2:], layout, matrix, pixels[top : top + h, left : left + w])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(place, header.groups, latents))
    return pixels


def decode(data: bytes, model: Model, max_pixels: int, threads: int = 1) -> NDArray[np.uint8]:
    """A whole file to pixels uint8 [H, W] or [H, W, 3]; bit-exact. Raises FormatError, ModelError, LimitError."""
    header, indices = _index_sections(data, model, max_pixels)
    layout = LAYOUTS[header.layout]
    matrix = dct.inverse_matrix(layout, model.color)
    groups = header.groups
    pixels = np.empty((header.height, header.width, layout.components), np.uint8)

    def one(number: int) -> None:
        group = groups[number]
        latents = decode_group(header, indices[number :: len(groups)], group[2:], model)
        top, left, h, w = (8 * v for v in group)
        dct.inverse(latents, header.step, group[2:], layout, matrix, pixels[top : top + h, left : left + w])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(groups))))
    return pixels[:, :, 0] if layout.components == 1 else pixels


def decode_refined(
    data: bytes, model: Model, max_pixels: int, threads: int = 1, run: networks.Correct | None = None
) -> NDArray[np.uint8]:
    """As `decode`, with the model's synthesis: closer to the original, and within 1 of 255 the same on every machine.

    `run` runs the network elsewhere than here, one strip at a time. Raises FormatError, ModelError (also if the model has no
    synthesis), LimitError.
    """
    if model.synthesis is None:
        raise ModelError(f"model {model.name} has no synthesis: its files have the plain decode only")
    header, indices = _index_sections(data, model, max_pixels)
    if header.step / 64 < networks.MIN_STEP:
        return decode(data, model, max_pixels, threads)
    groups, whole = header.groups, empty_latents(header)

    def one(number: int) -> None:
        place_latents(whole, groups[number], decode_group(header, indices[number :: len(groups)], groups[number][2:], model))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(groups))))
    pixels = refine(header, whole, model, threads, run)
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def empty_latents(header: Header) -> NDArray[np.int16]:
    """Room for the latents of a whole picture, int16 [C, h, w]."""
    return np.empty((LAYOUTS[header.layout].channels, *header.cells), np.int16)


def place_latents(whole: NDArray[np.int16], group: tuple[int, int, int, int], latents: NDArray[np.int16]) -> None:
    """Put the latents int16 [C, cells] of a tile group (top, left, h, w) into those of the picture."""
    top, left, rows, columns = group
    whole[:, top : top + rows, left : left + columns] = latents.reshape(-1, rows, columns)


def refine(
    header: Header, latents: NDArray[np.int16], model: Model, threads: int = 1, run: networks.Correct | None = None
) -> NDArray[np.uint8]:
    """Latents int16 [C, h, w] of the picture to pixels uint8 [H, W, components], with the synthesis, which the model must have."""
    network, step = model.synthesis, header.step / 64
    assert network is not None
    layout, (h, w) = LAYOUTS[header.layout], header.cells
    flat = latents.reshape(len(latents), -1)
    full = COLOR_8X8 if layout.components == 3 else layout
    matrix = (dct.inverse_matrix(full, model.color) / (1 << dct.SHIFT)).astype(np.float32)
    pixels = np.empty((header.height, header.width, layout.components), np.uint8)
    correct = run or partial(networks.correct, network)

    def strip(rows: tuple[int, int]) -> None:
        coefficients = networks.synthesise(correct, network.halo, flat, step, (h, w), layout, rows)
        dct.inverse_float(coefficients, w, layout.components, matrix, pixels[8 * rows[0] : 8 * rows[1]])

    with ThreadPoolExecutor(1 if run else threads) as pool:
        list(pool.map(strip, networks.strips(network, (h, w))))
    return pixels


def _index_sections(data: bytes, model: Model, max_pixels: int) -> tuple[Header, list[bytes]]:
    """The header and the index sections of a file that was made with `model`."""
    header, sections = container.read_file(data, max_pixels)
    check_model(header, model)
    return header, [section.data for section in sections if section.type == container.INDICES]


def check_model(header: Header, model: Model) -> None:
    """Raise ModelError or CorruptError unless `model` is the one the file was made with."""
    if header.model_id != model.file_id:
        raise ModelError(f"the file was made with model {header.model_id.hex()}, not with {model.name} ({model.file_id.hex()})")
    if header.merge_map >= len(model.maps):
        raise CorruptError("corrupt file: its merge map is not in the model")


def describe(header: Header, indices: Sequence[bytes], model: Model) -> dict[str, object]:
    """Streams with bytes, and the share of the ideal code length of each band: decodes everything.

    `indices` are the index sections in file order. Raises CorruptError.
    """
    layout = LAYOUTS[header.layout]
    names = [
        f"{stream}.{part}" if len(entry.dictionaries) > 1 else str(stream)
        for stream, entry in enumerate(model.streams[header.merge_map])
        for part in range(len(entry.dictionaries))
    ] + ["raw bits"]
    counts, stored = [0] * len(names), [0] * len(names)
    for section in indices:
        records, raw = read_streams(section, _means(model.streams[header.merge_map]), 1 << 35)
        for number, record in enumerate([*records, StreamRecord(len(raw), VERBATIM, raw)]):
            counts[number] += record.size
            stored[number] += stored_bytes(record)
    bits = np.zeros(layout.channels)
    groups = header.groups
    for number, group in enumerate(groups):
        decode_group(header, indices[number :: len(groups)], group[2:], model, bits)
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
