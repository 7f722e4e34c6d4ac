"""Manifests: JSON lines with the result of each file of a run, so that a later run can resume.

A skipped file has one line, with its reason. A converted one has two: before, that it is begun, and after, its outcome. A file that
was begun and has no outcome is done again, and its output may be overwritten: the run that was stopped made it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vqcodec.errors import InputError, printable
from vqcodec.io.files import output_errors, write_all
from vqcodec.io.jobs import Job

Entries = dict[str, dict[str, Any]]
"""The last line of a manifest about each file, by the file's path."""
AddLine = Callable[[dict[str, Any]], None]
"""Appends an entry to a manifest. Raises OutputError."""


@contextmanager
def open_manifest(path: Path | None) -> Iterator[AddLine]:
    """Yields a function that appends a line to the manifest; without a path, one that does nothing. Raises OutputError."""
    path = path or Path(os.devnull)
    with output_errors(path):
        torn = os.path.isfile(path) and _ends_within_a_line(path)
        file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed below: errors of the block are not those of opening)
    with file:

        def add(line: bytes) -> None:
            with output_errors(path):
                write_all(file.fileno(), line)  # unbuffered: a line that is written survives whatever comes next

        if torn:
            add(b"\n")
        yield lambda entry: add(json.dumps(entry).encode() + b"\n")


def read_manifest(path: Path | None) -> Entries:
    """The entries of a manifest; none if it does not exist. Raises InputError if it cannot be read or is not a manifest: lines
    would be added to it."""
    entries: Entries = {}
    if path is None or not os.path.isfile(path):
        return entries
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {printable(path)}: {error.strerror}") from error
    for line in lines:
        try:
            entry = json.loads(line)
            entries[entry["source"]] = entry
        except (ValueError, KeyError, TypeError):  # a line that was cut when a run was killed
            continue
    if not entries and (len(lines) > 1 or (lines[:1] and not lines[0].startswith("{"))):
        raise InputError(f"{printable(path)} is not a manifest")
    return entries


def _ends_within_a_line(path: Path) -> bool:
    """Whether the last line lacks its newline, because a run was killed while writing it."""
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n"


def is_done(job: Job, entries: Entries) -> bool:
    """Whether an earlier run has done the job: its output is there, and the source has not changed since."""
    entry = entries.get(os.fspath(job.source))
    if entry is None or entry.get("begun") or entry.get("error"):
        return False
    if not os.path.isfile(job.output) or entry.get("output") != os.fspath(job.output):
        return False
    try:
        known = job.source.stat()
    except OSError:
        return False
    return entry.get("bytes_in") == known.st_size and entry.get("modified") == known.st_mtime_ns


def with_retry(job: Job, entries: Entries) -> Job:
    """The job, marked as a retry if an earlier run began it and did not end it."""
    entry = entries.get(os.fspath(job.source), {})
    return replace(job, retry=bool(entry.get("begun")) and entry.get("output") == os.fspath(job.output))


def noting_begun(jobs: list[Job], add_line: AddLine) -> Iterator[Job]:
    """Yields the jobs, and adds "begun" to the manifest for each, unless its output exists and was not made by an earlier run."""
    for job in jobs:
        if job.retry or not os.path.lexists(job.output):
            add_line({"source": os.fspath(job.source), "output": os.fspath(job.output), "begun": True})
        yield job
