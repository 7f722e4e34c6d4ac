"""The order in which a tile group is coded: DCs from coarse to fine, then tile by tile, each in two halves of a checkerboard.

`walk_dc` and `walk_tiles` are the one description of it. Encoder and decoder both run them and differ only in the source of
residuals: `SymbolWriter` searches the codebooks, `SymbolReader` looks symbols up.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np

from vqcodec.arrays import Bool, Int32, Int64, Intp, UInt8
from vqcodec.codec.symbols import Sizes
from vqcodec.entropy import dc_pyramid, linear, masking
from vqcodec.entropy.codebooks import NATURAL_SIZE
from vqcodec.entropy.context import ContextCorrector, Corrector, DcContextCorrector, DcCorrector, LinearOnly, clamp_score
from vqcodec.entropy.features import MAGNITUDE_MAX, Grid, step_features
from vqcodec.entropy.masking import CodewordSizes
from vqcodec.entropy.predictor_shapes import tile_name
from vqcodec.runtime import progress
from vqcodec.transform.layouts import Layout, Tile
from vqcodec.weights.exact import AC_SET, DC_SET, ExactModel

_TILES_AHEAD: Final = 7
"""Tiles whose predictions are started together, in one pass over the features, which for a large group do not fit in the cache."""
_HALF: Final = NATURAL_SIZE // 2
"""Size of the codewords of fine DCs."""
_CELLS_AT_ONCE: Final = 8192
"""Cells of a DC pass whose features are computed at once: larger arrays take more time to allocate than to compute."""


class Coding(Protocol):
    """The fields of a header that coding a tile group depends on."""

    @property
    def step_64(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def fine_dcs(self) -> bool: ...
    @property
    def masking(self) -> int: ...


class Coder(Protocol):
    """A source of residuals. The walk calls `start_layer`, then `code` for every half tile, and `finish` at the end."""

    def start_layer(self, layer: int) -> None: ...

    def code(
        self, codebook_set: int, channels: slice, cells: Intp, means: Int32, classes: UInt8, sizes: Sizes = NATURAL_SIZE
    ) -> Int32:
        """Residuals int32 [T, n] in 1/16 step for n cells.

        `means` int32 [T, n] and `classes` uint8 [n] are predicted; `sizes` of codewords are in 1/256 of their natural size.
        """
        ...

    def finish(self) -> None: ...


def layer_of_tile(layout: Layout, layers: int, order: int) -> int:
    """Layer of tile number `order` of the layout."""
    if layers == 3:
        return 1 if order < layout.low_tiles else 2
    return layers - 1


def corrector_of(model: ExactModel, grid: Grid, step_64: int) -> Corrector:
    """The corrector of linear predictions in a tile group: the model's context network, or LinearOnly without one."""
    return LinearOnly() if model.context is None else ContextCorrector(model.context, grid, step_64)


def dc_corrector_of(model: ExactModel, step_64: int) -> DcCorrector:
    """The corrector of linear predictions of DCs: the model's context network, or LinearOnly without one."""
    return LinearOnly() if model.context is None else DcContextCorrector(model.context, step_64)


def walk(grid: Grid, model: ExactModel, coding: Coding, coder: Coder, corrector: Corrector | None = None) -> None:
    """Code all latents of a tile group, in place in `grid.latents`. `corrector` replaces the model's own."""
    corrector = corrector or corrector_of(model, grid, coding.step_64)
    cells = grid.h, grid.w
    grid.latents[: grid.layout.components] = walk_dc(cells, grid.layout, model, coding, coder, corrector, graphic=grid.graphic)
    walk_tiles(grid, model, coding, coder, corrector)


def walk_tiles(grid: Grid, model: ExactModel, coding: Coding, coder: Coder, corrector: Corrector, count: int | None = None) -> None:
    """Code the tiles of a tile group, in place in `grid.latents`, which holds its DCs. With `count`, only the first tiles."""
    grid.dc_done()
    corrector.dc_done()
    codeword_sizes = masking.codeword_sizes(grid.latents[0].reshape(grid.h, grid.w), coding.step_64, coding.masking)
    layer = 0
    tiles = [(tile, model.predictors[tile_name(tile)]) for tile in grid.layout.tiles[:count]]
    ahead: list[linear.TileSums] = []
    for order, (tile, predictor) in enumerate(progress.steps(tiles)):
        if layer_of_tile(grid.layout, coding.layers, order) != layer:
            layer = layer_of_tile(grid.layout, coding.layers, order)
            coder.start_layer(layer)
        if order % _TILES_AHEAD == 0:
            ahead = linear.sums_ahead(grid, tiles[order : order + _TILES_AHEAD])
        magnitude = np.zeros(grid.h * grid.w, np.int32)
        shared = ahead[order % _TILES_AHEAD]
        linear.complete_sums(grid, tile, predictor, shared)
        for half in (0, 1):
            prediction = linear.predict(grid, tile, predictor, shared, coding.step_64, half, magnitude)
            code_half(grid, tile, half, prediction, magnitude, coder=coder, corrector=corrector, codeword_sizes=codeword_sizes)
        grid.tile_done(tile, magnitude)
    if count is None:
        coder.finish()


def code_half(
    grid: Grid,
    tile: Tile,
    half: int,
    prediction: linear.Prediction,
    magnitude: Int32,
    *,
    coder: Coder,
    corrector: Corrector,
    codeword_sizes: CodewordSizes | None = None,
) -> None:
    """Code one half (0 even, 1 odd) of a tile's cells, given their linear prediction.

    Fills `grid.latents`, and `magnitude` int32 [h * w] with the summed magnitudes of the residuals.
    """
    cells, (means, score) = grid.halves[half], prediction
    added, score = corrector.half(tile, half, means, score)
    sizes: Sizes = NATURAL_SIZE
    if codeword_sizes is not None:
        sizes, scores = codeword_sizes.for_cells(tile, cells)
        score = clamp_score(score)
        score += scores
    classes = linear.classes_of(score)
    if grid.graphic is not None:
        classes[grid.graphic[cells]] = linear.NOT_CODED
    residuals = coder.code(AC_SET, tile.channels, cells, plus(means, added), classes, sizes)
    residuals = plus(residuals, added)
    grid.put(grid.latents[tile.channels], half, linear.clamp_latents(means + residuals))
    corrector.half_done(tile, half, residuals)
    sums = np.abs(residuals).sum(axis=0, dtype=np.int32) * (8 // tile.size)
    grid.put(magnitude, half, np.minimum(sums, MAGNITUDE_MAX))


def plus(values: Int32, added: Int32 | int) -> Int32:
    """The sum of both; returns `values` unchanged, without a copy, if `added` is a number (0)."""
    return values if isinstance(added, int) else values + added


def walk_dc(
    cells: tuple[int, int],
    layout: Layout,
    model: ExactModel,
    coding: Coding,
    coder: Coder,
    corrector: DcCorrector,
    groups: int = 1,
    graphic: Bool | None = None,
) -> Int32:
    """Code the DCs of tile groups of one shape, `cells` (rows, columns), side by side: int32 [components, groups * h * w].

    `graphic` bool [groups * h * w]: cells that are not coded. Passes of coarse levels cover few cells, so several groups together
    take little longer than one.
    """
    coder.start_layer(0)
    h, w = cells
    fine, bias = coding.fine_dcs, np.array(step_features(coding.step_64))
    planes = np.zeros((layout.components, groups * h * w), np.int32)
    magnitudes = np.zeros_like(planes)
    roots = np.arange(0, groups * h * w, h * w)
    for component in range(layout.components):
        channel = slice(component, component + 1)
        root = linear.classes_of((model.predictors[f"dc.root.{component}"].bias @ bias).astype(np.float32))
        classes = _coded_classes(np.repeat(root, groups), roots, graphic)
        first = _code_dcs(coder, channel, roots, np.zeros((1, groups), np.int32), classes, finer=fine)
        planes[component, roots] = linear.clamp_latents(first[0])
        magnitudes[component, roots] = np.abs(first[0])
        for dc_pass in dc_pyramid.passes(h, w, component, groups):
            expected = _expect_dcs(planes, magnitudes, cells, dc_pass, model.predictors[dc_pass.name], bias, corrector)
            finer = fine and dc_pyramid.is_finer(component, dc_pass.stride)
            classes = _coded_classes(expected.classes, dc_pass.cells, graphic)
            decoded = _code_dcs(coder, channel, dc_pass.cells, expected.means, classes, finer=finer)  # int32 [1, n]
            decoded += expected.means
            magnitudes[component, dc_pass.cells] = np.abs(decoded - expected.predicted)
            planes[component, dc_pass.cells] = linear.clamp_latents(decoded)
    return planes


def _coded_classes(classes: UInt8, cells: Intp, graphic: Bool | None) -> UInt8:
    """Classes uint8 [n], with NOT_CODED for the graphic ones among the cells intp [n]."""
    if graphic is not None:
        classes[graphic[cells]] = linear.NOT_CODED
    return classes


class _ExpectedDcs(NamedTuple):
    """Linear predictions int32 [1, n] of a pass, the means int32 [1, n] after correction, and scale classes uint8 [n]."""

    predicted: Int32
    means: Int32
    classes: UInt8


def _expect_dcs(
    planes: Int32,
    magnitudes: Int32,
    cells: tuple[int, int],
    dc_pass: dc_pyramid.Pass,
    predictor: linear.Predictor,
    bias: Int64,
    corrector: DcCorrector,
) -> _ExpectedDcs:
    """Predictions of a pass over the DC `planes` [components, groups * h * w] and their `magnitudes`, some groups at a time."""
    assert predictor.mean is not None
    h, w = cells
    groups = planes.shape[1] // (h * w)
    each = max(1, _CELLS_AT_ONCE * groups // len(dc_pass.cells)) * h * w
    parts = []
    for start in range(0, planes.shape[1], each):
        some = slice(start, start + each)
        inputs = dc_pyramid.inputs(planes[:, some], magnitudes[:, some], h, w, dc_pass)
        score = (predictor.scale @ inputs.scale)[0] + np.float32(predictor.bias[0] @ bias)  # float32 [n]
        predicted = linear.means_of(predictor.mean @ inputs.mean)  # int32 [1, n], without the base
        added, score = corrector.dc_pass(dc_pass, inputs, predicted, score)
        predicted += inputs.base
        parts.append(_ExpectedDcs(predicted, plus(predicted, added), linear.classes_of(score)))
    return _ExpectedDcs(
        np.concatenate([part.predicted for part in parts], axis=1),
        np.concatenate([part.means for part in parts], axis=1),
        np.concatenate([part.classes for part in parts]),
    )


def _code_dcs(coder: Coder, channel: slice, cells: Intp, means: Int32, classes: UInt8, *, finer: bool) -> Int32:
    """Residuals int32 [1, n] of DCs. `finer` halves the codewords and raises the classes to match."""
    if finer:
        finer_classes = np.minimum(classes + np.uint8(dc_pyramid.FINER_CLASSES), np.uint8(linear.CLASSES - 1))
        classes = np.where(classes == linear.NOT_CODED, classes, finer_classes)
    return coder.code(DC_SET, channel, cells, means, classes, _HALF if finer else NATURAL_SIZE)
