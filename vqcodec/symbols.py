"""Residuals <-> symbols: the books of a tile's classes, searched by the encoder and looked up by the decoder.

A half tile is coded class by class, so that the symbols of a class follow each other in its stream: cells in order of their
class, and then in order; within a cell, pieces of the tile's coefficients of as many as the class's book has dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.bits import BitReader
from vqcodec.errors import CorruptError
from vqcodec.model import DC_SET, TILE_SIZES, Model
from vqcodec.prior import CLASSES, Cells
from vqcodec.vq import (
    SCALAR_MAX,
    UNIT,
    Book,
    dequantize_scalar,
    dequantize_vector,
    quantize_scalar,
    quantize_vector,
)

DC_SHARE: Final = 0.2
_VECTOR_SHARE: Final = 1.25
"""Of lambda: a DC is context of all that follows in its cell and the cells around, so precision pays twice; a zero vector keeps
the classes around quiet."""

Vectors = NDArray[np.float32]
Residuals = NDArray[np.int32]
Means = NDArray[np.int32]
Classes = NDArray[np.uint8]
Symbols = NDArray[np.uint8]
Calls = list[tuple[int, Symbols]]
"""(book, symbols) in the order in which a decoder reads them."""


def search_rates(model: Model, rate: float) -> list[float]:
    """Lambda of the search in each book."""
    dc_books = set(model.table[DC_SET].ravel().tolist())
    vectors = [_VECTOR_SHARE if book.dim > 1 else 1.0 for book in model.books]
    return [rate * (DC_SHARE if number in dc_books else share) for number, share in enumerate(vectors)]


def wanted_rows(targets: NDArray[np.float32], channels: slice, cells: Cells, means: Means, order: Cells) -> NDArray[np.float32]:
    """The residuals a half tile should have, float32 [n, T] in steps, in order of coding."""
    wanted = targets[channels].take(cells[order], axis=1)
    wanted -= means.take(order, axis=1) * np.float32(1 / UNIT)
    return np.ascontiguousarray(wanted.T)


class ByClass(ABC):
    """Codes a half tile class by class; where the residuals of a class come from is the subclass's part."""

    def __init__(self, table: NDArray[np.int16]) -> None:
        """`table` int16 [set, log2 tile size, class] holds book numbers; -1 codes nothing."""
        self.table = table

    def code(self, book_set: int, channels: slice, cells: Cells, means: Means, classes: Classes) -> Residuals:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n] and classes uint8 [n]."""
        size, n = means.shape
        order = np.argsort(classes, kind="stable")
        self.begin(channels, cells, means, classes, order)
        rows = np.zeros((n, size), np.int32)
        start = 0
        books = self.table[book_set, TILE_SIZES.index(size)].tolist()
        for number, count in zip(books, np.bincount(classes, minlength=CLASSES).tolist(), strict=True):
            if count and number >= 0:
                run = slice(start, start + count)
                rows[run] = self.pieces(number, run, size).reshape(count, size)
            start += count
        place = np.empty_like(order)
        place[order] = np.arange(n)
        return np.ascontiguousarray(rows.take(place, axis=0).T)

    @abstractmethod
    def begin(self, channels: slice, cells: Cells, means: Means, classes: Classes, order: Cells) -> None:
        """A half tile begins: `code`'s arguments, and the order in which its cells are coded."""

    @abstractmethod
    def pieces(self, number: int, run: slice, size: int) -> NDArray[np.int32]:
        """Words int32 [pieces, d] of a run of cells, in the order of coding, that share book `number`; `size` values a cell."""


class SymbolWriter(ByClass):
    """Finds residuals by searching the codebooks; keeps the symbols, layer by layer."""

    def __init__(self, model: Model, targets: NDArray[np.float32], rates: Sequence[float]) -> None:
        """`targets` float32 [C, h * w] are the wanted latents in steps; `rates` is each book's lambda in squared steps per bit."""
        super().__init__(model.table)
        self.books = model.books
        self.targets = targets
        self.rates = rates
        self.calls: list[Calls] = []
        self.raw: list[list[tuple[NDArray[np.int32], NDArray[np.uint8]]]] = []

    def start_layer(self, layer: int) -> None:
        self.calls.append([])
        self.raw.append([])

    def begin(self, channels: slice, cells: Cells, means: Means, classes: Classes, order: Cells) -> None:
        self.wanted = wanted_rows(self.targets, channels, cells, means, order)

    def pieces(self, number: int, run: slice, size: int) -> NDArray[np.int32]:
        return self.quantize(number, self.wanted[run].reshape(-1, self.books[number].dim))

    def quantize(self, number: int, x: Vectors) -> NDArray[np.int32]:
        """Vectors float32 [n, d] to words int32 [n, d] of a book, whose symbols are kept."""
        book, rate = self.books[number], self.rates[number]
        if book.dim == 1:
            return self._scalars(number, x[:, 0])[:, None]
        symbols, costs = quantize_vector(book, x, rate)
        if book.escape >= 0:
            self._choose_escapes(book, x, costs, symbols, rate)
        self.calls[-1].append((number, symbols))
        words = dequantize_vector(book, symbols)
        escaped = np.flatnonzero(symbols == book.escape) if book.escape >= 0 else symbols[:0]
        if len(escaped):
            words[escaped] = self._scalars(len(self.books) - 1, x[escaped].reshape(-1)).reshape(-1, book.dim)
        return words

    def _scalars(self, number: int, x: NDArray[np.float32]) -> NDArray[np.int32]:
        book = self.books[number]
        symbols, low, words = quantize_scalar(book, x, self.rates[number])
        self.calls[-1].append((number, symbols))
        widths = book.raw_bits.take(symbols)
        if widths.any():
            self.raw[-1].append((low, widths))
        return words

    def _choose_escapes(
        self, book: Book, x: NDArray[np.float32], costs: NDArray[np.float32], symbols: Symbols, rate: float
    ) -> None:
        """Replace symbols by the escape where coding the values one by one costs less."""
        _, reconstructions, bits = self.books[-1].scalar
        costs = costs + np.einsum("nd,nd->n", x, x)
        escape = rate * float(book.bits[book.escape])
        doubtful = np.flatnonzero(costs > escape + rate * book.dim * float(bits.min()))
        if len(doubtful):
            values = x[doubtful]
            nearest = np.clip(np.rint(values), -SCALAR_MAX, SCALAR_MAX).astype(np.int32) + SCALAR_MAX
            cost = (values - reconstructions[nearest] * np.float32(1 / UNIT)) ** 2 + rate * bits[nearest]
            symbols[doubtful[escape + cost.sum(axis=1) < costs[doubtful]]] = book.escape


class SymbolReader(ByClass):
    """Looks residuals up; `layers` are the streams of every layer (symbols) and its raw bits. Lost layers (None) have none."""

    def __init__(
        self,
        model: Model,
        merge_map: int,
        layers: Sequence[tuple[list[Symbols], bytes] | None],
        bits: NDArray[np.float64] | None,
    ) -> None:
        super().__init__(model.table)
        self.books = model.books
        self.ideal = bits
        self.channels = slice(0)
        self.stream_of = model.maps[merge_map].tolist()
        self.layers = layers
        self.current = -1

    def start_layer(self, layer: int) -> None:
        self.finish()
        found = self.layers[layer]
        self.current = -1 if found is None else layer
        if found is not None:
            self.streams, raw = found
            self.cursors = [0] * len(self.streams)
            self.bits = BitReader(raw)

    def finish(self) -> None:
        """Raise CorruptError if anything of the current layer was not read."""
        if self.current >= 0:
            if any(len(s) > c for s, c in zip(self.streams, self.cursors, strict=True)):
                raise CorruptError("corrupt file: indices left over")
            self.bits.finish()

    def code(self, book_set: int, channels: slice, cells: Cells, means: Means, classes: Classes) -> Residuals:
        if self.current < 0:
            return np.zeros(means.shape, np.int32)
        return super().code(book_set, channels, cells, means, classes)

    def begin(self, channels: slice, cells: Cells, means: Means, classes: Classes, order: Cells) -> None:
        self.channels = channels

    def pieces(self, number: int, run: slice, size: int) -> NDArray[np.int32]:
        book = self.books[number]
        count = (run.stop - run.start) * size // book.dim
        if book.dim == 1:
            return self._scalars(number, count)[:, None]
        symbols, last = self.take(number, count)
        words = dequantize_vector(book, symbols)
        if 0 <= book.escape <= last:
            escaped = np.flatnonzero(symbols == book.escape)
            if len(escaped):
                words[escaped] = self._scalars(len(self.books) - 1, len(escaped) * book.dim).reshape(-1, book.dim)
        return words

    def take(self, number: int, count: int) -> tuple[Symbols, int]:
        """The next symbols uint8 [count] of a book, and the largest of them."""
        book, stream = self.books[number], self.stream_of[number]
        start = self.cursors[stream]
        self.cursors[stream] = start + count
        symbols = self.streams[stream][start : start + count]
        last = int(symbols.max()) if len(symbols) else 0
        if last >= book.size:
            raise CorruptError("corrupt file: an index is not in its codebook")
        if len(symbols) < count:
            symbols = np.concatenate([symbols, np.zeros(count - len(symbols), np.uint8)])
        if self.ideal is not None:
            self._add_ideal(float(book.bits[symbols].sum(dtype=np.float64)))
        return symbols, last

    def _scalars(self, number: int, count: int) -> NDArray[np.int32]:
        book = self.books[number]
        symbols, last = self.take(number, count)
        if last < book.first_raw:
            return dequantize_scalar(book, symbols, None)
        widths = book.raw_bits.take(symbols)
        if self.ideal is not None:
            self._add_ideal(float(widths.sum()))
        return dequantize_scalar(book, symbols, self.bits.take(widths))

    def _add_ideal(self, bits: float) -> None:
        assert self.ideal is not None
        self.ideal[self.channels] += bits / (self.channels.stop - self.channels.start)


class IndexRecorder(SymbolReader):
    """A reader that keeps every index of a tile's piece with its codebook, class, channel and cell."""

    def __init__(self, model: Model, merge_map: int, layers: Sequence[tuple[list[Symbols], bytes] | None]) -> None:
        super().__init__(model, merge_map, layers, None)
        self.found: list[tuple[int, int, int, Cells, Symbols]] = []
        self._taken: list[Symbols] = []

    def begin(self, channels: slice, cells: Cells, means: Means, classes: Classes, order: Cells) -> None:
        super().begin(channels, cells, means, classes, order)
        self._cells, self._classes = cells[order], classes[order]

    def take(self, number: int, count: int) -> tuple[Symbols, int]:
        found = super().take(number, count)
        self._taken.append(found[0])
        return found

    def pieces(self, number: int, run: slice, size: int) -> NDArray[np.int32]:
        self._taken = []
        words = super().pieces(number, run, size)
        self.found.append((number, int(self._classes[run.start]), self.channels.start, self._cells[run], self._taken[0]))
        return words

    def table_of_indices(self) -> dict[str, NDArray[np.uint32]]:
        """Columns uint32 [n]: index (rank in its codebook), codebook, class, channel (of the piece's first coefficient), cell."""
        columns: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("index", "codebook", "class", "channel", "cell")}
        for number, scale_class, channel, cells, symbols in self.found:
            pieces = len(symbols) // len(cells)  # of each cell
            columns["index"].append(symbols.astype(np.int64))
            columns["codebook"].append(np.full(len(symbols), number))
            columns["class"].append(np.full(len(symbols), scale_class))
            columns["channel"].append(np.tile(channel + self.books[number].dim * np.arange(pieces), len(cells)))
            columns["cell"].append(np.repeat(cells, pieces))
        return {name: np.concatenate(parts).astype(np.uint32) for name, parts in columns.items()}
