"""The exact part of the pipeline: latents -> symbols -> streams -> sections, and back. No input or output.

`walk_dc` and `walk_tiles` are the one description of the order in which a tile group is coded. Encoder and decoder both run them
and differ only in where a residual comes from: `EncoderWriter` searches the codebooks for it, `SymbolReader` looks it up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int32, Intp, UInt8, UInt32
from vqcodec.codec.symbols import Calls, EncoderWriter, GroupStreams, IndexRecorder, Sizes, SymbolReader
from vqcodec.entropy import dc_pyramid, linear, masking
from vqcodec.entropy.codebooks import NATURAL_SIZE
from vqcodec.entropy.context import ContextCorrector, Corrector, DcContextCorrector, DcCorrector, LinearOnly, clamp_score
from vqcodec.entropy.features import MAGNITUDE_MAX, Grid, step_features
from vqcodec.entropy.masking import CodewordSizes
from vqcodec.entropy.predictor_shapes import tile_name
from vqcodec.errors import CorruptError, ModelError
from vqcodec.format import container, zstd_blocks
from vqcodec.format.bits import pack_bits
from vqcodec.format.header import Header, Section
from vqcodec.format.stream_records import read_streams, stored_bytes, write_streams
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.runtime import progress
from vqcodec.runtime.workers import side_by_side
from vqcodec.transform.layouts import LAYOUTS, Layout, Tile
from vqcodec.weights.exact import AC_SET, DC_SET, ExactModel, Stream

_SMALL_FILE = 8192
"""Bytes up to which all merge maps are tried."""
_SIDE_BY_SIDE = 8
"""Tile groups whose DCs are decoded together, at most."""
_GROUPS_TRIED = 3
"""Tile groups, evenly spread, on which merge maps are tried: all groups of a large picture would take a third of its time."""
_TILES_AHEAD = 7
"""Tiles whose predictions are begun together: features of a large group do not stay in the cache from tile to tile."""
_HALF = NATURAL_SIZE // 2
"""The size of words of fine DCs."""
_CELLS_AT_ONCE = 8192
"""Cells of a DC pass whose features are made at once: fresh memory for more of them costs more than what is done there."""


class Coder(Protocol):
    """Where residuals come from."""

    def start_layer(self, layer: int) -> None: ...

    def code(
        self,
        book_set: int,
        channels: slice,
        cells: Intp,
        means: Int32,
        classes: UInt8,
        sizes: Sizes = NATURAL_SIZE,
    ) -> Int32:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n], classes uint8 [n] and sizes of words in 1/256
        of their natural one."""
        ...


def layer_of_tile(layout: Layout, layers: int, order: int) -> int:
    """Layer of the tile that is the `order`-th of the layout."""
    if layers == 3:
        return 1 if order < layout.low_tiles else 2
    return layers - 1


def corrector_of(model: ExactModel, grid: Grid, step: int) -> Corrector:
    """What corrects the linear predictions of a model in a tile group."""
    return LinearOnly() if model.context is None else ContextCorrector(model.context, grid, step)


def dc_corrector_of(model: ExactModel, step: int) -> DcCorrector:
    """What corrects the linear predictions of a model's DCs."""
    return LinearOnly() if model.context is None else DcContextCorrector(model.context, step)


def walk(
    grid: Grid,
    model: ExactModel,
    step: int,
    fine_dcs: bool,
    layers: int,
    coder: Coder,
    corrector: Corrector | None = None,
    strength: int = 0,
) -> None:
    """Code all latents of a tile group, in place in `grid.latents`; `corrector` stands in for the model's own, and `strength` is
    that of masking."""
    corrector = corrector or corrector_of(model, grid, step)
    coder.start_layer(0)
    grid.latents[: grid.layout.components] = walk_dc((grid.h, grid.w), grid.layout, model, step, fine_dcs, coder, corrector)
    walk_tiles(grid, model, step, layers, coder, corrector, strength)


def walk_tiles(
    grid: Grid,
    model: ExactModel,
    step: int,
    layers: int,
    coder: Coder,
    corrector: Corrector,
    strength: int,
    count: int | None = None,
) -> None:
    """Code the tiles of a tile group (or `count` of them) whose DCs are in `grid.latents`, in place there."""
    grid.dc_done()
    corrector.dc_done()
    codeword_sizes = masking.codeword_sizes(grid.latents[0].reshape(grid.h, grid.w), step, strength)
    layer = 0
    tiles = [(tile, model.predictors[tile_name(tile)]) for tile in grid.layout.tiles[:count]]
    ahead: list[linear.TileSums] = []
    for order, (tile, predictor) in enumerate(progress.steps(tiles)):
        if layer_of_tile(grid.layout, layers, order) != layer:
            layer = layer_of_tile(grid.layout, layers, order)
            coder.start_layer(layer)
        if order % _TILES_AHEAD == 0:
            ahead = linear.sums_ahead(grid, tiles[order : order + _TILES_AHEAD])
        magnitude = np.zeros(grid.h * grid.w, np.int32)
        shared = ahead[order % _TILES_AHEAD]
        linear.complete_sums(grid, tile, predictor, shared)
        for half in (0, 1):
            means, score = linear.predict(grid, tile, predictor, shared, step, half, magnitude)
            code_half(grid, tile, half, means, score, magnitude, coder, corrector, codeword_sizes)
        grid.tile_done(tile, magnitude)


def code_half(
    grid: Grid,
    tile: Tile,
    half: int,
    means: Int32,
    score: Float32,
    magnitude: Int32,
    coder: Coder,
    corrector: Corrector,
    codeword_sizes: CodewordSizes | None = None,
) -> None:
    """Code one half of a tile's cells, given linear means and scores: fills `grid.latents` and `magnitude`."""
    cells = grid.halves[half]
    added, score = corrector.half(tile, half, means, score)
    sizes: Sizes = NATURAL_SIZE
    if codeword_sizes is not None:
        sizes, scores = codeword_sizes.for_cells(tile, cells)
        score = clamp_score(score)
        score += scores
    residuals = coder.code(AC_SET, tile.channels, cells, plus(means, added), linear.classes_of(score), sizes)
    residuals = plus(residuals, added)
    grid.put(grid.latents[tile.channels], half, linear.clamp_latents(means + residuals))
    corrector.half_done(tile, half, residuals)
    sums = np.abs(residuals).sum(axis=0, dtype=np.int32) * (8 // tile.size)
    grid.put(magnitude, half, np.minimum(sums, MAGNITUDE_MAX))


def plus(values: Int32, added: Int32 | int) -> Int32:
    """The sum; no pass over the values where nothing is added."""
    return values if isinstance(added, int) else values + added


def walk_dc(
    cells: tuple[int, int],
    layout: Layout,
    model: ExactModel,
    step: int,
    fine_dcs: bool,
    coder: Coder,
    corrector: DcCorrector,
    groups: int = 1,
) -> Int32:
    """Code the DCs of tile groups of one shape, of `cells` rows and columns, side by side: int32 [components, groups * h * w].

    The passes of coarse levels are over a few cells: of one group alone they cost as much as those of the finest.
    """
    h, w = cells
    planes = np.zeros((layout.components, groups * h * w), np.int32)
    magnitudes = np.zeros_like(planes)
    bias = np.array(step_features(step))
    roots = np.arange(0, groups * h * w, h * w)
    for component in range(layout.components):
        channel = slice(component, component + 1)
        root = linear.classes_of((model.predictors[f"dc.root.{component}"].bias @ bias).astype(np.float32))
        classes = np.repeat(root, groups)
        classes = _finer_classes(classes) if fine_dcs else classes
        first = coder.code(DC_SET, channel, roots, np.zeros((1, groups), np.int32), classes, _HALF if fine_dcs else NATURAL_SIZE)
        planes[component, roots] = linear.clamp_latents(first[0])
        magnitudes[component, roots] = np.abs(first[0])
        for this in dc_pyramid.passes(h, w, component, groups):
            predictor = model.predictors[this.name]
            assert predictor.mean is not None
            each = max(1, _CELLS_AT_ONCE * groups // len(this.cells)) * h * w
            expected = []
            for start in range(0, groups * h * w, each):
                some = slice(start, start + each)
                inputs = dc_pyramid.inputs(planes[:, some], magnitudes[:, some], h, w, this)
                score = (predictor.scale @ inputs.scale)[0] + np.float32(predictor.bias[0] @ bias)
                predicted = linear.means_of(predictor.mean @ inputs.mean)  # int32 [1, n], then with the base
                added, score = corrector.dc_pass(this, inputs, predicted, score)
                predicted += inputs.base
                expected.append((predicted, plus(predicted, added), linear.classes_of(score)))
            predicted, means = (np.concatenate([part[i] for part in expected], axis=1) for i in (0, 1))
            classes = np.concatenate([part[2] for part in expected])
            finer = fine_dcs and dc_pyramid.is_finer(component, this.stride)
            classes = _finer_classes(classes) if finer else classes
            decoded = coder.code(DC_SET, channel, this.cells, means, classes, _HALF if finer else NATURAL_SIZE)
            decoded += means
            magnitudes[component, this.cells] = np.abs(decoded - predicted)
            planes[component, this.cells] = linear.clamp_latents(decoded)
    return planes


def _finer_classes(classes: UInt8) -> UInt8:
    return np.minimum(classes + np.uint8(dc_pyramid.FINER_CLASSES), np.uint8(linear.CLASSES - 1))


@dataclass(frozen=True)
class Settings:
    """How a tile group is coded. `rate` is lambda in squared steps per bit, `masking` a strength."""

    step_64: int
    layout: int
    layers: int
    fine_dcs: bool
    rate: float
    masking: int = 0


@dataclass(frozen=True)
class GroupSymbols:
    """Of one tile group, for each layer: its calls, and packed raw bits. Where `clipped` they are not what was to be coded."""

    calls: list[Calls]
    raw: list[bytes]
    clipped: bool


@dataclass(frozen=True)
class CodedGroup:
    """One tile group: its latents int16 [C, cells], and the symbols that stand for them."""

    latents: Int16
    symbols: GroupSymbols


def encode_group(targets: Float32, cells: tuple[int, int], model: ExactModel, settings: Settings) -> CodedGroup:
    """Wanted latents float32 [C, h * w] in steps to latents and symbols."""
    grid = Grid(*cells, LAYOUTS[settings.layout])
    writer = EncoderWriter(model, targets, settings.rate)
    walk(grid, model, settings.step_64, settings.fine_dcs, settings.layers, writer, strength=settings.masking)
    raw = []
    for layer in writer.raw:
        low = np.concatenate([values for values, _ in layer]) if layer else np.zeros(0, np.int32)
        widths = np.concatenate([width for _, width in layer]) if layer else np.zeros(0, np.uint8)
        raw.append(pack_bits(low, widths))
    return CodedGroup(grid.latents, GroupSymbols(writer.calls, raw, writer.clipped))


Stored = Sequence[bytes | None]
"""The index sections of one tile group, one a layer; None: lost, and what was predicted stands for it."""
Indices = Callable[[int, int], Stored]
"""Where index sections come from: for the number of a tile group, those of its first so many layers."""
Rectangle = tuple[int, int, int, int]
"""Top, left, rows, columns."""


def decode_group(
    header: Header, sections: Stored, cells: tuple[int, int], model: ExactModel, ideal: Float64 | None = None
) -> Int16:
    """The index sections of one tile group to latents int16 [C, h * w]; raises CorruptError.

    `ideal` float64 [C], if given, gains the ideal code length of what was read, by channel.
    """
    grid = Grid(*cells, LAYOUTS[header.layout])
    reader = SymbolReader(model, header.merge_map, [group_streams(header, sections, cells, model)], ideal)
    walk(grid, model, header.step_64, header.fine_dcs, header.layers, reader, strength=header.masking)
    reader.finish()
    return grid.latents


@dataclass(frozen=True)
class OpenGroup:
    """A tile group whose DCs are decoded, int16 [components, h * w]; its streams go on behind them."""

    place: Rectangle
    dcs: Int16
    streams: GroupStreams


def open_groups(header: Header, sections: Sequence[Stored], model: ExactModel, numbers: Sequence[int]) -> list[OpenGroup]:
    """Decode the DCs of tile groups of one shape, side by side, from the index sections of each. Raises CorruptError."""
    places, layout = [header.groups[number] for number in numbers], LAYOUTS[header.layout]
    cells = places[0][2:]
    streams = [group_streams(header, stored, cells, model) for stored in sections]
    reader = SymbolReader(model, header.merge_map, streams)
    reader.start_layer(0)
    corrector = dc_corrector_of(model, header.step_64)
    dcs = walk_dc(cells, layout, model, header.step_64, header.fine_dcs, reader, corrector, len(numbers))
    apart = dcs.astype(np.int16).reshape(layout.components, len(numbers), -1)
    return [OpenGroup(place, apart[:, i], own) for i, (place, own) in enumerate(zip(places, streams, strict=True))]


def finish_group(header: Header, group: OpenGroup, model: ExactModel, tiles: int | None = None) -> Int16:
    """All latents int16 [C, h * w] of a tile group; raises CorruptError. With `tiles` only so many are decoded, others are 0."""
    grid = Grid(*group.place[2:], LAYOUTS[header.layout])
    grid.latents[: grid.layout.components] = group.dcs
    reader = SymbolReader(model, header.merge_map, [group.streams])
    corrector = corrector_of(model, grid, header.step_64)
    walk_tiles(grid, model, header.step_64, header.layers, reader, corrector, header.masking, tiles)
    if tiles is None:
        reader.finish()
    return grid.latents


def each_group(
    header: Header,
    indices: Indices,
    model: ExactModel,
    numbers: Sequence[int],
    threads: int,
    then: Callable[[OpenGroup], None],
    layers: int | None = None,
) -> None:
    """Decode the DCs of these tile groups, and do something with every one then. Raises CorruptError.

    What is done must store into `workers.shared_empty` only.
    """
    sections = {number: indices(number, layers or header.layers) for number in numbers}  # read here: copies share one file
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number in numbers:
        by_shape.setdefault(header.groups[number][2:], []).append(number)
    batches = []
    for alike in by_shape.values():
        count = max(threads, -(-len(alike) // _SIDE_BY_SIDE))
        batches += [alike[i::count] for i in range(min(count, len(alike)))]

    def one(batch: Sequence[int]) -> None:
        for opened in progress.steps(open_groups(header, [sections[number] for number in batch], model, batch)):
            then(opened)

    with progress.stage("decoding"):
        side_by_side(one, batches, threads)


def indices_of_group(header: Header, sections: Stored, cells: tuple[int, int], model: ExactModel) -> dict[str, UInt32]:
    """The indices of one tile group, in decoding order: the columns of `IndexRecorder.table_of_indices`. Raises CorruptError."""
    recorder = IndexRecorder(model, header.merge_map, group_streams(header, sections, cells, model))
    grid = Grid(*cells, LAYOUTS[header.layout])
    walk(grid, model, header.step_64, header.fine_dcs, header.layers, recorder, strength=header.masking)
    recorder.finish()
    return recorder.table_of_indices()


def group_streams(header: Header, sections: Stored, cells: tuple[int, int], model: ExactModel) -> GroupStreams:
    """Streams that unpack the index sections of a tile group, one a layer."""
    limit = 2 * LAYOUTS[header.layout].channels * cells[0] * cells[1]  # symbols: at worst an escape and then its values
    return GroupStreams(lambda layer: _unpack(sections[layer], model.streams[header.merge_map], limit))


def _unpack(section: bytes | None, streams: Sequence[Stream], limit: int) -> tuple[list[UInt8], bytes] | None:
    """Symbols of every stream, and raw bits, of an index section; None if it is lost. Raises CorruptError."""
    if section is None:
        return None
    given = [dictionary for stream in streams for dictionary in stream.dictionaries]
    stored, raw = read_streams(section, _means(streams), 2 * limit + 16)
    parts = iter([zstd_blocks.decompress(part, dictionary) for part, dictionary in zip(stored, given, strict=True)])
    symbols = []
    for stream in streams:
        symbols.append(stream.form.unpack([next(parts) for _ in stream.dictionaries], limit))
        limit -= len(symbols[-1])
    return symbols, raw


def pack_layer(calls: Calls, raw: bytes, model: ExactModel, merge_map: int, levels: tuple[int, ...]) -> bytes:
    """Symbols of one layer to an index section; the inverse stands in `decode_group`."""
    stream_of = model.maps[merge_map].tolist()
    gathered: list[list[UInt8]] = [[] for _ in model.streams[merge_map]]
    for number, symbols in calls:
        gathered[stream_of[number]].append(symbols)
    parts = []
    for pieces, stream in zip(gathered, model.streams[merge_map], strict=True):
        symbols = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
        for part, given in zip(stream.form.pack(symbols), stream.dictionaries, strict=True):
            parts.append(zstd_blocks.compress(part, given, levels))
    return write_streams(parts, _means(model.streams[merge_map]), raw)


def _means(streams: Sequence[Stream]) -> list[list[int]]:
    """Mean code lengths of the parts of every stream of an index section."""
    return [stream.means for stream in streams]


def pack(
    header: Header,
    groups: Sequence[GroupSymbols],
    model: ExactModel,
    levels: tuple[int, ...],
    others: Sequence[Section] = (),
    threads: int = 1,
    maps_ahead: int = 1,
) -> bytes:
    """Symbols of all tile groups, and other sections, to a whole file, with the merge map that makes it smallest.

    All `levels` of zstd are tried, and merge maps until `maps_ahead` + 1 of them in turn have not made the file smaller.
    """
    merge_map, least, stored = 0, sys.maxsize, list[bytes]()
    tried = groups[:: -(-len(groups) // _GROUPS_TRIED)]
    for number in range(len(model.maps)):  # from many streams, for large files, to few
        if number > merge_map + maps_ahead and least > _SMALL_FILE:
            break
        found = _sections(tried, model, number, zstd_blocks.FAST_LEVELS, threads)
        if sum(map(len, found)) < least:
            merge_map, least, stored = number, sum(map(len, found)), found
    if levels != zstd_blocks.FAST_LEVELS or len(tried) < len(groups):
        stored = _sections(groups, model, merge_map, levels, threads)
    sections = [*(Section(container.INDICES, data) for data in stored), *others]
    return container.write_file(replace(header, merge_map=merge_map), sections)


def _sections(
    groups: Sequence[GroupSymbols], model: ExactModel, merge_map: int, levels: tuple[int, ...], threads: int
) -> list[bytes]:
    def one(place: tuple[int, GroupSymbols]) -> bytes:
        layer, group = place
        return pack_layer(group.calls[layer], group.raw[layer], model, merge_map, levels)

    with progress.stage("compressing"):
        return side_by_side(one, [(layer, group) for layer in range(len(groups[0].calls)) for group in groups], threads)


def check_model(header: Header, model: ExactModel) -> None:
    """Raise ModelError or CorruptError unless `model` is the one the file was made with."""
    if header.model_id != model.file_id:
        raise ModelError(f"the file was made with model {header.model_id.hex()}, not with {model.name} ({model.file_id.hex()})")
    if header.tokens:
        raise CorruptError("corrupt file: it has tokens, and its model has none")
    if header.merge_map >= len(model.maps):
        raise CorruptError("corrupt file: its merge map is not in the model")


def describe(header: Header, indices: Indices, model: ExactModel) -> dict[str, object]:
    """Streams with bytes, and the share of the ideal code length of each band: decodes everything.

    Raises CorruptError.
    """
    layout = LAYOUTS[header.layout]
    names = [
        f"{stream}.{part}" if len(entry.dictionaries) > 1 else str(stream)
        for stream, entry in enumerate(model.streams[header.merge_map])
        for part in range(len(entry.dictionaries))
    ] + ["raw bits"]
    counts, stored = [0] * len(names), [0] * len(names)
    bits = np.zeros(layout.channels)
    for group_number, group in enumerate(progress.steps(header.groups, "decoding")):
        sections = indices(group_number, header.layers)
        for section in sections:
            assert section is not None
            parts, raw = read_streams(section, _means(model.streams[header.merge_map]), 1 << 35)
            for number, part in enumerate([*parts, StoredPart(len(raw), Mode.VERBATIM, raw)]):
                counts[number] += part.size
                stored[number] += stored_bytes(part)
        decode_group(header, sections, group[2:], model, bits)
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
