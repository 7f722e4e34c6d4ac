"""Runs over folders, in this process."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from vqcodec.io.batch import BatchSettings, ConvertAll, Outcome, Summary, convert, run_batch
from vqcodec.io.convert import Decoding, Encoding
from vqcodec.io.jobs import Job, find_jobs, why_not_encoded
from vqcodec.options import DecodeOptions, EncodeOptions

LITE = Encoding(options=EncodeOptions(effort=1, threads=1), model="photo-lite")
PLAIN = Decoding(options=DecodeOptions())


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def in_this_process(jobs: Iterator[Job], settings: BatchSettings) -> Generator[Outcome, None, None]:
    """Convert without processes, which take a second to start. Tests of the program use several."""
    for job in jobs:
        yield convert(job, settings.conversion, settings.overwrite)


def run(settings: BatchSettings, convert_all: ConvertAll = in_this_process) -> tuple[Summary, list[Outcome]]:
    seen: list[Outcome] = []
    totals: list[int] = []
    summary = run_batch(settings, totals.append, seen.append, convert_all=convert_all)
    assert totals == [len(seen)]
    return summary, seen


def encoding(source: Path, output: Path, **settings: Any) -> BatchSettings:
    return BatchSettings(source=source, output=output, conversion=LITE, suffix=".vqz", **settings)


def jobs_of(folder: Path, output: Path) -> list[Job]:
    return find_jobs(folder, output, ".vqz", why_not_encoded).jobs
