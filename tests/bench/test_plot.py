"""Tests of bench/plot.py on results made by hand."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from helpers.marks import fast_first
from vqcodec.bench.plot import _curves, _draw_rates, _draw_sizes, _styles, plot
from vqcodec.bench.results import BD_METRICS, SSIMULACRA2, BenchResults, Row


def eye_rows(given: list[Row]) -> list[Row]:
    """Rows with an MS-SSIM and an SSIMULACRA2 that grow with the quality."""
    return [replace(row, ms_ssim=0.9 + row.quality / 1000, ssimulacra2=row.quality) for row in given]


def test_sizes_are_relative_to_the_anchor(results_of, rows):
    results = results_of(("vqz", eye_rows(rows("vqz", 0.8))), ("jpeg", eye_rows(rows("jpeg"))))
    for metric in BD_METRICS:
        axes = Figure().subplots()
        _draw_sizes(axes, _curves(results, metric), metric, _styles(["vqz", "jpeg"]), "jpeg")
        base, ours = axes.lines
        assert set(base.get_ydata()) == {0}
        np.testing.assert_allclose(ours.get_ydata(), -20, atol=0.01)  # smaller by a fifth
        assert axes.get_title(loc="left") == f"File size against jpeg at equal {metric.name}"


def test_the_legend_has_the_bd_rates_by_the_metric(results_of, rows):
    ours = [replace(row, bytes=row.bytes // 2, mse_rgb=2 * row.mse_rgb) for row in eye_rows(rows("vqz"))]
    results = results_of(("vqz", ours), ("jpeg", eye_rows(rows("jpeg"))))
    axes = Figure().subplots()
    _draw_rates(axes, _curves(results, SSIMULACRA2), SSIMULACRA2, _styles(["vqz", "jpeg"]), results)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["vqz  -50.0 %", "jpeg"]
    assert axes.get_ylabel() == "SSIMULACRA2"


def test_variants_of_a_codec_look_different():
    names = ["vqz", "vqz:::psnr", "avif", "avif:3", "avif:444", "jxl", "jxl:9", "jpeg"]
    styles = _styles(names)
    assert len({(style.colour, style.dashes) for style in styles.values()}) == len(names)
    assert [name for name, style in styles.items() if style.ours] == ["vqz", "vqz:::psnr"]


@pytest.mark.slow
@pytest.mark.parametrize("codecs", fast_first([["jpeg", "vqz", "vqz:mine", "webp", "avif", "jxl"], ["vqz"], []]))
def test_the_plot_is_a_png_for_any_number_of_codecs(codecs, results_of, rows):
    given = {name: [replace(row, ms_ssim=float("nan")) for row in rows(name, 1 - 0.1 * i)] for i, name in enumerate(codecs)}
    with Image.open(BytesIO(plot(results_of(*given.items()), "png")), formats=("PNG",)) as image:
        assert image.size == (1800, 810)
        assert np.array(image.convert("L")).min() < 60


def test_each_metric_that_was_measured_has_a_row_of_panels(results_of, rows):
    results = results_of(("vqz", eye_rows(rows("vqz", 0.8))), ("jpeg", eye_rows(rows("jpeg"))))
    with Image.open(BytesIO(plot(results, "png"))) as image:
        assert image.size == (1800, 3 * 810)


@pytest.mark.slow
def test_the_plot_draws_our_curve_in_our_colour(results, results_of, rows):
    pink = (0xD6, 0x33, 0x6C)

    def count(shown: BenchResults) -> int:
        with Image.open(BytesIO(plot(shown, "png"))) as image:
            return int((np.array(image.convert("RGB")) == pink).all(axis=2).sum())

    assert count(results) > 1000
    assert count(results_of(("jpeg", rows("jpeg")))) == 0
