"""The scripts in experiments/: their help runs, and make_results.py puts its inputs together."""

import importlib
import io
import math
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import photo
from helpers.processes import program_environment
from vqcodec.bench.results import BenchResults, CodecInfo, ImageInfo, Row

EXPERIMENTS = REPOSITORY / "experiments"


@pytest.mark.parametrize(
    "script", fast_first(["measure", "make_results", "make_scans", "held_out", "blind", "look", "previews", "ray_decode", "remake"])
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


@pytest.fixture
def coded(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of files by several codecs."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from figures import coded

    return coded


def test_every_sample_has_a_kind(kinds: ModuleType, samples: Path) -> None:
    assert sorted(kinds.KINDS) == sorted(path.stem for path in samples.glob("*.png"))


def test_psnr_does_not_see_colours_under_alpha_0(coded: ModuleType) -> None:
    original = np.full((4, 4, 4), 200, np.uint8)
    original[:2, :, 3] = 0
    hidden = original.copy()
    hidden[:2, :, :3] = 7
    assert coded.picture_psnr_db(original, hidden) == math.inf
    shown = original.copy()
    shown[2:, :, :3] = 190
    expected = 10 * math.log10(255**2 / ((10 * 200 / 255) ** 2 * 3 / 8))  # half of the pixels, three of four channels
    assert coded.picture_psnr_db(original, shown) == pytest.approx(expected)


def test_psnr_takes_grey_and_16_bits(coded: ModuleType) -> None:
    grey = np.full((4, 4), 100, np.uint8)
    assert coded.picture_psnr_db(grey, np.full((4, 4, 3), 110, np.uint8)) == pytest.approx(10 * math.log10(255**2 / 100))
    deep = np.full((4, 4, 3), 25700, np.uint16)
    assert coded.picture_psnr_db(deep, deep + np.uint16(2570)) == pytest.approx(10 * math.log10(255**2 / 100))
    with pytest.raises(ValueError, match="cannot compare"):
        coded.picture_psnr_db(deep, grey)


def test_webp_of_psnr_is_the_smallest_that_reaches_it(coded: ModuleType) -> None:
    pixels = photo(64)
    found = coded.webp_of_psnr(pixels, 40)
    below = [file for quality in range(0, 101, 10) if (file := coded.webp(pixels, quality)).size_bytes < found.size_bytes]
    assert found.psnr_db >= 40 > max(file.psnr_db for file in below)
    assert coded.webp_of_psnr(pixels, math.inf) == coded.lossless_webp(pixels)
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[::2] = 255
    assert coded.webp_of_psnr(flat, 30) == coded.lossless_webp(flat)  # smaller than lossy files


def test_a_refused_picture_is_a_dash(kinds: ModuleType, coded: ModuleType) -> None:
    assert kinds.cell(lambda: coded.avif(np.zeros((8, 8, 3), np.uint16))) == "-"
    assert kinds.cell(lambda: coded.Coded(12345, math.inf)) == "12,345"
    assert kinds.cell(lambda: coded.Coded(12345, 37.25)) == "12,345 (37.2 dB)"


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


def sweep_rows(codec: str, picture: str, factor: float, eye_factor: float, seconds: float = 1.0) -> list[Row]:
    """A sweep whose files are `factor` times as large at equal PSNR, and `eye_factor` times at equal SSIMULACRA2."""
    sweep = [(10, 1000, 200.0), (30, 2500, 90.0), (50, 5000, 40.0), (70, 11000, 15.0)]
    return [
        Row(
            *(codec, quality, picture, 100_000, round(size * factor), mse, mse, 0.9, math.nan, seconds, seconds),
            ssimulacra2=10 * math.log(size * factor / eye_factor),
        )
        for quality, size, mse in sweep
    ]


@pytest.fixture
def bench_results() -> BenchResults:
    """Two pictures by JPEG, AVIF and vqz. By SSIMULACRA2 AVIF is smallest on b, and vqz on a."""
    factors = {
        ("jpeg", "a"): (1.0, 1.0, 0.1),
        ("jpeg", "b"): (1.0, 1.0, 0.1),
        ("avif", "a"): (0.5, 0.5, 1.0),
        ("avif", "b"): (0.5, 0.5, 1.0),
        ("vqz", "a"): (0.4, 0.4, 2.0),
        ("vqz", "b"): (0.4, 0.7, 2.0),
    }
    return BenchResults(
        date="2001-02-03",
        command="vqcodec bench set",
        machine={"cpu": "A Processor", "cores": 2, "system": "Linux"},
        versions={"vqcodec": "1.2.3"},
        threads=1,
        anchor="jpeg",
        images=[ImageInfo(name, 400, 250, 3) for name in "ab"],
        codecs=[CodecInfo(name, "1", "", (10, 30, 50, 70)) for name in ("jpeg", "avif", "vqz")],
        rows=[row for (codec, picture), facts in factors.items() for row in sweep_rows(codec, picture, *facts)],
    )


def test_the_first_table_has_sizes_by_every_metric_and_times_against_avif(
    monkeypatch: pytest.MonkeyPatch, bench_results: BenchResults
) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from make_results import first_table

    header, _, *lines = first_table(bench_results).splitlines()
    assert header == "| codec | size at equal PSNR | size at equal SSIMULACRA2 | encode time | decode time |"
    assert lines == [
        "| JPEG | 0 % | 0 % | 0.1 | 0.1 |",
        "| AVIF | -50 % | -50 % | 1 | 1 |",
        "| **photo** (default) | -60 % | -45 % | 2 | 2 |",
    ]


def test_the_results_say_who_wins_where(monkeypatch: pytest.MonkeyPatch, bench_results: BenchResults) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from make_results import against_avif, winners_table

    assert winners_table(bench_results).splitlines()[2:] == [
        "| PSNR | **photo** (default) (-20.0 %) | AVIF (+0.0 %) | **photo** (default) 2 |",
        "| SSIMULACRA2 | AVIF (+0.0 %) | **photo** (default) (+10.0 %) | **photo** (default) 1, AVIF 1 |",
    ]
    assert against_avif(bench_results).splitlines()[2:] == [
        "| **photo** (default) | PSNR | -20.0 % | -20.0 % | 2 of 2 | a -20.0 %, b -20.0 % |",
        "| **photo** (default) | SSIMULACRA2 | +10.0 % | +10.0 % | 1 of 2 | b +40.0 %, a -20.0 % |",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("has_held_out", [True, False])
def test_the_page_of_results_has_both_sets_of_pictures(
    has_held_out: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    bench_results: BenchResults,
) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import make_results
    import pages

    out, docs = tmp_path / "out", tmp_path / "docs"
    docs.mkdir()
    for name in ("bench", "bench-held-out") if has_held_out else ("bench",):
        (out / name).mkdir(parents=True)
        (out / name / "results.json").write_text(bench_results.to_json())
    table = "| a |\n| ---: |\n| 1 |\n\n| b |\n| ---: |\n| 2 |"
    (out / "figures.txt").write_text(
        f"== speed: 2001-02-03, {' '.join(['a name'] * 20)}\nfast\n\n  (twice)\n== kinds: 2001-02-03\n{table}\n"
    )
    for module in (make_results, pages):
        monkeypatch.setattr(module, "DOCS", docs)
    monkeypatch.setattr(make_results, "OUT", out)
    monkeypatch.setattr(sys, "argv", ["make_results.py"])
    make_results.main()
    text = (docs / "results.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    sets = ["## Kodak", "## Held-out photographs"] if has_held_out else ["## Kodak"]
    assert headings == [*sets, "## Figures", "## Rate and distortion"]
    plots = ["rate_distortion.png", "rate_distortion_held_out.png"][: len(sets)]
    assert sorted(path.name for path in docs.iterdir()) == [*plots, "results.md"]
    assert all(f"]({name})" in text for name in plots)
    assert ("make bench-held-out" in capsys.readouterr().err) != has_held_out
    assert table in text
    (out / "figures.txt").write_text("== process: 2001-02-05\nslow\n")  # the others stay
    if has_held_out:
        (out / "bench-held-out" / "results.json").unlink()
    make_results.main()
    again = (docs / "results.md").read_text()
    assert "2001-02-05" in again
    assert [line for line in text.splitlines() if line not in again.splitlines()] == []


# ------------------------------------------------------------------------------------------------ figures of small data folders


ICON = np.random.default_rng(0).integers(0, 2, (48, 64, 1), np.uint8) * np.uint8([200, 90, 30])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a few small pictures."""
    pictures = {
        "graphics/screens/icon": ICON,
        "graphics/sprites/sprite": np.dstack([ICON + np.uint8(5), ICON[:, :, 0]]),
        "kodak/one": photo(64),
        "domains/documents/test/page": photo(128)[:, :, 0],
        "odd/same": ICON,
        "odd/deep": photo(32)[:, :, 0] * np.uint16(257),
    }
    for name, pixels in pictures.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "odd" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "photos").mkdir()
    with tarfile.open(tmp_path / "photos" / "photos-1.tar", "w") as archive:
        for name in ("graphics/screens/icon.png", "kodak/one.png"):
            archive.add(tmp_path / name, Path(name).name)
    return tmp_path


Printed = Callable[[str, str], list[str]]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path) -> Printed:
    """Lines that a figure of a module prints. It runs in this process; pictures of samples/ are left out."""
    monkeypatch.syspath_prepend(EXPERIMENTS)

    def run(module: str, figure: str) -> list[str]:
        found = importlib.import_module(f"figures.{module}")
        monkeypatch.setattr(found, "in_processes", map)
        monkeypatch.setattr(found, "SAMPLES", data / "samples", raising=False)
        getattr(found, figure)(data)
        return capsys.readouterr().out.splitlines()

    return run


@pytest.mark.slow
def test_lossless_files_are_compared_with_those_of_webp(printed: Printed, data: Path) -> None:
    lines = printed("lossless", "lossless")
    assert [line.split(":")[0] for line in lines[::2]] == [
        "screens, effort 5",
        "screens, effort 9",
        "sprites, effort 5",
        "Kodak, effort 5",
    ]
    ours = len(vqcodec.encode(photo(64), lossless=True))
    stream = io.BytesIO()
    Image.fromarray(photo(64)).save(stream, "WEBP", lossless=True, method=6, quality=100)
    assert f" 1 pictures, {ours:,} of {stream.tell():,} bytes: {ours / stream.tell():.3f} (bar 1.02" in lines[-2]
    assert lines[-1] == f"  largest: one.png {ours / stream.tell():.3g}"


def test_hidden_colours_do_not_count_in_lossless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from figures.lossless import without_hidden

    pixels = np.uint8([[[1, 2, 3, 0], [1, 2, 3, 4]]])
    assert without_hidden(pixels).tolist() == [[[0, 0, 0, 0], [1, 2, 3, 4]]]
    assert without_hidden(pixels[:, :, 2:]).tolist() == [[[0, 0], [3, 4]]]
    assert np.array_equal(without_hidden(pixels[:, :, :3]), pixels[:, :, :3])


@pytest.mark.slow
def test_loading_has_a_row_for_each_format(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    loading = importlib.import_module("figures.loading")
    monkeypatch.setattr(loading, "SIDE", 64)
    loading.loading(data)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    names = ["JPEG", "WebP", "vqz, photo-lite, plain", "vqz, photo, plain", "vqz, photo, best"]
    assert [row[0].partition(" (")[0] for row in rows] == names
    assert all(float(row[2].removesuffix(" dB")) >= 32 for row in rows if "photo, plain" not in row[0])
    assert [row[5] == "-" for row in rows] == [False, True, False, False, True]


def test_speed_of_lossless_files_has_both_kinds(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    from figures import lossless

    monkeypatch.setattr(lossless, "SCREEN_HEIGHT", 16)
    monkeypatch.setattr(lossless, "SCREEN_WIDTH", 32)
    monkeypatch.setattr(lossless, "SCREENS_ACROSS", 1)
    monkeypatch.setattr(lossless, "PHOTO_SHAPE", (64, 64, 3))
    monkeypatch.setattr(lossless, "PHOTOS_ACROSS", 1)
    lines = printed("lossless", "lossless_speed")
    assert [line.split(",")[0] for line in lines[::2]] == ["graphics", "photographs"]
    assert all("bar" in line and "encode" in line for line in lines[1::2])


def test_tiled_pictures_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from figures.common import largest, tiled

    assert tiled([np.uint8([[number]]) for number in range(7)], 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert largest({"a": 1.0, "b": 3.0, "c": 2.5}, 2) == "b 3, c 2.5"


@pytest.mark.slow
def test_files_larger_than_png_are_counted(printed: Printed, monkeypatch: pytest.MonkeyPatch, coded: ModuleType) -> None:
    assert printed("bounds", "png") == ["0 of 4 different pictures (bar 0)"]  # `same` is one of them, `broken` is none
    monkeypatch.setattr(importlib.import_module("figures.bounds"), "png_of", lambda pixels: coded.Coded(pixels.ndim, math.inf))
    found = printed("bounds", "png")
    assert found[-1] == "4 of 4 different pictures (bar 0)"
    assert found[0].startswith("  screens/icon.png: ")


def test_png_refuses_colour_of_16_bits(coded: ModuleType) -> None:
    assert coded.png(np.zeros((8, 8), np.uint16)).size_bytes > 0
    with pytest.raises(coded.RefusedError):
        coded.png(np.zeros((8, 8, 3), np.uint16))


@pytest.mark.slow
def test_best_decodes_are_compared_with_plain_ones(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    from figures import bounds

    monkeypatch.setattr(bounds, "SETTINGS", ({}, {"quality": 30}))
    lines = printed("bounds", "best")
    assert [line.split(",")[0] for line in lines] == ["default settings: 0 of 4", "quality 30: 0 of 4", "0 files (bar 0)"]
    monkeypatch.setattr(bounds, "TOLERANCE_DB", -1000.0)
    assert printed("bounds", "best")[-1] == "8 files (bar 0)"


@pytest.mark.slow
def test_photographs_lose_the_bytes_above_a_file_of_blocks(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed("size", "photographs")
    assert lines[0].startswith("photo: Kodak, 1 pictures: mean +0.000 % (bar 0.05, goal 0), worst +0.000 % (bar 0.3)")
    assert "held-out photos, 1 pictures" in lines[1]
    from figures import size

    assert size.encode_blocks(photo(64)) == vqcodec.encode(photo(64))
    blocks, whole = len(size.encode_blocks(ICON)), len(vqcodec.encode(ICON))
    assert whole < blocks  # graphic
    assert size.Loss(whole, blocks).percent == pytest.approx(100 * (whole / blocks - 1))


def test_screens_are_compared_with_avif_at_their_psnr(printed: Printed, kinds: ModuleType, coded: ModuleType) -> None:
    lines = printed("kinds", "screens")
    assert [line.split(": ")[0] for line in lines if line.startswith("AVIF")] == ["AVIF speed 6, 4:4:4", "AVIF speed 6, 4:2:0"]
    assert "of 1, 1 of them exact" in lines[1]  # colours of AVIF by Pillow are not exact
    reached = kinds.AgainstAvif("", coded.Coded(50, 40.0), coded.Coded(100, 40.5))
    assert reached.reached
    assert not reached._replace(theirs=coded.Coded(100, 39.0)).reached
    assert kinds.bytes_ratio([reached, reached]) == reached.ratio == 0.5


def test_the_smallest_file_of_a_psnr_is_found_by_bisection(coded: ModuleType) -> None:
    def at_quality(quality: int) -> object:
        return coded.Coded(10 * quality, 20 + quality / 10)

    assert coded.smallest_of_psnr(at_quality, 25) == coded.Coded(500, 25)
    assert coded.smallest_of_psnr(at_quality, 10) == coded.Coded(0, 20)
    assert coded.smallest_of_psnr(at_quality, 31) == coded.Coded(1000, 30)  # none has it


@pytest.mark.slow
def test_scans_have_a_bd_rate(printed: Printed) -> None:
    lines = printed("kinds", "scans")
    assert "1 pictures" in lines[0]
    assert lines[1].startswith("  page ")


@pytest.mark.slow
def test_measure_runs_figures_in_processes(data: Path) -> None:
    command = [sys.executable, EXPERIMENTS / "measure.py", "photographs", data]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=program_environment())
    heading, first, *_ = done.stdout.splitlines()
    assert heading.startswith("== photographs: ")
    assert first.startswith("photo: Kodak, 1 pictures: ")


@pytest.fixture
def remake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module("remake")


def test_a_recipe_goes_on_where_it_failed(remake: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe, folder = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text('[[step]]\ncommand = "vqcodec models"\n[[step]]\ncommand = "vqcodec info photos/late.vqz"\n')
    with pytest.raises(SystemExit, match="step 2 failed"):
        remake.remake(recipe, tmp_path, folder)
    assert "late.vqz: No such file" in capfd.readouterr().err
    (tmp_path / "late.vqz").write_bytes(vqcodec.encode(photo(16)))
    remake.remake(recipe, tmp_path, folder)
    printed = capfd.readouterr().out
    assert "step 1 of 2: vqcodec models (done)\n" in printed
    assert "photo-lite" not in printed  # the first step did not run again
    assert "width        16" in printed
    recipe.write_text('[[step]]\ncommand = "vqcodec models --json"\n')
    with pytest.raises(SystemExit, match="step 1 was another"):
        remake.remake(recipe, tmp_path, folder)


def test_a_rehearsal_shortens_every_step(remake: ModuleType) -> None:
    commands = remake.read_commands(REPOSITORY / "models/photo/recipe.toml")
    assert remake.shortened(commands[1], 0.01) == commands[1].replace("--minutes 60", "--minutes 0.6")
    assert [command.split()[4] for command in commands] == ["photo-lite"] + 6 * ["photo"]
    assert not any("--init photo" in command for command in commands)  # that would be the photo that is shipped
