"""Conversions of one file or stream to another for `encode` and `decode`, and of each file of a folder (batch.py).

Modules that only one of the two needs are imported in functions: start-up is most of the time for a small picture.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from vqcodec.arrays import Pixels
from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import pipeline, refinement
from vqcodec.codec.reader import Reader
from vqcodec.errors import FormatError, InputError
from vqcodec.format import container
from vqcodec.format.header import Header, Metadata
from vqcodec.io.files import (
    STREAM,
    attributes_of,
    check_output,
    name_of,
    naming,
    open_input,
    seekable,
    write_atomic,
)
from vqcodec.io.kinds import HEAD_BYTES, VQZ, kind_of, lossy_kind, why_not_vqz
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.weights import registry
from vqcodec.weights.kinds import profiles_of

if TYPE_CHECKING:
    from vqcodec.io.image_reader import ImageData


class Converted(NamedTuple):
    """The result for one file. `seconds` is the time of coding only; `bytes_in` is 0 for a stream.

    `grew`: the .vqz file is larger than its source. `lossless`: it was made from pixels that it holds exactly.
    """

    width: int
    height: int
    channels: int
    bytes_in: int
    bytes_out: int
    seconds: float
    notes: tuple[str, ...]
    grew: bool = False
    lossless: bool = False


class Conversion(Protocol):
    """A conversion of files with its options: Encoding or Decoding."""

    @property
    def inputs(self) -> str:
        """Plural noun for the input files."""
        ...

    def why_not(self, path: Path) -> str:
        """The reason why a file of a folder is not converted; empty if it is."""
        ...

    def on_one_core(self) -> Self:
        """This conversion with one core, unless a number of cores is set."""
        ...

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Convert one file. The output appears complete or not at all. Raises VqcodecError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Picture files to .vqz files."""

    options: EncodeOptions
    model: str | None = None
    strip: bool = False
    """Leave out the metadata."""
    embed_model: bool = False
    """Put the model into the file."""
    keep_times: bool = False
    """Copy access and modification times from source to output."""
    max_pixels: int = MAX_PIXELS

    inputs = "pictures"

    def why_not(self, path: Path) -> str:
        from vqcodec.io.jobs import why_not_encoded

        return why_not_encoded(path)

    def on_one_core(self) -> Encoding:
        return replace(self, options=replace(self.options, threads=self.options.threads or 1))

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Encode a picture. Raises InputError, ModelError, LimitError, OutputError."""
        check_output(output, overwrite=overwrite, source=source)
        attributes, bytes_in = attributes_of(source, keep_times=self.keep_times), bytes_of(source)
        with naming(source):
            image = read_picture(source, self.max_pixels)
            start = time.perf_counter()
            model = registry.find_for_encoding(self.model, lossless=self.options.lossless)
            data = pipeline.encode(image.pixels, model, self.options, None if self.strip else image.metadata)
            seconds = time.perf_counter() - start
        header = container.read_header(data, self.max_pixels).header
        notes, grew = image.notes, 0 < bytes_in < len(data)
        if self.embed_model:
            from vqcodec.codec.embedding import with_model

            alone, data = len(data), with_model(data, model, self.max_pixels)
            notes += (f"model {model.name} takes {len(data) - alone:,} bytes of the file",) if len(data) > alone else ()
        if grew:
            notes += (self._note_on_growth(source, bytes_in, header),)
        write_atomic(output, data, overwrite=overwrite, attributes=attributes)
        return result_of(image.pixels, bytes_in, len(data), seconds, notes)._replace(grew=grew, lossless=header.lossless)

    def _note_on_growth(self, source: Path, bytes_in: int, header: Header) -> str:
        """A note for a .vqz file that is larger than its source."""
        larger = f"larger than its source ({bytes_in:,} bytes)"
        if not self.options.lossless:
            if header.lossless:
                return f"{larger}, but exact: try a higher --effort, or keep the original"
            return f"{larger}: try a lower -q, or keep the original"
        with open_input(source) as stream:
            kind = lossy_kind(source.name, stream.read(HEAD_BYTES))
        if kind:
            return f"{larger}, as lossless copies of {kind} files are: leave out --lossless, or keep the original"
        return f"{larger}: try a higher --effort, or keep the original"


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """.vqz files to picture files, in the format of the output's name."""

    options: DecodeOptions
    model: str | None = None
    refiner: str | None = None
    allow_partial: bool = False
    quality: int | None = None
    """Quality 0..100 of JPEG and WebP outputs."""
    keep_times: bool = False
    """Copy access and modification times from source to output."""
    max_pixels: int = MAX_PIXELS

    inputs = ".vqz files"

    def why_not(self, path: Path) -> str:
        from vqcodec.io.jobs import why_not_decoded

        return why_not_decoded(path)

    def on_one_core(self) -> Decoding:
        return replace(self, options=replace(self.options, threads=self.options.threads or 1))

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Decode a file. Raises FormatError, ModelError, LimitError, OutputError, InputError, MissingExtraError."""
        picture_format = output_format(output)
        check_output(output, overwrite=overwrite, source=source)
        attributes, bytes_in = attributes_of(source, keep_times=self.keep_times), bytes_of(source)
        start = time.perf_counter()
        with naming(source), open_input(source) as stream:
            kind = kind_of("", stream.peek(HEAD_BYTES))  # type: ignore[attr-defined]  # open_input buffers
            if kind.name and kind != VQZ:
                raise FormatError(why_not_vqz(kind))
            reader = Reader(seekable(stream, self.max_pixels), max_pixels=self.max_pixels, allow_partial=self.allow_partial)
            if self.options.region is None and self.options.scale == 1 and not self.allow_partial:
                reader.file.check()
            model_id = reader.header.model_id  # b"" if the file needs no model
            model = reader.model(registry.find_for_decoding(self.model) if self.model and model_id else None)
            refiner = registry.find_refiner(self.refiner) if refinement.uses_refiner(self.options, reader.header) else None
            pixels = pipeline.read(reader, model, self.options, refiner)
            metadata = reader.read_metadata(profiles_of(model))
        seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            picture = picture_file(pixels, picture_format, metadata, self.quality)
        write_atomic(output, picture.data, overwrite=overwrite, attributes=attributes)
        lost = len(reader.lost)
        damage = (f"{lost} of {len(reader.header.groups)} tile groups were damaged",) if lost else ()
        return result_of(pixels, bytes_in, len(picture.data), seconds, (*reader.notes, *damage, *picture.notes))


class PictureFile(NamedTuple):
    """The bytes of a picture file, and notes on metadata that is dropped."""

    data: bytes
    notes: tuple[str, ...]


def picture_file(pixels: Pixels, picture_format: str, metadata: Metadata | None = None, quality: int | None = None) -> PictureFile:
    """A picture file in memory. Raises OutputError for pixels that the format cannot hold."""
    from vqcodec.io.image_writer import write_image

    stream = io.BytesIO()
    with progress.stage("writing"):
        notes = write_image(pixels, stream, format=picture_format, metadata=metadata, quality=quality)
    return PictureFile(stream.getvalue(), notes)


def read_picture(source: Path, max_pixels: int) -> ImageData:
    """The picture in a file or stream. Raises LimitError, and InputError, which names the kind of a file that is not a picture."""
    from vqcodec.io.image_reader import read_image, why_not_read

    with open_input(source) as stream, progress.stage("reading"):
        if reason := why_not_read(source.name, stream.peek(HEAD_BYTES)):  # type: ignore[attr-defined]  # open_input buffers
            raise InputError(reason)
        return read_image(stream, name=name_of(source), max_pixels=max_pixels)


def output_format(output: Path) -> str:
    """The picture format for an output. Raises OutputError for an unknown suffix."""
    from vqcodec.io.image_writer import format_of

    with naming(output, "standard output"):
        return format_of(output)


def result_of(pixels: Pixels, bytes_in: int, bytes_out: int, seconds: float, notes: tuple[str, ...] = ()) -> Converted:
    """The result for these pixels."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Converted(width, height, channels, bytes_in, bytes_out, seconds, notes)


def bytes_of(source: Path) -> int:
    """Size of a file; 0 for a stream."""
    return source.stat().st_size if source != STREAM and source.is_file() else 0
