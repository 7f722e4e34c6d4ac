"""Layouts hold each coefficient once."""

import pytest

from vqcodec.transform import layouts


@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_has_each_coefficient_once(layout: layouts.Layout) -> None:
    assert len(set(layout.positions)) == len(layout.positions) == layout.channels
    assert {p for p in layout.positions if p[0] == 0} == {(0, v, u) for v in range(8) for u in range(8)}
    channels = [c for tile in layout.tiles for c in range(tile.channels.start, tile.channels.stop)]
    assert channels == list(range(layout.components, layout.channels))
