"""Folders to packs: every picture is encoded in one of several processes to a temporary folder, and all are put into one file.

Pictures of .vqz files are packed as they are. Appending copies the pack to a new file, without its index, and renames that: an
append that is interrupted leaves the pack as it was.
"""

from __future__ import annotations

import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import packed, pipeline
from vqcodec.codec.packed import Packed
from vqcodec.errors import CorruptError, InputError, ModelError, OutputError, printable
from vqcodec.format import container, pack
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.header import Metadata
from vqcodec.format.pack import Directory, Entry, PackFile, Record, StoredModel
from vqcodec.io.batch import BatchSettings, Outcome, Summary, run_batch
from vqcodec.io.convert import Converted, bytes_of, read_picture
from vqcodec.io.files import check_output, naming, open_input, output_errors, read_head, read_input, stream_limit, write_atomic
from vqcodec.io.jobs import find_jobs, why_not_encoded
from vqcodec.io.kinds import HEAD_BYTES, VQZ, kind_of
from vqcodec.options import EncodeOptions
from vqcodec.runtime.interrupts import termination_raises
from vqcodec.weights import registry
from vqcodec.weights.builtin import BuiltIn
from vqcodec.weights.embedded import write_embedded
from vqcodec.weights.kinds import AnyModel

_PIECE_BYTES: Final = 1 << 20
CHUNK_PICTURES: Final = 64
CHUNK_BYTES: Final = 1 << 20
"""Most pictures of a chunk, and bytes after which a chunk ends: one picture of a pack takes the head of its chunk."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Picture files and .vqz files to the pictures of a pack, each in a temporary file."""

    options: EncodeOptions
    model: str | None = None
    strip: bool = False
    """Leave out the metadata."""
    embed_model: bool = False
    """Put the models of all pictures into the pack."""
    max_pixels: int = MAX_PIXELS

    inputs = "pictures"

    def why_not(self, path: Path) -> str:
        reason = why_not_encoded(path)
        return "" if reason == VQZ.reason else reason

    def on_one_core(self) -> Packing:
        return replace(self, options=replace(self.options, threads=self.options.threads or 1))

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Encode a picture. Raises InputError, FormatError, ModelError, LimitError, OutputError."""
        with naming(source):
            start = time.perf_counter()
            notes: tuple[str, ...] = ()
            if kind_of("", read_head(source, HEAD_BYTES)) == VQZ:
                data = read_input(source, limit_bytes=stream_limit(self.max_pixels))
            else:
                image = read_picture(source, self.max_pixels)
                model = registry.find_for_encoding(self.model, lossless=self.options.lossless)
                data = pipeline.encode(image.pixels, model, self.options, Metadata() if self.strip else image.metadata)
                notes = image.notes
            own = packed.pack(data, self._model_of(data), self.max_pixels)
            seconds = time.perf_counter() - start
        header = container.read_header(data, self.max_pixels).header
        with output_errors(output):
            output.write_bytes(_to_bytes(own))
        facts = header.width, header.height, header.channels, bytes_of(source), len(own.data)
        return Converted(*facts, seconds, notes, lossless=header.lossless)

    def _model_of(self, file: bytes) -> AnyModel | None:
        """The model of a .vqz file, if it is known. Raises ModelError for a missing `model`."""
        return self.model_with(container.read_header(file, self.max_pixels).header.model_id)

    def model_with(self, file_id: bytes) -> AnyModel | None:
        """The model of files that name `file_id`: `model`, an installed one, or None. Raises ModelError for a missing `model`."""
        if self.model is not None and (found := registry.find_for_decoding(self.model)).decodes(file_id):
            return found
        try:
            return registry.find_by_id(file_id)
        except ModelError:
            return None


def _to_bytes(own: Packed) -> bytes:
    """The content of a temporary file; the inverse of `_from_bytes`."""
    return write_varint(len(own.template)) + own.template + own.step_64.to_bytes(2, "little") + own.data


def _from_bytes(content: bytes) -> Packed:
    """The picture in a temporary file."""
    reader = ByteReader(content)
    template, step_64 = reader.take(reader.varint()), reader.integer(2)
    return Packed(template, step_64, content[reader.cursor :])


# ------------------------------------------------------------------------------------------------ the file


class PackWriter:
    """Writes the records of a pack to a stream, from its position on. Pictures come in order of name."""

    def __init__(self, stream: BinaryIO, old: PackFile | None = None) -> None:
        """`old`: the pack to which the pictures are appended; the stream holds its records."""
        self._stream = stream
        self._records, self._runs = (list(old.records), old.runs) if old else ([], [])
        self._offset = old.end if old else len(pack.HEAD)
        self._begun = False
        self._waiting: list[tuple[str, Packed]] = []
        self._bytes = 0

    def add(self, name: str, own: Packed) -> None:
        """Add a picture."""
        self._waiting.append((name, own))
        self._bytes += len(own.data)
        if len(self._waiting) == CHUNK_PICTURES or self._bytes >= CHUNK_BYTES:
            self._end_chunk()

    def _end_chunk(self) -> None:
        """Write the pictures that wait as a chunk."""
        if not self._waiting:
            return
        templates = list(dict.fromkeys(own.template for _, own in self._waiting if own.template))
        entries = [
            Entry(
                name=name,
                kind=1 + templates.index(own.template) if own.template else 0,
                size=len(own.data),
                checksum=zlib.crc32(own.data),
                step_64=own.step_64,
            )
            for name, own in self._waiting
        ]
        body = b"".join(own.data for _, own in self._waiting)
        if not self._begun:
            self._runs.append(len(self._records))
            self._begun = True
        self._write(pack.CHUNK, pack.write_directory(Directory(entries, templates)), body, len(entries), entries[0].name)
        self._waiting, self._bytes = [], 0

    def add_model(self, model: StoredModel) -> int:
        """Add a model, before all pictures; returns the bytes that it takes."""
        data = pack.write_model(model)
        self._stream.write(data)
        self._records.append(Record(pack.MODEL, self._offset, len(data)))
        self._offset += len(data)
        return len(data)

    def _write(self, kind: int, head: bytes, body: bytes, pictures: int = 0, first: str = "") -> None:
        data = pack.write_record(kind, head, body)
        self._stream.write(data)
        self._records.append(Record(kind, self._offset, len(data), pictures, first))
        self._offset += len(data)

    def finish(self) -> None:
        """Write the last chunk, the index and the footer."""
        self._end_chunk()
        self._stream.write(pack.write_index(self._records, self._runs, self._offset))


def pack_folder(
    packing: Packing,
    source: Path,
    output: Path,
    *,
    jobs: int,
    overwrite: bool,
    append: bool,
    started: Callable[[int], None],
    progress: Callable[[Outcome], None],
) -> Summary:
    """Pack the pictures of the folder `source`; `append`: add them to the pack `output`. No pack is written without pictures.

    `started` and `progress` are those of `run_batch`. Raises InputError, FormatError, OutputError, also for a name that the pack
    has already.
    """
    check_output(output, overwrite=overwrite or append)
    with ExitStack() as stack:
        old = None
        if append:
            with naming(output):
                old_stream = stack.enter_context(open_input(output))
                old = PackFile(old_stream)
                _refuse_names_twice(old, source, packing)
        place = stack.enter_context(_temporary_folder(output))
        made: dict[str, Path] = {}

        def note(outcome: Outcome) -> None:
            if not outcome.error:
                made[Path(outcome.source).relative_to(source).as_posix()] = Path(outcome.output)
            progress(outcome)

        settings = BatchSettings(source=source, output=place / "pictures", conversion=packing, suffix=".part", jobs=jobs)
        summary = run_batch(settings, started, note)
        for name in [name for name in made if not _is_name(name)]:
            del made[name]
            summary.done -= 1
            error = "its name is not UTF-8, or too long for a pack"
            summary.failed.append(Outcome(os.fspath(source / name), "", error=error, exit_code=InputError.exit_code))
        if made:
            old_bytes = old.end if old else 0
            with output_errors(output), open(place / "pack", "w+b") as stream:
                if old:
                    _copy(old_stream, stream, old_bytes)
                else:
                    stream.write(pack.HEAD)
                writer = PackWriter(stream, old)
                if packing.embed_model:  # before the pictures: a pack that is cut keeps it
                    pictures = (_from_bytes(path.read_bytes()) for path in made.values())
                    file_ids = {packed.model_id_of(own, packing.max_pixels) for own in pictures}
                    summary.notes += [(os.fspath(output), note) for note in _add_models(writer, file_ids, packing, old)]
                for name in sorted(made, key=lambda name: name.encode()):
                    writer.add(name, _from_bytes(made[name].read_bytes()))
                writer.finish()
                stream.flush()
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                    summary.bytes_out = len(view) - old_bytes
                    write_atomic(output, view, overwrite=overwrite or append)
    return summary


def _add_models(writer: PackWriter, file_ids: set[bytes], packing: Packing, old: PackFile | None) -> list[str]:
    """Add the models that files name, unless the pack has them; returns notes on them."""
    there, notes = {stored.model_id for stored in old.models()} if old else set(), list[str]()
    for file_id in sorted(file_ids - {b""}):
        model = packing.model_with(file_id)
        if model is None or isinstance(model, BuiltIn):
            notes.append(f"model {file_id.hex()} is not installed, and not in the pack")
        elif model.file_id not in there:
            there.add(model.file_id)
            count = writer.add_model(StoredModel(model.file_id, write_embedded(model)))
            notes.append(f"model {model.name} takes {count:,} bytes of the pack")
    return notes


def _refuse_names_twice(old: PackFile, source: Path, packing: Packing) -> None:
    """Raise OutputError if a picture of the folder has the name of one of the pack."""
    for job in find_jobs(source, source / "none", "", packing.why_not).jobs:
        name = job.source.relative_to(source).as_posix()
        if _is_name(name) and old.find(name):
            raise OutputError(f"it has a picture {printable(name)!r} already")


def _is_name(name: str) -> bool:
    try:
        pack.check_name(name)
    except CorruptError:
        return False
    return True


def _copy(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copy the first `count` bytes."""
    source.seek(0)
    while count and (piece := source.read(min(count, _PIECE_BYTES))):
        target.write(piece)
        count -= len(piece)


@contextmanager
def _temporary_folder(output: Path) -> Iterator[Path]:
    """A folder beside the output that is removed at the end of the block, also by a signal."""
    folder = output.parent / f".{os.urandom(8).hex()}.tmp"
    with termination_raises():
        try:
            with output_errors(output):
                folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
