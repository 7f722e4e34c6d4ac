"""Contexts of a pixel by the decoded pixels around it: by bins of their symbols, or by a model's network.

context_planes.py has the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Int32, Intp, UInt8

_BAND: Final = 1 << 16
"""Pixels whose contexts are found at a time."""
WHITE: Final = 127
"""The grey level that a model's network sees where there is none."""


class Network(Protocol):
    """A network that tells contexts (entropy/pixel_contexts.py)."""

    @property
    def places(self) -> Sequence[tuple[int, int]]:
        """Row and column, relative to a pixel, of those that it sees."""
        ...

    @property
    def count(self) -> int:
        """The number of contexts."""
        ...

    def of(self, around: Sequence[UInt8]) -> Intp:
        """The contexts [n] of pixels whose grey levels at each place are given, uint8 [n] each."""
        ...


class GreyLevels(NamedTuple):
    """The contexts of a model, for the symbols of a palette's first level."""

    network: Network
    levels: UInt8
    """Grey levels that the network sees in place of symbols, uint8 [K]."""


class Neighbours(Protocol):
    """A rule that tells contexts from the pixels around."""

    @property
    def places(self) -> Sequence[tuple[int, int]]: ...

    @property
    def count(self) -> int: ...

    @property
    def seen(self) -> UInt8:
        """The value that is seen in place of each symbol, uint8 [256]."""
        ...

    @property
    def missing(self) -> int:
        """The value that is seen in place of pixels without a symbol."""
        ...

    def of(self, around: Sequence[UInt8]) -> Int32 | Intp:
        """The contexts [n], by the values that are seen at each place, uint8 [n] each."""
        ...


@dataclass(frozen=True, eq=False)
class Bins:
    """Contexts by bins of the neighbours' symbols."""

    bins: tuple[int, ...]
    alphabet: int
    places = ((0, -1), (-1, 0), (-1, 1), (-1, -1))
    missing = 0

    @property
    def count(self) -> int:
        return int(np.prod(self.bins))

    @cached_property
    def seen(self) -> UInt8:
        return np.arange(256, dtype=np.uint8)

    @cached_property
    def _tables(self) -> list[Int32]:
        """Summands of a context for each symbol of each of the four neighbours, int32 [256] each."""
        strides = np.cumprod((1, *self.bins[:0:-1]))[::-1]
        symbols = np.arange(256) % self.alphabet  # symbols are checked when they are read
        pairs = zip(self.bins, strides.tolist(), strict=True)
        return [(symbols * count // self.alphabet * stride).astype(np.int32) for count, stride in pairs]

    def of(self, around: Sequence[UInt8]) -> Int32 | Intp:
        left, above, right, corner = (table[symbols] for table, symbols in zip(self._tables, around, strict=True))
        found: Int32 = left
        found += above
        found += right
        found += corner
        return found


@dataclass(frozen=True, eq=False)
class OfModel:
    """Contexts by a model's network."""

    model: GreyLevels
    missing = WHITE

    @property
    def places(self) -> Sequence[tuple[int, int]]:
        return self.model.network.places

    @property
    def count(self) -> int:
        return self.model.network.count

    @cached_property
    def seen(self) -> UInt8:
        return np.pad(self.model.levels, (0, 256 - len(self.model.levels)), constant_values=WHITE)

    def of(self, around: Sequence[UInt8]) -> Int32 | Intp:
        return self.model.network.of(around)


def margin_of(neighbours: Neighbours) -> int:
    """The reach of the neighbours, in rows and columns."""
    return max(max(-y, abs(x)) for y, x in neighbours.places)


def padded(plane: NDArray[Any], margin: int, missing: int = 0) -> NDArray[Any]:
    """A plane [H, W] with `margin` rows above and columns to the left and right, [H + margin, W + 2 margin]."""
    return np.pad(plane, ((margin, 0), (margin, margin)), constant_values=missing)


def contexts_of(plane: UInt8, mask: Bool | None, neighbours: Neighbours) -> Int32:
    """The context of each pixel of a plane [H, W], int32 [H, W]."""
    height, width = plane.shape
    margin = margin_of(neighbours)
    seen = neighbours.seen[plane]
    if mask is not None:
        seen[~mask] = neighbours.missing
    around = padded(seen, margin, neighbours.missing)
    found = np.empty((height, width), np.int32)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        own = around[top : top + rows + margin]
        moved = [own[margin + y : len(own) + y, margin + x : margin + x + width].reshape(-1) for y, x in neighbours.places]
        found[top : top + rows] = neighbours.of(moved).reshape(-1, width)
    return found
