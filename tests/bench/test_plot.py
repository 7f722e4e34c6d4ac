"""Tests of bench/plot.py on results made by hand."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from helpers.marks import fast_first
from vqcodec.bench.bdrate import useful_points
from vqcodec.bench.plot import _draw_sizes, plot
from vqcodec.bench.results import BenchResults


def test_sizes_are_relative_to_the_anchor(results):
    figure = Figure()
    curves = {name: useful_points(results.curve(name)) for name in ("vqz", "jpeg")}
    axes = figure.subplots()
    _draw_sizes(axes, curves, {"vqz": "#000000", "jpeg": "#111111"}, "jpeg")
    base, ours = axes.lines
    assert set(base.get_ydata()) == {0}
    np.testing.assert_allclose(ours.get_ydata(), -20, atol=0.01)  # smaller by a fifth


@pytest.mark.slow
@pytest.mark.parametrize("codecs", fast_first([["jpeg", "vqz", "vqz:mine", "webp", "avif", "jxl"], ["vqz"], []]))
def test_the_plot_is_a_png_for_any_number_of_codecs(codecs, results_of, rows):
    results = results_of(*((name, rows(name, 1 - 0.1 * i)) for i, name in enumerate(codecs)))
    with Image.open(BytesIO(plot(results, "png")), formats=("PNG",)) as image:
        assert image.size == (1800, 810)
        assert np.array(image.convert("L")).min() < 60


@pytest.mark.slow
def test_the_plot_draws_our_curve_in_our_colour(results, results_of, rows):
    pink = (0xD6, 0x33, 0x6C)

    def count(shown: BenchResults) -> int:
        with Image.open(BytesIO(plot(shown, "png"))) as image:
            return int((np.array(image.convert("RGB")) == pink).all(axis=2).sum())

    assert count(results) > 1000
    assert count(results_of(("jpeg", rows("jpeg")))) == 0
