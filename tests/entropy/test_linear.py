"""The linear predictor against plain integer arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.entropy import linear
from vqcodec.entropy.features import MAGNITUDE_MAX, Grid, step_features
from vqcodec.entropy.linear import Predictor
from vqcodec.errors import ModelError
from vqcodec.transform import layouts
from vqcodec.weights import registry

MODEL = registry.find("photo-lite")
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=20)
@given(seeds, st.integers(1, 65535))
def test_predictions_are_integer_arithmetic(seed: int, step: int) -> None:
    """Whatever latents came before, float32 products equal those of 64-bit integers: any order of summation is right."""
    rng = np.random.default_rng(seed)
    layout = layouts.LAYOUTS[seed % 3]
    h, w = (int(n) for n in rng.integers(1, 7, 2))
    grid = Grid(h, w, layout)
    grid.latents[: layout.components] = rng.integers(-32767, 32768, (layout.components, h * w))
    grid.dc_done()
    tiles = [(tile, MODEL.predictors[f"tile.{tile.number:02d}"]) for tile in layout.tiles]
    ahead: list[linear.TileSums] = []
    for order, (tile, predictor) in enumerate(tiles):
        ahead = ahead or linear.sums_ahead(grid, tiles[order : order + 1 + seed % 4])
        shared = ahead.pop(0)
        linear.complete_sums(grid, tile, predictor, shared)
        features = np.concatenate(grid.activity(tile.component)).astype(np.int64)
        np.testing.assert_array_equal(shared.scores, predictor.scale.astype(np.int64) @ features)
        if shared.means is not None and predictor.mean is not None:
            rows = grid.mean_features(tile.component).astype(np.int64)
            np.testing.assert_array_equal(shared.means, predictor.mean.astype(np.int64) @ rows)
            shifted = (predictor.mean.astype(np.int64) @ rows + 512) >> 10
            np.testing.assert_array_equal(linear.means_of(shared.means.copy()), shifted)
        grid.latents[tile.channels] = rng.integers(-32767, 32768, (tile.size, h * w)) >> rng.integers(0, 15)
        magnitude = rng.integers(0, MAGNITUDE_MAX + 1, h * w).astype(np.int32)
        means, score = linear.predict(grid, tile, predictor, shared, step, 1, magnitude)
        assert means.shape == (tile.size, len(grid.halves[1]))
        whole = predictor.scale[1].astype(np.int64) @ features[:, grid.halves[1]]
        whole += predictor.scale_own.astype(np.int64) @ grid.own_activity(magnitude).astype(np.int64)
        whole += predictor.bias[1] @ np.array(step_features(step))
        np.testing.assert_array_equal(score, whole)
        np.testing.assert_array_equal(linear.classes_of(score), np.clip(whole >> linear.SCALE_SHIFT, 0, linear.CLASSES - 1))
        grid.tile_done(tile, magnitude)


def test_means_of_the_two_passes_are_bounded_one_by_one() -> None:
    """The even pass has no neighbours of its own: its weights may be large where those of the odd pass are."""
    even, odd, own = ([[4000.0, 0.0]], [[0.0, 90.0]], [[4000.0, 0.0, 0.0, 0.0]])
    scale = {"scale": np.zeros((2, 1), np.float32), "scale_own": np.zeros(2, np.float32), "bias": np.zeros((2, 3), np.int64)}
    Predictor(np.array(even + odd, np.float32), np.array(own, np.float32), **scale).check_bounds("tile.00")
    with pytest.raises(ModelError, match=r"mean weights of tile\.00 are too large to be exact"):
        Predictor(np.array(odd + even, np.float32), np.array(own, np.float32), **scale).check_bounds("tile.00")
