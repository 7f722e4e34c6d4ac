"""Folders: every picture of a tree to a .vqz file in a mirror of it, or back, in several processes. Or several files to one folder.

Content decides which files of a tree are pictures (kinds.py); every other one is named with its reason. A bad file does not end
the run. A manifest, one JSON object a line, tells of every file: why it is skipped, or first that it is begun and then what became
of it. A run with the same manifest leaves out what it lists as done and unchanged, and does again what was begun and not ended:
what is found at such an output was made by the run that was stopped. Shards share a tree among machines without a word between
them: shard i of n takes every n-th picture of the sorted list, from the i-th on, and names every n-th of the files skipped.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vqcodec.errors import InputError, VqcodecError, printable
from vqcodec.io.convert import Converted, DecodeOptions, EncodeOptions, Options, decode_file, encode_file
from vqcodec.io.files import make_mirror, output_errors, read_head, why_no_file, write_all
from vqcodec.io.images import not_encoded
from vqcodec.io.kinds import HEAD_BYTES, VQZ, kind_of
from vqcodec.runtime.processes import DIED, processes


@dataclass(frozen=True)
class Job:
    """A file and its output. `depth` counts the folders between the file and the folder that is converted; `again`: an earlier try
    that did not end may have made the output."""

    source: Path
    output: Path
    again: bool = False
    depth: int = 0


@dataclass(frozen=True)
class Skipped:
    """A file that is not converted, or a folder that is not entered, and the reason."""

    source: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """The result for one file. `error` is empty, or one line; `exit_code` is that of the error; `bytes_in` and `modified` are the
    source's; `grew`: it was encoded, and is larger than its source."""

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


@dataclass(frozen=True)
class BatchSettings:
    """Settings of a run: `source` is a folder, or files; `output` is a folder; `suffix` is that of the outputs; `shard` (i, n) from
    (1, 1) on."""

    source: Path | tuple[Path, ...]
    output: Path
    options: Options
    suffix: str
    jobs: int = 1
    shard: tuple[int, int] = (1, 1)
    manifest: Path | None = None
    overwrite: bool = False


@dataclass
class Summary:
    """The result of a run: files done, those left out (as done before), those of the done that grew, bytes of the files done, their
    notes, what was skipped, and what failed."""

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


@dataclass
class Tree:
    """The content of a folder: files to convert, files and links that are skipped, and folders that cannot be read."""

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unread: list[OSError] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------ the files


def find_jobs(folder: Path, output: Path, suffix: str, why_not: Callable[[Path], str], manifest: Path | None = None) -> Tree:
    """The files below `folder`, sorted: those for which `why_not` (`not_encoded`, `not_decoded`) has no reason, with their outputs
    in the mirror below `output`, and the others with the reason.

    `photo.png` becomes `photo.vqz`; where two files of a folder would become one, each keeps its whole name: `photo.png.vqz`. What
    the run writes itself is not listed: the folder `output`, the outputs in `folder` where it is its own mirror, and the manifest.
    """
    inside = output.resolve()
    tree = Tree()
    for place, folders, names in os.walk(folder, onerror=tree.unread.append):
        here = Path(place)
        below = here.relative_to(folder)
        folders[:] = sorted(name for name in folders if (here / name).resolve() != inside)
        reasons = {name: why_not(here / name) for name in sorted(names)}
        wanted = [name for name, reason in reasons.items() if not reason]
        outputs = _outputs(wanted, suffix)
        for name, made in zip(wanted, outputs, strict=True):
            tree.jobs.append(Job(here / name, output / below / made, depth=len(below.parts)))
        own = _written_to(here.resolve(), output / below, outputs, manifest)
        reasons |= {name: "a link to a folder is not followed" for name in folders if os.path.islink(here / name)}
        tree.skipped += [Skipped(os.fspath(here / name), reasons[name]) for name in sorted(reasons.keys() - own) if reasons[name]]
    return tree


def _written_to(place: Path, mirror: Path, outputs: list[str], manifest: Path | None) -> set[str]:
    """Names of what the run writes to the folder `place`, which is its own mirror, perhaps."""
    written = set(outputs) if mirror.resolve() == place else set()
    if manifest is not None and manifest.resolve().parent == place:
        written.add(manifest.resolve().name)
    return written


def list_jobs(files: tuple[Path, ...], output: Path, suffix: str) -> Tree:
    """Files that are named one by one, no two with the same name, with their outputs in the folder `output`."""
    outputs = _outputs([file.name for file in files], suffix)
    return Tree([Job(file, output / made) for file, made in zip(files, outputs, strict=True)])


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


def not_decoded(path: Path) -> str:
    """The reason for which a file of a folder is not decoded; empty if it is, and if reading it will tell what is wrong."""
    if reason := why_no_file(path):
        return reason
    head = _head(path)
    if head is None or path.suffix.lower() == ".vqz":
        return ""
    kind = kind_of(path.name, head)
    if kind == VQZ:
        return ""
    return f"not a .vqz file ({kind.name})" if kind.name else kind.reason.replace("not a picture", "not a .vqz file")


def _head(path: Path) -> bytes | None:
    """The first bytes of a file; None if it cannot be read."""
    try:
        return read_head(path, HEAD_BYTES)
    except OSError:
        return None


def run_batch(settings: BatchSettings, started: Callable[[int], None], progress: Callable[[Outcome], None]) -> Summary:
    """Convert a folder, or files; `started` gets the number of files, `progress` the outcome of each as it comes.

    Raises InputError if there is no folder or nothing in it, or the manifest is none, OutputError if that cannot be written.
    """
    source, output, options = settings.source, settings.output, settings.options
    nothing = f"no {'.vqz files' if isinstance(options, DecodeOptions) else 'pictures'} in it"
    if isinstance(source, tuple):
        tree = list_jobs(source, output, settings.suffix)
    elif not os.path.isdir(source):
        raise InputError(f"{printable(source)}: no such folder")
    else:
        why_not = not_decoded if isinstance(options, DecodeOptions) else not_encoded
        tree = find_jobs(source, output, settings.suffix, why_not, settings.manifest)
        if not any((tree.jobs, tree.skipped, tree.unread)):
            raise InputError(f"{printable(source)}: {nothing}")
    summary = Summary()
    index, count = settings.shard
    jobs, summary.skipped = tree.jobs[index - 1 :: count], tree.skipped[index - 1 :: count]
    before = _read_manifest(settings.manifest)
    left = [_with_what_was(job, before) for job in jobs if not _is_done(job, before)]
    summary.left_out = len(jobs) - len(left)
    started(len(left))
    if settings.manifest is not None and settings.manifest.parent.resolve() == output.resolve():
        make_mirror(source if isinstance(source, Path) else source[0].parent, output, 0)
    with _open_manifest(settings.manifest) as tell, closing(_outcomes(_begun(left, tell), settings)) as outcomes:
        for skipped in summary.skipped:
            if before.get(skipped.source, {}).get("skipped") != skipped.reason:
                tell({"source": skipped.source, "skipped": skipped.reason})
        for outcome in map(_of_unread, tree.unread):
            summary.add(outcome)
            tell(asdict(outcome))
        for outcome in outcomes:
            summary.add(outcome)
            tell(asdict(outcome))
            progress(outcome)
    if not tree.jobs and not tree.unread and isinstance(source, Path):
        summary.add(Outcome(os.fspath(source), "", error=nothing, exit_code=InputError.exit_code))
    return summary


def _of_unread(error: OSError) -> Outcome:
    """The outcome for a folder that cannot be read."""
    return Outcome(error.filename, "", error=f"cannot read the folder: {error.strerror}", exit_code=InputError.exit_code)


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


def _outcomes(jobs: Iterator[Job], settings: BatchSettings) -> Generator[Outcome, None, None]:
    """The outcome of every job, as they come. A job whose process died is done again when all others are done, by itself; if its
    process dies again, it has failed.
    """
    options = replace(settings.options, threads=settings.options.threads or 1)
    died: list[Job] = []
    yield from _pooled(jobs, options, settings, died)
    for job in died:
        again: list[Job] = []
        yield from _pooled(iter([job]), options, replace(settings, jobs=1), again)
        for dead in again:
            error = f"the process that worked on it {DIED}"
            yield Outcome(os.fspath(dead.source), os.fspath(dead.output), error=error, exit_code=VqcodecError.exit_code)


def _pooled(jobs: Iterator[Job], options: Options, settings: BatchSettings, died: list[Job]) -> Iterator[Outcome]:
    """Outcomes of jobs by a pool of processes; `died` gets the jobs whose process died, as they are to be done again."""
    another_try: dict[Job, Job] = {}

    def calls() -> Iterator[tuple[Job, Options, bool]]:
        for job in jobs:
            another_try[job] = replace(job, again=job.again or not os.path.lexists(job.output))
            yield job, options, settings.overwrite

    with processes(settings.jobs) as pool:
        for (job, *_), outcome in pool.as_they_come(convert, calls()):
            again = another_try.pop(job)
            if outcome is None:
                died.append(again)
            else:
                yield outcome


def convert(job: Job, options: Options, overwrite: bool) -> Outcome:
    """One job; no exception gets out."""
    outcome = Outcome(os.fspath(job.source), os.fspath(job.output))
    try:
        known = job.source.stat()
        if stat.S_ISDIR(known.st_mode):  # among files that were named one by one
            raise IsADirectoryError(errno.EISDIR, "it is a folder, which is converted by itself")
    except OSError as error:
        told = f"cannot read {printable(job.source)}: {error.strerror}"
        return replace(outcome, error=told, exit_code=InputError.exit_code)
    outcome = replace(outcome, bytes_in=known.st_size, modified=known.st_mtime_ns)
    try:
        make_mirror(job.source.parent, job.output.parent, job.depth)
        found: Converted
        if isinstance(options, EncodeOptions):
            found = encode_file(job.source, job.output, options, overwrite=overwrite or job.again)
        else:
            found = decode_file(job.source, job.output, options, overwrite=overwrite or job.again)
    except VqcodecError as error:
        return replace(outcome, error=printable(str(error)), exit_code=error.exit_code)
    except Exception as error:  # one file must not end the run
        return replace(outcome, error=printable(f"internal error ({type(error).__name__}: {error})"), exit_code=1)
    pixels, seconds = found.width * found.height, found.seconds
    return replace(outcome, bytes_out=found.bytes_out, pixels=pixels, seconds=seconds, notes=found.notes, grew=found.grew)
