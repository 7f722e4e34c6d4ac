"""Rich tables and bars of `info --streams`, `models`, `train` and folders."""

from __future__ import annotations

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

from vqcodec.errors import printable
from vqcodec.weights.registry import ModelEntry

if TYPE_CHECKING:
    from vqcodec.io.batch import Outcome, Summary


def print_streams(facts: Mapping[str, Any], console: Console) -> None:
    """The tables of the facts of `api.info`: sections, streams, and the share of the bytes of each band."""
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
    """One line per model."""
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


def print_training(facts: Mapping[str, Any], output: Path, console: Console) -> None:
    """Where the model is, and the plain values of its model.json."""
    console.print(f"wrote {printable(output)}", markup=False)
    for name, value in plain_facts(facts).items():
        console.print(f"{name:<12} {_text(value)}", markup=False)


def plain_facts(facts: Mapping[str, Any]) -> dict[str, str | int | float]:
    """The facts that are texts and numbers."""
    return {name: value for name, value in facts.items() if isinstance(value, (str, int, float))}


@contextmanager
def stage_progress(console: Console, minutes: float | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for the current stage, with the time that it still takes, and one for all of them, of at most so many minutes.

    Yields the callback `(stage, done, total)`. Nothing is shown where nobody watches.
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
    most = None if minutes is None else 60 * minutes
    with bars:
        whole = bars.add_task("training", total=most, share="", limit=most)
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
    """Seconds that a stage still takes; of a bar without an estimate the seconds that are over, and how many there are at most."""

    def render(self, task: Task) -> Text:
        if task.time_remaining is not None and task.fields["share"]:
            return Text(f"{_clock(task.time_remaining)} left")
        limit = task.fields["limit"]
        return Text(_clock(task.elapsed or 0) + ("" if limit is None else f" of at most {_clock(limit)}"))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@contextmanager
def batch_progress(console: Console) -> Iterator[tuple[Callable[[int], None], Callable[[Outcome], None]]]:
    """One bar for a folder, with throughput and the time left; yields (started, progress) of `batch.run_batch`."""
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


def print_batch(summary: Summary, seconds: float, console: Console) -> None:
    """The result for a folder: one line."""
    text = f"{summary.done} file{'s' if summary.done != 1 else ''}, {summary.bytes_in} bytes to {summary.bytes_out}"
    if summary.bytes_in:
        text += f" ({summary.bytes_out / summary.bytes_in - 1:+.1%})"
    text += f", {summary.pixels / 1e6:.1f} megapixels in {seconds:.1f} s"
    if summary.grew:
        text += f"; {summary.grew} of {summary.done} grew: try a lower -q, or keep the originals"
    if summary.skipped:
        text += f"; {len(summary.skipped)} skipped"
    if summary.left_out:
        text += f"; {summary.left_out} done before"
    if summary.failed:
        text += f"; {len(summary.failed)} failed"
    console.print(f"vqcodec: {text}", markup=False, soft_wrap=True)


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
