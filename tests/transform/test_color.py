"""Colour matrices."""

import numpy as np

from vqcodec.transform import color


def test_the_default_matrix_has_orthogonal_columns_as_long_as_that_of_luma() -> None:
    columns = color.OPPONENT / (1 << color.COLOR_SHIFT)
    np.testing.assert_allclose(columns.T @ columns, 3 * np.eye(3), atol=1e-3)
    np.testing.assert_allclose(columns[:, 0], 1, atol=1e-3)
    assert np.abs(color.OPPONENT).sum(axis=1).max() <= color.COLOR_LIMIT


def test_the_inverse_matrix_undoes_the_matrix() -> None:
    directions = np.random.default_rng(0).standard_normal((3, 3))
    matrix = color.color_matrix_of(directions)
    np.testing.assert_allclose(color.inverse_color_matrix(matrix) @ (matrix / (1 << color.COLOR_SHIFT)), np.eye(3), atol=1e-9)
