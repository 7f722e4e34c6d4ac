"""Folders: every picture of a tree to a .vqz file in a mirror of it, or back, in several processes.

A bad file does not end the run. A manifest, one JSON object a line, tells of every file, first that it is begun, then what became
of it. A run with the same manifest leaves out what it lists as done and unchanged, and does again what was begun and not ended:
what is found at such an output was made by the run that was stopped. Shards share a tree among machines without a word between
them: shard i of n takes every n-th file of the sorted list, from the i-th on.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from vqcodec.convert import Converted, DecodeOptions, EncodeOptions, Options, decode_file, encode_file
from vqcodec.errors import InputError, OutputError, VqcodecError
from vqcodec.files import output_errors, printable, write_all
from vqcodec.imageio import SUFFIXES
from vqcodec.processes import DIED, processes

_AHEAD: Final = 4
"""Files that wait, for each process: a tree may have millions."""


@dataclass(frozen=True)
class Job:
    """A file of the tree, and what it becomes. `again`: an earlier try that did not end may have made the output."""

    source: Path
    output: Path
    again: bool = False


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
    """Of a run: files done and left out (as done before), bytes of the files done, what is to be said of them, and what failed."""

    done: int = 0
    left_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Source and note."""
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
        self.notes += [(outcome.source, note) for note in outcome.notes]


@dataclass
class Tree:
    """What there is below a folder: `links` are links to folders, which are not followed, `unread` folders that cannot be read."""

    jobs: list[Job] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    unread: list[OSError] = field(default_factory=list)


def find_jobs(folder: Path, output: Path, suffixes: frozenset[str], suffix: str) -> Tree:
    """The files below `folder` with one of the suffixes, sorted, and their outputs in the mirror below `output`.

    `photo.png` becomes `photo.vqz`; where two files of a folder would become one, each keeps its whole name: `photo.png.vqz`.
    """
    inside = output.resolve()
    tree = Tree()
    for place, folders, names in os.walk(folder, onerror=tree.unread.append):
        folders[:] = sorted(name for name in folders if (Path(place) / name).resolve() != inside)
        tree.links += [Path(place) / name for name in folders if os.path.islink(Path(place) / name)]
        pictures = sorted(name for name in names if Path(name).suffix.lower() in suffixes)
        mirror = output / Path(place).relative_to(folder)
        outputs = _outputs(pictures, suffix)
        tree.jobs += [Job(Path(place) / name, mirror / made) for name, made in zip(pictures, outputs, strict=True)]
    return tree


def _outputs(names: list[str], suffix: str) -> list[str]:
    """Names of what the files of a folder become, no two alike; where capitals do not count, only as far as those of the files are
    not."""
    made = [Path(name).stem + suffix for name in names]
    while True:
        counts = Counter(name.casefold() for name in made)
        whole = [name + suffix for name in names]
        again = [full if counts[one.casefold()] > 1 else one for one, full in zip(made, whole, strict=True)]
        if again == made:
            return made
        made = again


def run_batch(settings: BatchSettings, started: Callable[[int], None], progress: Callable[[Outcome], None]) -> Summary:
    """Convert a folder; `started` is told the number of files, `progress` the outcome of each as it comes.

    Raises InputError if there is no folder or no picture in it, or the manifest is none, OutputError if that cannot be written.
    """
    if not os.path.isdir(settings.folder):
        raise InputError(f"{printable(settings.folder)}: no such folder")
    decoding = isinstance(settings.options, DecodeOptions)
    tree = find_jobs(settings.folder, settings.output, frozenset((".vqz",)) if decoding else SUFFIXES, settings.suffix)
    if not tree.jobs and not tree.unread:
        raise InputError(f"{printable(settings.folder)}: no {'.vqz files' if decoding else 'pictures'} in it")
    summary = Summary(notes=[(os.fspath(link), "a link to a folder is not followed") for link in tree.links])
    for error in tree.unread:
        told = f"cannot read the folder: {error.strerror}"
        summary.add(Outcome(error.filename, "", error=told, exit_code=InputError.exit_code))
    index, count = settings.shard
    jobs = tree.jobs[index - 1 :: count]
    before = _read_manifest(settings.manifest)
    left = [_with_what_was(job, before) for job in jobs if not _is_done(job, before)]
    summary.left_out = len(jobs) - len(left)
    started(len(left))
    with _open_manifest(settings.manifest) as tell:
        for outcome in _outcomes(_begun(left, tell), settings):
            summary.add(outcome)
            tell(asdict(outcome))
            progress(outcome)
    return summary


# ------------------------------------------------------------------------------------------------ the manifest

Entries = dict[str, dict[str, Any]]
"""By source, the last line of a manifest on each file."""


def _read_manifest(path: Path | None) -> Entries:
    """Raises InputError for a file that cannot be read, or that is none: a line would be added to it."""
    found: Entries = {}
    if path is None or not os.path.isfile(path):
        return found
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {printable(path)}: {error.strerror}") from error
    for line in lines:
        try:
            entry = json.loads(line)
            found[entry["source"]] = entry
        except (ValueError, KeyError, TypeError):  # a line on which a run was killed
            continue
    if not found and (len(lines) > 1 or (lines[:1] and not lines[0].startswith("{"))):
        raise InputError(f"{printable(path)} is no manifest")
    return found


@contextmanager
def _open_manifest(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields what adds a line; both raise OutputError."""
    path = path or Path(os.devnull)
    with output_errors(path):
        torn = os.path.isfile(path) and _ends_within_a_line(path)
        file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed below: errors of the block are not those of opening)
    with file:

        def add(line: bytes) -> None:
            with output_errors(path):
                write_all(file.fileno(), line)  # what is told stays so, whatever comes next

        if torn:
            add(b"\n")
        yield lambda entry: add(json.dumps(entry).encode() + b"\n")


def _ends_within_a_line(path: Path) -> bool:
    """As a run leaves it that was killed while it wrote."""
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n"


def _is_done(job: Job, before: Entries) -> bool:
    entry = before.get(os.fspath(job.source))
    if entry is None or entry.get("begun") or entry.get("error"):
        return False
    if not os.path.isfile(job.output) or entry.get("output") != os.fspath(job.output):
        return False
    try:
        known = job.source.stat()
    except OSError:
        return False
    return entry.get("bytes_in") == known.st_size and entry.get("modified") == known.st_mtime_ns


def _with_what_was(job: Job, before: Entries) -> Job:
    entry = before.get(os.fspath(job.source), {})
    return replace(job, again=bool(entry.get("begun")) and entry.get("output") == os.fspath(job.output))


def _begun(jobs: list[Job], tell: Callable[[dict[str, Any]], None]) -> Iterator[Job]:
    """The same jobs, of which the manifest is told as they are taken, but for those whose output is there and another's."""
    for job in jobs:
        if job.again or not os.path.lexists(job.output):
            tell({"source": os.fspath(job.source), "output": os.fspath(job.output), "begun": True})
        yield job


# ------------------------------------------------------------------------------------------------ the work


def _outcomes(jobs: Iterator[Job], settings: BatchSettings) -> Iterator[Outcome]:
    """The outcome of every job, as they come. A process that dies takes its pool with it: what was being done then is done again,
    file by file, and the one that ends its process again has failed.
    """
    options = replace(settings.options, threads=settings.options.threads or 1)
    doubtful: list[Job] = []
    while True:
        yield from _pooled(jobs, options, settings, doubtful)
        if not doubtful:
            return
        for job in doubtful:
            again: list[Job] = []
            yield from _pooled(iter([job]), options, replace(settings, jobs=1), again)
            for dead in again:
                error = f"the process that worked on it {DIED}"
                yield Outcome(os.fspath(dead.source), os.fspath(dead.output), error=error, exit_code=VqcodecError.exit_code)
        doubtful.clear()


def _pooled(jobs: Iterator[Job], options: Options, settings: BatchSettings, doubtful: list[Job]) -> Iterator[Outcome]:
    """Outcomes of jobs by a pool of processes; when one of these dies, what the pool had in hand is `doubtful`, and it ends."""
    waiting: dict[Future[Outcome], Job] = {}
    with processes(settings.jobs) as pool:
        while True:
            for job in islice(jobs, 0 if doubtful else _AHEAD * settings.jobs - len(waiting)):
                another = replace(job, again=job.again or not os.path.lexists(job.output))  # should this try not end
                try:
                    waiting[pool.submit(convert, job, options, settings.overwrite)] = another
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


def convert(job: Job, options: Options, overwrite: bool) -> Outcome:
    """One job; no exception gets out."""
    outcome = Outcome(os.fspath(job.source), os.fspath(job.output))
    try:
        known = job.source.stat()
        outcome = replace(outcome, bytes_in=known.st_size, modified=known.st_mtime_ns)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        found: Converted
        if isinstance(options, EncodeOptions):
            found = encode_file(job.source, job.output, options, overwrite=overwrite or job.again)
        else:
            found = decode_file(job.source, job.output, options, overwrite=overwrite or job.again)
    except VqcodecError as error:
        return replace(outcome, error=printable(str(error)), exit_code=error.exit_code)
    except OSError as error:
        return replace(outcome, error=printable(error.strerror or str(error)), exit_code=OutputError.exit_code)
    except Exception as error:  # one file must not end the run
        return replace(outcome, error=printable(f"internal error ({type(error).__name__}: {error})"), exit_code=1)
    return replace(outcome, bytes_out=found.bytes_out, pixels=found.width * found.height, seconds=found.seconds, notes=found.notes)
