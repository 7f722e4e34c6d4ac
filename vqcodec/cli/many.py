"""Inputs and outputs of `encode` and `decode`, and runs over folders or several files."""

import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import typer

from vqcodec.cli.options import UsageError
from vqcodec.cli.printing import console, print_json, tell
from vqcodec.errors import InputError, printable
from vqcodec.io.files import STREAM, name_of, why_no_file
from vqcodec.io.kinds import is_picture_name

if TYPE_CHECKING:
    from vqcodec.io.batch import Summary
    from vqcodec.io.convert import Conversion
    from vqcodec.io.jobs import Shard, Skipped

_MOST_NAMED: Final = 100
"""Skipped files that are named one by one. More are counted by reason."""


class OneFile(NamedTuple):
    """A file or stream to convert, and its output."""

    source: Path
    output: Path


class ManyFiles(NamedTuple):
    """A folder, or files, to convert. `output` is a folder; None, for files only: outputs beside them."""

    source: Path | tuple[Path, ...]
    output: Path | None


def paths_of(command: str, first: Path, others: list[Path], into: str | None, suffix: str) -> OneFile | ManyFiles:
    """Inputs and output from the arguments of a command and its option -o, `into`. Outputs have `suffix` unless they are named.

    Without -o, the second of two names is the output, unless it is another existing file with an input's name; several inputs are
    converted beside themselves. Raises UsageError.
    """
    if into is None and not others:
        return OneFile(first, _output_beside(first, suffix))
    if into is None and (len(others) > 1 or _is_another_input(first, others[0], suffix)):
        return ManyFiles(_checked_inputs(command, (first, *others), suffix), None)
    sources, output = ((first,), others[0]) if into is None else ((first, *others), Path(into))
    is_folder = len(sources) == 1 and os.path.isdir(first)
    if not is_folder and (into is None or (len(sources) == 1 and not _is_folder_name(into))):
        return OneFile(first, output)
    _check_folder_output(f"{name_of(first)} is a folder" if is_folder else "several inputs", output, into)
    if STREAM in sources:
        raise UsageError("standard input goes to a file, not to a folder: name the output file")
    counts = Counter(source.name for source in sources)
    if equal := [printable(source) for source in sources if counts[source.name] > 1]:
        raise UsageError(f"{equal[0]} and {equal[1]} would have the same output: convert them one by one")
    return ManyFiles(first if is_folder else sources, output)


def _is_another_input(first: Path, second: Path, suffix: str) -> bool:
    """Whether the second of two names is an input, as the first is, and not the output: another file with an input's name."""
    several = not (first in (second, STREAM) or os.path.isdir(first))
    return several and _is_named_as_input(second, suffix) and os.path.isfile(second)


def _checked_inputs(command: str, sources: tuple[Path, ...], suffix: str) -> tuple[Path, ...]:
    """Several inputs whose outputs go beside them. Raises UsageError for streams, folders and devices, for a file that is named
    twice, and for a last name that may be meant as the output."""
    for source in sources:
        if source == STREAM or (os.path.exists(source) and not os.path.isfile(source)):
            raise UsageError(f"{name_of(source)} is not a file: {command} it alone, or name a folder for all outputs, -o DIR")
    if twice := [source for source, count in Counter(sources).items() if count > 1]:
        raise UsageError(f"{printable(twice[0])} is named twice")
    last = sources[-1]
    if not (_is_named_as_input(last, suffix) or (os.path.lexists(last) and not _is_named_as_output(last, suffix))):
        raise UsageError(f"{printable(last)} is no input, and several inputs have no single output: name their folder, -o DIR")
    return sources


def _is_named_as_input(path: Path, suffix: str) -> bool:
    """Whether a path has the name of an input, if outputs have `suffix`."""
    return _is_vqz(path) if suffix != ".vqz" else is_picture_name(path.name)


def _is_named_as_output(path: Path, suffix: str) -> bool:
    return _is_vqz(path) if suffix == ".vqz" else is_picture_name(path.name)


def _is_vqz(path: Path) -> bool:
    return path.suffix.lower() == ".vqz"


def _output_beside(source: Path, suffix: str) -> Path:
    """The output for an input without one. Raises UsageError for streams, folders and devices."""
    if source == STREAM or os.path.isdir(source) or why_no_file(source):
        raise UsageError(f"{name_of(source)}: the output must be named")
    output = source.with_suffix(suffix)
    return Path(f"{source}{suffix}") if output == source else output


def _is_folder_name(name: str) -> bool:
    """Whether an output of this name is a folder: an existing one, or a new one without a suffix or with a slash at its end."""
    path = Path(name)
    return os.path.isdir(path) or name.endswith(os.sep) or not (path == STREAM or path.suffix or os.path.lexists(path))


def _check_folder_output(reason: str, output: Path, into: str | None) -> None:
    """Refuse an output that is not a folder, or a new one with a file's name."""
    if output == STREAM or (os.path.lexists(output) and not os.path.isdir(output)):
        raise UsageError(f"{reason}: the output must be a folder")
    named_as_file = _is_vqz(output) or is_picture_name(output.name)
    if named_as_file and not os.path.isdir(output) and not (into or "").endswith(os.sep):
        raise UsageError(f"{reason}: the output must be a folder, and {printable(output)} is a file's name")


def check_only_for_many(options: Mapping[str, object]) -> None:
    """Refuse options of runs over folders, unless they are None."""
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(given)}: for folders and several inputs only")


def _shard_of(text: str | None) -> "Shard":
    """The shard for I/N: 1/8 is the first of 8. The whole if there is none. Raises typer.BadParameter."""
    from vqcodec.io.jobs import Shard

    match = re.fullmatch(r"(\d+)/(\d+)", text or "1/1")
    shard = Shard(*map(int, match.groups())) if match else None
    if shard is None or not 1 <= shard.index <= shard.count:
        raise typer.BadParameter(f"{text!r} is not a shard: write i/n, from 1/n to n/n", param_hint="--shard")
    return shard


def convert_many(
    files: ManyFiles,
    conversion: "Conversion",
    suffix: str,
    *,
    jobs: int | None,
    shard: str | None,
    manifest: Path | None,
    overwrite: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert a folder or files to outputs with this suffix, and print the report. Exits with the code of the first failure
    or, if `strict`, with that of InputError for skipped files."""
    from vqcodec.cli.tables import batch_progress
    from vqcodec.io.batch import BatchSettings, run_batch

    settings = BatchSettings(
        source=files.source,
        output=files.output,
        conversion=conversion,
        suffix=suffix,
        jobs=jobs or 1,
        shard=_shard_of(shard),
        manifest=manifest,
        overwrite=overwrite,
    )
    start = time.perf_counter()
    with batch_progress(console(stderr=True, quiet=quiet)) as (started, progress):
        summary = run_batch(settings, started, progress)
    report(summary, time.perf_counter() - start, strict=strict, as_json=as_json, quiet=quiet)


def report(summary: "Summary", seconds: float, *, strict: bool, as_json: bool, quiet: bool) -> NoReturn:
    """Print the result of many files, and exit with the code of the first failure or, if `strict`, of skipped files."""
    from vqcodec.cli.tables import print_summary

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
        _report_skipped(summary.skipped)
    for outcome in summary.failed:
        name = printable(outcome.source)
        tell(outcome.error if name in outcome.error else f"{name}: {outcome.error}")
    if not quiet:
        print_summary(summary, seconds, console(stderr=True))
    code_for_skipped = InputError.exit_code if strict and summary.skipped else 0
    raise typer.Exit(summary.failed[0].exit_code if summary.failed else code_for_skipped)


def _report_skipped(skipped: "list[Skipped]") -> None:
    """Print a line for each skipped file or, if there are many, for each reason."""
    if len(skipped) <= _MOST_NAMED:
        for one in skipped:
            tell(f"skipped: {one.source}: {one.reason}")
        return
    by_reason: dict[str, list[str]] = {}
    for one in skipped:
        by_reason.setdefault(one.reason, []).append(one.source)
    for reason, sources in by_reason.items():
        tell(f"skipped: {sources[0]}{f' and {len(sources) - 1} more' if len(sources) > 1 else ''}: {reason}")
    tell(f"skipped: {len(skipped)} files; --manifest and --json name them all")
