"""Residuals <-> symbols: the encoder searches the codebooks of a tile's scale classes, the decoder looks symbols up in them.

A half tile is coded class by class, so that the symbols of a class follow each other in its stream. Cells are sorted by class and
then by place; within a cell the tile's coefficients are cut into vectors of the codebook's dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int32, Intp, UInt8
from vqcodec.entropy.codebook_search import nearest, nearest_scalars
from vqcodec.entropy.codebooks import NATURAL_SIZE, NO_CODEWORD, SCALAR_MAX, scaled_codewords, with_low_bits
from vqcodec.entropy.linear import NOT_CODED
from vqcodec.errors import CorruptError
from vqcodec.format.bits import BitReader, pack_bits
from vqcodec.transform.layouts import LATENT_UNIT, TILE_SIZES
from vqcodec.weights.exact import DC_SET, ExactModel

DC_LAMBDA: Final = 0.2
_CHROMA_DC_LAMBDA: Final = 0.5
_VECTOR_LAMBDA: Final = 1.25
"""Lambda multipliers. DCs condition everything coded after them, so they get a smaller lambda (finer quantisation); chroma,
which is mostly DCs, a still smaller one. Vectors get a larger one: a zero vector lowers the classes predicted around it."""


Sizes = Int32 | int
"""Codeword sizes in 1/256 of their natural size: int32 [n] for n cells, or one for all."""

Calls = list[tuple[int, UInt8]]
"""Pairs (codebook number, symbols) in the order in which a decoder reads them."""


@dataclass(frozen=True)
class GroupSymbols:
    """The symbols of one tile group, and its packed raw bits, layer by layer.

    `clipped`: a residual exceeded the codebooks' range, so a file of these symbols would decode wrongly.
    """

    calls: list[Calls]
    raw: list[bytes]
    clipped: bool


def search_lambdas(model: ExactModel, lambda_: float) -> list[float]:
    """Lambda of the search in each codebook, by codebook number: `lambda_` times a multiplier for DCs or vectors."""
    dc_codebooks = set(model.table[DC_SET].ravel().tolist())
    vectors = [_VECTOR_LAMBDA if codebook.dim > 1 else 1.0 for codebook in model.codebooks]
    return [lambda_ * (DC_LAMBDA if number in dc_codebooks else share) for number, share in enumerate(vectors)]


def dc_lambda(component: int, density: float) -> float:
    """Multiplier of a DC's lambda in a pass of the DC pyramid over a share `density` (0..1) of all cells.

    Coarse passes get a smaller lambda, because their few DCs predict many others.
    """
    above = min(1.0, 4 * density)  # each of the finest passes covers a quarter of the cells
    return above**0.5 if component == 0 else _CHROMA_DC_LAMBDA * above


def target_residuals(targets: Float32, channels: slice, cells: Intp, means: Int32, order: Intp) -> Float32:
    """Targets of a half tile minus its means: float32 [n, T] in steps, in order of coding."""
    wanted = targets[channels].take(cells[order], axis=1)
    wanted -= means.take(order, axis=1) * np.float32(1 / LATENT_UNIT)
    return np.ascontiguousarray(wanted.T)


class CodebookSpan(NamedTuple):
    """Vectors of one codebook that follow each other in order of coding."""

    codebook: int
    length: int


# ------------------------------------------------------------------------------------------------ encoding


class ByClass(ABC):
    """A coder of known targets that codes half tiles class by class; subclasses choose the codewords."""

    def __init__(self, table: Int16, dims: Sequence[int], targets: Float32) -> None:
        """`table` int16 [set, log2 tile size, class] holds codebook numbers; -1 codes nothing. `dims`: dimensions of the codebooks.
        `targets` float32 [C, h * w] in steps.
        """
        self.table = np.pad(table, ((0, 0), (0, 0), (0, 1)), constant_values=-1)  # with an entry for NOT_CODED
        self.dims, self.targets = [*dims, 0], targets  # the last entry serves codebook -1

    def start_layer(self, layer: int) -> None:  # noqa: B027 (most coders ignore layers)
        """Begin the next layer."""

    def finish(self) -> None:  # noqa: B027
        """End the tile group."""

    def code(
        self, codebook_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE
    ) -> Int32:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n], classes uint8 [n] and codeword sizes."""
        size, n = means.shape
        order = np.argsort(classes, kind="stable")
        wanted = target_residuals(self.targets, channels, cells, means, order)
        if not isinstance(sizes, int):
            wanted *= (np.float32(NATURAL_SIZE) / sizes.take(order).astype(np.float32))[:, None]
        elif sizes != NATURAL_SIZE:
            wanted *= np.float32(NATURAL_SIZE / sizes)
        rows = np.zeros((n, size), np.int32)
        counts = np.bincount(classes, minlength=NOT_CODED + 1).tolist()
        codebooks = self.table[codebook_set, TILE_SIZES.index(size)].tolist()
        present = [(number, count) for number, count in zip(codebooks, counts, strict=True) if count]
        start = 0
        for dim, some in groupby(present, key=lambda pair: self.dims[pair[0]]):
            alike = list(some)
            here = slice(start, start + sum(count for _, count in alike))
            if dim:
                spans = [CodebookSpan(number, count * size // dim) for number, count in alike]
                rows[here] = self.quantize(spans, wanted[here].reshape(-1, dim)).reshape(-1, size)
            start = here.stop
        place = np.empty_like(order)
        place[order] = np.arange(n)
        rows = rows.take(place, axis=0)
        return scaled_codewords(np.ascontiguousarray(rows.T), sizes)

    @abstractmethod
    def quantize(self, spans: list[CodebookSpan], x: Float32) -> Int32:
        """Vectors float32 [n, d] in steps, span after span, to codewords int32 [n, d]; all codebooks have dimension d."""


class SymbolWriter(ByClass):
    """Searches the codebooks for residuals and keeps their symbols, layer by layer."""

    scalar_lambda = 1.0
    """Lambda multiplier in scalar codebooks."""

    def __init__(self, model: ExactModel, targets: Float32, lambdas: Sequence[float]) -> None:
        """`targets` float32 [C, h * w] in steps; `lambdas` in squared steps per bit, one per codebook."""
        super().__init__(model.table, [codebook.dim for codebook in model.codebooks], targets)
        self.codebooks, self.search = model.codebooks, model.search(tuple(lambdas))
        self.calls: list[Calls] = []
        self.clipped = False
        """True once a residual exceeded the codebooks' range, as at hard edges with very fine steps."""
        self._raw: list[list[tuple[Int32, UInt8]]] = []

    def start_layer(self, layer: int) -> None:
        self.calls.append([])
        self._raw.append([])

    def symbols(self) -> GroupSymbols:
        """All symbols of a tile group that has been coded."""
        raw = []
        for layer in self._raw:
            low = np.concatenate([values for values, _ in layer]) if layer else np.zeros(0, np.int32)
            widths = np.concatenate([width for _, width in layer]) if layer else np.zeros(0, np.uint8)
            raw.append(pack_bits(low, widths))
        return GroupSymbols(self.calls, raw, self.clipped)

    def quantize(self, spans: list[CodebookSpan], x: Float32) -> Int32:
        """Codewords int32 [n, d] of least cost; their symbols are kept."""
        return self._scalars(spans, x[:, 0])[:, None] if x.shape[1] == 1 else self._vectors(spans, x)

    def _scalars(self, spans: list[CodebookSpan], x: Float32) -> Int32:
        """Codewords int32 [n] of values float32 [n], all spans at once: DCs have many small classes."""
        numbers, counts = zip(*spans, strict=True)
        scalars = self.search.scalars
        self.clipped = self.clipped or max(x.max(), -x.min()) > SCALAR_MAX + 0.5
        found = nearest_scalars(scalars, self.search.origin[[*numbers]].repeat(counts), x, self.scalar_lambda)
        self._keep(spans, scalars.symbols.take(found))
        widths = scalars.widths.take(found)
        if widths.any():
            self._raw[-1].append((scalars.low.take(found), widths))
        return scalars.codewords.take(found)

    def _keep(self, spans: list[CodebookSpan], symbols: UInt8) -> None:
        """Record the symbols of spans, in the order in which a decoder reads them."""
        start = 0
        for number, count in spans:
            self.calls[-1].append((number, symbols[start : start + count]))
            start += count

    def _vectors(self, spans: list[CodebookSpan], x: Float32) -> Int32:
        """Codewords int32 [n, d]. Vectors near zero get the zero codeword at once; the others, about one in 20, are searched."""
        numbers, counts = zip(*spans, strict=True)
        energies = np.einsum("nd,nd->n", x, x)
        away = np.flatnonzero(energies > self.search.reach[[*numbers]].repeat(counts))
        own, costs = x.take(away, axis=0), energies.take(away)
        symbols = self.search.zero[[*numbers]].repeat(counts)
        codewords = np.zeros(x.shape, np.int32)
        bounds = [0, *np.searchsorted(away, np.cumsum(counts)).tolist()]
        for number, first, last in zip(numbers, bounds, bounds[1:], strict=False):
            if first < last:
                some = away[first:last]
                index, found = nearest(own[first:last], self.search.vectors[number].weights)
                costs[first:last] += found
                symbols[some], codewords[some] = index, self.codebooks[number].rows.take(index, axis=0)
        escaped = away[self._escapes(np.array(numbers).repeat(np.diff(bounds)), own, costs)]
        start = 0
        for (number, count), last in zip(spans, np.cumsum(counts).tolist(), strict=True):
            self._keep([CodebookSpan(number, count)], symbols[start:last])  # a view, so it sees the escapes below
            here = escaped[(start <= escaped) & (escaped < last)] if len(escaped) else escaped
            if len(here):  # their values follow at once
                symbols[here] = self.codebooks[number].escape
                values = x[here].reshape(-1)
                codewords[here] = self._scalars([CodebookSpan(len(self.codebooks) - 1, len(values))], values).reshape(len(here), -1)
            start = last
        return codewords

    def _escapes(self, numbers: Intp, x: Float32, costs: Float32) -> Intp:
        """Positions of the vectors for which an escape and d scalar codewords cost less than `costs`."""
        doubtful = np.flatnonzero(costs > self.search.doubt.take(numbers))
        if not len(doubtful):
            return doubtful
        values, numbers = x[doubtful], numbers[doubtful]
        _, codewords, bits = self.codebooks[-1].scalar
        places = np.clip(np.rint(values), -SCALAR_MAX, SCALAR_MAX).astype(np.intp) + SCALAR_MAX
        cost = (values - codewords[places] * np.float32(1 / LATENT_UNIT)) ** 2 + self.search.lambdas[numbers, None] * bits[places]
        return doubtful[self.search.escape[numbers] + cost.sum(axis=1) < costs[doubtful]]


class EncoderWriter(SymbolWriter):
    """A SymbolWriter with the encoder's lambdas."""

    def __init__(self, model: ExactModel, targets: Float32, lambda_: float) -> None:
        """`targets` float32 [C, h * w] in steps; `lambda_` in squared codeword sizes per bit, for DCs in squared steps per bit."""
        super().__init__(model, targets, search_lambdas(model, lambda_))

    def code(
        self, codebook_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE
    ) -> Int32:
        """Residuals int32 [T, n] as ByClass.code gives them; DCs at the lambda of their pass."""
        self.scalar_lambda = 1.0
        if codebook_set == DC_SET:
            assert isinstance(sizes, int)
            self.scalar_lambda = dc_lambda(channels.start, len(cells) / self.targets.shape[1]) * (NATURAL_SIZE / sizes) ** 2
        return super().code(codebook_set, channels, cells, means, classes, sizes)


# ------------------------------------------------------------------------------------------------ decoding


class Layer(Protocol):
    """The contents of an index section, read from its start to its end."""

    def take(self, codebook: int, count: int) -> UInt8:
        """The next symbols uint8 [count] of a codebook. Raises CorruptError."""
        ...

    def take_raw(self, widths: UInt8) -> Int32:
        """The next raw bits: values int32 [n] of `widths` uint8 [n] bits (0..16). Raises CorruptError."""
        ...

    def finish(self) -> None:
        """Raise CorruptError if part of the section was not read."""
        ...


class LayerStreams:
    """A layer as streams of symbols, which codebooks share, and raw bits."""

    def __init__(self, symbols: list[UInt8], raw: bytes, stream_of: Sequence[int]) -> None:
        """`symbols` uint8 [n] of each stream; `stream_of`: the stream of each codebook."""
        self.symbols, self._stream_of = symbols, stream_of
        self._cursors = [0] * len(symbols)
        self._bits = BitReader(raw)

    def take(self, codebook: int, count: int) -> UInt8:
        """The next symbols uint8 [count] of a codebook; zeros where its stream has ended."""
        stream = self._stream_of[codebook]
        start = self._cursors[stream]
        self._cursors[stream] = start + count
        symbols = self.symbols[stream][start : start + count]
        if len(symbols) < count:
            symbols = np.concatenate([symbols, np.zeros(count - len(symbols), np.uint8)])
        return symbols

    def take_raw(self, widths: UInt8) -> Int32:
        """The next raw bits int32 [n]. Raises CorruptError past the end."""
        return self._bits.take_array(widths)

    def finish(self) -> None:
        """Raise CorruptError if part of the section was not read."""
        if any(len(s) > c for s, c in zip(self.symbols, self._cursors, strict=True)):
            raise CorruptError("corrupt file: indices left over")
        self._bits.finish()


class GroupStreams:
    """The layers of one tile group, each opened when its turn comes."""

    def __init__(self, unpack: Callable[[int], Layer | None]) -> None:
        """`unpack` returns a layer, given its number, when its turn comes; None: the layer is lost, and its residuals are zero."""
        self._unpack = unpack
        self._layer: Layer | None = None

    @property
    def lost(self) -> bool:
        """Whether there is no layer to read."""
        return self._layer is None

    def start_layer(self, layer: int) -> None:
        """Unpack the next layer. Raises CorruptError."""
        self.finish()
        self._layer = self._unpack(layer)

    def finish(self) -> None:
        """Raise CorruptError if part of the current layer was not read."""
        if self._layer is not None:
            self._layer.finish()
            self._layer = None  # frees memory: many groups wait for their next layer

    def take(self, codebook: int, count: int) -> UInt8:
        """The next symbols uint8 [count] of a codebook. Raises CorruptError."""
        assert self._layer is not None
        return self._layer.take(codebook, count)

    def take_raw(self, widths: UInt8) -> Int32:
        """The next raw bits, int32 [n] of `widths` uint8 [n] bits. Raises CorruptError."""
        assert self._layer is not None
        return self._layer.take_raw(widths)


class ClassSpan(NamedTuple):
    """Cells of one tile group and scale class, which follow each other in order of coding."""

    dim: int
    """Dimension of their codebook; 0: nothing is coded."""
    group: GroupStreams
    codebook: int
    start: int
    """Place of the first cell in order of coding."""
    length: int


class SymbolReader:
    """Looks up residuals for one tile group, or for several of one shape together: cells of the first, then of the second, ...

    Codebooks of one dimension are looked up together, so that a class adds little more than a slice of its stream.
    """

    def __init__(self, model: ExactModel, groups: Sequence[GroupStreams], ideal: Float64 | None = None) -> None:
        """`ideal` float64 [C], if given: the ideal code length in bits of the symbols read is added to it, by channel."""
        self.codebooks, self.symbol_tables = model.codebooks, model.symbol_tables
        self.table = [[[*codebooks, -1] for codebooks in by_size] for by_size in model.table.tolist()]  # the last: NOT_CODED
        self.dims = [*(codebook.dim for codebook in model.codebooks), 0]  # the last entry serves codebook -1
        self.escapes = [codebook.escape for codebook in model.codebooks]
        self.groups = groups
        self.ideal = ideal

    def start_layer(self, layer: int) -> None:
        for group in self.groups:
            group.start_layer(layer)

    def finish(self) -> None:
        """Raise CorruptError if part of the last layer was not read."""
        for group in self.groups:
            group.finish()

    def code(
        self, codebook_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE
    ) -> Int32:
        """Residuals int32 [T, n] in 1/16 step for n cells, given means int32 [T, n], classes uint8 [n] and codeword sizes.

        Raises CorruptError.
        """
        size, n = means.shape
        keys = classes
        if len(self.groups) > 1:
            firsts = np.arange(len(self.groups), dtype=np.uint16) * (NOT_CODED + 1)
            keys = (classes.reshape(len(self.groups), -1) + firsts[:, None]).reshape(-1)
        order = np.argsort(keys, kind="stable")
        counts = np.bincount(keys, minlength=(NOT_CODED + 1) * len(self.groups)).tolist()
        rows = np.empty((n, size), np.int32)
        bits = 0.0
        for dim, some in groupby(self._spans(self.table[codebook_set][TILE_SIZES.index(size)], counts), key=attrgetter("dim")):
            spans = list(some)
            here = slice(spans[0].start, spans[-1].start + spans[-1].length)
            if dim:
                codewords, length = self._codewords(dim, spans, size)
                rows[here] = codewords.reshape(-1, size)
                bits += length
            else:
                rows[here] = 0
        if self.ideal is not None:
            self.ideal[channels] += bits / size
        place = np.empty_like(order)
        place[order] = np.arange(n)
        rows = rows.take(place, axis=0)
        return scaled_codewords(np.ascontiguousarray(rows.T), sizes)

    def _spans(self, codebooks: list[int], counts: list[int]) -> list[ClassSpan]:
        """The spans of a half tile in order of coding. `codebooks`: number by class; `counts`: cells of each group's classes."""
        spans, start, numbers = [], 0, iter(counts)
        for group in self.groups:
            for number, count in zip(codebooks, numbers):  # noqa: B905 (the counts of the group)
                if count:
                    spans.append(ClassSpan(0 if group.lost else self.dims[number], group, number, start, count))
                    start += count
        return spans

    def take(self, span: ClassSpan, count: int) -> UInt8:
        """The next symbols uint8 [count] of a span."""
        return span.group.take(span.codebook, count)

    def _codewords(self, dim: int, spans: list[ClassSpan], size: int) -> tuple[Int32, float]:
        """Codewords int32 [vectors, d] of spans of d-dimensional codebooks, escapes resolved; and the ideal length in bits."""
        symbols, escapes, first, bits, each = [], [], 0, 0.0, size // dim
        for span in spans:
            found = self.take(span, span.length * each)
            symbols.append(found)
            escape = self.escapes[span.codebook]
            if escape >= 0 and escape in found.tobytes():  # their values follow at once
                escaped = np.flatnonzero(found == escape)
                last = len(self.codebooks) - 1
                values = span.group.take(last, dim * len(escaped))
                codewords, length = self._look_up(1, [ClassSpan(1, span.group, last, 0, 0)], [values])
                escapes.append((first + escaped, codewords.reshape(-1, dim)))
                bits += length
            first += len(found)
        codewords, length = self._look_up(dim, spans, symbols)
        for places, escaped_codewords in escapes:
            codewords[places] = escaped_codewords
        return codewords, bits + length

    def _look_up(self, dim: int, spans: list[ClassSpan], symbols: list[UInt8]) -> tuple[Int32, float]:
        """Codewords int32 [vectors, d] of symbols, raw bits included; and their ideal code length in bits, or 0 without `ideal`."""
        table = self.symbol_tables[dim]
        lengths = [len(found) for found in symbols]
        places = np.repeat(table.first[[span.codebook for span in spans]], lengths)
        places += np.concatenate(symbols)
        codewords = table.codewords.take(places, axis=0)
        widths = table.raw_bits.take(places)
        if widths.any():
            if widths.max() == NO_CODEWORD:
                raise CorruptError("corrupt file: an index is not in its codebook")
            start = 0
            for group, some in groupby(zip(spans, lengths, strict=True), key=lambda pair: pair[0].group):
                stop = start + sum(length for _, length in some)
                raw = start + np.flatnonzero(widths[start:stop])
                codewords[raw, 0] = with_low_bits(codewords[raw, 0], group.take_raw(widths[raw]))
                start = stop
        return codewords, 0.0 if self.ideal is None else float(table.bits.take(places).sum(dtype=np.float64))
