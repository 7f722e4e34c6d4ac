"""Results as tables: on the terminal (Rich) and as Markdown."""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vqcodec.bench.bdrate import PictureRates, at_rate, bd_rate
from vqcodec.bench.results import BD_METRICS, BD_RANGE_BPP, BdMetric, BdRates, BenchResults, CodecInfo, RdPoint

RATES_BPP = (0.1, 0.15, 0.25, 0.5, 0.75, 1.0, 1.5)
SPEED_BPP = 0.5
"""Rate at which speeds are compared: each codec's setting nearest to it."""
SHOWN_FAILURES = 20
SHOWN_WORST = 3
"""Number of pictures named in the tables of BD-rates of pictures."""
ANCHOR_CELL = "anchor"

NOTES = (
    "bpp is 8 x the bytes of the whole file over width x height. All metrics compare the 8-bit pixels that the decoder wrote. "
    "BD-rate: mean difference in size at equal RGB PSNR, MS-SSIM or SSIMULACRA2 (Bjøntegaard, PCHIP on log-rate), over the "
    f"range of the metric that both sweeps reach with rates in {BD_RANGE_BPP[0]:g}-{BD_RANGE_BPP[1]:g} bpp; negative means "
    "smaller files. BD-rates by MS-SSIM take it in decibels, -10 log10(1 - MS-SSIM). Each picture has a BD-rate between its own "
    "curves. Mean, median and the worst (largest) are over the pictures where the two curves share a range; the column of "
    "pictures counts them. The BD-rate of the mean curves is between curves of mean bpp and mean metric over the images. Speeds "
    f"are megapixels per second in process, at the setting nearest {SPEED_BPP:g} bpp. SSIM and MS-SSIM are per RGB channel; "
    "MS-SSIM needs 161 pixels a side. High band: energy of luma minus its 3x3 blur, divided by the original's. Codecs whose "
    "decodes all equal the originals have an infinite PSNR, and are compared by size alone."
)


@dataclass(frozen=True)
class Summary:
    """One codec's line in the comparison; an undefined figure is nan."""

    codec: str
    is_anchor: bool
    bd_rates: dict[str, BdRates]  # against the anchor, by the names of BD_METRICS
    bd_all_rates_percent: float  # BD-rate of the mean curves by PSNR over all rates, also those outside BD_RANGE_BPP
    psnr_at_db: tuple[float, ...]  # PSNR at each of RATES_BPP
    metrics_at: dict[str, tuple[float, ...]]  # for each of METRICS, its value at each of RATES_BPP
    encode_mps: float
    decode_mps: float


METRICS: dict[str, Callable[[RdPoint], float]] = {
    "MS-SSIM": lambda p: p.ms_ssim,
    "LPIPS": lambda p: p.lpips,
    "High band": lambda p: p.high_band,
    "SSIMULACRA2": lambda p: p.ssimulacra2,
}
"""Metrics compared at equal rate besides PSNR, if they were measured."""


@dataclass(frozen=True)
class ExactSummary:
    """The line of a codec that decodes every picture exactly, at its point with the smallest files; an undefined figure is nan."""

    codec: str
    bpp: float
    reference: str  # the codec that sizes are compared with
    size_percent: float  # difference in mean bpp against the reference
    encode_mps: float
    decode_mps: float


def summaries(results: BenchResults) -> list[Summary]:
    """One line for every codec that ran and does not decode everything exactly, in the order of the results."""
    anchor = results.curve(results.anchor)
    lines = []
    for codec in results.codecs:
        points = results.points(codec.name)
        if not points or _is_exact(points):
            continue
        curve = results.curve(codec.name)
        speed = point_nearest(points, SPEED_BPP)
        lines.append(
            Summary(
                codec=codec.name,
                is_anchor=codec.name == results.anchor,
                bd_rates={metric.name: results.bd_rates(codec.name, metric) for metric in BD_METRICS},
                bd_all_rates_percent=bd_rate(anchor, curve),
                psnr_at_db=tuple(at_rate(curve, bpp) for bpp in RATES_BPP),
                metrics_at={n: tuple(_interpolated(points, get, bpp) for bpp in RATES_BPP) for n, get in METRICS.items()},
                encode_mps=speed.encode_mps,
                decode_mps=speed.decode_mps,
            )
        )
    return lines


def exact_summaries(results: BenchResults) -> list[ExactSummary]:
    """One line for every codec that decodes everything exactly, in the order of the results.

    The reference is the anchor if it is among them, else the first of them.
    """
    found = {codec.name: results.points(codec.name) for codec in results.codecs}
    smallest = {name: points[0] for name, points in found.items() if points and _is_exact(points)}
    reference = results.anchor if results.anchor in smallest else next(iter(smallest), "")
    return [
        ExactSummary(
            codec=name,
            bpp=point.bpp,
            reference=reference,
            size_percent=100 * (point.bpp / smallest[reference].bpp - 1),
            encode_mps=point.encode_mps,
            decode_mps=point.decode_mps,
        )
        for name, point in smallest.items()
    ]


def _is_exact(points: Sequence[RdPoint]) -> bool:
    return all(math.isinf(point.psnr_rgb) for point in points)


def point_nearest(points: Sequence[RdPoint], bpp: float) -> RdPoint:
    """The point whose rate is nearest to `bpp` by ratio."""
    return min(points, key=lambda point: abs(math.log(point.bpp / bpp)))


def _interpolated(points: Sequence[RdPoint], get: Callable[[RdPoint], float], bpp: float) -> float:
    """A metric at a rate, linear in log rate between points; nan outside the points."""
    rates = [point.bpp for point in points]
    if not rates[0] <= bpp <= rates[-1]:
        return math.nan
    return float(np.interp(np.log(bpp), np.log(rates), [get(point) for point in points]))


# ---------------------------------------------------------------------------------------------- tables


class TextTable(NamedTuple):
    """A table of text. The first column has the codecs' names."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(results: BenchResults) -> Iterator[TextTable]:
    """All tables but those of points, the most important first: BD-rates, metrics at equal rate, sizes of exact files."""
    lines, exact = summaries(results), exact_summaries(results)
    if lines:
        yield from bd_tables(lines, results)
        yield from rate_tables(lines)
    if exact:
        yield exact_table(exact)


def bd_tables(lines: Sequence[Summary], results: BenchResults) -> Iterator[TextTable]:
    """Means over the pictures; then, of several pictures, a table of each metric with the worst ones; then the mean curves."""
    metrics = _measured(lines)
    names = tuple(metric.name for metric in metrics)
    several = len(results.compared_images()) > 1
    yield TextTable(
        f"BD-rate vs {results.anchor}{', mean over the pictures' if several else ''}",
        ("codec", *names, "enc MP/s", "dec MP/s"),
        [(line.codec, *_mean_cells(line, metrics), _speed(line.encode_mps), _speed(line.decode_mps)) for line in lines],
    )
    if several:
        for metric in metrics:
            yield TextTable(
                f"BD-rate vs {results.anchor} of each picture by {metric.name}",
                ("codec", "mean", "median", "pictures", "worst"),
                [(line.codec, *picture_cells(line.bd_rates[metric.name].pictures)) for line in lines if not line.is_anchor],
            )
    yield TextTable(
        f"BD-rate vs {results.anchor} of the mean curves",
        ("codec", *names, "PSNR, all rates"),
        [
            (line.codec, *_curve_cells(line, metrics), ANCHOR_CELL if line.is_anchor else _percent(line.bd_all_rates_percent))
            for line in lines
        ],
    )


def _measured(lines: Sequence[Summary]) -> list[BdMetric]:
    """PSNR, and the other metrics of BD-rates for which any codec has one."""
    return [
        metric
        for metric in BD_METRICS
        if metric is BD_METRICS[0] or not all(math.isnan(line.bd_rates[metric.name].pictures.mean) for line in lines)
    ]


def _mean_cells(line: Summary, metrics: Sequence[BdMetric]) -> list[str]:
    """Mean BD-rate over the pictures by each metric."""
    return [ANCHOR_CELL if line.is_anchor else _percent(line.bd_rates[metric.name].pictures.mean) for metric in metrics]


def _curve_cells(line: Summary, metrics: Sequence[BdMetric]) -> list[str]:
    """BD-rate of the mean curves by each metric."""
    return [ANCHOR_CELL if line.is_anchor else _percent(line.bd_rates[metric.name].of_mean_curve) for metric in metrics]


def picture_cells(rates: PictureRates) -> tuple[str, ...]:
    """Mean, median, number of pictures with a BD-rate, and the worst pictures with their names."""
    count, asked = len(rates.defined), len(rates.percents)
    worst = ", ".join(f"{rate.picture} {_percent(rate.percent)}" for rate in rates.defined[:SHOWN_WORST])
    return _percent(rates.mean), _percent(rates.median), f"{count}" if count == asked else f"{count} of {asked}", worst or "-"


RATE_HEADER = ("codec", *(f"{bpp:g}" for bpp in RATES_BPP))


def rate_tables(lines: Sequence[Summary]) -> Iterator[TextTable]:
    """PSNR, and each of METRICS that was measured, at equal rate."""
    rows = [(line.codec, *(_number(psnr, 2) for psnr in line.psnr_at_db)) for line in lines]
    yield TextTable("PSNR in dB at equal rate, in bpp", RATE_HEADER, rows)
    for name in METRICS:
        if not all(math.isnan(value) for line in lines for value in line.metrics_at[name]):
            places = 4 if name == "MS-SSIM" else 3
            rows = [(line.codec, *(_number(value, places) for value in line.metrics_at[name])) for line in lines]
            yield TextTable(f"{name} at equal rate, in bpp", RATE_HEADER, rows)


def exact_table(lines: Sequence[ExactSummary]) -> TextTable:
    """Sizes and speeds of the codecs that decode everything exactly."""
    rows = [
        (line.codec, _number(line.bpp, 4), _percent(line.size_percent), _speed(line.encode_mps), _speed(line.decode_mps))
        for line in lines
    ]
    return TextTable("Size of exact files", ("codec", "bpp", f"size vs {lines[0].reference}", "enc MP/s", "dec MP/s"), rows)


POINT_HEADER = ("quality", "bpp", "PSNR", "PSNR-Y", "SSIM", "MS-SSIM", "enc MP/s", "dec MP/s")


def point_cells(point: RdPoint) -> tuple[str, ...]:
    """One operating point as text."""
    return (
        f"{point.quality:g}",
        _number(point.bpp, 4),
        _number(point.psnr_rgb, 2),
        _number(point.psnr_y, 2),
        _number(point.ssim, 4),
        _number(point.ms_ssim, 4),
        _speed(point.encode_mps),
        _speed(point.decode_mps),
    )


def _number(value: float, digits: int) -> str:
    """A number to `digits` decimal places; "-" for nan."""
    if math.isnan(value):
        return "-"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    """A signed percentage to one decimal place; "-" for nan."""
    return "-" if math.isnan(value) else f"{round(value, 1) + 0.0:+.1f} %"  # adding 0 makes -0.0 positive


def _speed(mps: float) -> str:
    """Megapixels per second to two significant digits; timings are no more precise."""
    if math.isnan(mps):
        return "-"
    return f"{mps:.0f}" if mps >= 20 else f"{mps:.1f}" if mps >= 1 else f"{mps:.2f}"


# ---------------------------------------------------------------------------------------------- terminal


def print_results(results: BenchResults, console: Console) -> None:
    """Print every codec's points, the tables with the most important last, missing codecs and failures."""
    for codec in results.codecs:
        points = results.points(codec.name)
        if points:
            title = f"[bold]{escape(codec.name)}[/]  {escape(codec.version)}, {escape(codec.description)}"
            console.print(_table(title, POINT_HEADER, (point_cells(point) for point in points)))
    found = list(tables(results))
    for table in reversed(found):
        console.print(_table(f"[bold]{escape(table.title)}[/]", table.header, table.rows))
    console.print(_scope(results) if found else "[red]No codec completed any image.[/]")
    if results.left_out():
        console.print(f"[yellow]left out[/] {escape(_left_out_text(results))}", soft_wrap=True)
    for missing in (codec for codec in results.codecs if codec.missing):
        console.print(f"[yellow]missing[/] {escape(missing.name)}: {escape(missing.missing)}", soft_wrap=True)
    for text in _failure_lines(results):
        console.print(f"[red]failed[/] {escape(text)}", soft_wrap=True)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        wraps = name == "worst"  # names of pictures
        left = wraps or (index == 0 and name == "codec")
        table.add_column(name, justify="left" if left else "right", no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")
    for cells in rows:
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _scope(results: BenchResults) -> str:
    """Number of images, pixels and threads behind the means, e.g. "24 images, 9.4 MP, 1 thread"."""
    compared = set(results.compared_images())
    pixels = sum(image.width * image.height for image in results.images if image.name in compared)
    asked = len(results.images) + sum(not failure.codec for failure in results.failures)  # readable and unreadable
    shown = f"{asked}" if len(compared) == asked else f"{len(compared)} of {asked}"
    threads = "all threads" if results.threads is None else f"{results.threads} {_plural(results.threads, 'thread')}"
    return f"{shown} {_plural(asked, 'image')}, {pixels / 1e6:.3g} MP, {threads}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _left_out_text(results: BenchResults) -> str:
    """The images that are left out of all means, at most SHOWN_FAILURES by name, and the reason."""
    names = results.left_out()
    more = f" and {len(names) - SHOWN_FAILURES} more" if len(names) > SHOWN_FAILURES else ""
    return f"{', '.join(names[:SHOWN_FAILURES])}{more}: a codec decodes without error there, and an infinite PSNR has no mean"


def _failure_lines(results: BenchResults) -> list[str]:
    """One line per failure, at most SHOWN_FAILURES, and the number of further ones."""
    lines = []
    for failure in results.failures[:SHOWN_FAILURES]:
        where = f" {failure.codec} {failure.quality:g}" if failure.quality is not None else ""
        lines.append(f"{failure.image}{where}: {failure.message}")
    if len(results.failures) > SHOWN_FAILURES:
        lines.append(f"and {len(results.failures) - SHOWN_FAILURES} more")
    return lines


# ---------------------------------------------------------------------------------------------- Markdown


def to_markdown(results: BenchResults, *, title: str = "Rate and distortion", plot: str | None = None) -> str:
    """The run as a Markdown section: comparison, `plot` (a link to the picture), points, machine, command."""
    folders = sorted({image.name.split("/")[0] for image in results.images if "/" in image.name})
    parts = [f"## {title}", f"{_scope(results)}{' (' + ', '.join(folders) + ')' if folders else ''}."]
    for table in tables(results):
        parts += [f"{table.title}:", markdown_table(table.header, table.rows)]
    if plot is not None:
        parts.append(f"![Rate and distortion of every codec]({plot})")
    parts.append(textwrap.fill(NOTES, 120))
    parts += [_markdown_codec(results, codec) for codec in results.codecs if results.points(codec.name)]
    problems = [f"- left out: {_left_out_text(results)}"] if results.left_out() else []
    problems += [f"- {codec.name} did not run: {codec.missing}" for codec in results.codecs if codec.missing]
    problems += [f"- {line}" for line in _failure_lines(results)]
    if problems:
        parts.append("Left out, missing or failed:\n\n" + "\n".join(problems))
    parts.append(run_facts(results))
    if results.command:
        parts.append(f"```\n{results.command}\n```")
    return "\n\n".join(parts) + "\n"


def run_facts(results: BenchResults) -> str:
    """Machine, date and versions of a run, in one line."""
    machine = f"{results.machine['cpu']}, {results.machine['cores']} cores, {results.machine['system']}"
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return f"Machine: {machine}. Date: {results.date}. Versions: {versions}."


def _markdown_codec(results: BenchResults, codec: CodecInfo) -> str:
    """Version and settings of one codec, and the table of its points."""
    table = markdown_table(POINT_HEADER, (point_cells(point) for point in results.points(codec.name)))
    return f"**{codec.name}**: {codec.version}, {codec.description}\n\n{table}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first column aligned to the left and the others to the right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, ruler, *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
