"""Tests of bench/results.py; test_run.py covers results of whole runs."""

import pytest

from vqcodec.bench.results import BenchResults


def test_results_survive_their_json(results):
    assert BenchResults.from_json(results.to_json()) == results


@pytest.mark.parametrize(
    "text",
    ['{"kind": "other"}', "[]", '{"kind": "vqcodec-bench", "version": 99}', "nonsense", '{"kind": "vqcodec-bench", "version": 1}'],
)
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match=r"result file|Expecting value"):
        BenchResults.from_json(text)
