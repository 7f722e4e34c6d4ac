"""Symbol streams <-> parts of bytes, in three forms.

A stream is a sequence of symbols; a symbol is the rank of a codeword, 0 for the most probable one of its codebook. Huffman codes
spend at least one bit per byte, so a skewed stream needs a form in which a byte stands for several symbols. The form of each
stream is part of the model:
* direct: one byte per symbol, for streams with many probable symbols;
* pairs: one byte per run of zeros and the symbol that ends it, like JPEG's run/size codes, for small alphabets;
* split: the runs of zeros in one part, the symbols that end them in another, for large alphabets with rare symbols.
* vectors: one byte for several small symbols, for streams whose symbols have less than about three bits. Streams of predicted
  samples only (codec/predicted.py).
Zeros at the end of a stream are never written: a reader past the end reads 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from vqcodec.arrays import Int16, Int32, UInt8
from vqcodec.errors import CorruptError

NO_SYMBOL: Final = -1
"""Tail of a pair that is a run of zeros only."""
LITERAL: Final = 256
"""Tail of a pair whose symbol is in the list of literals after the pairs."""
ESCAPE: Final = 255
"""Byte of a vector whose symbols follow in part 1."""
RUN_BITS: Final = 8
"""The last eight pairs of every pair table are pure runs of 1, 2, 4 ... 128 zeros; the literal is the pair before them."""
_LONGEST: Final = 255
"""Byte of the split form that continues a run; also the longest run that the search for pairs distinguishes."""
_NO_CODE: Final = 16
"""Assumed bits of a byte without a code: more than any code, so that the dictionary remains usable."""


class Form(Protocol):
    """A way to write a stream as one or two parts, which are compressed separately."""

    @property
    def parts(self) -> int:
        """Number of parts."""
        ...

    def pack(self, symbols: UInt8) -> list[bytes]:
        """Symbols uint8 [n], without the zeros at the end, to parts."""
        ...

    def unpack(self, parts: list[bytes], limit: int) -> UInt8:
        """Parts to symbols uint8 [n]; raises CorruptError if the parts do not match or n exceeds `limit`."""
        ...


@dataclass(frozen=True)
class Direct:
    """One byte per symbol."""

    parts = 1

    def pack(self, symbols: UInt8) -> list[bytes]:
        ends = np.flatnonzero(symbols)
        return [symbols[: ends[-1] + 1].tobytes() if len(ends) else b""]

    def unpack(self, parts: list[bytes], limit: int) -> UInt8:
        if len(parts[0]) > limit:
            raise CorruptError("corrupt file: a stream is too long")
        return np.frombuffer(parts[0], np.uint8)


@dataclass(frozen=True)
class Split:
    """Part 0: the run of zeros before each symbol, as bytes 255 and a last byte below; part 1: the symbols."""

    parts = 2

    def pack(self, symbols: UInt8) -> list[bytes]:
        ends = np.flatnonzero(symbols).astype(np.int32)
        runs = np.diff(ends, prepend=np.int32(-1))
        runs -= 1
        last = np.cumsum(runs // _LONGEST + 1, dtype=np.int32) - 1
        out = np.full(int(last[-1]) + 1 if len(last) else 0, _LONGEST, np.uint8)
        out[last] = runs % _LONGEST
        return [out.tobytes(), symbols[ends].tobytes()]

    def unpack(self, parts: list[bytes], limit: int) -> UInt8:
        runs, tails = (np.frombuffer(part, np.uint8) for part in parts)
        last = np.flatnonzero(runs != _LONGEST)
        if len(last) != len(tails) or (len(runs) and runs[-1] == _LONGEST):
            raise CorruptError("corrupt file: a stream's runs do not match its symbols")
        ends = np.cumsum(runs, dtype=np.int64)[last] + np.arange(len(last))
        total = int(ends[-1]) + 1 if len(last) else 0
        if total > limit:
            raise CorruptError("corrupt file: a stream is too long")
        symbols = np.zeros(total, np.uint8)
        symbols[ends] = tails
        return symbols


@dataclass(frozen=True)
class Vectors:
    """Part 0: one byte for each vector of `dim` symbols below `base`; part 1: the symbols of the vectors with a larger one.

    The byte of (s0, s1, ...) is s0 + base * s1 + ..., or ESCAPE. Zeros fill up the last vector. base ** dim <= ESCAPE.
    """

    dim: int
    base: int

    parts = 2

    def pack(self, symbols: UInt8) -> list[bytes]:
        trimmed = np.frombuffer(Direct().pack(symbols)[0], np.uint8)
        vectors = np.zeros((-(-len(trimmed) // self.dim), self.dim), np.uint8)
        vectors.reshape(-1)[: len(trimmed)] = trimmed
        escaped = (vectors >= self.base).any(axis=1)
        out = np.zeros(len(vectors), np.uint8)
        for place, power in enumerate(self._powers.tolist()):
            out += vectors[:, place] * np.uint8(power)  # wraps where it is escaped
        out[escaped] = ESCAPE
        return [out.tobytes(), vectors[escaped].tobytes()]

    def unpack(self, parts: list[bytes], limit: int) -> UInt8:
        values, rest = (np.frombuffer(part, np.uint8) for part in parts)
        escaped = values == ESCAPE
        if len(rest) != self.dim * np.count_nonzero(escaped) or int(values.max(initial=0, where=~escaped)) >= self.base**self.dim:
            raise CorruptError("corrupt file: a stream's vectors do not match its symbols")
        if len(values) * self.dim >= limit + self.dim:
            raise CorruptError("corrupt file: a stream is too long")
        vectors = self._table.take(values, axis=0)
        vectors[escaped] = rest.reshape(-1, self.dim)
        symbols = vectors.reshape(-1)
        if symbols[limit:].any():
            raise CorruptError("corrupt file: a stream is too long")
        return symbols[:limit]

    @property
    def _powers(self) -> Int32:
        return self.base ** np.arange(self.dim, dtype=np.int32)

    @cached_property
    def _table(self) -> UInt8:
        """The symbols of each byte, uint8 [256, dim]."""
        return (np.arange(256)[:, None] // self._powers % self.base).astype(np.uint8)


@dataclass(frozen=True)
class Pairs:
    """A pair table: byte b stands for `zeros[b]` zeros and then `tails[b]`."""

    zeros: UInt8
    """uint8 [256]."""
    tails: Int16
    """A symbol, LITERAL or NO_SYMBOL, int16 [256]."""
    lengths: UInt8 | None = None
    """Code lengths uint8 [256] in the dictionary of the stream's part (0: no code), or None if it has no dictionary."""

    parts = 1

    @cached_property
    def _best(self) -> tuple[UInt8, Int32]:
        """For symbol y and run r (0..255), both [256 y, 256 r]: the last byte of the cheapest way to write them, and its own run.

        The rest of the run is written before it as pure runs. Without code lengths the byte with the longest run is the cheapest.
        """
        runs = np.arange(_LONGEST + 1)
        literal = 255 - RUN_BITS
        if self.lengths is None:
            own, rest, literals = np.zeros(256), runs.astype(np.float64), np.ones(256)
        else:
            own = np.where(self.lengths > 0, self.lengths, _NO_CODE).astype(np.float64)
            rest = (runs[:, None] >> np.arange(RUN_BITS) & 1) @ own[256 - RUN_BITS :]
            literals = own[literal] + own
        byte = np.full((256, _LONGEST + 1), literal, np.uint8)
        run = np.zeros((256, _LONGEST + 1), np.int32)
        cost = literals[:, None] + rest
        for value in np.flatnonzero((self.tails >= 0) & (self.tails < LITERAL)).tolist():
            zeros, tail = int(self.zeros[value]), int(self.tails[value])
            found = own[value] + rest[: len(rest) - zeros]
            better = found < cost[tail, zeros:]
            byte[tail, zeros:][better], run[tail, zeros:][better] = value, zeros
            np.minimum(cost[tail, zeros:], found, out=cost[tail, zeros:])
        return byte, run

    def pack(self, symbols: UInt8) -> list[bytes]:
        """Symbols uint8 [n] to one part: pairs, then literals."""
        ends = np.flatnonzero(symbols)
        tails = symbols[ends]
        runs = np.diff(ends, prepend=-1) - 1
        byte, used = (table[tails, np.minimum(runs, _LONGEST)] for table in self._best)
        rest = runs - used
        high = rest >> (RUN_BITS - 1)
        pieces = [(rest >> bit) & 1 for bit in range(RUN_BITS - 1)]  # runs of 1, 2, ... 64
        counts = high + sum(pieces) + 1
        last = np.cumsum(counts)
        out = np.full(int(last[-1]) if len(last) else 0, 255, np.uint8)  # 255 is the run of 128
        position = last - counts + high
        for bit in range(RUN_BITS - 2, -1, -1):
            present = pieces[bit] == 1
            out[position[present]] = 255 - (RUN_BITS - 1) + bit
            position = position + pieces[bit]
        out[last - 1] = byte
        literals = tails[byte == 255 - RUN_BITS]
        return [out.tobytes() + literals.tobytes()]

    def unpack(self, parts: list[bytes], limit: int) -> UInt8:
        values = np.frombuffer(parts[0], np.uint8)
        # each pair that asks for a literal makes one more byte at the end a literal
        wanted = np.cumsum(self.tails[values] == LITERAL)
        pairs = int(np.count_nonzero(np.arange(1, len(values) + 1) + wanted <= len(values)))
        literals = values[pairs:]
        values = values[:pairs]
        zeros, tails = self.zeros[values].astype(np.int64), self.tails[values]
        ends = np.cumsum(zeros + (tails != NO_SYMBOL))
        total = int(ends[-1]) if pairs else 0
        if total > limit or np.count_nonzero(tails == LITERAL) != len(literals):
            raise CorruptError("corrupt file: a stream's runs do not match its symbols")
        tails = tails.copy()
        tails[tails == LITERAL] = literals
        symbols = np.zeros(total, np.uint8)
        has = tails != NO_SYMBOL
        symbols[ends[has] - 1] = tails[has]
        return symbols
