"""The scripts in experiments/: their help runs, and make_results.py puts its inputs together."""

import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import photo
from helpers.processes import program_environment

EXPERIMENTS = REPOSITORY / "experiments"


@pytest.mark.parametrize(
    "script", fast_first(["measure", "measure_never_worse", "make_results", "make_scans", "blind", "previews", "ray_decode"])
)
def test_help_names_the_command(script: str) -> None:
    command = [sys.executable, EXPERIMENTS / f"{script}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=program_environment())
    assert f"python experiments/{script}.py" in done.stdout


def test_the_readme_has_every_experiment() -> None:
    text = (EXPERIMENTS / "README.md").read_text()
    for script in EXPERIMENTS.glob("*.py"):
        command = "make mnist" if script.stem == "mnist" else f"experiments/{script.name}"
        assert command in text or f"`{script.name}`" in text, script.name


def test_the_last_output_of_a_figure_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from make_results import figure_section, read_figures

    output = tmp_path / "figures.txt"
    output.write_text("== speed: 2001-02-03, photo 01\nslow\n  twice\n== memory: 2001-02-03\n1 MB\n== speed: 2001-02-04\nfast\n")
    found = read_figures(output)
    assert {name: (figure.origin, figure.text) for name, figure in found.items()} == {
        "speed": ("2001-02-04", "fast"),
        "memory": ("2001-02-03", "1 MB"),
    }
    heading, command, block, *_ = figure_section("speed", found["speed"])
    assert heading.startswith("### ")
    assert "measure.py speed" in command
    assert "2001-02-04" in command
    assert block == "```\nfast\n```"


def test_a_figure_that_is_a_table_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from make_results import Measured, figure_section

    table = "| a | b |\n| --- | ---: |\n| 1 | 2 |"
    assert table in figure_section("kinds", Measured("2001-02-03", table))


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the table of kinds of pictures."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from figures import kinds

    return kinds


def test_every_sample_has_a_kind(kinds: ModuleType, samples: Path) -> None:
    assert sorted(kinds.KINDS) == sorted(path.stem for path in samples.glob("*.png"))


def test_psnr_of_kinds_does_not_see_colours_under_alpha_0(kinds: ModuleType) -> None:
    original = np.full((4, 4, 4), 200, np.uint8)
    original[:2, :, 3] = 0
    hidden = original.copy()
    hidden[:2, :, :3] = 7
    assert kinds.picture_psnr_db(original, hidden) == math.inf
    shown = original.copy()
    shown[2:, :, :3] = 190
    expected = 10 * math.log10(255**2 / ((10 * 200 / 255) ** 2 * 3 / 8))  # half of the pixels, three of four channels
    assert kinds.picture_psnr_db(original, shown) == pytest.approx(expected)


def test_psnr_of_kinds_takes_grey_and_16_bits(kinds: ModuleType) -> None:
    grey = np.full((4, 4), 100, np.uint8)
    assert kinds.picture_psnr_db(grey, np.full((4, 4, 3), 110, np.uint8)) == pytest.approx(10 * math.log10(255**2 / 100))
    deep = np.full((4, 4, 3), 25700, np.uint16)
    assert kinds.picture_psnr_db(deep, deep + np.uint16(2570)) == pytest.approx(10 * math.log10(255**2 / 100))
    with pytest.raises(ValueError, match="cannot compare"):
        kinds.picture_psnr_db(deep, grey)


def test_webp_of_psnr_is_the_smallest_that_reaches_it(kinds: ModuleType) -> None:
    pixels = photo(64)
    found = kinds.webp_of_psnr(pixels, 40)
    below = [file for quality in range(0, 101, 10) if (file := kinds.webp(pixels, quality)).size_bytes < found.size_bytes]
    assert found.psnr_db >= 40 > max(file.psnr_db for file in below)
    assert kinds.webp_of_psnr(pixels, math.inf) == kinds.lossless_webp(pixels)
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[::2] = 255
    assert kinds.webp_of_psnr(flat, 30) == kinds.lossless_webp(flat)  # smaller than lossy files


def test_a_refused_picture_is_a_dash(kinds: ModuleType) -> None:
    assert kinds.cell(lambda: kinds.avif(np.zeros((8, 8, 3), np.uint16))) == "-"
    assert kinds.cell(lambda: kinds.Coded(12345, math.inf)) == "12,345"
    assert kinds.cell(lambda: kinds.Coded(12345, 37.25)) == "12,345 (37.2 dB)"


@pytest.mark.slow
def test_the_table_of_kinds_has_a_row_for_each(
    kinds: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(kinds, "KINDS", {name: kinds.KINDS[name] for name in ("chart", "logo", "xray")})
    kinds.kinds(tmp_path)
    lossless, lossy = capsys.readouterr().out.strip().split("\n\n")
    for table in (lossless, lossy):
        names = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
        assert names == ["chart, chart.png", "logo with alpha, logo.png", "X-ray, 16 bits, xray.png"]
    assert lossy.splitlines()[-1].count("| - |") >= 1  # no lossy WebP of 16 bits
    assert "dB" in lossy
    assert "dB" not in lossless


def test_the_first_table_has_sizes_against_the_anchor_and_times_against_avif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from make_results import first_table

    from vqcodec.bench.results import BenchResults, CodecInfo, ImageInfo, Row

    def rows(codec: str, factor: float, seconds: float) -> list[Row]:
        sweep = [(10, 1000, 200.0), (30, 2500, 90.0), (50, 5000, 40.0), (70, 11000, 15.0)]
        return [
            Row(codec, quality, "a", 100_000, round(size * factor), mse, mse, 0.9, 0.9, seconds, seconds, ssimulacra2=quality)
            for quality, size, mse in sweep
        ]

    codecs = {"jpeg": (1.0, 0.1), "avif": (0.5, 1.0), "vqz": (0.4, 2.0)}
    results = BenchResults(
        date="2001-02-03",
        command="",
        machine={},
        versions={},
        threads=1,
        anchor="jpeg",
        images=[ImageInfo("a", 400, 250, 3)],
        codecs=[CodecInfo(name, "1", "", (10, 30, 50, 70)) for name in codecs],
        rows=[row for name, facts in codecs.items() for row in rows(name, *facts)],
    )
    assert first_table(results).splitlines()[2:] == [
        "| JPEG | 0 % | 0 % | 0.1 | 0.1 |",
        "| AVIF | -50 % | -50 % | 1 | 1 |",
        "| **photo** (default) | -60 % | -60 % | 2 | 2 |",
    ]
