"""The contents of a .vqz file as frozen dataclasses; container.py encodes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vqcodec.transform.layouts import LAYOUTS
from vqcodec.transform.rect import Rect


@dataclass(frozen=True)
class Tokens:
    """The grid of a token file: one index per cell."""

    side: int
    """Pixels per side of a cell, 8 or 16."""
    bits: int
    """Bits of an index, 1..16."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The fields of a .vqz header."""

    width: int
    height: int
    layout: int
    """Code of the layout (layouts.py): 0 grey, 1 colour with 4x4 chroma, 2 colour with 8x8 chroma; 0 or 2 in token files."""
    layers: int
    """Number of layers, 0..3; 0: the file has pixel sections alone."""
    group_log2: int
    """Tile groups are 2**group_log2 cells square; 0: the whole picture is one group."""
    model_id: bytes
    """First bytes of the model's SHA-256; b"" without layers, unless there is a pattern codebook."""
    step_64: int
    """Quantiser step in 1/64 of a grey level (of 256), 1..65535; 0 in files without layers and in token files, which have none."""
    merge_map: int = 0
    """Number of the merge map in the model."""
    depth: int = 8
    """Bits per sample: 8, 10, 12 or 16."""
    alpha: bool = False
    """Whether there is an alpha plane; its samples have the depth of the others."""
    fine_dcs: bool = False
    """Whether DCs that condition many others are coded with half the codeword size (container.py, 5.1)."""
    masking: int = 0
    """Strength of masking, 0..7 (masking.py)."""
    best_is_plain: bool = False
    """Whether the plain decode is closer to the original than that of the model's synthesis, so that "best" is the plain one."""
    equal_components: bool = False
    """Whether a grey file shows a picture in colour whose three components are equal."""
    pixels: bool = False
    """Whether each tile group has a pixel section (pixel_sections.py)."""
    patterns: bool = False
    """Whether cells may be copied from the pattern codebook of a graphic model; only in files without layers."""
    lossless: bool = False
    """Whether the samples are known to be those that the encoder was given; only in files without layers."""
    tokens: Tokens | None = None
    """The grid of a token file, which has one layer, one tile group and 8 bits per sample; None in other files."""

    @property
    def channels(self) -> int:
        """Channels of the picture, 1 to 4."""
        return (3 if self.equal_components else LAYOUTS[self.layout].components) + self.alpha

    @property
    def step_levels(self) -> float:
        """The quantiser step in grey levels."""
        return self.step_64 / 64

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the grid of cells. A cell has 8x8 pixels, in token files `tokens.side` squared."""
        side = self.tokens.side if self.tokens else 8
        return -(-self.height // side), -(-self.width // side)

    @cached_property
    def groups(self) -> list[Rect]:
        """The tile groups, row by row, in cells."""
        h, w = self.cells
        side = 1 << self.group_log2 if self.group_log2 else max(h, w)
        return [Rect(top, left, min(side, h - top), min(side, w - left)) for top in range(0, h, side) for left in range(0, w, side)]


MAX_METADATA: Final = 1 << 24
"""Largest size of each kind of metadata, in bytes."""


@dataclass(frozen=True)
class Metadata:
    """ICC profile, EXIF (from its TIFF header on) and XMP of a picture; b"" for what it lacks."""

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""


@dataclass(frozen=True)
class Section:
    """A section of a .vqz file: its type byte and its stored bytes."""

    type: int
    data: bytes
