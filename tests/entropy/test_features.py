"""Features of the linear predictors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.entropy import features
from vqcodec.entropy.features import MAGNITUDE_MAX, Grid, log16
from vqcodec.transform.layouts import GREY


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 20))
def test_log16_is_monotone_and_exact_at_powers(x: int, step: int) -> None:
    assert log16(x) <= log16(x + step)
    assert log16(1 << x.bit_length()) == 16 * x.bit_length()
    assert abs(int(log16(x)) - 16 * np.log2(x)) < 16 * 0.0861 + 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 4), (5, 7), (4, 6)])
def test_a_half_is_put_at_its_cells(shape: tuple[int, int]) -> None:
    h, w = shape
    grid = Grid(h, w, GREY)
    assert sorted(np.concatenate(grid.halves).tolist()) == list(range(h * w))
    for half, cells in enumerate(grid.halves):
        values = np.arange(2 * len(cells)).reshape(2, -1)
        rows = np.full((2, h * w), -1)
        grid.put(rows, half, values)
        np.testing.assert_array_equal(rows[:, cells], values)
        assert (np.delete(rows, cells, axis=1) == -1).all()


@pytest.mark.parametrize(("tables", "factor"), [(features.LOGS, 1), (features._SUM_OF_4, 4)])
def test_tables_are_logarithms_relative_to_their_offset(tables: features.LogTables, factor: int) -> None:
    values = np.arange(factor * MAGNITUDE_MAX + 1)
    for table, offset in zip(tables, (8 * factor, 64 * factor), strict=True):
        np.testing.assert_array_equal(table, log16(values + offset) - log16(offset))
