"""Several inputs: which they are, where their outputs go, and the report of a run."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vqcodec.cli.options import UsageError
from vqcodec.cli.printing import console, print_json, tell
from vqcodec.errors import InputError, printable
from vqcodec.io.files import STREAM, name_of, why_no_file

if TYPE_CHECKING:
    from vqcodec.io.batch import BatchSettings
    from vqcodec.io.jobs import Shard, Skipped

_MOST_SKIPPED = 100
"""Skipped files that are named one by one; more are counted by their reasons."""


def sources_and_output(
    command: str, first: Path, others: list[Path], into: str | None, suffix: str
) -> tuple[tuple[Path, ...], Path, bool]:
    """The inputs, the output, and whether that is a folder; `into` is the value of -o. Raises UsageError."""
    name = name_of(first)
    if into is None and len(others) > 1:
        raise UsageError(f"{command} IN OUT has two names, not {1 + len(others)}: several inputs go to a folder, -o DIR")
    if into is None and not others:
        if first == STREAM or os.path.isdir(first) or why_no_file(first):
            raise UsageError(f"{name}: the output must be named, too")
        beside = first.with_suffix(suffix)
        return (first,), Path(f"{first}{suffix}") if beside == first else beside, False
    sources, output = ((first,), others[0]) if into is None else ((first, *others), Path(into))
    is_folder = len(sources) == 1 and os.path.isdir(first)
    if not is_folder and (into is None or (len(sources) == 1 and not _is_folder_name(into))):
        return sources, output, False
    from vqcodec.io.kinds import is_picture_name

    what = f"{name} is a folder" if is_folder else "several inputs"
    if output == STREAM or (os.path.lexists(output) and not os.path.isdir(output)):
        raise UsageError(f"{what}: the output must be a folder, too")
    named_as_file = output.suffix.lower() == ".vqz" or is_picture_name(output.name)
    if named_as_file and not os.path.isdir(output) and not (into or "").endswith(os.sep):
        raise UsageError(f"{what}: the output must be a folder, too, and {printable(output)} is a file's name")
    if STREAM in sources:
        raise UsageError("standard input goes to a file, not to a folder")
    names = [source.name for source in sources]
    if twice := [printable(source) for source in sources if names.count(source.name) > 1]:
        raise UsageError(f"{twice[0]} and {twice[1]} would have the same output")
    return sources, output, True


def _is_folder_name(name: str) -> bool:
    """Whether an output of this name is a folder: one that is there, or a new one without a suffix or with a slash at its end."""
    path = Path(name)
    return os.path.isdir(path) or name.endswith(os.sep) or not (path == STREAM or path.suffix or os.path.lexists(path))


def folder_or_files(sources: tuple[Path, ...]) -> Path | tuple[Path, ...]:
    return sources[0] if len(sources) == 1 and os.path.isdir(sources[0]) else sources


def shard_of(text: str | None) -> "Shard":
    """The shard i/n: 1/8 is the first of 8. All files without one. Raises typer.BadParameter."""
    from vqcodec.io.jobs import Shard

    match = re.fullmatch(r"(\d+)/(\d+)", text or "1/1")
    shard = Shard(*map(int, match.groups())) if match else None
    if shard is None or not 1 <= shard.index <= shard.count:
        raise typer.BadParameter(f"{text!r} is not a shard: write i/n, from 1/n to n/n", param_hint="--shard")
    return shard


def only_for_many(options: Mapping[str, object]) -> None:
    if found := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(found)}: for folders only")


def convert_many(settings: "BatchSettings", *, strict: bool, as_json: bool, quiet: bool) -> None:
    """A folder or several files by batch.py; ends with the exit code of the first failure, else with 3 if files were skipped that
    must not be."""
    from vqcodec.cli.tables import batch_progress, print_batch
    from vqcodec.io.batch import run_batch

    start = time.perf_counter()
    with batch_progress(console(stderr=True, quiet=quiet)) as (started, progress):
        summary = run_batch(settings, started, progress)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(
            done=summary.done,
            left_out=summary.left_out,
            grew=summary.grew,
            bytes_in=summary.bytes_in,
            bytes_out=summary.bytes_out,
            seconds=seconds,
            skipped=[{"source": skipped.source, "reason": skipped.reason} for skipped in summary.skipped],
            failed=[{"source": outcome.source, "error": outcome.error} for outcome in summary.failed],
        )
    if not quiet:
        for source, note in summary.notes:
            tell(f"note: {source}: {note}")
    if not quiet or strict:
        _tell_of_skipped(summary.skipped)
    for outcome in summary.failed:
        name = printable(outcome.source)
        tell(outcome.error if name in outcome.error else f"{name}: {outcome.error}")
    if not quiet:
        print_batch(summary, seconds, console(stderr=True))
    unwanted = InputError.exit_code if strict and summary.skipped else 0
    raise typer.Exit(summary.failed[0].exit_code if summary.failed else unwanted)


def _tell_of_skipped(skipped: "list[Skipped]") -> None:
    """A line for each file or, if there are many, for each reason."""
    if len(skipped) <= _MOST_SKIPPED:
        for one in skipped:
            tell(f"skipped: {one.source}: {one.reason}")
        return
    by_reason: dict[str, list[str]] = {}
    for one in skipped:
        by_reason.setdefault(one.reason, []).append(one.source)
    for reason, sources in by_reason.items():
        tell(f"skipped: {sources[0]}{f' and {len(sources) - 1} more' if len(sources) > 1 else ''}: {reason}")
    tell(f"skipped: {len(skipped)} files; --manifest and --json name them all")
