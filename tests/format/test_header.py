"""The geometry that a header describes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.format.header import Header


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([0, 3, 4, 5, 13]))
def test_tile_groups_cover_each_cell_once(width: int, height: int, group_log2: int) -> None:
    header = Header(width=width, height=height, layout=2, layers=1, group_log2=group_log2, model_id=bytes(6), step_64=64)
    covered = np.zeros(header.cells, int)
    for group in header.groups:
        assert not group.empty
        covered[group.rows, group.columns] += 1
    assert np.all(covered == 1)
    assert header.groups == sorted(header.groups)
