"""Selections of training images."""

import numpy as np

from vqcodec.train import data, selection
from vqcodec.train.data import TrainingImage, count_pixels


def grey(*sides: tuple[int, int]) -> list[TrainingImage]:
    return [TrainingImage(f"{number}.png", np.zeros((*side, 1), np.uint8)) for number, side in enumerate(sides)]


def test_small_cuts_are_parts_of_pictures_and_some_grey() -> None:
    y, x = np.mgrid[:70, :250].astype(np.uint8)
    image = data.TrainingImage("wide", np.stack([y, x, np.full_like(x, 9)], axis=2))
    cuts = [cut.pixels for cut in selection.cut_small([image], 40, np.random.default_rng(0))]
    assert [cut.shape[2] for cut in cuts] == [3, 3, 3, 1] * 10
    for cut in cuts[::4]:
        height, width = cut.shape[:2]
        assert 48 <= height <= 70
        assert 48 <= width <= 250
        top, left = cut[0, 0, :2].astype(int)
        np.testing.assert_array_equal(cut, image.pixels[top : top + height, left : left + width])


def test_a_selection_has_about_the_given_number_of_pixels() -> None:
    images = [data.TrainingImage(str(number), np.zeros((10, 10, 3), np.uint8)) for number in range(40)]
    chosen = selection.pick(images, 1000, np.random.default_rng(0))
    assert len({image.name for image in chosen}) == len(chosen) == 10
    assert [image.name for image in chosen] != [image.name for image in images[:10]]
    assert len(selection.pick(images, 10**6, np.random.default_rng(0))) == 40


def test_steps_are_evenly_spread_over_octaves() -> None:
    """One of 100 steps lies in each hundredth of the logarithmic range."""
    low, high = np.log(selection.STEP_LEVELS)
    found = selection.draw_step_levels(100, np.random.default_rng(0))
    places = np.floor(100 * (np.log(found) - low) / (high - low)).astype(int)
    assert sorted(places) == list(range(100))
    assert list(places) != sorted(places)


def test_few_held_out_pictures_are_compared_in_pieces() -> None:
    y, x = np.mgrid[:256, :200].astype(np.uint8)
    images = [TrainingImage("a", np.stack([y, x], axis=2)), *grey((70, 50), (8, 300))]
    pieces = selection.cut_in_pieces(images)
    assert len(pieces) == 10
    assert max(max(piece.pixels.shape[:2]) for piece in pieces if piece.name == "a") < 128
    assert count_pixels(pieces) == count_pixels(images)
    places = np.concatenate([piece.pixels.reshape(-1, 2) for piece in pieces if piece.name == "a"])
    assert len(np.unique(places, axis=0)) == len(places) == 256 * 200
    many = grey(*[(300, 300)] * selection.LEAST_PIECES)
    assert selection.cut_in_pieces(many) == many
    assert len(selection.cut_in_pieces(grey((8, 8), (100, 100)))) == 2
