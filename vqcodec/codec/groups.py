"""Tile groups: targets -> latents and symbols, and streams -> latents. Each group is coded independently of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, Self

import numpy as np

from vqcodec.arrays import Bool, Float32, Float64, Int16
from vqcodec.codec import streams
from vqcodec.codec.streams import Stored
from vqcodec.codec.symbols import EncoderWriter, GroupStreams, GroupSymbols, SymbolReader
from vqcodec.codec.walk import corrector_of, dc_corrector_of, walk, walk_dc, walk_tiles
from vqcodec.entropy.features import Grid
from vqcodec.format.header import Header
from vqcodec.runtime import progress
from vqcodec.runtime.workers import side_by_side
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.transform.rect import Rect
from vqcodec.weights.exact import ExactModel

_SIDE_BY_SIDE: Final = 8
"""Most tile groups whose DCs are decoded together."""
Indices = Callable[[int, int], Stored]
"""Function (tile group number, n) -> the index sections of the group's first n layers."""


class Source(Protocol):
    """The sections of tile groups as decoding needs them."""

    @property
    def cells(self) -> Mapping[int, Bool] | None:
        """Graphic cells bool [h, w] by tile group; None: none."""
        ...

    def indices(self, group: int, layers: int) -> Stored:
        """The index sections of the first `layers` layers of a tile group."""
        ...


# ------------------------------------------------------------------------------------------------ encoding


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings for coding tile groups: fields of the header, and the encoder's lambda."""

    step_64: int
    layout: int
    layers: int
    fine_dcs: bool
    masking: int = 0
    lambda_: float
    """Squared steps per bit."""

    @classmethod
    def of(cls, header: Header, lambda_: float) -> Self:
        """The settings that a header states, with a lambda."""
        return cls(
            step_64=header.step_64,
            layout=header.layout,
            layers=header.layers,
            fine_dcs=header.fine_dcs,
            masking=header.masking,
            lambda_=lambda_,
        )


class Errors(NamedTuple):
    """Sums of squared errors of samples after the plain decode and after the synthesis (comparing.py)."""

    plain: float = 0.0
    best: float = 0.0


@dataclass(frozen=True)
class CodedGroup:
    """A coded tile group: latents int16 [C, h * w] in 1/16 step, their symbols, and errors, which are 0 unless compared."""

    latents: Int16
    symbols: GroupSymbols
    errors: Errors


def encode_group(
    targets: Float32, cells: tuple[int, int], model: ExactModel, settings: Settings, graphic: Bool | None = None
) -> CodedGroup:
    """The latents and symbols of targets float32 [C, h * w] in steps on a grid of `cells` (rows, columns).

    `graphic` bool [h, w]: cells that are not coded.
    """
    grid = Grid(*cells, LAYOUTS[settings.layout], graphic)
    writer = EncoderWriter(model, targets, settings.lambda_)
    walk(grid, model, settings, writer)
    return CodedGroup(grid.latents, writer.symbols(), Errors())


# ------------------------------------------------------------------------------------------------ decoding


def decode_group(
    header: Header,
    sections: Stored,
    cells: tuple[int, int],
    model: ExactModel,
    ideal: Float64 | None = None,
    graphic: Bool | None = None,
) -> Int16:
    """Latents int16 [C, h * w] from the index sections of one tile group; the inverse of `encode_group`. Raises CorruptError.

    `ideal` float64 [C], if given: the ideal code length in bits of the symbols read is added to it, by channel.
    """
    grid = Grid(*cells, LAYOUTS[header.layout], graphic)
    walk(grid, model, header, SymbolReader(model, [streams.unpack(header, sections, cells, model)], ideal))
    return grid.latents


@dataclass(frozen=True)
class OpenGroup:
    """A tile group of which only the DCs int16 [components, h * w] are decoded; its streams continue with the tiles."""

    place: Rect
    """The rectangle of the group, in cells."""
    dcs: Int16
    streams: GroupStreams
    graphic: Bool | None = None
    """Cells bool [h, w] that are not coded; None: none."""


def open_groups(
    header: Header, sections: Sequence[Stored], model: ExactModel, numbers: Sequence[int], graphic: Sequence[Bool] | None = None
) -> list[OpenGroup]:
    """Decode the DCs of several tile groups of one shape together. Raises CorruptError.

    `sections`: index sections of each; `graphic`: cells bool [h, w] of each that are not coded, None: none.
    """
    places, layout = [header.groups[number] for number in numbers], LAYOUTS[header.layout]
    cells = places[0].shape
    each = [streams.unpack(header, stored, cells, model) for stored in sections]
    reader = SymbolReader(model, each)
    skipped = None if graphic is None else np.concatenate([own.reshape(-1) for own in graphic])
    dcs = walk_dc(cells, layout, model, header, reader, dc_corrector_of(model, header.step_64), len(numbers), skipped)
    apart = dcs.astype(np.int16).reshape(layout.components, len(numbers), -1)
    return [
        OpenGroup(place, apart[:, i], own, None if graphic is None else graphic[i])
        for i, (place, own) in enumerate(zip(places, each, strict=True))
    ]


def finish_group(header: Header, group: OpenGroup, model: ExactModel, tiles: int | None = None) -> Int16:
    """Latents int16 [C, h * w] of an opened tile group. Raises CorruptError.

    With `tiles`, only that many tiles are decoded and the others are 0; `tiles` 0 returns the DCs alone, int16 [components, h * w].
    """
    if tiles == 0:
        return group.dcs
    grid = Grid(*group.place.shape, LAYOUTS[header.layout], group.graphic)
    grid.latents[: grid.layout.components] = group.dcs
    reader = SymbolReader(model, [group.streams])
    walk_tiles(grid, model, header, reader, corrector_of(model, grid, header.step_64), tiles)
    return grid.latents


def open_each(
    header: Header,
    source: Source,
    model: ExactModel,
    numbers: Sequence[int],
    then: Callable[[OpenGroup], None],
    *,
    threads: int,
    layers: int | None = None,
) -> None:
    """Open the tile groups `numbers`, several at a time, and call `then` with each, on up to `threads` cores. Raises CorruptError.

    `then` may run in a forked process, so its results must go into arrays of `workers.shared_empty`.
    """
    sections = {
        number: source.indices(number, layers or header.layers) for number in numbers
    }  # read here: forks would share one file offset
    by_shape: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        by_shape.setdefault(header.groups[number].shape, []).append(number)
    batches = []
    for alike in by_shape.values():
        count = max(threads, -(-len(alike) // _SIDE_BY_SIDE))
        batches += [alike[i::count] for i in range(min(count, len(alike)))]

    def one(batch: Sequence[int]) -> None:
        maps = None if source.cells is None else [source.cells[number] for number in batch]
        for opened in progress.steps(open_groups(header, [sections[number] for number in batch], model, batch, maps)):
            then(opened)

    with progress.stage("decoding"):
        side_by_side(one, batches, threads)
