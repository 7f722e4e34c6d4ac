"""Graphic pixels of a tile group <-> bytes: indices into a palette, and the samples of rare colours.

The palette (palettes.py) has n colours and is known. A map tells which cells of 8x8 pixels are graphic; only their pixels are
stored, and only they count below. If there are none, the bytes are empty. Otherwise, with H the rows of the group:

    1 byte     height of the strips in rows, 1..255 (the last strip has the rows that are left); 0 if heights are listed
    if 0:
    varint     number of strips, 1..H; 0: strips of one row, and contexts
    part       if there are strips: their heights, one byte each, 1..255; they sum to H
    bytes      if there are contexts: the symbols of the first level (context_planes.py); it must have two symbols or more
    for each level of the palette, but not the first one if there are contexts:
    part       symbols of the pixels that are in no lower level
    if pixels are in no level:
    1 byte     bits 0, 1 and 3: predictor, lowest bit first (transform/rare_colours.py);  bit 2: 1 if planes, 0 if interleaved;
               bits 4-7: 0
    part       the differences of these pixels

Parts are those of palettes.py. The data ends with the last part.

Order of pixels: strips from top to bottom; in a strip, columns from left to right; in a column, pixels from top to bottom. Pixels
that are not graphic are left out.

Symbols: a level of k colours has the symbols 0..k - 1 for its colours; k stands for a pixel of a higher level or of a rare colour,
and exists unless the level is the last one and the palette has no rare colours. Larger symbols are an error. A level with a single
symbol, or without pixels, has no part. Symbols may be packed: bits 2-7 of the part's first byte are p = 0 (one symbol in a byte), 1
(2 symbols of 4 bits, in levels of at most 16 symbols), 2 (4 of 2 bits, at most 4 symbols) or 3 (8 of 1 bit, at most 2 symbols). The
first symbol is in the lowest bits of a byte; unused bits of the last byte are 0. The part holds ceil(symbols of the part / 2**p)
bytes before compression. If the palette has no colours there is no level, and all pixels are rare; a palette without colours that
has no rare ones either is an error.

Differences: samples of 8 bits, or of 16 bits, little-endian; interleaved (all samples of a pixel, then the next pixel) or as planes
(palettes.py). Pixels are in the order above, but predicted row by row after all pixels of the palette are known.

Pixels outside the graphic cells are 0 until they are decoded otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Int32, Pixels, UInt8, UInt16
from vqcodec.errors import CorruptError
from vqcodec.format import context_classes, context_planes, palettes, sample_bytes, zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.neighbours import WHITE, GreyLevels, Network
from vqcodec.format.palette_levels import Level, has_symbols, levels_of, pack_levels, unpack_levels
from vqcodec.format.palettes import PackedPalette
from vqcodec.format.rare_pixels import differences_at, pack_rare, unpack_rare
from vqcodec.runtime import progress
from vqcodec.runtime.workers import side_by_side
from vqcodec.transform import palette as colour_tables
from vqcodec.transform import strips
from vqcodec.transform.palette import FIRST_LEVELS, LEVEL, CommonColours, Palette
from vqcodec.transform.rare_colours import Predictor

_MEAN_PALETTE: Final = 500
"""Bytes of a palette of 255 colours, about."""
_TRIED_PIXELS: Final = 1 << 22
"""Pixels of a picture on which palettes are compared."""
_CONTEXTS_SAVE: Final = 1 / 64
"""Least share of the bytes that contexts must save, since they take longer to decode."""
_CONTEXTS: Final = b"\0\0"
"""In place of the heights of strips."""


@dataclass(frozen=True)
class Search:
    """The encoder's choices to try."""

    heights: tuple[int, ...]
    """Heights of uniform strips."""
    runs: tuple[int, ...] = ()
    """Lengths of runs, in pixels, for which aligned strips are made (`strips.aligned_heights`)."""
    aligned: tuple[int, ...] = strips.FEW_HEIGHTS
    """Heights of aligned strips."""
    kept: int = 1
    """Orders that are tried with each palette."""
    compare: int = 9
    """Level of zstd at which orders are compared."""
    levels: tuple[int, ...] = (18,)
    """Level of zstd at which palettes are compared."""
    final: tuple[int, ...] = (19,)
    """Levels of zstd that are tried for the file."""
    firsts: tuple[int, ...] = FIRST_LEVELS
    """Sizes of the first level of palettes."""
    most: tuple[int, ...] = (LEVEL, 4 * LEVEL)
    """Most colours of palettes."""
    contexts: bool = True
    """Whether contexts are tried."""


_FASTEST = Search((8,), levels=(9,), final=(9,), firsts=(LEVEL,), most=(LEVEL,), contexts=False)
_FAST = Search((1, 8, 32), levels=(9,), final=(19,), most=(LEVEL,))
_DEFAULT = Search((1, 4, 8, 12, 16, 20, 24, 32, 48, 64), (200,), compare=15)
_THOROUGH = replace(
    _DEFAULT,
    heights=(1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96),
    aligned=strips.HEIGHTS,
    compare=19,
    levels=(19,),
    final=(22,),
    most=(255, 510, 1020, 2040, 4080),
)
_BEST = replace(
    _THOROUGH,
    heights=(*range(1, 17), 18, 20, 22, 24, 28, 32, 40, 48, 64, 96, 128),
    runs=(64, 128, 200),
    kept=3,
    final=(17, 19, 22),
)
SEARCHES: Final = (_FASTEST, _FAST, _FAST, *[_DEFAULT] * 3, _THOROUGH, _THOROUGH, _BEST)
"""Searches of efforts 1 to 9."""


class Packed(NamedTuple):
    """All graphic pixels of a picture."""

    palette: bytes
    groups: list[bytes]

    @property
    def size(self) -> int:
        """All bytes."""
        return len(self.palette) + sum(map(len, self.groups))


class _Group(NamedTuple):
    """A tile group, with what a palette needs."""

    pixels: Pixels
    """[H, W, C]; 0 outside the graphic cells."""
    mask: Bool | None
    """The graphic pixels bool [H, W]; None if all are."""
    ranks: UInt16
    """Their colours [H, W] (`CommonColours.ranks`); 0 outside the graphic cells."""


class _Look(NamedTuple):
    """The result of a first look at a group."""

    smooth: bool
    orders: list[tuple[int, ...]]
    """Heights of strips to try."""


def pack_all(
    pictures: Sequence[Pixels],
    graphic: Sequence[Bool | None],
    effort: int,
    threads: int = 1,
    network: Network | None = None,
) -> Packed:
    """The smallest palette and bytes of tile groups [H, W, C], uint8 or uint16, found at an effort of 1..9.

    `graphic` are the maps bool [h, w] of the groups' cells; None if all are graphic. `network` is that of a graphic model, for
    samples of 8 bits. `unpack` is the inverse for one group. Groups are prepared anew for each step, on up to `threads` cores, so
    that a large picture needs little memory.
    """
    search = SEARCHES[effort - 1]
    maps = [None if cells is None or cells.all() else cells for cells in graphic]
    common = colour_tables.common_colours(pictures, map(_mask, pictures, maps))
    groups = range(len(pictures))

    def look(number: int) -> _Look:
        return _look(_group(pictures[number], maps[number], common), search)

    def size_with_each(number: int) -> list[int]:
        group, orders = _group(pictures[number], maps[number], common), looks[number].orders
        return [len(data) for data in _pack_with_each(group, orders, found, tables, search.levels)]

    def pack(number: int) -> bytes:
        group, orders = _group(pictures[number], maps[number], common), looks[number].orders
        return _pack_with_each(group, orders, [best], [table], search.final)[0]

    with progress.stage("", 3):
        looks = side_by_side(look, groups, threads)
        progress.advance()
        found = _palettes(common, search, smooth=any(look.smooth for look in looks))
        chains = {size: palettes.chain(common.colours[:size]) for size in {len(palette.colours) for palette in found}}
        best = found[0]
        if len(found) > 1:
            tables = [palettes.pack_palette(palette, chains[len(palette.colours)], search.levels) for palette in found]
            areas = accumulate((picture.shape[0] * picture.shape[1] for picture in pictures), initial=0)
            tried = [number for number, area in zip(groups, areas, strict=False) if area < _TRIED_PIXELS]
            each = zip([len(table.data) for table in tables], *side_by_side(size_with_each, tried, threads), strict=True)
            totals = [sum(sizes) for sizes in each]
            best = found[totals.index(min(totals))]
        progress.advance()
        table = palettes.pack_palette(best, chains[len(best.colours)], search.final)
        packed = Packed(table.data, side_by_side(pack, groups, threads))
        if not search.contexts and network is None:
            return packed
        flat = colour_tables.palette_of(common, len(best.colours) or LEVEL, LEVEL)
        flat_table = palettes.pack_palette(flat, chains[len(flat.colours)], search.final)
        coder = _ContextCoder(pictures, maps, common, flat, flat_table, network, threads)
        return coder.pack(packed.size, search.final) or packed


@dataclass(frozen=True, eq=False)
class _ContextCoder:
    """Codes tile groups with the symbols of the first level in contexts."""

    pictures: Sequence[Pixels]
    maps: Sequence[Bool | None]
    common: CommonColours
    palette: Palette
    table: PackedPalette
    """The packed palette."""
    network: Network | None
    threads: int

    def pack(self, size: int, zstd_levels: tuple[int, ...]) -> Packed | None:
        """All groups, if that takes clearly less than `size` bytes."""
        if not has_symbols(levels_of(self.palette)):
            return None
        groups, most = range(len(self.pictures)), (1 - _CONTEXTS_SAVE) * size
        if self.network is None and sum(side_by_side(self._least_bytes, groups, self.threads)) > most:
            return None

        def one(number: int) -> bytes:
            return self._group(number).pack(zstd_levels)

        packed = Packed(self.table.data, side_by_side(one, groups, self.threads))
        return packed if packed.size < most else None

    def _least_bytes(self, number: int) -> float:
        return self._group(number).least_bytes

    def _group(self, number: int) -> _InContexts:
        group = _group(self.pictures[number], self.maps[number], self.common)
        return _in_contexts(group, self.palette, self.table, self.network)


def unpack(data: bytes, shape: tuple[int, int], palette: Palette, graphic: Bool | None, network: Network | None = None) -> Pixels:
    """The pixels [H, W, C] of the graphic cells of a group of `shape` (H, W), all others 0.

    `network` is that of the file's graphic model, if it has one. Raises TruncatedError, CorruptError.
    """
    height, width = shape
    mask = None if graphic is None else colour_tables.pixels_of_cells(graphic, height, width)
    count = height * width if mask is None else int(np.count_nonzero(mask))
    reader = ByteReader(data)
    pixels = np.zeros((height, width, palette.colours.shape[1]), palette.colours.dtype)
    if count:
        heights = _read_heights(reader, height)
        first = None
        if not heights:
            heights = strips.uniform_heights(1, height)
            first = _unpack_first(reader, (height, width), mask, palette, network)
        symbols, rare = unpack_levels(reader, count, palette, first)
        plane = symbols
        if mask is not None:
            plane = np.full(height * width, len(palette.colours), symbols.dtype)
            plane[strips.scan(mask, heights)] = symbols
        pixels = colour_tables.to_pixels(strips.unscan(plane, heights, width), palette)
        if len(rare):
            unpack_rare(reader, pixels, _places(shape, mask, heights)[rare].astype(np.intp))
    if reader.cursor != len(data):
        raise CorruptError("corrupt file: bytes are left over after the indices of a palette")
    return pixels


def _mask(picture: Pixels, cells: Bool | None) -> Bool | None:
    """The graphic pixels bool [H, W] of a picture [H, W, C] with a map bool [h, w] of its cells; None if all are."""
    return None if cells is None else colour_tables.pixels_of_cells(cells, *picture.shape[:2])


def _group(picture: Pixels, cells: Bool | None, common: CommonColours) -> _Group:
    """A tile group [H, W, C] with its colours."""
    ranks, mask = common.ranks(picture), _mask(picture, cells)
    if mask is None:
        return _Group(picture, None, ranks)
    ranks[~mask] = 0
    return _Group(np.where(mask[..., None], picture, picture.dtype.type(0)), mask, ranks)


def _look(group: _Group, search: Search) -> _Look:
    """A first look at a group."""
    if group.mask is not None and not group.mask.any():
        return _Look(False, [])
    return _Look(_is_smooth(group), _orders(group.ranks, group.mask, search))


def _is_smooth(group: _Group) -> bool:
    """Whether differences of samples take few bytes, in comparison with indices, at the fastest level of zstd."""
    places = np.arange(group.ranks.size, dtype=np.int32)
    if group.mask is not None:
        places = places[group.mask.reshape(-1)]
    indices = np.minimum(group.ranks.reshape(-1)[places], LEVEL).astype(np.uint8)
    rare = int(np.count_nonzero(indices == LEVEL)) * group.pixels.shape[2] * group.pixels.itemsize
    by_indices = len(zstd_blocks.compress_whole(indices.tobytes(), (1,)).data) + rare
    differences = sample_bytes.planes(differences_at(group.pixels, places, Predictor.GRADIENT))
    return 2 * len(zstd_blocks.compress_whole(differences, (1,)).data) < 3 * by_indices + _MEAN_PALETTE


def _palettes(common: CommonColours, search: Search, *, smooth: bool) -> list[Palette]:
    """The palettes to try, largest first; one without colours if groups are smooth."""
    total = len(common.colours)
    sizes = {min(most, total) for most in search.most}
    if smooth:
        sizes.add(0)
    found = []
    for size in sorted(sizes, reverse=True):
        firsts = [first for first in search.firsts if first == LEVEL or size > first]
        found += [colour_tables.palette_of(common, size, first) for first in (firsts if size else (LEVEL,))]
    return found


def _orders(ranks: UInt16, mask: Bool | None, search: Search) -> list[tuple[int, ...]]:
    """The heights of strips in which the commonest colours take the fewest bytes, best first."""
    rows = len(ranks)
    plane = np.minimum(ranks, LEVEL).astype(np.uint8)
    found = {strips.uniform_heights(min(height, rows), rows): None for height in search.heights}
    found |= {strips.aligned_heights(plane, run, search.aligned): None for run in search.runs}
    if len(found) == 1:
        return list(found)

    def cost(heights: tuple[int, ...]) -> int:
        flat = _scanned(plane, mask, heights)
        return len(zstd_blocks.compress_whole(flat.tobytes(), (search.compare,)).data) + len(
            _write_heights(heights, (search.compare,))
        )

    return sorted(found, key=cost)[: search.kept]


def _scanned(plane: NDArray[Any], mask: Bool | None, heights: tuple[int, ...]) -> NDArray[Any]:
    """The graphic pixels [n] of a plane [H, W] of any dtype, in the order of the strips."""
    flat = strips.scan(plane, heights)
    return flat if mask is None else flat[strips.scan(mask, heights)]


def _places(shape: tuple[int, int], mask: Bool | None, heights: tuple[int, ...]) -> Int32:
    """y * W + x of the graphic pixels, int32 [n], in the order of the strips."""
    return _scanned(np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape), mask, heights)


def _pack_with_each(
    group: _Group,
    orders: list[tuple[int, ...]],
    choices: list[Palette],
    tables: list[PackedPalette],
    zstd_levels: tuple[int, ...],
) -> list[bytes]:
    """The bytes of a group with each of some palettes, whose packed forms are `tables`, in the best of some orders; b"" without any
    order. `unpack` is the inverse.

    Palettes of equally many colours differ in their first LEVEL colours only. The rest is packed once for all of them.
    """
    found = [b""] * len(choices)
    for heights in orders:
        head = _write_heights(heights, zstd_levels)
        ranks, places = _scanned(group.ranks, group.mask, heights), _places(group.ranks.shape, group.mask, heights)
        rests: dict[int, bytes] = {}
        for number, (palette, table) in enumerate(zip(choices, tables, strict=True)):
            colours, levels = len(palette.colours), levels_of(palette)
            indices = table.index_of[np.minimum(ranks, colours)]
            common = sum(level.first < LEVEL for level in levels)
            data, higher = pack_levels(indices, levels[:common], zstd_levels)
            if colours not in rests:
                rest, rare = pack_levels(indices[higher], levels[common:], zstd_levels)
                rests[colours] = rest
                if len(rare):
                    rests[colours] += pack_rare(group.pixels, places[higher][rare], zstd_levels)
            data = head + data + rests[colours]
            if not found[number] or len(data) < len(found[number]):
                found[number] = data
    return found


class _InContexts(NamedTuple):
    """A tile group whose symbols of the first level are to be coded in contexts."""

    group: _Group
    indices: UInt16
    """Indices into the palette [H, W]."""
    levels: list[Level]
    model: GreyLevels | None
    """The contexts of a model; None: those that the group describes."""

    @property
    def _first(self) -> UInt8:
        """The symbols of the first level [H, W], 0 outside the graphic cells."""
        symbols = np.minimum(self.indices, self.levels[0].size).astype(np.uint8)
        return symbols if self.group.mask is None else symbols * self.group.mask

    @property
    def least_bytes(self) -> float:
        """Bytes that `pack` will hardly go below."""
        return 0.0 if self._is_empty else context_classes.least_bytes(self._first, self.group.mask, self.levels[0].symbols)

    @property
    def _is_empty(self) -> bool:
        return self.group.mask is not None and not self.group.mask.any()

    def _pack_first(self, zstd_levels: tuple[int, ...]) -> bytes:
        """The symbols of the first level."""
        mask = self.group.mask
        if self.model is None:
            return context_planes.pack(self._first, mask, self.levels[0].symbols, zstd_levels)
        return context_planes.pack_by_model(self._first, mask, self.model, zstd_levels)

    def pack(self, zstd_levels: tuple[int, ...]) -> bytes:
        """The bytes of the group; b"" without graphic pixels. `unpack` is the inverse."""
        if self._is_empty:
            return b""
        heights = strips.uniform_heights(1, len(self.indices))
        first = self._pack_first(zstd_levels)
        flat = _scanned(self.indices, self.group.mask, heights)
        higher = np.flatnonzero(flat >= self.levels[0].size)
        rest, rare = pack_levels(flat[higher], self.levels[1:], zstd_levels)
        if len(rare):
            places = _places(self.indices.shape, self.group.mask, heights)[higher]
            rest += pack_rare(self.group.pixels, places[rare], zstd_levels)
        return _CONTEXTS + first + rest


def _in_contexts(group: _Group, palette: Palette, table: PackedPalette, network: Network | None) -> _InContexts:
    """A group whose indices are those of a packed palette, with a first level of LEVEL colours."""
    model = None
    if network is not None:
        model = _grey_levels(replace(palette, colours=palette.colours[table.index_of[:-1].argsort()]), network)
    return _InContexts(group, table.index_of[np.minimum(group.ranks, len(palette.colours))], levels_of(palette), model)


def _grey_levels(palette: Palette, network: Network) -> GreyLevels:
    """The contexts of a model for the first level of a palette."""
    level = levels_of(palette)[0]
    levels = np.full(level.symbols, WHITE, np.uint8)
    levels[: level.size] = colour_tables.grey_levels(palette.colours[: level.size])
    return GreyLevels(network, levels)


def _unpack_first(
    reader: ByteReader, shape: tuple[int, int], mask: Bool | None, palette: Palette, network: Network | None
) -> UInt8:
    """The symbols [n] of the first level in contexts, row by row. Raises TruncatedError, CorruptError."""
    levels = levels_of(palette)
    if not has_symbols(levels):
        raise CorruptError("corrupt file: contexts of a palette without two symbols")
    model = None if network is None else _grey_levels(palette, network)
    plane = context_planes.unpack(reader, shape, mask, levels[0].symbols, model)
    return plane.reshape(-1) if mask is None else plane[mask]


def _write_heights(heights: tuple[int, ...], levels: tuple[int, ...]) -> bytes:
    """The heights of strips; the inverse of `_read_heights`."""
    if heights == strips.uniform_heights(heights[0], sum(heights)):
        return bytes(heights[:1])
    return b"\0" + write_varint(len(heights)) + palettes.write_part(zstd_blocks.compress_whole(bytes(heights), levels), 0)


def _read_heights(reader: ByteReader, rows: int) -> tuple[int, ...]:
    """Heights that sum to `rows`; none if there are contexts. Raises TruncatedError, CorruptError."""
    height = reader.byte()
    if height:
        return strips.uniform_heights(height, rows)
    count = reader.varint()
    if not count:
        return ()
    if count > rows:
        raise CorruptError("corrupt file: an invalid number of strips")
    heights = palettes.read_part(reader, count)
    if not heights.all() or int(heights.sum(dtype=np.int64)) != rows:
        raise CorruptError("corrupt file: the heights of strips do not sum to that of the picture")
    return tuple(heights.tolist())
