"""The choice of the chroma layout: gains of single cells, and the threshold of a picture."""

import numpy as np
import pytest

from vqcodec.codec.chroma import estimate_gain, worth_coding

STEPS_LEVELS = np.array([40.0, 10.0])
NO_SYNTHESIS = np.zeros(2, np.bool_)


def test_coefficients_in_the_dead_zone_gain_nothing() -> None:
    high = np.full((48, 5), 11.9, np.float32)
    assert not estimate_gain(high, STEPS_LEVELS).any()


def test_a_gain_is_split_into_its_weak_part_up_to_4_and_the_rest() -> None:
    high = np.zeros((48, 3), np.float32)
    high[7, 1] = -80  # 2 and 8 steps
    saved = [x * x - 1 / 12 - 0.13 * (6 + 2 * np.log2(x)) for x in (2, 8)]
    np.testing.assert_allclose(estimate_gain(high, STEPS_LEVELS), [[0, saved[0]], [saved[1] - 4, 4]], rtol=1e-6)


def test_gains_of_tile_groups_add_up() -> None:
    high = np.random.default_rng(0).normal(0, 30, (48, 20)).astype(np.float32)
    parts = [estimate_gain(part, STEPS_LEVELS) for part in (high[:, :7], high[:, 7:])]
    np.testing.assert_allclose(sum(parts), estimate_gain(high, STEPS_LEVELS), rtol=1e-6)


@pytest.mark.parametrize(
    ("strong", "weak", "plain", "restored"), [(41, 0, True, True), (39, 0, False, False), (39, 4, True, False)]
)
def test_weak_gains_count_against_coding_if_a_synthesis_follows(strong: float, weak: float, plain: int, restored: int) -> None:
    gains = np.array([[strong, weak]] * 2, np.float64)
    assert worth_coding(gains, np.array([False, True])).tolist() == [plain, restored]
    assert worth_coding(gains, NO_SYNTHESIS).tolist() == [plain, plain]
