"""Tables and progress bars for `info --streams`, `models`, `train` and folders, by rich."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from vqcodec.cli.printing import clock
from vqcodec.errors import printable
from vqcodec.weights.registry import ModelEntry

if TYPE_CHECKING:
    from vqcodec.io.batch import Outcome, Summary
    from vqcodec.train.comparison import Comparison
    from vqcodec.train.result import Trained


def print_streams(facts: Mapping[str, Any], console: Console) -> None:
    """Print tables of the facts of `api.info`: sections, streams, and each band's share of the bytes."""
    for name in ("sections", "streams"):
        _print_rows(name, facts[name], console)
    shares = [{"band": band, "share": f"{share:.1%}"} for band, share in facts["shares"].items()]
    _print_rows("share of the bytes", shares, console)


def _print_rows(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    if not rows:
        return
    table = _table(title)
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) and not value.endswith("%") else "right")
    for row in rows:
        table.add_row(*(escape(_text(value)) for value in row.values()))
    console.print(table)


def print_models(entries: Sequence[ModelEntry], console: Console) -> None:
    """Print a line for each model."""
    if not entries:
        console.print("no models found")
        return
    table = _table(None)
    for name in ("name", "kind", "id", "bytes", "path"):
        table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for entry in entries:
        table.add_row(
            escape(printable(entry.name)),
            escape(entry.kind),
            entry.id,
            str(entry.bytes),
            escape(printable(entry.path)),
        )
    console.print(table)


def print_training(trained: Trained, output: Path, console: Console) -> None:
    """Print the comparison of a new model, the path of the model, the text and number values of model.json, and how to use it."""
    if trained.comparison is not None:
        _print_comparison(trained.comparison, console)
    if not trained.written:
        return
    console.print(f"wrote {printable(output)}", markup=False)
    for name, value in plain_facts(trained.summary).items():
        console.print(f"{name:<12} {_text(value)}", markup=False)
    if trained.summary["kind"] in ("lite", "neural", "graphic"):
        folder = output if output.is_absolute() else f"./{output}"
        command = f"vqcodec encode PICTURES -o OUT -m {printable(folder)}"
        console.print(f"{'use it':<12} {command}; decode takes the same -m", markup=False)


def _print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the bytes a picture of each codec, and after how many pictures a model pays."""
    table = _table(f"{comparison.pictures} held-out pictures: mean bytes {'at equal PSNR' if comparison.psnr_db else 'a picture'}")
    table.add_column("")
    for psnr_db in comparison.psnr_db:
        table.add_column(f"{psnr_db:.1f} dB", justify="right")
    table.add_column("lossless", justify="right")
    table.add_column(f"against {escape(printable(comparison.lines[0].name))}", justify="right")
    for number, line in enumerate(comparison.lines):
        sizes = ["-" if math.isnan(size) else f"{size:.0f}" for size in (*line.bytes, line.lossless_bytes)]
        change = "" if number == 0 or math.isnan(line.percent) else f"{line.percent:+.1f} %"
        table.add_row(escape(printable(line.name)), *sizes, change)
    console.print(table)
    weight = f"the model weighs {comparison.model_bytes} bytes"
    if comparison.pays_after is not None:
        weight += f" and pays after {comparison.pays_after} pictures like these"
    console.print(weight, markup=False)
    if comparison.without_model:
        text = f"encode stores {comparison.without_model} of {comparison.pictures} pictures without a model at its default quality"
        console.print(text, markup=False)
    if (better := comparison.better) is not None:
        less = 1 - (100 + better.percent) / (100 + comparison.lines[1].percent)
        text = (
            f"{better.name}, untrained, makes files that are {100 * less:.1f} % smaller, and takes longer: --kind neural trains it"
        )
        console.print(printable(text), markup=False)


def plain_facts(facts: Mapping[str, Any]) -> dict[str, str | int | float]:
    """The facts whose values are text or numbers."""
    return {name: value for name, value in facts.items() if isinstance(value, (str, int, float))}


@contextmanager
def stage_progress(console: Console, minutes: float | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for the current stage, with the time left, and one for all stages, which take at most `minutes`.

    Yields the callback `(stage, done, total)`. Nothing is shown unless the console is a terminal.
    """
    bars = Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(),
        TextColumn("{task.fields[share]}", markup=False, table_column=Column(no_wrap=True)),
        _TimeColumn(table_column=Column(no_wrap=True)),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    limit_s = None if minutes is None else 60 * minutes
    with bars:
        whole = bars.add_task("training", total=limit_s, share="", limit=limit_s)
        current, shown = bars.add_task("", total=None, share="", limit=None, visible=False), ""

        def update(stage: str, done: int, total: int) -> None:
            nonlocal current, shown
            if stage != shown:
                bars.remove_task(current)
                current, shown = bars.add_task(stage, total=total, share="", limit=None), stage
            bars.update(current, completed=done, total=total, share=f"{done / max(total, 1):.0%}")
            bars.update(whole, completed=bars.tasks[0].elapsed or 0)

        yield update


class _TimeColumn(ProgressColumn):
    """The time left; for a bar without an estimate the time elapsed, and its limit."""

    def render(self, task: Task) -> Text:
        if task.time_remaining is not None and task.fields["share"]:
            return Text(f"{clock(task.time_remaining)} left")
        limit = task.fields["limit"]
        return Text(clock(task.elapsed or 0) + ("" if limit is None else f" of at most {clock(limit)}"))


@contextmanager
def batch_progress(console: Console) -> Iterator[tuple[Callable[[int], None], Callable[[Outcome], None]]]:
    """Show a bar for a folder, with throughput and the time left. Yields the callbacks (started, progress) of `run_batch`."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task("files", total=None, speed="")
    begun, pixels = time.monotonic(), 0

    def started(total: int) -> None:
        bar.update(task, total=total)

    def progress(outcome: Outcome) -> None:
        nonlocal pixels
        pixels += outcome.pixels
        speed = pixels / 1e6 / max(time.monotonic() - begun, 1e-3)
        bar.update(task, advance=1, speed=f"{speed:.2f} MP/s")

    with bar:
        yield started, progress


def print_summary(summary: Summary, seconds: float, console: Console) -> None:
    """Print the result for a folder or several files as a table: a row for the files done, and one for each other outcome."""
    table = _table(None)
    for name in ("", "files", "megapixels", "bytes in", "bytes out", "change", "time"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    sizes = ("", "", "", "")
    if summary.bytes_in:
        change = f"{summary.bytes_out / summary.bytes_in - 1:+.1%}"
        sizes = (f"{summary.pixels / 1e6:.1f}", f"{summary.bytes_in:,}", f"{summary.bytes_out:,}", change)
    table.add_row("done", str(summary.done), *sizes, f"{seconds:.1f} s")
    others = {"  of them larger": summary.grew, "done before": summary.left_out}
    others |= {"skipped": len(summary.skipped), "failed": len(summary.failed)}
    for name, count in others.items():
        if count:
            table.add_row(name, str(count))
    console.print(table)


def _table(title: str | None) -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    return printable(str(value))
