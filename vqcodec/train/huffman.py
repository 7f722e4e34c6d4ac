"""Huffman codes of at most 11 bits, and the zstd dictionaries that carry them (RFC 8878, sections 4.1, 4.2 and 5)."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from vqcodec.arrays import Float64, Int64, UInt8
from vqcodec.format.bits import pack_bits
from vqcodec.format.zstd_blocks import HUFFMAN_MAX_BITS, Dictionary

_ACCURACY: Final = 6
"""Logarithm of the states in which the code lengths are written."""
_DIRECT: Final = 128
"""Code lengths that fit the form of 4 bits each."""
# 3.1.1.3.2.2: the predefined distributions of literal lengths, match lengths and offsets
_LITERAL_LENGTHS: Final = (4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1)
_MATCH_LENGTHS: Final = (1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7)
_OFFSETS: Final = (*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5)
_CONTENT: Final = struct.pack("<III8x", 1, 4, 8)
"""The offsets to begin with, and the least text they may refer to."""


def code_lengths(counts: Float64) -> UInt8:
    """Lengths of the best code of at most 11 bits for counts [256], uint8 [256]; 0 where the count is 0.

    Package-merge (Larmore, Hirschberg 1990). Fewer than two symbols have no code: all lengths are 0.
    """
    symbols = np.flatnonzero(counts > 0)
    lengths = np.zeros(256, np.uint8)
    if len(symbols) < 2:
        return lengths
    leaves = [(float(counts[s]), np.bincount([s], minlength=256)) for s in symbols[np.argsort(counts[symbols], kind="stable")]]
    row = leaves
    for _ in range(HUFFMAN_MAX_BITS - 1):
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2], strict=False)]
        row = sorted(leaves + packages, key=lambda item: item[0])
    for _, members in row[: 2 * len(symbols) - 2]:
        lengths += members.astype(np.uint8)
    return lengths


def dictionary(lengths: UInt8) -> Dictionary:
    """The zstd dictionary of a complete code, uint8 [256]; raises ValueError where zstd has no form for it."""
    tables = b"".join(_table(p, log) for p, log in ((_OFFSETS, 5), (_MATCH_LENGTHS, 6), (_LITERAL_LENGTHS, 6)))
    found = Dictionary(struct.pack("<II", 0xEC30A437, 1) + _tree(lengths) + tables + _CONTENT, lengths)
    found.check()
    return found


def _tree(lengths: UInt8) -> bytes:
    """4.2.1: the weights of all symbols but the last, which follows from them."""
    longest = int(lengths.max())
    weights = np.where(lengths > 0, longest + 1 - lengths.astype(np.int64), 0)
    weights = weights[: np.flatnonzero(weights)[-1]]
    if len(weights) <= _DIRECT:
        return bytes([127 + len(weights)]) + pack_bits(weights.astype(np.int32), np.full(len(weights), 4, np.uint8))
    packed = _states(weights.tolist())
    if len(packed) >= _DIRECT:
        raise ValueError("the code's description is too long")
    return bytes([len(packed)]) + packed


def _states(weights: list[int]) -> bytes:
    """4.2.1.2: weights by finite states, two taking turns, from the last weight to the first."""
    size = 1 << _ACCURACY
    shares = _shares(np.bincount(weights), size)
    if shares.max() == size:
        raise ValueError("all code lengths are the same")
    symbol_of = np.empty(size, np.int64)
    symbol_of[np.arange(size) * ((size >> 1) + (size >> 3) + 3) % size] = np.repeat(np.arange(len(shares)), shares)
    entries: list[list[tuple[int, int, int]]] = [[] for _ in shares]  # of a weight: (first next state, bits, own state)
    for state, symbol in enumerate(symbol_of.tolist()):
        share = int(shares[symbol]) + len(entries[symbol])
        bits = _ACCURACY + 1 - share.bit_length()
        entries[symbol].append(((share << bits) - size, bits, state))
    stream, width = 0, 0
    turns = [entries[weights[-2]][0][2], entries[weights[-1]][0][2]]  # the first entry of a weight always asks for bits
    for weight in weights[-3::-1]:
        after = turns[1]
        first, bits, state = next(e for e in entries[weight] if e[0] <= after < e[0] + (1 << e[1]))
        stream |= (after - first) << width
        width += bits
        turns = [state, turns[0]]
    for state in (turns[1], turns[0]):
        stream |= state << width
        width += _ACCURACY
    stream |= 1 << width
    return _table(shares.tolist(), _ACCURACY) + stream.to_bytes(width // 8 + 1, "little")


def _shares(counts: Int64, size: int) -> Int64:
    """Counts scaled to sum to `size`, none that occurs below 1."""
    shares = np.where(counts > 0, np.maximum(1, counts * size // counts.sum()), 0)
    while shares.sum() != size:
        shares[shares.argmax()] += 1 if shares.sum() < size else -1
    return shares


def _table(shares: tuple[int, ...] | list[int], accuracy: int) -> bytes:
    """4.1.1: a distribution (-1: less than 1) as zstd writes it."""
    stream, width = accuracy - 5, 4
    rest, threshold, bits = (1 << accuracy) + 1, 1 << accuracy, accuracy + 1
    zeros = 0
    for share in shares:
        if rest <= 1:
            break
        if share == 0 and zeros:
            zeros += 1
            continue
        if zeros:  # a zero is followed by how many more there are, in threes
            stream |= ((1 << 2 * ((zeros - 1) // 3)) - 1 | (zeros - 1) % 3 << 2 * ((zeros - 1) // 3)) << width
            width += 2 * ((zeros - 1) // 3) + 2
            zeros = 0
        spare = 2 * threshold - 1 - rest
        rest -= abs(share)
        value = share + 1
        if value >= threshold:
            value += spare
        stream |= value << width
        width += bits - (value < spare)
        zeros = int(share == 0)
        while rest < threshold:
            bits -= 1
            threshold >>= 1
    return stream.to_bytes((width + 7) // 8, "little")
