"""Facts of cells, against counting them one by one."""

import numpy as np
import pytest

from vqcodec.codec import content


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (2, np.uint16), (4, np.uint16)])
def test_colours_and_contrast_of_cells(channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pictures are looked at in bands."""
    monkeypatch.setattr(content, "_BAND", 300)
    pixels = np.random.default_rng(0).integers(0, 5, (35, 21, channels)).astype(dtype) * dtype(50)
    found = content.cells_of(pixels)
    assert found.colours.shape == found.contrast.shape == (5, 3)
    for (row, column), colours in np.ndenumerate(found.colours):
        cell = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(-1, channels)
        assert colours == len(np.unique(cell, axis=0))
        assert found.contrast[row, column] == (cell.max(axis=0) - cell.min(axis=0)).max()


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (4, 16)])
def test_entropy_of_colours(channels: int, depth: int) -> None:
    dtype = np.uint8 if depth == 8 else np.uint16
    numbers = np.random.default_rng(0).integers(0, 4, (64, 64))
    pixels = np.dstack([(numbers * (40 + channel) << (depth - 8)).astype(dtype) for channel in range(channels)])
    shares = np.bincount(numbers.reshape(-1)) / numbers.size
    assert content.entropy_of_colours(pixels, 20, depth) == pytest.approx(-(shares * np.log2(shares)).sum())
    assert content.entropy_of_colours(pixels, 1000, depth) == 0
