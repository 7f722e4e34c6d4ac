"""Basics of both parts of the second reader: bytes, numbers, and the passes from coarse to fine (container.py, 3 to 5.1)."""

from __future__ import annotations

import zstandard

# 5.1: the neighbours of each pass, as (lattice, i, j)
_FIRST = [(0, 0), (0, 1), (1, 0), (1, 1)]
NEIGHBOURS = (
    [("K", i, j) for i, j in _FIRST] + [("K", i, j) for i in range(-1, 3) for j in range(-1, 3) if (i, j) not in _FIRST],
    [("K", 0, 0), ("K", 0, 1), ("A", -1, 0), ("A", 0, 0), ("K", 0, -1), ("K", 0, 2), ("A", -2, 0), ("A", 1, 0)]
    + [("K", -1, 0), ("K", -1, 1), ("K", 1, 0), ("K", 1, 1), ("A", -1, -1), ("A", -1, 1), ("A", 0, -1), ("A", 0, 1)],
    [("K", 0, 0), ("K", 1, 0), ("A", 0, -1), ("A", 0, 0), ("B", 0, -1), ("B", 0, 0), ("B", 1, -1), ("B", 1, 0)]
    + [("K", -1, 0), ("K", 2, 0), ("A", 0, -2), ("A", 0, 1), ("K", 0, -1), ("K", 0, 1), ("K", 1, -1), ("K", 1, 1)]
    + [("A", -1, -1), ("A", -1, 0), ("A", 1, -1), ("A", 1, 0)],
)


def require(truth: bool, what: str) -> None:
    if not truth:
        raise ValueError(what)


class Bytes:
    """A cursor over bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        require(self.at <= len(self.data), "the end came early")
        return self.data[self.at - count : self.at]

    def integer(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def varint(self) -> int:
        value = 0
        for place in range(5):
            byte = self.integer(1)
            value += (byte & 127) << 7 * place
            if byte < 128:
                require(byte > 0 or place == 0, "a varint is too long")
                return value
        raise ValueError("a varint is too long")


def raw_bits_of(letter: int) -> int:
    """Section 4: the number of raw bits after a letter of the scalar alphabet. Octave 4 starts at letter 31; each has 16."""
    return 0 if letter <= 30 else (letter - 31) // 16 + 4 - 3


def unpacked(
    data: bytes, size: int, mode: int, dictionary: zstandard.ZstdCompressionDict | None = None, *, whole: bool = False
) -> bytes:
    """The `size` bytes that a frame (mode 1), a block (2) or a block with dictionary (3) decompresses to.

    `whole`: the window is that of palettes.py.
    """
    x = len(data)
    if mode in (2, 3):
        f, n, h = (2, 14, 4) if size < 16384 else (3, 18, 5)
        if size < 1024:
            f, n, h = (0 if mode == 3 or size < 256 else 1), 10, 3
        require(0 <= x < 1 << n and max(x, size) <= 131072, "a block is too large")
        literals = mode + 4 * f + 16 * size + (x << 4 + n)
        block = 5 + 8 * (h + x + 1)
        data = block.to_bytes(3, "little") + literals.to_bytes(h, "little") + data + b"\0"
    window_log = min(max(17, (size - 1).bit_length()), 27) if whole else 17
    frame = bytes.fromhex("28B52FFD 00") + bytes((8 * (window_log - 10),)) + data
    result = zstandard.ZstdDecompressor(dictionary).decompress(frame, max_output_size=size, allow_extra_data=False)
    require(len(result) == size, "a frame has another size")
    return result


def clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def log16(x: int) -> int:
    e = x.bit_length() - 1
    return 16 * e + (16 * x >> e) - 16


def lattices_of(height: int, width: int, stride: int) -> dict[str, tuple[list[int], list[int]]]:
    """5.1: the rows and columns of each lattice."""
    starts = {"K": (0, 0), "A": (stride, stride), "B": (0, stride), "C": (stride, 0)}
    return {
        name: (list(range(top, height, 2 * stride)), list(range(left, width, 2 * stride))) for name, (top, left) in starts.items()
    }
