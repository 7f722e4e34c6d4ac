"""The order of coefficients: which coefficients form a tile, and in which order tiles are coded.

A cell is one 8x8 block; a channel is one coefficient of one component on the grid of cells. The channels of a layout are
the DCs of its components, then the coefficients of its tiles in coding order. A tile is 1, 2, 4 or 8 coefficients of one
component that share one scale class. They are therefore grouped by direction and frequency: a block with vertical stripes has
energy in all coefficients of a "horizontal" tile and none in its mirror image. `COLOR_4X4` codes the low 4x4 chroma
coefficients; `COLOR_8X8` codes the same tiles first and then the other 48 chroma coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from vqcodec.arrays import Intp

LATENT_UNIT: Final = 16
"""Latents, residuals and codewords are in 1/16 of a quantiser step."""
TILE_SIZES: Final = (1, 2, 4, 8)
"""Numbers of coefficients that a tile may have."""

Coef = tuple[int, int]
"""(vertical, horizontal) frequency, each 0..7."""

_HORIZONTAL_3: tuple[Coef, ...] = ((0, 3), (1, 2))
_HORIZONTAL_4: tuple[Coef, ...] = ((0, 4), (1, 3))
_HORIZONTAL_5: tuple[Coef, ...] = ((0, 5), (1, 4), (2, 3), (2, 4))
_HORIZONTAL_6: tuple[Coef, ...] = ((0, 6), (1, 5), (0, 7), (1, 6))
_HORIZONTAL_7: tuple[Coef, ...] = ((2, 5), (3, 5), (2, 6), (4, 5))
_HORIZONTAL_8: tuple[Coef, ...] = ((1, 7), (2, 7), (3, 6), (3, 7), (4, 6), (4, 7), (5, 6), (5, 7))
_CHROMA_LOW: tuple[Coef, ...] = ((0, 1), (1, 0))
_CHROMA_MID: tuple[Coef, ...] = ((1, 1), (0, 2), (2, 0), (2, 2))
_CHROMA_TOP: tuple[Coef, ...] = ((0, 3), (1, 2), (1, 3), (2, 3), (3, 0), (2, 1), (3, 1), (3, 2))
_CHROMA_RIGHT_NEAR: tuple[Coef, ...] = ((0, 4), (0, 5), (1, 4), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5))
_CHROMA_RIGHT_FAR: tuple[Coef, ...] = ((0, 6), (0, 7), (1, 6), (1, 7), (2, 6), (2, 7), (3, 6), (3, 7))
_CHROMA_CORNER_NEAR: tuple[Coef, ...] = ((4, 4), (4, 5), (5, 4), (5, 5), (4, 6), (6, 4), (5, 6), (6, 5))
_CHROMA_CORNER_FAR: tuple[Coef, ...] = ((4, 7), (7, 4), (5, 7), (7, 5), (6, 6), (6, 7), (7, 6), (7, 7))


def _mirrored(coefs: tuple[Coef, ...]) -> tuple[Coef, ...]:
    return tuple((v, u) for u, v in coefs)


_ORDER_4X4: tuple[tuple[int, tuple[Coef, ...]], ...] = (
    (0, ((0, 1),)),
    (0, ((1, 0),)),
    (1, _CHROMA_LOW),
    (2, _CHROMA_LOW),
    (0, ((1, 1),)),
    (0, ((0, 2),)),
    (0, ((2, 0),)),
    (0, _HORIZONTAL_3),
    (0, _mirrored(_HORIZONTAL_3)),
    (1, _CHROMA_MID),
    (2, _CHROMA_MID),
    (0, _HORIZONTAL_4),
    (0, _mirrored(_HORIZONTAL_4)),
    (0, ((2, 2), (3, 3))),
    (0, _HORIZONTAL_5),
    (0, _mirrored(_HORIZONTAL_5)),
    (1, _CHROMA_TOP),
    (2, _CHROMA_TOP),
    (0, _HORIZONTAL_6),
    (0, _mirrored(_HORIZONTAL_6)),
    (0, ((4, 4), (3, 4), (4, 3), (5, 5))),
    (0, _HORIZONTAL_7),
    (0, _mirrored(_HORIZONTAL_7)),
    (0, _HORIZONTAL_8),
    (0, _mirrored(_HORIZONTAL_8)),
    (0, ((6, 6), (6, 7), (7, 6), (7, 7))),
    (1, ((3, 3),)),
    (2, ((3, 3),)),
)
_ORDER_REST: tuple[tuple[int, tuple[Coef, ...]], ...] = tuple(
    (component, coefs)
    for coefs in (
        _CHROMA_RIGHT_NEAR,
        _mirrored(_CHROMA_RIGHT_NEAR),
        _CHROMA_RIGHT_FAR,
        _mirrored(_CHROMA_RIGHT_FAR),
        _CHROMA_CORNER_NEAR,
        _CHROMA_CORNER_FAR,
    )
    for component in (1, 2)
)

LOW_TILES_GREY, LOW_TILES_COLOR = 7, 11
"""Number of tiles in the middle layer (frequencies up to 3) of a file with three layers."""


@dataclass(frozen=True)
class Tile:
    """Neighbouring coefficients of one component that share a scale class."""

    number: int
    """Index in the order of `COLOR_8X8`. It identifies the tile in a model, whatever the layout of the file."""
    component: int
    coefs: tuple[Coef, ...]
    first: int
    """Channel of `coefs[0]`."""

    @property
    def size(self) -> int:
        return len(self.coefs)

    @property
    def channels(self) -> slice:
        return slice(self.first, self.first + self.size)


@dataclass(frozen=True)
class Layout:
    """The components and coefficients that a file codes."""

    code: int
    name: str
    components: int
    tiles: tuple[Tile, ...]
    low_tiles: int
    """Number of tiles in the middle layer of a file with three layers."""

    @property
    def channels(self) -> int:
        return self.components + sum(tile.size for tile in self.tiles)

    @property
    def whole(self) -> Layout:
        """The layout with all coefficients of this layout's components."""
        return COLOR_8X8 if self.components == 3 else GREY

    @cached_property
    def positions(self) -> tuple[tuple[int, int, int], ...]:
        """(component, vertical frequency, horizontal frequency) of every channel."""
        dcs = [(component, 0, 0) for component in range(self.components)]
        return tuple(dcs + [(tile.component, *coef) for tile in self.tiles for coef in tile.coefs])


def _layout(code: int, name: str, components: int, orders: tuple[tuple[int, tuple[Coef, ...]], ...], low: int) -> Layout:
    """The layout of those tiles in `orders`, each (component, coefficients), whose component it has; `low` is `low_tiles`."""
    tiles, first = [], components
    for number, (component, coefs) in enumerate(orders):
        if component < components:
            tiles.append(Tile(number, component, coefs, first))
            first += len(coefs)
    return Layout(code, name, components, tuple(tiles), low)


GREY = _layout(0, "grey", 1, _ORDER_4X4, LOW_TILES_GREY)
COLOR_4X4 = _layout(1, "colour, 4x4 chroma", 3, _ORDER_4X4, LOW_TILES_COLOR)
COLOR_8X8 = _layout(2, "colour, 8x8 chroma", 3, _ORDER_4X4 + _ORDER_REST, LOW_TILES_COLOR)
LAYOUTS = (GREY, COLOR_4X4, COLOR_8X8)
"""Indexed by the layout code of the file header."""


def shared_channels(layout: Layout, other: Layout) -> tuple[Intp, Intp]:
    """Channels that both layouts have: their indices in `layout`, and those in `other`."""
    places = {position: channel for channel, position in enumerate(other.positions)}
    pairs = [(channel, places[position]) for channel, position in enumerate(layout.positions) if position in places]
    own, others = np.array(pairs, np.intp).T
    return own, others
