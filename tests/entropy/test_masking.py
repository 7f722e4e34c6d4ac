"""Codeword sizes by activity, frequency and component."""

import numpy as np
import pytest

from vqcodec.entropy import masking
from vqcodec.entropy.codebooks import NATURAL_SIZE
from vqcodec.transform.layouts import COLOR_8X8, GREY, LATENT_UNIT, Tile

STEP = 64 * 16
MIDDLE = next(tile for tile in GREY.tiles if max(max(pair) for pair in tile.coefs) == 2)
"""A tile whose frequency does not change the size."""


def dcs_of(means: np.ndarray, step_64: int = STEP) -> np.ndarray:
    """DC latents of cells with these means in grey levels."""
    return np.rint(np.asarray(means, float) * 8 * LATENT_UNIT * 64 / step_64).astype(np.int16)


def sizes_of(means: np.ndarray, step_64: int, strength: int, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and score changes of all cells."""
    codeword_sizes = masking.codeword_sizes(dcs_of(means, step_64), step_64, strength)
    assert codeword_sizes is not None
    return codeword_sizes.for_cells(tile, np.arange(means.size))


def test_activity_is_the_mean_square_of_differences_to_the_cells_beside() -> None:
    means = np.zeros((9, 9))
    means[4, 4] = 100
    found = masking.activity(dcs_of(means), STEP).reshape(9, 9) / 2304
    far = np.maximum.outer(np.abs(np.arange(9) - 4), np.abs(np.arange(9) - 4))
    assert not found[far > 2].any()
    # nine cells of four differences each: all four of the middle, and one of each beside it
    np.testing.assert_allclose(found[far <= 1][[0, 2, 6, 8]], 100**2 * (4 + 2) / 36, rtol=0.01)
    assert found[4, 4] == pytest.approx(100**2 * (4 + 4) / 36, rel=0.01)
    assert found[2, 4] == pytest.approx(100**2 * 1 / 36, rel=0.01)
    assert masking.activity(dcs_of(np.full((3, 4), 200)), STEP).tolist() == [0] * 12


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_activity_turns_with_the_picture(turn) -> None:
    dcs = dcs_of(np.random.default_rng(1).integers(0, 256, (7, 7)))
    found = masking.activity(dcs, STEP).reshape(7, 7)
    np.testing.assert_array_equal(masking.activity(turn(dcs), STEP).reshape(7, 7), turn(found))


def test_codewords_are_small_in_quiet_cells() -> None:
    rng = np.random.default_rng(2)
    means = 128 + np.where(np.arange(24) < 12, 1, 60) * rng.choice((-1, 1), (8, 24))
    assert masking.codeword_sizes(dcs_of(means), STEP, 0) is None
    last = 1.0
    for strength in range(1, masking.STRENGTHS):
        sizes, scores = (found.reshape(8, 24) for found in sizes_of(means, STEP, strength, MIDDLE))
        assert (sizes[:, :10] < NATURAL_SIZE).all()
        assert (sizes[:, 14:] > NATURAL_SIZE).all()
        assert (np.sign(scores) == np.sign(NATURAL_SIZE - sizes)).all()  # smaller codewords have larger classes
        contrast = sizes[:, 14:].min() / sizes[:, :10].max()
        assert contrast > last
        last = contrast
    assert sizes.min() >= NATURAL_SIZE // 2
    assert sizes.max() <= 2 * NATURAL_SIZE


def test_codewords_of_high_frequencies_and_of_chroma_are_large() -> None:
    means = np.random.default_rng(2).integers(90, 150, (6, 6))
    sizes = {tile.number: sizes_of(means, STEP, 4, tile)[0].mean() for tile in COLOR_8X8.tiles}
    by_frequency: list[set[float]] = [set() for _ in range(8)]
    for tile in COLOR_8X8.tiles:
        if tile.component == 0:
            by_frequency[max(max(pair) for pair in tile.coefs)].add(sizes[tile.number])
    assert all(len(found) == 1 for found in by_frequency[1:])
    rising = [min(found) for found in by_frequency[1:]]
    assert rising == sorted(rising)
    octave = {tile.number: np.log2(sizes[tile.number] / min(by_frequency[1])) for tile in COLOR_8X8.tiles}
    assert octave[2] == octave[3] == pytest.approx(0.25, abs=0.01)  # chroma of the frequencies of luma's first tiles
    assert octave[25] == pytest.approx(11 / 16, abs=0.01)
    assert max(octave.values()) == pytest.approx(15 / 16, abs=0.01)


def test_the_step_changes_only_rounding() -> None:
    means = np.random.default_rng(3).integers(0, 100, (12, 12))
    sizes = []
    for step in (STEP // 4, STEP):
        sizes.append(sizes_of(means, step, 5, MIDDLE)[0])
    np.testing.assert_allclose(*sizes, rtol=0.05)  # a level is 4.4 %
