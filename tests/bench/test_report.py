"""Tests of bench/report.py on results made by hand."""

import math
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from vqcodec.bench.report import RATES_BPP, exact_summaries, print_results, summaries, tables, to_markdown
from vqcodec.bench.results import BenchResults, CodecInfo, Failure, ImageInfo, Row


def printed(results: BenchResults, width: int = 80) -> str:
    output = StringIO()
    print_results(results, Console(file=output, width=width))
    return output.getvalue()


def test_summary_figures(results):
    ours, anchor = summaries(results)
    assert ours.bd_all_rates_percent == pytest.approx(-20)
    assert ours.bd_rates["PSNR"].of_mean_curve == pytest.approx(-20)
    assert ours.bd_rates["PSNR"].pictures.percents == {"set/a.png": pytest.approx(-20)}
    assert anchor.is_anchor
    assert 25 < anchor.psnr_at_db[0] < ours.psnr_at_db[0]
    assert ours.psnr_at_db[3] > anchor.psnr_at_db[3]  # at 0.5 bpp
    assert ours.encode_mps == pytest.approx(1.0)
    assert ours.decode_mps == pytest.approx(10.0)


def test_speeds_are_those_of_the_setting_nearest_to_half_a_bit(results_of, rows):
    """The rates are 0.08, 0.2, 0.4, 0.88 and 2.08 bpp."""
    given = [replace(row, encode_s=0.1 * place, decode_s=0.01 * place) for place, row in enumerate(rows("jpeg"), 1)]
    (line,) = summaries(results_of(("jpeg", given)))
    assert line.encode_mps == pytest.approx(1 / 3)
    assert line.decode_mps == pytest.approx(10 / 3)


def test_metrics_are_interpolated_over_log_rate_and_never_extrapolated(results_of):
    given = [Row("jpeg", q, "set/a.png", 100_000, size, 9, 9, 0.9, ms, 1, 1) for q, size, ms in ((1, 2500, 0.7), (2, 10000, 0.9))]
    (line,) = summaries(results_of(("jpeg", given)))  # 0.2 and 0.8 bpp
    of_rate = dict(zip(RATES_BPP, line.metrics_at["MS-SSIM"], strict=True))
    assert of_rate[0.5] == pytest.approx(0.7 + 0.2 * math.log(2.5) / math.log(4))
    assert [rate for rate, value in of_rate.items() if not math.isnan(value)] == [0.25, 0.5, 0.75]
    others = [values for name, values in line.metrics_at.items() if name != "MS-SSIM"]
    assert all(math.isnan(value) for values in others for value in values)


def test_psnr_at_a_rate_is_interpolated_on_the_curve(results, results_of, rows):
    line = summaries(results)[1]
    assert math.isnan(summaries(results_of(("jpeg", rows("jpeg", 3))))[0].psnr_at_db[0])  # begins above 0.1 bpp
    at_0_2 = next(point for point in results.points("jpeg") if point.bpp == pytest.approx(0.2))
    assert line.psnr_at_db[1] < at_0_2.psnr_rgb < line.psnr_at_db[2]  # 0.15 and 0.25 bpp


def test_the_tables_fit_a_terminal(results):
    text = printed(results)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "BD-rate vs jpeg" in text
    assert "-20.0 %" in text
    assert "anchor" in text
    assert "1 image, 0.1 MP, 1 thread" in text


def test_infinite_and_undefined_figures_have_their_own_symbols(results_of):
    none = [Row("none", 100, "set/a.png", 100_000, 300_009, 0.0, 0.0, math.nan, math.nan, 0.0, 0.0)]
    text = printed(results_of(("none", none)))
    (line,) = (line for line in text.splitlines() if line.split()[:1] == ["100"])
    assert line.split() == ["100", "24.0007", "∞", "∞", "-", "-", "-", "-"]


def exact_rows(codec: str, size: int) -> list[Row]:
    return [Row(codec, 100, "set/a.png", 100_000, size, 0.0, 0.0, 1.0, 1.0, 0.1, 0.01)]


def test_exact_codecs_are_compared_by_size_alone(results_of, rows):
    codecs = [
        ("vqz", rows("vqz", 0.8)),
        ("jpeg", rows("jpeg")),
        ("ours", exact_rows("ours", 50_000)),
        ("png", exact_rows("png", 80_000)),
    ]
    results = results_of(*codecs)
    assert [line.codec for line in summaries(results)] == ["vqz", "jpeg"]
    assert [(line.codec, line.bpp, line.reference) for line in exact_summaries(results)] == [
        ("ours", 4, "ours"),
        ("png", 6.4, "ours"),
    ]
    assert [line.size_percent for line in exact_summaries(results)] == pytest.approx([0, 60])
    against = replace(results, anchor="png")
    assert [line.size_percent for line in exact_summaries(against)] == pytest.approx([-37.5, 0])
    assert all(math.isnan(line.bd_rates["PSNR"].of_mean_curve) for line in summaries(against))
    text = printed(against)
    assert max(map(len, text.splitlines())) <= 80
    assert "size vs png" in text
    assert "-37.5 %" in text
    assert "| ours | 4.0000 | -37.5 % | 1.0 | 10.0 |" in to_markdown(against)


def test_a_run_of_exact_codecs_has_no_tables_of_rates(results_of):
    results = results_of(("ours", exact_rows("ours", 50_000)))
    for text in (printed(results), to_markdown(results)):
        assert "Size of exact files" in text
        assert "at equal rate" not in text
        assert "BD-rate vs" not in text
        assert "No codec completed" not in text


def test_names_are_not_read_as_markup(results_of, rows):
    failure = Failure("set/[red]x[/].png", "vqz", 50, "bad [bold]luck")
    text = printed(results_of(("vqz:[b]", rows("vqz:[b]")), ("jpeg", rows("jpeg")), failures=[failure]))
    assert "vqz:[b]" in text
    assert "failed set/[red]x[/].png vqz 50: bad [bold]luck" in text


def test_many_failures_are_cut_short(results_of, rows):
    failures = [Failure(f"{i}.png", "", None, "unreadable") for i in range(25)]
    results = results_of(("jpeg", rows("jpeg")), failures=failures)
    assert "failed 19.png: unreadable" in printed(results)
    assert "20.png" not in printed(results)
    assert "and 5 more" in printed(results)
    assert "1 of 26 images" in printed(results)


def test_a_run_without_results_says_so():
    codec = CodecInfo("vqz", "", "", (), missing="no model")
    results = BenchResults("2001", "", {"cpu": "x", "cores": 1, "system": "y"}, {}, None, "vqz", codecs=[codec])
    text = printed(results)
    assert "No codec completed any image." in text
    assert "missing vqz: no model" in text
    assert "vqz did not run: no model" in to_markdown(results)


def test_markdown_has_everything_needed_to_repeat_the_run(results):
    text = to_markdown(results, title="Kodak", plot="rd.png")
    lines = text.splitlines()
    assert lines[0] == "## Kodak"
    assert "1 image, 0.1 MP, 1 thread (set)." in lines
    assert "BD-rate vs jpeg:" in lines
    assert "| codec | PSNR | enc MP/s | dec MP/s |" in lines
    assert "| vqz | -20.0 % | 1.0 | 10.0 |" in lines
    assert "BD-rate vs jpeg of the mean curves:" in lines
    assert "| vqz | -20.0 % | -20.0 % |" in lines
    assert "| 50 | 0.3200 | 32.11 | 35.12 | 0.9000 | 0.9500 | 1.0 | 10.0 |" in lines
    assert "![Rate and distortion of every codec](rd.png)" in lines
    assert "**vqz**: v1, settings" in lines
    for fact in ("A Processor, 2 cores", "2001-02-03", "vqcodec 1.2.3", "```\nvqcodec bench set\n```"):
        assert fact in text


def test_every_row_of_a_markdown_table_has_the_same_columns(results):
    blocks = [part.splitlines() for part in to_markdown(results).split("\n\n") if part.startswith("|")]
    assert [len(block) for block in blocks] == [4] * 4 + [7] * 2
    assert [{line.count("|") for line in block} for block in blocks] == [{5}, {4}, {9}, {9}, {9}, {9}]


def eye_rows(given: list[Row], name: str, factor: float) -> list[Row]:
    """Rows of the picture set/NAME.png, with MS-SSIM and SSIMULACRA2 of a codec whose files are `factor` times as large."""
    found = []
    for row in given:
        level = math.log(row.bytes / factor)
        found.append(replace(row, image=f"set/{name}.png", ms_ssim=1 - math.exp(-level / 3), ssimulacra2=12 * level))
    return found


@pytest.fixture
def several(results_of, rows) -> BenchResults:
    """Five pictures by vqz, anchor jpeg: PSNR by 0.8 on all, metrics of eyes by 0.9 to 1.3; picture e shares no range with jpeg."""
    factors = {"a": 0.9, "b": 1.0, "c": 1.3, "d": 1.2}
    ours = [row for name, factor in factors.items() for row in eye_rows(rows("vqz", 0.8), name, factor)]
    theirs = [row for name in factors for row in eye_rows(rows("jpeg"), name, 1)]
    far = [replace(row, mse_rgb=row.mse_rgb / 1e6) for row in eye_rows(rows("vqz", 0.8), "e", 1e-9)]
    results = results_of(("vqz", ours + far), ("jpeg", theirs + eye_rows(rows("jpeg"), "e", 1)))
    return replace(results, images=[ImageInfo(f"set/{name}.png", 400, 250, 3) for name in "abcde"])


def test_bd_rates_of_pictures_have_a_mean_a_median_and_the_worst(several):
    ours, anchor = summaries(several)
    for name in ("MS-SSIM", "SSIMULACRA2"):
        pictures = ours.bd_rates[name].pictures
        assert pictures.percents == pytest.approx(
            {"set/a.png": -10, "set/b.png": 0, "set/c.png": 30, "set/d.png": 20, "set/e.png": math.nan}, abs=0.1, nan_ok=True
        )
        assert (pictures.mean, pictures.median) == (pytest.approx(10, abs=0.1), pytest.approx(10, abs=0.1))
        assert [rate.picture for rate in pictures.defined] == ["set/c.png", "set/d.png", "set/b.png", "set/a.png"]
    assert ours.bd_rates["PSNR"].pictures.mean == pytest.approx(-20, abs=0.1)
    assert anchor.bd_rates["SSIMULACRA2"].pictures.mean == pytest.approx(0)


def test_the_first_table_has_the_means_by_every_metric(several):
    first, *others = tables(several)
    assert first.title == "BD-rate vs jpeg, mean over the pictures"
    assert first.header[:4] == ("codec", "PSNR", "MS-SSIM", "SSIMULACRA2")
    assert first.rows[0][:4] == ("vqz", "-20.0 %", "+10.0 %", "+10.0 %")
    assert first.rows[1][:4] == ("jpeg", "anchor", "anchor", "anchor")
    of_eyes = next(table for table in others if table.title == "BD-rate vs jpeg of each picture by SSIMULACRA2")
    worst = "set/c.png +30.0 %, set/d.png +20.0 %, set/b.png +0.0 %"
    assert of_eyes.rows == [("vqz", "+10.0 %", "+10.0 %", "4 of 5", worst)]
    text = printed(several)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.index(of_eyes.title) < text.index(first.title)  # the most important is the last that a terminal shows


def test_a_picture_alone_has_no_table_of_pictures(results):
    titles = [table.title for table in tables(results)]
    assert titles[:2] == ["BD-rate vs jpeg", "BD-rate vs jpeg of the mean curves"]
    assert not any("each picture" in title for title in titles)


def test_metrics_that_nobody_measured_have_no_column(several):
    without = replace(several, rows=[replace(row, ms_ssim=math.nan, ssimulacra2=math.nan) for row in several.rows])
    first, *others = tables(without)
    assert first.header == ("codec", "PSNR", "enc MP/s", "dec MP/s")
    assert [table.title for table in others if "each picture" in table.title] == ["BD-rate vs jpeg of each picture by PSNR"]


FACTORS = ("vqz", 0.8), ("jpeg", 1)


def test_a_flat_picture_does_not_change_the_figures_of_others(results_of, rows) -> None:
    """Every codec reproduces it exactly, at an infinite PSNR."""
    exact = [replace(row, image="set/flat.png", mse_rgb=0.0, mse_y=0.0) for row in rows("vqz", 0.8) + rows("jpeg")]
    all_rows = [(name, rows(name, factor) + [row for row in exact if row.codec == name]) for name, factor in FACTORS]
    both = results_of(*all_rows)
    both.images.append(ImageInfo("set/flat.png", 400, 250, 3))
    assert both.compared_images() == ["set/a.png"]
    assert both.left_out() == ["set/flat.png"]
    assert summaries(both)[0].bd_rates["PSNR"].pictures.mean == pytest.approx(-20)
    assert "1 of 2 images" in printed(both)
    for text in (printed(both), to_markdown(both)):
        assert "set/flat.png: a codec decodes without error there" in text


def test_a_picture_that_is_exact_at_some_qualities_of_a_codec_is_left_out(results_of, rows) -> None:
    jpeg, ours = rows("jpeg"), rows("vqz", 0.8)
    graphic = [replace(row, image="set/b.png") for row in [*jpeg, *ours]]
    graphic[-1] = replace(graphic[-1], mse_rgb=0.0, mse_y=0.0)
    lossless = exact_rows("png", 80_000) + [replace(row, image="set/b.png") for row in exact_rows("png", 80_000)]
    both = results_of(("jpeg", jpeg + graphic[: len(jpeg)]), ("vqz", ours + graphic[len(jpeg) :]), ("png", lossless))
    both.images.append(ImageInfo("set/b.png", 400, 250, 3))
    assert (both.compared_images(), both.left_out()) == (["set/a.png"], ["set/b.png"])
    assert all(math.isfinite(point.psnr_rgb) for name in ("jpeg", "vqz") for point in both.points(name))


def test_no_picture_is_left_out_if_none_would_remain(results_of, rows) -> None:
    exact = [replace(row, mse_rgb=0.0, mse_y=0.0) for row in rows("vqz", 0.8)]
    alone = results_of(("vqz", exact), ("jpeg", rows("jpeg")))
    assert (alone.compared_images(), alone.left_out()) == (["set/a.png"], [])
    assert [line.codec for line in exact_summaries(alone)] == ["vqz"]
    assert [line.codec for line in summaries(alone)] == ["jpeg"]
