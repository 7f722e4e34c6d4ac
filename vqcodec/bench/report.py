"""Results as tables: on the terminal (Rich) and as Markdown for docs/results.md."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vqcodec.bench.bdrate import at_rate, bd_rate
from vqcodec.bench.results import BenchResults, CodecInfo, RdPoint

RATES_BPP = (0.1, 0.15, 0.25, 0.5, 0.75, 1.0, 1.5)
BD_RANGE_BPP = (0.1, 2.0)
SPEED_BPP = 0.5  # speeds are compared at the setting nearest to this rate
SHOWN_FAILURES = 20
ANCHOR_CELL = "anchor"

NOTES = (
    "bpp is 8 x the bytes of the whole file over width x height. Every figure is measured on the 8-bit pixels the "
    "decoder wrote; a point is the mean bpp and mean PSNR over the images. BD-rate: mean difference in size at equal "
    "RGB PSNR (Bjøntegaard, PCHIP on log-rate) over the PSNR range both sweeps cover, negative is smaller; the second "
    f"figure is over the part of it where both rates lie in {BD_RANGE_BPP[0]:g}-{BD_RANGE_BPP[1]:g} bpp. Speeds are "
    f"megapixels per second in process, at the setting nearest {SPEED_BPP:g} bpp. SSIM and MS-SSIM are per RGB "
    "channel; MS-SSIM needs 161 pixels a side. High band: energy of luma less its 3x3 blur, over the original's."
)


@dataclass(frozen=True)
class Summary:
    """One codec's line in the comparison; nan where a figure does not exist."""

    codec: str
    is_anchor: bool
    bd_percent: float  # against the anchor, over the common PSNR range
    bd_in_range_percent: float  # the same, rates within BD_RANGE_BPP
    psnr_at_db: tuple[float, ...]  # at RATES_BPP
    looks_at: tuple[tuple[float, ...], ...]  # of each of LOOKS, at RATES_BPP
    encode_mps: float
    decode_mps: float


LOOKS: dict[str, Callable[[RdPoint], float]] = {
    "MS-SSIM": lambda p: p.ms_ssim,
    "LPIPS": lambda p: p.lpips,
    "High band": lambda p: p.high_band,
    "SSIMULACRA2": lambda p: p.ssimulacra2,
}
"""What is compared at equal rate besides PSNR, where it was measured."""


def summaries(results: BenchResults) -> list[Summary]:
    """One line for every codec that ran, in the order asked for."""
    anchor = results.curve(results.anchor)
    lines = []
    for codec in results.codecs:
        points = results.points(codec.name)
        if not points:
            continue
        curve = results.curve(codec.name)
        speed = min(points, key=lambda point: abs(math.log(point.bpp / SPEED_BPP)))
        lines.append(
            Summary(
                codec=codec.name,
                is_anchor=codec.name == results.anchor,
                bd_percent=bd_rate(anchor, curve),
                bd_in_range_percent=bd_rate(anchor, curve, bpp_range=BD_RANGE_BPP),
                psnr_at_db=tuple(at_rate(curve, bpp) for bpp in RATES_BPP),
                looks_at=tuple(tuple(_between(points, get, bpp) for bpp in RATES_BPP) for get in LOOKS.values()),
                encode_mps=speed.encode_mps,
                decode_mps=speed.decode_mps,
            )
        )
    return lines


def _between(points: Sequence[RdPoint], get: Callable[[RdPoint], float], bpp: float) -> float:
    """A figure at a rate, on straight lines over the logarithm of the rate; nan outside the points."""
    rates = [point.bpp for point in points]
    return float(np.interp(np.log(bpp), np.log(rates), [get(p) for p in points])) if rates[0] <= bpp <= rates[-1] else math.nan


# ---------------------------------------------------------------------------------------------- cells, shared by both

POINT_HEADER = ("quality", "bpp", "PSNR", "PSNR-Y", "SSIM", "MS-SSIM", "enc MP/s", "dec MP/s")


def gain_header(anchor: str) -> tuple[str, ...]:
    """Column titles that fit `gain_cells`."""
    low, high = BD_RANGE_BPP
    return (f"BD-rate vs {anchor}", f"{low:g}-{high:g} bpp", "enc MP/s", "dec MP/s")


def gain_cells(line: Summary) -> tuple[str, ...]:
    """BD-rates and speeds of one Summary as text."""
    rates = (_percent(line.bd_percent), _percent(line.bd_in_range_percent))
    rates = (ANCHOR_CELL, ANCHOR_CELL) if line.is_anchor else rates
    return (*rates, _speed(line.encode_mps), _speed(line.decode_mps))


PSNR_HEADER = tuple(f"{bpp:g} bpp" for bpp in RATES_BPP)


def psnr_cells(line: Summary) -> tuple[str, ...]:
    """PSNR at each of RATES_BPP of one Summary as text."""
    return tuple(_number(psnr, 2) for psnr in line.psnr_at_db)


def looks_cells(lines: Sequence[Summary]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Of each of LOOKS that was measured: its name, and a row of text for every codec."""
    for number, name in enumerate(LOOKS):
        if not all(math.isnan(value) for line in lines for value in line.looks_at[number]):
            places = 4 if name == "MS-SSIM" else 3
            yield name, [(line.codec, *(_number(value, places) for value in line.looks_at[number])) for line in lines]


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
    if math.isnan(value):
        return "-"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.1f} %"


def _speed(mps: float) -> str:
    """Megapixels per second to two or three figures: timings carry no more."""
    if math.isnan(mps):
        return "-"
    return f"{mps:.0f}" if mps >= 20 else f"{mps:.1f}" if mps >= 1 else f"{mps:.2f}"


# ---------------------------------------------------------------------------------------------- terminal


def print_results(results: BenchResults, console: Console) -> None:
    """Every codec's points, the comparison, and what is missing or failed."""
    for codec in results.codecs:
        points = results.points(codec.name)
        if points:
            title = f"[bold]{escape(codec.name)}[/]  {escape(codec.version)}, {escape(codec.description)}"
            console.print(_table(title, POINT_HEADER, (point_cells(point) for point in points)))
    lines = summaries(results)
    if lines:
        title = f"[bold]PSNR in dB at equal rate[/]  {_scope(results)}"
        console.print(_table(title, ("codec", *PSNR_HEADER), ((line.codec, *psnr_cells(line)) for line in lines)))
        for name, rows in looks_cells(lines):
            console.print(_table(f"[bold]{name} at equal rate[/]", ("codec", *PSNR_HEADER), rows))
        title = f"[bold]Size at equal PSNR[/]  and speed at {SPEED_BPP:g} bpp"
        header = ("codec", *gain_header(results.anchor))
        console.print(_table(title, header, ((line.codec, *gain_cells(line)) for line in lines)))
    else:
        console.print("[red]No codec went through on any image.[/]")
    for missing in (codec for codec in results.codecs if codec.missing):
        console.print(f"[yellow]missing[/] {escape(missing.name)}: {escape(missing.missing)}", soft_wrap=True)
    for text in _failure_lines(results):
        console.print(f"[red]failed[/] {escape(text)}", soft_wrap=True)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 and name == "codec" else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _scope(results: BenchResults) -> str:
    """What the means are over, e.g. "24 images, 9.4 MP, 1 thread"."""
    compared = set(results.compared_images())
    pixels = sum(image.width * image.height for image in results.images if image.name in compared)
    asked = len(results.images) + sum(not failure.codec for failure in results.failures)  # read, and unreadable
    shown = f"{asked}" if len(compared) == asked else f"{len(compared)} of {asked}"
    threads = "all threads" if results.threads is None else f"{results.threads} {_plural(results.threads, 'thread')}"
    return f"{shown} {_plural(asked, 'image')}, {pixels / 1e6:.3g} MP, {threads}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _failure_lines(results: BenchResults) -> list[str]:
    lines = []
    for failure in results.failures[:SHOWN_FAILURES]:
        where = f" {failure.codec} {failure.quality:g}" if failure.quality is not None else ""
        lines.append(f"{failure.image}{where}: {failure.message}")
    if len(results.failures) > SHOWN_FAILURES:
        lines.append(f"and {len(results.failures) - SHOWN_FAILURES} more")
    return lines


# ---------------------------------------------------------------------------------------------- Markdown


def to_markdown(results: BenchResults, *, title: str = "Rate and distortion", plot: str | None = None) -> str:
    """The whole run as a Markdown section: comparison, `plot` (a link to the picture), points, machine, command."""
    folders = sorted({image.name.split("/")[0] for image in results.images if "/" in image.name})
    parts = [f"## {title}", f"{_scope(results)}{' (' + ', '.join(folders) + ')' if folders else ''}."]
    lines = summaries(results)
    parts.append(_markdown_table(("codec", *gain_header(results.anchor)), ((x.codec, *gain_cells(x)) for x in lines)))
    parts.append("PSNR in dB at equal rate:")
    parts.append(_markdown_table(("codec", *PSNR_HEADER), ((x.codec, *psnr_cells(x)) for x in lines)))
    for name, rows in looks_cells(lines):
        parts += [f"{name} at equal rate:", _markdown_table(("codec", *PSNR_HEADER), rows)]
    if plot is not None:
        parts.append(f"![Rate and PSNR of every codec]({plot})")
    parts.append(NOTES)
    parts += [_markdown_codec(results, codec) for codec in results.codecs if results.points(codec.name)]
    problems = [f"- {codec.name} did not run: {codec.missing}" for codec in results.codecs if codec.missing]
    problems += [f"- {line}" for line in _failure_lines(results)]
    if problems:
        parts.append("Missing or failed:\n\n" + "\n".join(problems))
    machine = ", ".join(str(value) for value in (results.machine["cpu"], f"{results.machine['cores']} cores"))
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    parts.append(f"Machine: {machine}, {results.machine['system']}. Date: {results.date}. Versions: {versions}.")
    if results.command:
        parts.append(f"```\n{results.command}\n```")
    return "\n\n".join(parts) + "\n"


def _markdown_codec(results: BenchResults, codec: CodecInfo) -> str:
    table = _markdown_table(POINT_HEADER, (point_cells(point) for point in results.points(codec.name)))
    return f"**{codec.name}**: {codec.version}, {codec.description}\n\n{table}"


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruler = ["---" if name == "codec" else "---:" for name in header]
    lines = [header, ruler, *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
