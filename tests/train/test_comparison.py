"""The report of a training, and whether a model pays."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from helpers.paths import REPOSITORY
from vqcodec import api
from vqcodec.train import comparison
from vqcodec.train.comparison import MOST_PICTURES, Comparison, CurvePoint, Line, bytes_at
from vqcodec.train.data import TrainingImage
from vqcodec.train.result import why_not_written
from vqcodec.train.watch import Stop, Watch
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel

LITE = registry.find("photo-lite")


def compared(own: tuple[float, ...], percent: float, model_bytes: int = 1000) -> Comparison:
    lines = Line("base", (400, 200, 100), 900, 0.0), Line("own", own, math.nan, percent)
    return Comparison(3, 2, (40.0, 35.0, 30.0), lines, model_bytes)


def test_bytes_are_interpolated_between_files_and_never_far_beyond_them() -> None:
    curve = [CurvePoint(100, 30.0), CurvePoint(400, 40.0)]
    assert bytes_at(curve, 35.0) == pytest.approx(200)
    assert bytes_at(curve[::-1], 40.0) == pytest.approx(400)
    assert math.isnan(bytes_at(curve, 40.1))
    assert math.isnan(bytes_at(curve, 29.9))
    assert bytes_at(curve, 41.0, 1.5) == pytest.approx(400 * 4**0.1)
    assert bytes_at(curve, 29.0, 1.5) == pytest.approx(100 / 4**0.1)
    assert math.isnan(bytes_at(curve, 42.0, 1.5))
    assert bytes_at([CurvePoint(7, 70.0)] * 3, 70.0) == pytest.approx(7)  # exact files at every quality


def test_a_model_pays_when_it_has_saved_its_own_size() -> None:
    found = compared((380, 190, 95), -5.0)
    assert (found.pays_after, found.pays) == (100, True)
    assert compared((380, 190, 95), -5.0, 10 * MOST_PICTURES + 1).pays_after == MOST_PICTURES + 1
    assert not compared((380, 190, 95), -5.0, 10 * MOST_PICTURES + 1).pays
    for own, percent in (((400, 200, 100), 0.0), ((420, 201, 99), 2.0), ((math.nan,) * 3, math.nan)):
        assert compared(own, percent).pays_after is None
        assert not compared(own, percent).pays


def why(made: ExactModel, found: Comparison | None, notes: Sequence[str] = (), *, unfinished: bool = False) -> str:
    return why_not_written(LITE, made, found, notes, unfinished=unfinished)


def test_an_untrained_model_that_is_better_is_named() -> None:
    other, avif = Line("other", (300, 150, 75), math.nan, -25.0), Line("AVIF", (200, 100, 50), math.nan, -50.0)
    found = compared((380, 190, 95), -5.0)
    found = replace(found, models=3, lines=(*found.lines, other, avif))
    assert found.better == other
    assert replace(found, lines=(found.lines[0], replace(found.lines[1], percent=-26.0), other, avif)).better is None
    assert compared((380, 190, 95), -5.0).better is None


def test_a_folder_where_no_model_pays_is_told_why() -> None:
    other = ExactModel("own", LITE.tensors | {"color": LITE.color * 2})
    assert why(LITE, None, ["kept: chance"]) == "it does not pay to train on this folder: kept: chance"
    assert why(LITE, None, ["kept: no time"], unfinished=True) == "kept: no time"
    assert why(other, compared((380, 190, 95), -5.0)) == ""
    assert why(other, None) == ""  # no time for the report
    assert "not smaller than with photo-lite (+2.0 %)" in why(other, compared((420, 201, 99), 2.0))
    dear = why(other, compared((380, 190, 95), -5.0, 10**9))
    assert "5.0 % smaller than with photo-lite, and the model of 1000000000 bytes would pay after 100000000 pictures" in dear


def sizes_of(image: TrainingImage) -> comparison._Sizes:
    model = partial(comparison._vqz_files, LITE)
    (found,) = comparison._sizes_of_all([model, model], partial(comparison._own_files, LITE), [image], Watch())
    return found


@pytest.fixture
def crops() -> list[TrainingImage]:
    with Image.open(REPOSITORY / "samples" / "landscape.png") as image:
        colour, grey = image.convert("RGB").crop((100, 100, 164, 148)), image.convert("L").crop((200, 100, 264, 148))
    return [TrainingImage("colour", np.asarray(colour)), TrainingImage("grey", np.asarray(grey)[:, :, None])]


@pytest.mark.slow
def test_models_are_compared_at_the_quality_of_the_base_models_files(crops: list[TrainingImage]) -> None:
    for crop in crops:
        sizes, psnr_db, without_model = sizes_of(crop)
        assert not without_model
        assert sizes.shape == (5, 4)
        np.testing.assert_allclose(sizes[0, :3], sizes[1, :3])
        for quality, size, psnr in zip(comparison.QUALITIES, sizes[0], psnr_db, strict=False):
            coded = api.encode(crop.pixels.squeeze(), quality=quality, tune="psnr", model=LITE)
            assert size == pytest.approx(len(coded), rel=0.02)
            assert psnr == pytest.approx(comparison._psnr_db(crop.pixels, api.decode(coded, model=LITE)), abs=0.05)
        assert sizes[0, 3] == len(api.encode(crop.pixels.squeeze(), lossless=True))
        assert np.isfinite(sizes[2:4, 1:3]).all()  # AVIF and WebP reach these qualities
        assert np.isfinite(sizes[3:, 3]).all()
        assert np.isnan(sizes[4, :3]).all()  # PNG is lossless


@pytest.mark.slow
def test_the_report_has_a_line_for_each_codec(crops: list[TrainingImage]) -> None:
    assert comparison.compare(LITE, ExactModel("same", dict(LITE.tensors)), [], crops, Watch()) is None
    other = ExactModel("mine", LITE.tensors | {"book.bits": LITE.tensors["book.bits"] + np.uint16(1)})
    found = comparison.compare(LITE, other, [LITE], crops, Watch())
    assert found is not None
    assert [line.name for line in found.lines] == ["photo-lite", "mine", "AVIF", "WebP", "PNG"]
    assert (found.pictures, found.lines[0].percent) == (2, 0.0)
    assert abs(found.lines[1].percent) < 1
    assert found.facts()["lines"][4]["bytes"] == [None] * 3
    stopped = Stop()
    stopped.ask()
    stopped.at -= 1000
    assert comparison.compare(LITE, other, [], crops, Watch(stop=stopped)) is None


@pytest.mark.slow
def test_graphics_are_recognised(crops: list[TrainingImage]) -> None:
    rng = np.random.default_rng(0)
    flat = [
        TrainingImage(str(n), np.kron(rng.integers(0, 4, (8, 8, 1)), np.ones((8, 8, 1), int)).astype(np.uint8)) for n in range(3)
    ]
    assert comparison.are_graphics(flat, LITE, Watch())
    assert not comparison.are_graphics(crops, LITE, Watch())
    assert sizes_of(flat[0]).without_model
