"""Tests of bench/results.py; test_run.py covers results of whole runs."""

import json
import math

import pytest

from vqcodec.bench.results import MS_SSIM, BenchResults, ms_ssim_db


def test_results_survive_their_json(results):
    assert repr(BenchResults.from_json(results.to_json())) == repr(results)  # nan is not equal to itself


@pytest.mark.parametrize(
    "text",
    ['{"kind": "other"}', "[]", '{"kind": "vqcodec-bench", "version": 99}', "nonsense", '{"kind": "vqcodec-bench", "version": 1}'],
)
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match=r"result file|Expecting value"):
        BenchResults.from_json(text)


def test_the_json_has_the_bd_rates(results):
    document = json.loads(results.to_json())
    assert document["bd_range_bpp"] == [0.1, 2.0]
    ours, anchor = (codec["bd_rates"] for codec in document["codecs"])
    assert ours["psnr-rgb"] == {
        "mean_curve": pytest.approx(-20),
        "mean": pytest.approx(-20),
        "median": pytest.approx(-20),
        "pictures": {"set/a.png": pytest.approx(-20)},
    }
    assert anchor["psnr-rgb"]["mean"] == pytest.approx(0)
    assert ours["ssimulacra2"] == {"mean_curve": None, "mean": None, "median": None, "pictures": {"set/a.png": None}}


def test_a_file_without_bd_rates_still_loads(results):
    document = json.loads(results.to_json())
    del document["bd_range_bpp"]
    for codec in document["codecs"]:
        del codec["bd_rates"]
    assert repr(BenchResults.from_json(json.dumps(document))) == repr(results)


def test_ms_ssim_has_decibels(results):
    assert ms_ssim_db(0.99) == pytest.approx(20)
    assert ms_ssim_db(1.0) == math.inf
    assert math.isnan(ms_ssim_db(math.nan))
    assert [point.value for point in results.curve("vqz", MS_SSIM)] == pytest.approx([ms_ssim_db(0.95)] * 5)
