"""Folders: every picture of a tree to a .vqz file in a mirror of it, or back, in several processes.

A bad file does not end the run. A manifest, one JSON object a line, tells of every file; a run with the same manifest leaves out
what it lists as done and unchanged. Shards share a tree among machines without a word between them: shard i of n takes every n-th
file of the sorted list, from the i-th on.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from vqcodec.convert import Converted, DecodeOptions, EncodeOptions, Options, decode_file, encode_file
from vqcodec.errors import InputError, OutputError, VqcodecError
from vqcodec.files import printable
from vqcodec.imageio import SUFFIXES
from vqcodec.processes import processes

_AHEAD: Final = 4
"""Files that wait, for each process: a tree may have millions."""


@dataclass(frozen=True)
class Job:
    """A file of the tree, and what it becomes."""

    source: Path
    output: Path


@dataclass(frozen=True)
class Outcome:
    """Of one file. `error` is empty, or one line; `exit_code` is that of the error; `bytes_in` and `modified` are the source's."""

    source: str
    output: str
    bytes_in: int = 0
    modified: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class BatchSettings:
    """What to convert: `suffix` is that of the outputs; `shard` (i, n) from (1, 1) on."""

    folder: Path
    output: Path
    options: Options
    suffix: str
    jobs: int = 1
    shard: tuple[int, int] = (1, 1)
    manifest: Path | None = None
    overwrite: bool = False


@dataclass
class Summary:
    """Of a run: files done and left out (as done before), bytes of the files done, and what failed."""

    done: int = 0
    left_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        if outcome.error:
            self.failed.append(outcome)
            return
        self.done += 1
        self.bytes_in += outcome.bytes_in
        self.bytes_out += outcome.bytes_out
        self.pixels += outcome.pixels


def find_jobs(folder: Path, output: Path, suffixes: frozenset[str], suffix: str) -> list[Job]:
    """The files below `folder` with one of the suffixes, sorted, and their outputs in the mirror below `output`.

    `photo.png` becomes `photo.vqz`; where two files of a folder share a stem, each keeps its whole name: `photo.png.vqz`.
    """
    inside = output.resolve()
    found: list[Job] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if (Path(place) / name).resolve() != inside)
        pictures = sorted(name for name in names if Path(name).suffix.lower() in suffixes)
        stems = [Path(name).stem for name in pictures]
        mirror = output / Path(place).relative_to(folder)
        for name, stem in zip(pictures, stems, strict=True):
            alone = stems.count(stem) == 1
            found.append(Job(Path(place) / name, mirror / ((stem if alone else name) + suffix)))
    return found


def run_batch(settings: BatchSettings, started: Callable[[int], None], progress: Callable[[Outcome], None]) -> Summary:
    """Convert a folder; `started` is told the number of files, `progress` the outcome of each as it comes.

    Raises InputError if there is no folder or no picture in it, OutputError if the manifest cannot be written.
    """
    if not settings.folder.is_dir():
        raise InputError(f"{printable(settings.folder)}: no such folder")
    decoding = isinstance(settings.options, DecodeOptions)
    jobs = find_jobs(settings.folder, settings.output, frozenset((".vqz",)) if decoding else SUFFIXES, settings.suffix)
    if not jobs:
        raise InputError(f"{printable(settings.folder)}: no {'.vqz files' if decoding else 'pictures'} in it")
    index, count = settings.shard
    jobs = jobs[index - 1 :: count]
    summary = Summary()
    finished = _finished(settings.manifest)
    left = [job for job in jobs if not _is_done(job, finished)]
    summary.left_out = len(jobs) - len(left)
    started(len(left))
    try:
        with open(settings.manifest or os.devnull, "a", encoding="utf-8") as manifest:
            for outcome in _outcomes(left, settings):
                summary.add(outcome)
                manifest.write(json.dumps(asdict(outcome)) + "\n")
                manifest.flush()  # what is told of as done stays so, whatever comes next
                progress(outcome)
    except OSError as error:
        raise OutputError(f"cannot write {printable(settings.manifest or '')}: {error.strerror}") from error
    return summary


def _finished(manifest: Path | None) -> dict[str, dict[str, Any]]:
    """By source, the last line of each file that was done."""
    found: dict[str, dict[str, Any]] = {}
    if manifest is not None and manifest.is_file():
        for line in manifest.read_text("utf-8").splitlines():
            try:
                entry = json.loads(line)
                found[entry["source"]] = entry
            except (ValueError, KeyError, TypeError):  # the line on which a run was killed
                continue
    return {source: entry for source, entry in found.items() if not entry.get("error")}


def _is_done(job: Job, finished: dict[str, dict[str, Any]]) -> bool:
    entry = finished.get(os.fspath(job.source))
    if entry is None or not job.output.is_file() or entry.get("output") != os.fspath(job.output):
        return False
    known = job.source.stat()
    return entry.get("bytes_in") == known.st_size and entry.get("modified") == known.st_mtime_ns


def _outcomes(jobs: list[Job], settings: BatchSettings) -> Iterator[Outcome]:
    """The outcome of every job, as they come. A process that dies takes its pool with it: what was being done then is done again,
    file by file, and the one that ends its process again has failed.
    """
    options = replace(settings.options, threads=settings.options.threads or 1)
    rest = iter(jobs)
    doubtful: list[Job] = []
    while True:
        yield from _pooled(rest, options, settings, doubtful)
        if not doubtful:
            return
        for job in doubtful:
            again: list[Job] = []
            yield from _pooled(iter([job]), options, replace(settings, jobs=1), again)
            for dead in again:
                error = "the process that worked on it died, perhaps of too little memory"
                yield Outcome(os.fspath(dead.source), os.fspath(dead.output), error=error, exit_code=VqcodecError.exit_code)
        doubtful.clear()


def _pooled(jobs: Iterator[Job], options: Options, settings: BatchSettings, doubtful: list[Job]) -> Iterator[Outcome]:
    """Outcomes of jobs by a pool of processes; when one of these dies, what the pool had in hand is `doubtful`, and it ends."""
    waiting: dict[Future[Outcome], Job] = {}
    with processes(settings.jobs, _leave_interrupts_to_the_parent) as pool:
        try:
            while True:
                for job in islice(jobs, 0 if doubtful else _AHEAD * settings.jobs - len(waiting)):
                    try:
                        waiting[pool.submit(convert, job, options, settings.overwrite)] = job
                    except BrokenProcessPool:
                        doubtful.append(job)
                        break
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    job = waiting.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        doubtful.append(job)
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def convert(job: Job, options: Options, overwrite: bool) -> Outcome:
    """One job; no exception gets out."""
    outcome = Outcome(os.fspath(job.source), os.fspath(job.output))
    try:
        known = job.source.stat()
        outcome = replace(outcome, bytes_in=known.st_size, modified=known.st_mtime_ns)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        found: Converted
        if isinstance(options, EncodeOptions):
            found = encode_file(job.source, job.output, options, overwrite=overwrite)
        else:
            found = decode_file(job.source, job.output, options, overwrite=overwrite)
    except VqcodecError as error:
        return replace(outcome, error=printable(str(error)), exit_code=error.exit_code)
    except OSError as error:
        return replace(outcome, error=printable(error.strerror or str(error)), exit_code=OutputError.exit_code)
    except Exception as error:  # one file must not end the run
        return replace(outcome, error=printable(f"internal error ({type(error).__name__}: {error})"), exit_code=1)
    return replace(
        outcome, bytes_out=found.bytes_out, pixels=found.width * found.height, seconds=found.seconds, notes=found.notes
    )
