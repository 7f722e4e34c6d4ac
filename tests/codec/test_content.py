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


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.uint16)])
def test_the_first_look_changes_no_share_of_clear_cells(channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of one to 32 colours, of low and of high contrast; the first look sees every fourth pixel only."""
    monkeypatch.setattr(content, "_BAND", 2000)
    rng = np.random.default_rng(0)
    depth = 8 * np.dtype(dtype).itemsize
    colours = rng.integers(0, 1 << rng.integers(0, 6, (20, 20, 1, 1, 1)), (20, 20, 8, 8, 1))
    tones = colours * np.arange(1, channels + 1) * (rng.integers(1, 3, (20, 20, 1, 1, 1)) << (depth - 6))
    pixels = tones.astype(dtype).swapaxes(1, 2).reshape(160, 160, channels)[:155, :150]
    expected = content.cells_of(pixels).clear(depth).mean()
    assert 0.05 < expected < 0.95
    assert content._share_of_clear_cells(pixels, depth) == expected
