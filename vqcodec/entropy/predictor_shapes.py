"""Names and shapes of a model's linear predictors: one for each tile, and for each component those of its DC root and DC passes."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from vqcodec.entropy import dc_pyramid
from vqcodec.entropy.features import DC_ROWS, LUMA_MEAN_ROWS, TILE_ROWS
from vqcodec.entropy.linear import Predictor, has_mean
from vqcodec.transform.layouts import COLOR_8X8, Tile

Shape = tuple[int, ...]


class PredictorShape(NamedTuple):
    """Shapes of the arrays of a Predictor; None where it has none."""

    mean: Shape | None
    mean_own: Shape | None
    scale: Shape
    scale_own: Shape
    bias: Shape

    @classmethod
    def of(cls, predictor: Predictor) -> PredictorShape:
        arrays = (predictor.mean, predictor.mean_own)
        mean, mean_own = (None if array is None else array.shape for array in arrays)
        return cls(mean, mean_own, predictor.scale.shape, predictor.scale_own.shape, predictor.bias.shape)


def tile_name(tile: Tile) -> str:
    """Name of a tile's predictor."""
    return f"tile.{tile.number:02d}"


def root_name(component: int) -> str:
    """Name of the predictor of a component's DC root."""
    return f"dc.root.{component}"


@cache
def predictor_shapes() -> dict[str, PredictorShape]:
    """Shapes of all predictors that a model must have, by name."""
    shapes = {}
    means, scales = mean_rows(), scale_rows()
    for tile in COLOR_8X8.tiles:
        rows = means.get(tile.number)
        mean, mean_own = (None, None) if rows is None else ((2 * tile.size, rows), (tile.size, 4))
        shapes[tile_name(tile)] = PredictorShape(mean, mean_own, (2, scales[tile.number]), (2,), (2, 3))
    for component in range(3):
        shapes[root_name(component)] = PredictorShape(None, None, (1, 0), (0,), (1, 3))
        for key in dc_pyramid.pass_keys(component):
            rows = dc_pyramid.MEAN_ROWS[component][key.number]
            shapes[key.name] = PredictorShape((1, rows), None, (1, dc_pyramid.SCALE_ROWS[component]), (0,), (1, 3))
    return shapes


def mean_rows() -> dict[int, int]:
    """Number of mean features of each tile that has a predicted mean, by tile number."""
    seen, luma_rows, rows = [0, 0, 0], 8, {}
    for tile in COLOR_8X8.tiles:
        if has_mean(tile, seen[tile.component]):
            rows[tile.number] = luma_rows if tile.component == 0 else 8
        seen[tile.component] += 1
        if tile.component == 0:
            luma_rows = min(luma_rows + 5 * tile.size, LUMA_MEAN_ROWS)
    return rows


def scale_rows() -> dict[int, int]:
    """Number of scale features of each tile, by tile number."""
    luma, chroma, rows = DC_ROWS, 2 * DC_ROWS, {}
    for tile in COLOR_8X8.tiles:
        rows[tile.number] = luma if tile.component == 0 else luma + chroma
        if tile.component == 0:
            luma += TILE_ROWS
        else:
            chroma += TILE_ROWS
    return rows
