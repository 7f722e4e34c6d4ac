"""Folders: every picture of a tree to a .vqz file in a mirror of it, or back, in several processes; or several files, to one folder
or each beside itself.

A file that fails does not end the run. With a manifest, a later run skips the files that are done and unchanged, and redoes those
that were begun and not finished (manifest.py). Shards divide a tree among machines that do not communicate: shard i of n takes
every n-th file of the sorted list, from the i-th on, and reports every n-th of the skipped files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vqcodec.errors import InputError, VqcodecError, printable
from vqcodec.io.convert import Conversion
from vqcodec.io.files import make_mirror
from vqcodec.io.jobs import WHOLE, Job, Shard, Skipped, Tree, find_jobs, list_jobs
from vqcodec.io.manifest import is_done, noting_begun, open_manifest, read_manifest, with_retry
from vqcodec.runtime.processes import DIED, processes


@dataclass(frozen=True)
class Outcome:
    """The result for one file. `error` is empty or one line, and `exit_code` that error's; `bytes_in` and `modified` (nanoseconds)
    are the source's; `grew`: the .vqz file is larger than its source."""

    source: str
    output: str
    bytes_in: int = 0
    modified: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    grew: bool = False
    error: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """Settings of a run. `source` is a folder or several files. `output` is a folder; None, for files only: outputs beside them.
    `suffix` is that of the outputs."""

    source: Path | tuple[Path, ...]
    output: Path | None
    conversion: Conversion
    suffix: str
    jobs: int = 1
    shard: Shard = WHOLE
    manifest: Path | None = None
    overwrite: bool = False


@dataclass
class Summary:
    """The result of a run. Bytes, pixels and notes are those of the files done; `left_out` counts files done by an earlier run,
    `grew` files larger than their sources."""

    done: int = 0
    left_out: int = 0
    grew: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Source and note."""
    skipped: list[Skipped] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        if outcome.error:
            self.failed.append(outcome)
            return
        self.done += 1
        self.grew += outcome.grew
        self.bytes_in += outcome.bytes_in
        self.bytes_out += outcome.bytes_out
        self.pixels += outcome.pixels
        self.notes += [(outcome.source, note) for note in outcome.notes]


Convert = Callable[[Job, Conversion, bool], Outcome]
"""Converts one file: `convert`, or a test's replacement. The flag says whether to overwrite. It must be importable by name."""
ConvertAll = Callable[[Iterator[Job], BatchSettings], Generator[Outcome, None, None]]
"""Converts all files of a run, in any order."""


def convert(job: Job, conversion: Conversion, overwrite: bool) -> Outcome:
    """Convert one file. Every error, of any kind, becomes part of the outcome."""
    outcome = Outcome(os.fspath(job.source), os.fspath(job.output))
    try:
        known = job.source.stat()
        if stat.S_ISDIR(known.st_mode):  # among files that were named one by one
            raise IsADirectoryError(errno.EISDIR, "it is a folder, which needs a command of its own")
    except OSError as error:
        message = f"cannot read {printable(job.source)}: {error.strerror}"
        return replace(outcome, error=message, exit_code=InputError.exit_code)
    outcome = replace(outcome, bytes_in=known.st_size, modified=known.st_mtime_ns)
    try:
        make_mirror(job.source.parent, job.output.parent, job.depth)
        made = conversion.convert(job.source, job.output, overwrite=overwrite or job.retry)
    except VqcodecError as error:
        return replace(outcome, error=printable(str(error)), exit_code=error.exit_code)
    except Exception as error:  # one file must not end the run
        return replace(outcome, error=printable(f"internal error ({type(error).__name__}: {error})"), exit_code=1)
    pixels = made.width * made.height
    return replace(outcome, bytes_out=made.bytes_out, pixels=pixels, seconds=made.seconds, notes=made.notes, grew=made.grew)


def in_processes(jobs: Iterator[Job], settings: BatchSettings, convert: Convert = convert) -> Generator[Outcome, None, None]:
    """The outcome of every job, in the order in which they finish.

    If the process of a job dies, the job is tried again by itself after all others; if its process dies again, it has failed.
    """
    settings = replace(settings, conversion=settings.conversion.on_one_core())
    died: list[Job] = []
    yield from _by_pool(jobs, settings, convert, died)
    for job in died:
        died_again: list[Job] = []
        yield from _by_pool(iter([job]), replace(settings, jobs=1), convert, died_again)
        for dead in died_again:
            error = f"the process that worked on it {DIED}"
            yield Outcome(os.fspath(dead.source), os.fspath(dead.output), error=error, exit_code=VqcodecError.exit_code)


def _by_pool(jobs: Iterator[Job], settings: BatchSettings, convert: Convert, died: list[Job]) -> Iterator[Outcome]:
    """Outcomes of jobs by a pool of processes. `died` gets the jobs whose process died, marked as retries if the output was not
    there before."""
    retries: dict[Job, Job] = {}

    def calls() -> Iterator[tuple[Job, Conversion, bool]]:
        for job in jobs:
            retries[job] = replace(job, retry=job.retry or not os.path.lexists(job.output))
            yield job, settings.conversion, settings.overwrite

    with processes(settings.jobs) as pool:
        for (job, *_), outcome in pool.as_they_come(convert, calls()):
            retry = retries.pop(job)
            if outcome is None:
                died.append(retry)
            else:
                yield outcome


def run_batch(
    settings: BatchSettings,
    started: Callable[[int], None],
    progress: Callable[[Outcome], None],
    *,
    convert_all: ConvertAll = in_processes,
) -> Summary:
    """Convert a folder or several files. `started` gets the number of files, `progress` the outcome of each when it is done.

    Raises InputError if the folder is missing or empty, or the manifest is not one; OutputError if the manifest cannot be written.
    """
    source = settings.source
    tree = _tree(settings)
    part = slice(settings.shard.index - 1, None, settings.shard.count)
    summary = Summary(skipped=tree.skipped[part])
    entries = read_manifest(settings.manifest)
    left = [with_retry(job, entries) for job in tree.jobs[part] if not is_done(job, entries)]
    summary.left_out = len(tree.jobs[part]) - len(left)
    started(len(left))
    output = settings.output
    if settings.manifest is not None and output is not None and settings.manifest.parent.resolve() == output.resolve():
        make_mirror(source if isinstance(source, Path) else source[0].parent, output, 0)
    with (
        open_manifest(settings.manifest) as add_line,
        closing(convert_all(noting_begun(left, add_line), settings)) as outcomes,
    ):
        for skipped in summary.skipped:
            if entries.get(skipped.source, {}).get("skipped") != skipped.reason:
                add_line({"source": skipped.source, "skipped": skipped.reason})
        for outcome in map(_outcome_of_unread, tree.unread):
            summary.add(outcome)
            add_line(asdict(outcome))
        for outcome in outcomes:
            summary.add(outcome)
            add_line(asdict(outcome))
            progress(outcome)
    if not tree.jobs and not tree.unread and isinstance(source, Path):
        summary.add(Outcome(os.fspath(source), "", error=_nothing(settings), exit_code=InputError.exit_code))
    return summary


def _tree(settings: BatchSettings) -> Tree:
    """The files of a run, with their outputs. Raises InputError if the folder is missing or empty."""
    source, output, suffix = settings.source, settings.output, settings.suffix
    if isinstance(source, tuple):
        return list_jobs(source, output, suffix)
    assert output is not None
    if not os.path.isdir(source):
        raise InputError(f"{printable(source)}: no such folder")
    tree = find_jobs(source, output, suffix, settings.conversion.why_not, settings.manifest)
    if not any((tree.jobs, tree.skipped, tree.unread)):
        raise InputError(f"{printable(source)}: {_nothing(settings)}")
    return tree


def _nothing(settings: BatchSettings) -> str:
    return f"no {settings.conversion.inputs} in it"


def _outcome_of_unread(error: OSError) -> Outcome:
    """The outcome for a folder that cannot be read."""
    return Outcome(error.filename, "", error=f"cannot read the folder: {error.strerror}", exit_code=InputError.exit_code)
