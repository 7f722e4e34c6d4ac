"""Bench results made by hand."""

from collections.abc import Callable

import pytest

from vqcodec.bench.results import BenchResults, CodecInfo, ImageInfo, Row

PIXELS = 100_000
# Quality, bytes of the file, mean squared error.
SWEEP = [(10, 1000, 200.0), (30, 2500, 90.0), (50, 5000, 40.0), (70, 11000, 15.0), (90, 26000, 4.0)]


def make_rows(codec: str, factor: float = 1.0) -> list[Row]:
    """A codec whose files are `factor` times the sweep's, encoded in 0.1 s and decoded in 0.01 s."""
    return [
        Row(codec, quality, "set/a.png", PIXELS, round(size * factor), mse, mse / 2, 0.9, 0.95, 0.1, 0.01)
        for quality, size, mse in SWEEP
    ]


def make_results(*codecs: tuple[str, list[Row]], anchor: str = "jpeg", **fields) -> BenchResults:
    return BenchResults(
        date="2001-02-03T04:05:06+00:00",
        command="vqcodec bench set",
        machine={"cpu": "A Processor", "cores": 2, "system": "Linux x86_64"},
        versions={"vqcodec": "1.2.3"},
        threads=1,
        anchor=anchor,
        images=[ImageInfo("set/a.png", 400, 250, 3)],
        codecs=[CodecInfo(name, "v1", "settings", tuple(sorted({r.quality for r in rs}))) for name, rs in codecs],
        rows=[row for _, codec_rows in codecs for row in codec_rows],
        **fields,
    )


@pytest.fixture
def rows() -> Callable[..., list[Row]]:
    return make_rows


@pytest.fixture
def results_of() -> Callable[..., BenchResults]:
    return make_results


@pytest.fixture
def results() -> BenchResults:
    """vqz with files of 0.8 times the bytes of jpeg, the anchor."""
    return make_results(("vqz", make_rows("vqz", 0.8)), ("jpeg", make_rows("jpeg")))
