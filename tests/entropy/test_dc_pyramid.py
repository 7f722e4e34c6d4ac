"""The passes of the DC pyramid."""

from hypothesis import given
from hypothesis import strategies as st

from vqcodec.entropy import dc_pyramid


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2))
def test_dc_passes_reach_each_cell_once(h: int, w: int, component: int) -> None:
    cells = [0, *(cell for this in dc_pyramid.passes(h, w, component) for cell in this.cells.tolist())]
    assert sorted(cells) == list(range(h * w))
