"""Rectangles of pixels or of cells."""

from __future__ import annotations

from typing import NamedTuple


class Rect(NamedTuple):
    """A rectangle of array elements: the row and column of its first element, and its size, all in one unit (pixels or cells)."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The first row below."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column to the right."""
        return self.left + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def rows(self) -> slice:
        """The rows as a slice; `top` must not be negative."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """The columns as a slice; `left` must not be negative."""
        return slice(self.left, self.right)

    @property
    def empty(self) -> bool:
        """True if the rectangle has no element."""
        return self.height == 0 or self.width == 0

    def shift(self, down: int, right: int) -> Rect:
        """The rectangle moved by rows and columns; negative values move it up and to the left."""
        return Rect(self.top + down, self.left + right, self.height, self.width)

    def scale(self, factor: int) -> Rect:
        """The rectangle in a unit `factor` times smaller, such as cells to pixels with 8."""
        return Rect(factor * self.top, factor * self.left, factor * self.height, factor * self.width)

    def intersection(self, other: Rect) -> Rect:
        """The common part of two rectangles; `empty` if they have none."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        height, width = min(self.bottom, other.bottom) - top, min(self.right, other.right) - left
        return Rect(top, left, max(0, height), max(0, width))
