"""Frozen dataclasses that cross two or more rooms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vqcodec.transform.rect import Rect


@dataclass(frozen=True)
class Tokens:
    """How the indices of a token file lie: cells of `side` x `side` pixels, 8 or 16, with one index of `bits` bits, 1..16, each."""

    side: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """The fields of a .vqz header (container.py has their encoding)."""

    width: int
    height: int
    layout: int
    """0 grey, 1 colour with 4x4 chroma, 2 colour with 8x8 chroma; 0 or 2 in token files."""
    layers: int
    """1, 2 or 3."""
    group_log2: int
    """Tile groups are 2**group_log2 cells square; 0: the whole image is one group."""
    model_id: bytes
    step_64: int
    """1/64 of a grey level (of 256), 1..65535; 0 in token files, which have none."""
    merge_map: int = 0
    depth: int = 8
    """Bits of a sample: 8, 10, 12 or 16."""
    alpha: bool = False
    """There is an alpha plane, of 8 bits."""
    fine_dcs: bool = False
    """DCs that many others are predicted from are twice as precise."""
    masking: int = 0
    """Strength 0..7 of masking (masking.py)."""
    tokens: Tokens | None = None
    """Of a token file: it has one layer, one tile group, and 8 bits a sample."""

    @property
    def step_levels(self) -> float:
        """The step in grey levels."""
        return self.step_64 / 64

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the grid of cells, which are 8x8 pixels but for those of some token files."""
        side = self.tokens.side if self.tokens else 8
        return -(-self.height // side), -(-self.width // side)

    @cached_property
    def groups(self) -> list[Rect]:
        """The tile groups, row by row, in cells."""
        h, w = self.cells
        side = 1 << self.group_log2 if self.group_log2 else max(h, w)
        return [Rect(top, left, min(side, h - top), min(side, w - left)) for top in range(0, h, side) for left in range(0, w, side)]


MAX_PIXELS: Final = 1 << 28
"""Pixels of a picture, where the user sets no other limit."""
MAX_METADATA: Final = 1 << 24
"""Bytes of each."""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture besides the pixels: an ICC profile, EXIF (from its TIFF header on), XMP."""

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""


@dataclass(frozen=True)
class Section:
    """A section of a .vqz file: its type byte and its stored bytes."""

    type: int
    data: bytes
