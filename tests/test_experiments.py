"""The scripts in experiments/: their help runs, and make_results.py puts its inputs together."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.processes import program_environment

EXPERIMENTS = REPOSITORY / "experiments"


@pytest.mark.parametrize("script", fast_first(["measure", "make_results", "make_scans", "blind", "previews", "ray_decode"]))
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
