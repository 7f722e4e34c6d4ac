"""Packs to folders: every picture to a picture file or a .vqz file, in one or several processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import pipeline, refinement
from vqcodec.errors import FormatError, VqcodecError, printable
from vqcodec.format.pack import Lost
from vqcodec.io.batch import BatchSettings, Outcome, Summary, in_processes
from vqcodec.io.convert import Conversion, Converted, output_format, picture_file, result_of
from vqcodec.io.files import check_output, naming, open_input, output_errors, write_atomic
from vqcodec.io.jobs import Job, output_names
from vqcodec.io.pack_reader import PackReader
from vqcodec.options import DecodeOptions
from vqcodec.weights import registry
from vqcodec.weights.kinds import profiles_of


@dataclass(frozen=True, kw_only=True)
class Unpacking:
    """Pictures of the pack `source` to picture files, in the format of the output's name, or to .vqz files."""

    source: Path
    options: DecodeOptions
    files: bool = False
    """Write .vqz files."""
    model: str | None = None
    quality: int | None = None
    """Quality 0..100 of JPEG and WebP outputs."""
    allow_partial: bool = False
    max_pixels: int = MAX_PIXELS

    inputs = "pictures"

    def why_not(self, path: Path) -> str:
        return ""

    def on_one_core(self) -> Unpacking:
        return replace(self, options=replace(self.options, threads=self.options.threads or 1))

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Unpack the picture with the name `source`. The pack stays open: this is for processes that end with it.

        Raises FormatError, ModelError, LimitError, OutputError, InputError.
        """
        return self.write(_open_pack(self.source, self.allow_partial, self.max_pixels), source, output, overwrite=overwrite)

    def only(self, name: str, output: Path) -> Converted:
        """Unpack the picture `name` to a new file. Raises what `convert` raises."""
        with naming(self.source), open_input(self.source) as stream:
            pack = PackReader(stream, max_pixels=self.max_pixels, allow_partial=self.allow_partial)
            return self.write(pack, Path(name), output, overwrite=False)

    def write(self, pack: PackReader, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """`convert` with a pack that is open."""
        check_output(output, overwrite=overwrite)
        start = time.perf_counter()
        place = pack.place(source.as_posix())
        model = None if self.model is None else registry.find_for_decoding(self.model)
        if self.files:
            header, data = pack.header(place), pack.file(place, model)
            facts = header.width, header.height, header.channels, place.entry.size, len(data)
            made = Converted(*facts, time.perf_counter() - start, ())
        else:
            reader = pack.reader(place)
            refiner = registry.find_refiner(None) if refinement.uses_refiner(self.options, reader.header) else None
            used = pack.model(reader, model)
            pixels = pipeline.read(reader, used, self.options, refiner)
            seconds = time.perf_counter() - start
            picture = picture_file(pixels, output_format(output), reader.read_metadata(profiles_of(used)), self.quality)
            data = picture.data
            made = result_of(pixels, place.entry.size, len(data), seconds, (*reader.notes, *picture.notes))
        write_atomic(output, data, overwrite=overwrite)
        return made


@lru_cache(maxsize=1)
def _open_pack(source: Path, allow_partial: bool, max_pixels: int) -> PackReader:
    """The pack that this process unpacks from."""
    return PackReader(open(source, "rb"), max_pixels=max_pixels, allow_partial=allow_partial)


def unpack_pictures(
    unpacking: Unpacking,
    output: Path,
    names: Sequence[str],
    *,
    suffix: str,
    jobs: int,
    overwrite: bool,
    started: Callable[[int], None],
    progress: Callable[[Outcome], None],
) -> Summary:
    """Unpack the pictures `names`, or all if there are none, to files with `suffix` in the folder `output`.

    Lost parts of a damaged pack count as failures. `started` and `progress` are those of `run_batch`. Raises FormatError,
    InputError, OutputError.
    """
    lost: list[Lost] = []
    with naming(unpacking.source), open_input(unpacking.source) as stream:
        pack = PackReader(stream, max_pixels=unpacking.max_pixels, allow_partial=unpacking.allow_partial)
        found = [pack.place(name).entry.name for name in names] or [place.entry.name for place in pack.pack.each(lost)]
        lost += pack.pack.gaps
        work = [Job(Path(name), output / made) for name, made in output_names_of(found, suffix).items()]
        summary = Summary()
        started(len(work))
        with output_errors(output):
            for folder in {job.output.parent for job in work} | {output}:
                folder.mkdir(parents=True, exist_ok=True)

        def here(job: Job) -> Converted:
            return unpacking.write(pack, job.source, job.output, overwrite=overwrite)

        settings = BatchSettings(
            source=unpacking.source, output=output, conversion=unpacking, suffix=suffix, jobs=jobs, overwrite=overwrite
        )
        alone = (_outcome(job, here) for job in work)  # starting a process takes longer than a picture
        for outcome in in_processes(iter(work), settings, unpack_one) if jobs > 1 else alone:
            summary.add(outcome)
            progress(outcome)
    summary.failed += [Outcome(one.name, "", error=one.reason, exit_code=FormatError.exit_code) for one in lost]
    return summary


def output_names_of(names: Sequence[str], suffix: str) -> dict[str, str]:
    """Distinct output names, in the same folders, for pictures of a pack."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        folders.setdefault(folder, []).append(last)
    found = {}
    for folder, own in folders.items():
        for name, made in zip(own, output_names(own, suffix), strict=True):
            above = f"{folder}/" if folder else ""
            found[above + name] = above + made
    return found


def unpack_one(job: Job, unpacking: Conversion, overwrite: bool) -> Outcome:
    """Unpack one picture. Every error, of any kind, becomes part of the outcome."""
    return _outcome(job, lambda job: unpacking.convert(job.source, job.output, overwrite=overwrite or job.retry))


def _outcome(job: Job, convert: Callable[[Job], Converted]) -> Outcome:
    """The outcome of unpacking a picture."""
    outcome = Outcome(job.source.as_posix(), os.fspath(job.output))
    try:
        made = convert(job)
    except VqcodecError as error:
        return replace(outcome, error=printable(str(error)), exit_code=error.exit_code)
    except Exception as error:  # one picture must not end the run
        return replace(outcome, error=printable(f"internal error ({type(error).__name__}: {error})"), exit_code=1)
    pixels = made.width * made.height
    return replace(outcome, bytes_in=made.bytes_in, bytes_out=made.bytes_out, pixels=pixels, seconds=made.seconds, notes=made.notes)
