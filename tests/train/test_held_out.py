"""Comparison of models on held-out pictures."""

import numpy as np
import pytest
from PIL import Image

from helpers.paths import REPOSITORY
from vqcodec import api
from vqcodec.bench.metrics import psnr_db
from vqcodec.codec.pipeline import Encoder
from vqcodec.options import EncodeOptions
from vqcodec.train import data, held_out
from vqcodec.train.data import TrainingImage
from vqcodec.train.held_out import Figures, Point
from vqcodec.train.watch import Watch
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel

LITE = REPOSITORY / "models" / "photo-lite"


def figures(costs: list[float]) -> Figures:
    """Held-out pieces with these costs at every step."""
    return Figures.of([[Point(0, 0, cost)] * 3 for cost in costs])


def test_a_flat_picture_does_not_outweigh_all_others() -> None:
    """The PSNR of a flat picture is infinite."""
    flat = TrainingImage("flat.png", np.full((16, 16, 1), 255, np.uint8))
    figures = held_out.measure(registry.find("photo-lite"), [flat], Watch())
    assert all(np.isfinite(list(point.values())).all() for point in figures.points())


@pytest.mark.slow
def test_held_out_costs_are_of_bits_a_pixel_and_squared_errors() -> None:
    """One percent more of either raises the cost by the same amount."""
    with Image.open(REPOSITORY / "samples" / "landscape.png") as image:
        pixels = np.asarray(image.convert("RGB").crop((100, 100, 164, 148)))
    model = ExactModel.load(LITE)
    points = held_out._measure_one(model, data.TrainingImage("crop", pixels))
    costs = []
    for step, (bpp, psnr, _) in zip(held_out.HELD_OUT_STEP_LEVELS, points, strict=True):
        coded = Encoder(pixels, model, EncodeOptions(tune="psnr", threads=1)).file(round(64 * step))
        mse = np.square(api.decode(coded, model=model).astype(float) - pixels).mean()
        assert bpp == pytest.approx(8 * len(coded) / (64 * 48))
        assert psnr == pytest.approx(psnr_db(mse), abs=1e-3)
        costs.append(np.log(bpp * mse))
    np.testing.assert_allclose(np.diff([cost for *_, cost in points]), np.diff(costs), atol=1e-3)


def test_a_gain_must_be_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(0, 1, 16)
    assert held_out.is_better(figures(list(before - 0.01)), figures(list(before)))
    assert not held_out.is_better(figures(list(before)), figures(list(before)))
    assert not held_out.is_better(figures(list(before + 0.01)), figures(list(before)))
    assert not held_out.is_better(figures([0.0]), figures([1.0]))  # one picture is not enough
    one_of_many = before.copy()
    one_of_many[3] -= 1
    assert not held_out.is_better(figures(list(one_of_many)), figures(list(before)))
    accepted = [held_out.is_beyond_chance(rng.normal(0, 1, 20)) for _ in range(500)]
    assert np.mean(accepted) < 0.06
    accepted = [held_out.is_beyond_chance(rng.normal(0.3, 1, size)) for size in (8, 200) for _ in range(100)]
    assert np.mean(accepted[:100]) < np.mean(accepted[100:])  # the same gain needs more pieces
