"""Names and shapes of the linear predictors."""

from vqcodec.entropy import dc_pyramid
from vqcodec.entropy.features import Grid
from vqcodec.entropy.predictor_shapes import PredictorShape, predictor_shapes
from vqcodec.transform.layouts import COLOR_8X8
from vqcodec.weights import registry


def test_shapes_are_those_of_a_trained_model() -> None:
    model = registry.find("photo-lite")
    assert {name: PredictorShape.of(predictor) for name, predictor in model.predictors.items()} == predictor_shapes()


def test_tiles_have_the_rows_that_the_grid_has_when_they_are_coded() -> None:
    grid = Grid(2, 3, COLOR_8X8)
    grid.dc_done()
    for tile in COLOR_8X8.tiles:
        shape = predictor_shapes()[f"tile.{tile.number:02d}"]
        assert shape.scale == (2, sum(map(len, grid.activity(tile.component))))
        if shape.mean is not None:
            assert shape.mean == (2 * tile.size, len(grid.mean_features(tile.component)))
        grid.tile_done(tile, grid.latents[0].astype("int32"))


def test_pass_names_are_parsed_to_their_keys() -> None:
    for component in range(3):
        for key in dc_pyramid.pass_keys(component):
            assert dc_pyramid.PassKey.parse(key.name) == key
