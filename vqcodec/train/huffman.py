"""Length-limited Huffman codes, and the zstd dictionaries that carry them (RFC 8878, sections 4.1, 4.2 and 5)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64, Int64, UInt8
from vqcodec.format.bits import pack_bits
from vqcodec.format.zstd_blocks import HUFFMAN_MAX_BITS, Dictionary

_WEIGHTS_ACCURACY_LOG: Final = 6
"""Accuracy_Log of the FSE table that the weights are coded with: log2 of its number of states."""
_MAX_DIRECT_WEIGHTS: Final = 128
"""Largest number of weights that the direct representation, 4 bits each, can hold."""
# 3.1.1.3.2.2: the default distributions of literals length codes, match length codes and offset codes
_LITERALS_LENGTHS: Final = (4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1)
_MATCH_LENGTHS: Final = (1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7)
_OFFSETS: Final = (*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5)
_DICTIONARY_MAGIC, _DICTIONARY_ID = 0xEC30A437, 1
_REPEAT_OFFSETS_AND_CONTENT: Final = struct.pack("<III8x", 1, 4, 8)
"""The three repeat offsets, and the shortest content that they may refer to: 8 zeros."""


def code_lengths(counts: Float64) -> UInt8:
    """Number_of_Bits of the optimal code of at most 11 bits for counts [256], uint8 [256]; 0 where the count is 0.

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
    """The zstd dictionary of a complete code with `lengths` uint8 [256]; raises ValueError if zstd cannot describe the code."""
    distributions = ((_OFFSETS, 5), (_MATCH_LENGTHS, 6), (_LITERALS_LENGTHS, 6))
    tables = b"".join(_fse_table_description(probabilities, log) for probabilities, log in distributions)
    header = struct.pack("<II", _DICTIONARY_MAGIC, _DICTIONARY_ID)
    found = Dictionary(header + _huffman_tree_description(lengths) + tables + _REPEAT_OFFSETS_AND_CONTENT, lengths)
    found.check()
    return found


def _huffman_tree_description(lengths: UInt8) -> bytes:
    """4.2.1: the weights of all symbols except the last, whose weight follows from the others."""
    longest = int(lengths.max())
    weights = np.where(lengths > 0, longest + 1 - lengths.astype(np.int64), 0)
    weights = weights[: np.flatnonzero(weights)[-1]]
    if len(weights) <= _MAX_DIRECT_WEIGHTS:
        return bytes([127 + len(weights)]) + pack_bits(weights.astype(np.int32), np.full(len(weights), 4, np.uint8))
    compressed = _fse_compressed_weights(weights.tolist())
    if len(compressed) >= _MAX_DIRECT_WEIGHTS:
        raise ValueError("the code's description is too long")
    return bytes([len(compressed)]) + compressed


class _FseState(NamedTuple):
    """An entry of the FSE table: the state that decodes to a symbol, and how the next state is read."""

    baseline: int
    bits: int
    state: int


def _fse_compressed_weights(weights: list[int]) -> bytes:
    """4.2.1.2: weights coded by two alternating FSE states, from the last weight to the first."""
    size = 1 << _WEIGHTS_ACCURACY_LOG
    probabilities = _normalized(np.bincount(weights), size)
    if probabilities.max() == size:
        raise ValueError("all code lengths are the same")
    symbol_of = np.empty(size, np.int64)
    symbol_of[np.arange(size) * ((size >> 1) + (size >> 3) + 3) % size] = np.repeat(np.arange(len(probabilities)), probabilities)
    states: list[list[_FseState]] = [[] for _ in probabilities]  # of each symbol
    for state, symbol in enumerate(symbol_of.tolist()):
        rank = int(probabilities[symbol]) + len(states[symbol])
        bits = _WEIGHTS_ACCURACY_LOG + 1 - rank.bit_length()
        states[symbol].append(_FseState((rank << bits) - size, bits, state))
    stream, width = 0, 0
    turns = [states[weights[-2]][0].state, states[weights[-1]][0].state]  # a symbol's first state always reads bits
    for weight in weights[-3::-1]:
        after = turns[1]
        found = next(s for s in states[weight] if s.baseline <= after < s.baseline + (1 << s.bits))
        stream |= (after - found.baseline) << width
        width += found.bits
        turns = [found.state, turns[0]]
    for state in (turns[1], turns[0]):
        stream |= state << width
        width += _WEIGHTS_ACCURACY_LOG
    stream |= 1 << width
    return _fse_table_description(probabilities.tolist(), _WEIGHTS_ACCURACY_LOG) + stream.to_bytes(width // 8 + 1, "little")


def _normalized(counts: Int64, size: int) -> Int64:
    """Counts scaled to sum to `size`; a count above 0 stays above 0."""
    probabilities = np.where(counts > 0, np.maximum(1, counts * size // counts.sum()), 0)
    while probabilities.sum() != size:
        probabilities[probabilities.argmax()] += 1 if probabilities.sum() < size else -1
    return probabilities


def _fse_table_description(probabilities: tuple[int, ...] | list[int], accuracy_log: int) -> bytes:
    """4.1.1: a distribution in units of 1 / 2**accuracy_log; -1 stands for "less than 1"."""
    stream, width = accuracy_log - 5, 4
    rest, threshold, bits = (1 << accuracy_log) + 1, 1 << accuracy_log, accuracy_log + 1
    zeros = 0
    for probability in probabilities:
        if rest <= 1:
            break
        if probability == 0 and zeros:
            zeros += 1
            continue
        if zeros:  # after a zero comes the number of further zeros, in repeat flags of 2 bits that count up to 3 each
            stream |= ((1 << 2 * ((zeros - 1) // 3)) - 1 | (zeros - 1) % 3 << 2 * ((zeros - 1) // 3)) << width
            width += 2 * ((zeros - 1) // 3) + 2
            zeros = 0
        spare = 2 * threshold - 1 - rest
        rest -= abs(probability)
        value = probability + 1
        if value >= threshold:
            value += spare
        stream |= value << width
        width += bits - (value < spare)
        zeros = int(probability == 0)
        while rest < threshold:
            bits -= 1
            threshold >>= 1
    return stream.to_bytes((width + 7) // 8, "little")
