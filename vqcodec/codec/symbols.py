"""Residuals <-> symbols: the books of a tile's classes, searched by the encoder and looked up by the decoder.

A half tile is coded class by class, so that the symbols of a class follow each other in its stream: cells in order of their
class, and then in order; within a cell, pieces of the tile's coefficients of as many as the class's book has dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int32, Int64, Intp, UInt8, UInt32
from vqcodec.entropy.codebook_search import nearest, nearest_scalars
from vqcodec.entropy.codebooks import NATURAL_SIZE, NO_CODEWORD, SCALAR_MAX, scaled_codewords, with_low_bits
from vqcodec.entropy.linear import CLASSES
from vqcodec.errors import CorruptError
from vqcodec.format.bits import BitReader
from vqcodec.transform.layouts import LATENT_UNIT, TILE_SIZES
from vqcodec.weights.exact import DC_SET, ExactModel

DC_SHARE: Final = 0.2
_CHROMA_DC_SHARE: Final = 0.5
_VECTOR_SHARE: Final = 1.25
"""Of lambda: a DC is context of all that follows in its cell and the cells around, so precision pays twice, and that of chroma,
most of which is in its DCs, once more; a zero vector keeps the classes around quiet."""


Sizes = Int32 | int
"""Of the words of each cell, int32 [n], or of all."""

Calls = list[tuple[int, UInt8]]
"""(book, symbols) in the order in which a decoder reads them."""


def search_rates(model: ExactModel, rate: float) -> list[float]:
    """Lambda of the search in each book."""
    dc_books = set(model.table[DC_SET].ravel().tolist())
    vectors = [_VECTOR_SHARE if book.dim > 1 else 1.0 for book in model.codebooks]
    return [rate * (DC_SHARE if number in dc_books else share) for number, share in enumerate(vectors)]


def dc_share(component: int, density: float) -> float:
    """Of a DC's lambda, in a pass of the pyramid over so many of all cells (0..1).

    From few DCs many others are predicted, to fractions of a step: where a plane is smooth, its level is as precise as they are.
    """
    above = min(1.0, 4 * density)  # the finest passes are over a quarter each
    return above**0.5 if component == 0 else _CHROMA_DC_SHARE * above


def wanted_rows(targets: Float32, channels: slice, cells: Intp, means: Int32, order: Intp) -> Float32:
    """The residuals a half tile should have, float32 [n, T] in steps, in order of coding."""
    wanted = targets[channels].take(cells[order], axis=1)
    wanted -= means.take(order, axis=1) * np.float32(1 / LATENT_UNIT)
    return np.ascontiguousarray(wanted.T)


Stretch = tuple[int, int]
"""A book, and how many of its vectors follow each other in order of coding."""


class ByClass(ABC):
    """Codes what a half tile should have class by class; where its words come from is the subclass's part."""

    def __init__(self, table: Int16, dims: Sequence[int], targets: Float32) -> None:
        """`table` int16 [set, log2 tile size, class] holds book numbers; -1 codes nothing. `dims` are the books' dimensions,
        `targets` float32 [C, h * w] the wanted latents in steps.
        """
        self.table, self.dims, self.targets = table, [*dims, 0], targets  # the last is of book -1

    def code(self, book_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE) -> Int32:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n], classes uint8 [n] and sizes of words."""
        size, n = means.shape
        order = np.argsort(classes, kind="stable")
        wanted = wanted_rows(self.targets, channels, cells, means, order)
        if not isinstance(sizes, int):
            wanted *= (np.float32(NATURAL_SIZE) / sizes.take(order).astype(np.float32))[:, None]
        elif sizes != NATURAL_SIZE:
            wanted *= np.float32(NATURAL_SIZE / sizes)
        rows = np.zeros((n, size), np.int32)
        counts = np.bincount(classes, minlength=CLASSES).tolist()
        books = self.table[book_set, TILE_SIZES.index(size)].tolist()
        present = [(number, count) for number, count in zip(books, counts, strict=True) if count]
        start = 0
        for dim, some in groupby(present, key=lambda pair: self.dims[pair[0]]):
            alike = list(some)
            here = slice(start, start + sum(count for _, count in alike))
            if dim:
                stretches = [(number, count * size // dim) for number, count in alike]
                rows[here] = self.quantize(stretches, wanted[here].reshape(-1, dim)).reshape(-1, size)
            start = here.stop
        place = np.empty_like(order)
        place[order] = np.arange(n)
        rows = rows.take(place, axis=0)
        return scaled_codewords(np.ascontiguousarray(rows.T), sizes)

    @abstractmethod
    def quantize(self, stretches: list[Stretch], x: Float32) -> Int32:
        """Vectors float32 [n, d] in steps, one stretch after the other, to words int32 [n, d] of the books of one dimension."""


class SymbolWriter(ByClass):
    """Finds residuals by searching the codebooks; keeps the symbols, layer by layer."""

    share = 1.0
    """Of lambda, in scalar books."""

    def __init__(self, model: ExactModel, targets: Float32, rates: Sequence[float]) -> None:
        """`targets` float32 [C, h * w] are the wanted latents in steps; `rates` is each book's lambda in squared steps per bit."""
        super().__init__(model.table, [book.dim for book in model.codebooks], targets)
        self.codebooks, self.search = model.codebooks, model.search(tuple(rates))
        self.calls: list[Calls] = []
        self.clipped = False
        """Whether a residual was more than books have words for: of hard edges at very fine steps."""
        self.raw: list[list[tuple[Int32, UInt8]]] = []

    def start_layer(self, layer: int) -> None:
        self.calls.append([])
        self.raw.append([])

    def quantize(self, stretches: list[Stretch], x: Float32) -> Int32:
        """As of any coder by class; the symbols are kept."""
        return self._scalars(stretches, x[:, 0])[:, None] if x.shape[1] == 1 else self._vectors(stretches, x)

    def _scalars(self, stretches: list[Stretch], x: Float32) -> Int32:
        """All at once: classes of DCs are many and small."""
        numbers, counts = zip(*stretches, strict=True)
        scalars = self.search.scalars
        self.clipped = self.clipped or max(x.max(), -x.min()) > SCALAR_MAX + 0.5
        found = nearest_scalars(scalars, self.search.origin[[*numbers]].repeat(counts), x, self.share)
        self._keep(stretches, scalars.symbols.take(found))
        widths = scalars.widths.take(found)
        if widths.any():
            self.raw[-1].append((scalars.low.take(found), widths))
        return scalars.codewords.take(found)

    def _keep(self, stretches: list[Stretch], symbols: UInt8) -> None:
        start = 0
        for number, count in stretches:
            self.calls[-1].append((number, symbols[start : start + count]))
            start += count

    def _vectors(self, stretches: list[Stretch], x: Float32) -> Int32:
        """All at once but for the words of those that are away from zero: about one in twenty."""
        numbers, counts = zip(*stretches, strict=True)
        energies = np.einsum("nd,nd->n", x, x)
        away = np.flatnonzero(energies > self.search.reach[[*numbers]].repeat(counts))
        own, costs = x.take(away, axis=0), energies.take(away)
        symbols = self.search.zero[[*numbers]].repeat(counts)
        words = np.zeros(x.shape, np.int32)
        bounds = [0, *np.searchsorted(away, np.cumsum(counts)).tolist()]
        for number, first, last in zip(numbers, bounds, bounds[1:], strict=False):
            if first < last:
                some = away[first:last]
                index, found = nearest(own[first:last], self.search.vectors[number].weights)
                costs[first:last] += found
                symbols[some], words[some] = index, self.codebooks[number].rows.take(index, axis=0)
        escaped = away[self._escapes(np.array(numbers).repeat(np.diff(bounds)), own, costs)]
        start = 0
        for (number, count), last in zip(stretches, np.cumsum(counts).tolist(), strict=True):
            self._keep([(number, count)], symbols[start:last])  # a view: it has the escapes below
            here = escaped[(start <= escaped) & (escaped < last)] if len(escaped) else escaped
            if len(here):  # their values follow at once
                symbols[here] = self.codebooks[number].escape
                values = x[here].reshape(-1)
                words[here] = self._scalars([(len(self.codebooks) - 1, len(values))], values).reshape(len(here), -1)
            start = last
        return words

    def _escapes(self, numbers: Intp, x: Float32, costs: Float32) -> Intp:
        """Places of those vectors, of these books and at these `costs`, for which an escape and the values one by one cost less."""
        doubtful = np.flatnonzero(costs > self.search.doubt.take(numbers))
        if not len(doubtful):
            return doubtful
        values, numbers = x[doubtful], numbers[doubtful]
        _, words, bits = self.codebooks[-1].scalar
        places = np.clip(np.rint(values), -SCALAR_MAX, SCALAR_MAX).astype(np.intp) + SCALAR_MAX
        cost = (values - words[places] * np.float32(1 / LATENT_UNIT)) ** 2 + self.search.lambdas[numbers, None] * bits[places]
        return doubtful[self.search.escape[numbers] + cost.sum(axis=1) < costs[doubtful]]


class EncoderWriter(SymbolWriter):
    """Finds what is best for files: as `SymbolWriter`, at an encoder's lambdas."""

    def __init__(self, model: ExactModel, targets: Float32, rate: float) -> None:
        """`targets` are as of `SymbolWriter`; `rate` is lambda in squared sizes of words per bit, of DCs in squared steps."""
        super().__init__(model, targets, search_rates(model, rate))

    def code(self, book_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE) -> Int32:
        """As of any coder by class."""
        self.share = 1.0
        if book_set == DC_SET:
            assert isinstance(sizes, int)
            self.share = dc_share(channels.start, len(cells) / self.targets.shape[1]) * (NATURAL_SIZE / sizes) ** 2
        return super().code(book_set, channels, cells, means, classes, sizes)


Layer = tuple[list[UInt8], bytes]
"""The symbols of every stream, and raw bits."""


class GroupStreams:
    """The streams of one tile group, read layer by layer from the front."""

    def __init__(self, unpack: Callable[[int], Layer | None]) -> None:
        """`unpack` makes a layer from what is stored when its turn comes; None: it is lost, and all its residuals are zero."""
        self._unpack = unpack
        self.lost = True
        self._streams: list[UInt8] = []

    def start_layer(self, layer: int) -> None:
        """Raises CorruptError."""
        self.finish()
        found = self._unpack(layer)
        self.lost = found is None
        if found is not None:
            self._streams, raw = found
            self._cursors = [0] * len(self._streams)
            self.bits = BitReader(raw)

    def finish(self) -> None:
        """Raise CorruptError if anything of the current layer was not read."""
        if not self.lost:
            if any(len(s) > c for s, c in zip(self._streams, self._cursors, strict=True)):
                raise CorruptError("corrupt file: indices left over")
            self.bits.finish()
            self.lost, self._streams = True, []  # many groups wait for their next layer, or stay behind when they are decoded

    def take(self, stream: int, count: int) -> UInt8:
        """The next symbols uint8 [count] of a stream; zeros where it has ended."""
        start = self._cursors[stream]
        self._cursors[stream] = start + count
        symbols = self._streams[stream][start : start + count]
        if len(symbols) < count:
            symbols = np.concatenate([symbols, np.zeros(count - len(symbols), np.uint8)])
        return symbols


Run = tuple[int, GroupStreams, int, int, int]
"""Cells of one group and class: the dimension of their book (0: nothing is coded), group, book, first in order of coding, count."""


class SymbolReader:
    """Looks residuals up, of one tile group, or of several of one shape side by side: the cells of one follow those of another.

    Symbols of books of one dimension are looked up together: a class by itself costs little more than a slice of its stream.
    """

    def __init__(self, model: ExactModel, merge_map: int, groups: Sequence[GroupStreams], ideal: Float64 | None = None) -> None:
        """`ideal` float64 [C], if given, gains the ideal code length of what is read, by channel."""
        self.codebooks, self.symbol_tables = model.codebooks, model.symbol_tables
        self.table = model.table.tolist()
        self.dims = [*(book.dim for book in model.codebooks), 0]  # of book -1, too
        self.escapes = [book.escape for book in model.codebooks]
        self.stream_of = model.maps[merge_map].tolist()
        self.groups = groups
        self.ideal = ideal

    def start_layer(self, layer: int) -> None:
        for group in self.groups:
            group.start_layer(layer)

    def finish(self) -> None:
        """Raise CorruptError if anything of the current layer was not read."""
        for group in self.groups:
            group.finish()

    def code(self, book_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE) -> Int32:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n], classes uint8 [n] and sizes of words. Raises
        CorruptError."""
        size, n = means.shape
        keys = classes
        if len(self.groups) > 1:
            firsts = np.arange(len(self.groups), dtype=np.uint16) * CLASSES
            keys = (classes.reshape(len(self.groups), -1) + firsts[:, None]).reshape(-1)
        order = np.argsort(keys, kind="stable")
        counts = np.bincount(keys, minlength=CLASSES * len(self.groups)).tolist()
        rows = np.empty((n, size), np.int32)
        bits = 0.0
        for dim, some in groupby(self._runs(self.table[book_set][TILE_SIZES.index(size)], counts), key=itemgetter(0)):
            runs = list(some)
            here = slice(runs[0][3], runs[-1][3] + runs[-1][4])
            if dim:
                words, length = self._words(dim, runs, size)
                rows[here] = words.reshape(-1, size)
                bits += length
            else:
                rows[here] = 0
        if self.ideal is not None:
            self.ideal[channels] += bits / size
        place = np.empty_like(order)
        place[order] = np.arange(n)
        rows = rows.take(place, axis=0)
        return scaled_codewords(np.ascontiguousarray(rows.T), sizes)

    def _runs(self, books: list[int], counts: list[int]) -> list[Run]:
        """All runs of a half tile, in order of coding; `books` are those of the classes, `counts` the cells of groups' classes."""
        runs, start, numbers = [], 0, iter(counts)
        for group in self.groups:
            for number, count in zip(books, numbers):  # noqa: B905 (the counts of the group)
                if count:
                    runs.append((0 if group.lost else self.dims[number], group, number, start, count))
                    start += count
        return runs

    def take(self, run: Run, count: int) -> UInt8:
        """The next symbols uint8 [count] of a run."""
        return run[1].take(self.stream_of[run[2]], count)

    def _words(self, dim: int, runs: list[Run], size: int) -> tuple[Int32, float]:
        """Words int32 [pieces, d] of runs whose books have one dimension, and their ideal code length."""
        symbols, escapes, first, bits, each = [], [], 0, 0.0, size // dim
        for run in runs:
            found = self.take(run, run[4] * each)
            symbols.append(found)
            escape = self.escapes[run[2]]
            if escape >= 0 and escape in found.tobytes():  # their values follow at once
                escaped = np.flatnonzero(found == escape)
                last = len(self.codebooks) - 1
                values = run[1].take(self.stream_of[last], dim * len(escaped))
                words, length = self._look_up(1, [(1, run[1], last, 0, 0)], [values])
                escapes.append((first + escaped, words.reshape(-1, dim)))
                bits += length
            first += len(found)
        words, length = self._look_up(dim, runs, symbols)
        for places, escaped_words in escapes:
            words[places] = escaped_words
        return words, bits + length

    def _look_up(self, dim: int, runs: list[Run], symbols: list[UInt8]) -> tuple[Int32, float]:
        """Words int32 [pieces, d] of the symbols of runs, with their raw bits, and their ideal code length if that is wanted."""
        table = self.symbol_tables[dim]
        lengths = [len(found) for found in symbols]
        places = np.repeat(table.first[[run[2] for run in runs]], lengths)
        places += np.concatenate(symbols)
        words = table.codewords.take(places, axis=0)
        widths = table.raw_bits.take(places)
        if widths.any():
            if widths.max() == NO_CODEWORD:
                raise CorruptError("corrupt file: an index is not in its codebook")
            start = 0
            for group, some in groupby(zip(runs, lengths, strict=True), key=lambda pair: pair[0][1]):
                stop = start + sum(length for _, length in some)
                raw = start + np.flatnonzero(widths[start:stop])
                words[raw, 0] = with_low_bits(words[raw, 0], group.bits.take_array(widths[raw]))
                start = stop
        return words, 0.0 if self.ideal is None else float(table.bits.take(places).sum(dtype=np.float64))


class IndexRecorder(SymbolReader):
    """A reader of one group that keeps every index of a tile's piece with its codebook, class, channel and cell."""

    def __init__(self, model: ExactModel, merge_map: int, group: GroupStreams) -> None:
        super().__init__(model, merge_map, [group])
        self.found: list[tuple[int, int, int, Intp, UInt8]] = []

    def code(self, book_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE) -> Int32:
        order = np.argsort(classes, kind="stable")
        self._channel, self._cells, self._classes = channels.start, cells[order], classes[order]
        return super().code(book_set, channels, cells, means, classes, sizes)

    def take(self, run: Run, count: int) -> UInt8:
        symbols = super().take(run, count)
        _, _, number, start, cells = run
        self.found.append((number, int(self._classes[start]), self._channel, self._cells[start : start + cells], symbols))
        return symbols

    def table_of_indices(self) -> dict[str, UInt32]:
        """Columns uint32 [n]: index (rank in its codebook), codebook, class, channel (of the piece's first coefficient), cell."""
        columns: dict[str, list[Int64]] = {name: [] for name in ("index", "codebook", "class", "channel", "cell")}
        for number, scale_class, channel, cells, symbols in self.found:
            pieces = len(symbols) // len(cells)  # of each cell
            columns["index"].append(symbols.astype(np.int64))
            columns["codebook"].append(np.full(len(symbols), number))
            columns["class"].append(np.full(len(symbols), scale_class))
            columns["channel"].append(np.tile(channel + self.codebooks[number].dim * np.arange(pieces), len(cells)))
            columns["cell"].append(np.repeat(cells, pieces))
        return {name: np.concatenate(parts).astype(np.uint32) for name, parts in columns.items()}
