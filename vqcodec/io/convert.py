"""One file to another: what `encode`, `decode`, `denoise`, `generate` and `repair` do with a file or a stream, and the first two
with each file of a folder (batch.py)."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

from vqcodec import api
from vqcodec.arrays import Pixels
from vqcodec.codec import generation, pipeline, refinement
from vqcodec.codec.denoising import MIN_SIGMA
from vqcodec.codec.reader import Reader
from vqcodec.errors import FormatError, InputError
from vqcodec.format.header import MAX_PIXELS, Metadata
from vqcodec.io.files import (
    STREAM,
    attributes_of,
    check_new_folder,
    check_output,
    name_of,
    naming,
    new_folder,
    open_input,
    seekable,
    write_atomic,
)
from vqcodec.io.image_reader import ImageData, read_image, read_opaque, why_not_read
from vqcodec.io.image_writer import format_of, write_image
from vqcodec.io.jobs import why_not_decoded, why_not_encoded
from vqcodec.io.kinds import HEAD_BYTES, VQZ, kind_of
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.weights import registry

GENERATED: Final = "generated.json"
"""In a folder of generated pictures: what made them, and the class of each."""


@dataclass(frozen=True)
class Converted:
    """The result for one file. `seconds` are those of coding alone; `bytes_in` is 0 for a stream; `grew`: it was encoded, and is
    larger than its source."""

    width: int
    height: int
    channels: int
    bytes_in: int
    bytes_out: int
    seconds: float
    notes: tuple[str, ...]
    grew: bool = False


class Conversion(Protocol):
    """How files of one kind become files of the other."""

    @property
    def inputs(self) -> str:
        """Noun for the files that it reads."""
        ...

    def why_not(self, path: Path) -> str:
        """The reason for which a file of a folder is not converted; empty if it is."""
        ...

    def on_one_core(self) -> Self:
        """The same, with one core if no number of cores is set."""
        ...

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Convert one file, complete or not at all. Raises VqcodecErrors."""
        ...


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Picture files to .vqz files."""

    options: EncodeOptions
    model: str | None = None
    strip: bool = False
    """Leave out the metadata."""
    keep_times: bool = False
    """Give outputs the times of their sources."""
    max_pixels: int = MAX_PIXELS

    inputs = "pictures"

    def why_not(self, path: Path) -> str:
        return why_not_encoded(path)

    def on_one_core(self) -> Encoding:
        return replace(self, options=replace(self.options, threads=self.options.threads or 1))

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Encode a picture. Raises InputError, ModelError, LimitError, OutputError."""
        check_output(output, overwrite=overwrite, source=source)
        attributes, bytes_in = attributes_of(source, keep_times=self.keep_times), _size_of(source)
        with naming(source):
            image = _read(source, self.max_pixels)
            start = time.perf_counter()
            model, metadata = registry.find_any(self.model), None if self.strip else image.metadata
            data = pipeline.encode(image.pixels, model, self.options, metadata)
            seconds = time.perf_counter() - start
        write_atomic(output, data, overwrite=overwrite, attributes=attributes)
        notes, grew = image.notes, 0 < bytes_in < len(data)
        if grew:
            notes += (f"larger than its source ({bytes_in:,} bytes): try a lower -q, or keep the original",)
        return _converted(image.pixels, bytes_in, len(data), seconds, notes, grew=grew)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """.vqz files to picture files, of the format that the name of the output asks for."""

    options: DecodeOptions
    model: str | None = None
    refiner: str | None = None
    allow_partial: bool = False
    quality: int | None = None
    """Quality 0..100 of JPEG and WebP outputs."""
    keep_times: bool = False
    """Give outputs the times of their sources."""
    max_pixels: int = MAX_PIXELS

    inputs = ".vqz files"

    def why_not(self, path: Path) -> str:
        return why_not_decoded(path)

    def on_one_core(self) -> Decoding:
        return replace(self, options=replace(self.options, threads=self.options.threads or 1))

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Decode a file. Raises FormatError, ModelError, LimitError, OutputError, InputError, MissingExtraError."""
        picture_format = _format_of(output)
        check_output(output, overwrite=overwrite, source=source)
        attributes, bytes_in = attributes_of(source, keep_times=self.keep_times), _size_of(source)
        start = time.perf_counter()
        with naming(source), open_input(source) as stream:
            kind = kind_of("", stream.peek(HEAD_BYTES))  # type: ignore[attr-defined]  # open_input buffers
            if kind.name and kind != VQZ:
                raise FormatError(f"not a .vqz file ({kind.name})")
            reader = Reader(seekable(stream, self.max_pixels), max_pixels=self.max_pixels, allow_partial=self.allow_partial)
            if self.options.region is None and self.options.scale == 1 and not self.allow_partial:
                reader.file.check()
            model = registry.find_by_id(reader.header.model_id) if self.model is None else registry.find_any(self.model)
            refiner = registry.find_refiner(self.refiner) if refinement.uses_refiner(self.options, reader.header) else None
            pixels = pipeline.decode(reader, model, self.options, refiner)
            metadata = reader.read_metadata()
        seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            picture, left_out = _written(pixels, picture_format, metadata, self.quality)
        write_atomic(output, picture, overwrite=overwrite, attributes=attributes)
        lost = len(reader.lost)
        damage = (f"{lost} of {len(reader.header.groups)} tile groups were damaged",) if lost else ()
        return _converted(pixels, bytes_in, len(picture), seconds, (*reader.notes, *damage, *left_out))


def generate_files(
    prior: str, output: Path, count: int, label: str | None, temperature: float, guidance: float, seed: int, *, overwrite: bool
) -> Converted:
    """Pictures that a token prior makes up (api.generate): side by side in one where `output` has a suffix, else each in a file of
    that folder, with a list of them; the result is then about one picture and the bytes of all.

    Raises ModelError, InputError, OutputError.
    """
    options: dict[str, Any] = {"label": label, "temperature": temperature, "guidance": guidance, "seed": seed}
    start = time.perf_counter()
    if output == STREAM or output.suffix:
        picture_format = _format_of(output)
        check_output(output, overwrite=overwrite)
        pictures, labels = api.generate(count, prior=prior, **options)
        sheet = generation.contact_sheet(pictures, labels)
        seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            data = _written(sheet, picture_format)[0]
        write_atomic(output, data, overwrite=overwrite)
        return _converted(sheet, 0, len(data), seconds)
    check_new_folder(output, overwrite=overwrite, marker=GENERATED, known=["*.png"])
    pictures, labels = api.generate(count, prior=prior, **options)
    seconds = time.perf_counter() - start
    digits = max(3, len(str(count - 1)))
    names = [f"{number:0{digits}}{_in_names(label)}.png" for number, label in enumerate(labels)]
    bytes_out = 0
    with new_folder(output, overwrite=overwrite, marker=GENERATED, known=["*.png"]) as folder:
        for name, pixels in zip(names, pictures, strict=True):
            bytes_out += (folder / name).write_bytes(_written(pixels, "PNG")[0])
        facts = {"model": prior, **options, "pictures": dict(zip(names, labels, strict=True))}
        (folder / GENERATED).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return _converted(pictures[0], 0, bytes_out, seconds)


def _in_names(label: str) -> str:
    """A class's name as names of files have it: it comes from a model.json, which nobody has checked."""
    return "-" + re.sub(r"[^\w.-]", "_", label)[:50] if label else ""


def repair_file(
    source: Path,
    output: Path,
    mask: Path,
    prior: str,
    *,
    label: str | None,
    temperature: float,
    seed: int,
    threads: int | None,
    max_pixels: int,
    overwrite: bool,
) -> Converted:
    """A picture with what is white in the picture `mask` made up by a token prior (api.repair).

    Raises ModelError, InputError, LimitError, OutputError.
    """
    picture_format = _format_of(output)
    for read in (source, mask):
        check_output(output, overwrite=overwrite, source=read)
    attributes, bytes_in = attributes_of(source, keep_times=False), _size_of(source)
    with naming(mask):
        white = read_opaque(mask, max_pixels=max_pixels)
    hidden = white.reshape(*white.shape[:2], -1).mean(axis=2) >= 128
    options: dict[str, Any] = {"label": label, "temperature": temperature, "seed": seed, "threads": threads}
    with naming(source):
        image = _read(source, max_pixels)
        start = time.perf_counter()
        mended = api.repair(image.pixels, hidden, prior=prior, **options)
        seconds = time.perf_counter() - start
    with naming(output, "standard output"):
        data, left_out = _written(mended, picture_format, image.metadata)
    write_atomic(output, data, overwrite=overwrite, attributes=attributes)
    notes = image.notes + left_out
    if picture_format == "JPEG":
        notes += ("JPEG changes all pixels a little: .png keeps what was not repaired as it was",)
    if not hidden.any():
        notes += ("the mask has no white: the picture is as it was",)
    return _converted(mended, bytes_in, len(data), seconds, notes)


def _written(
    pixels: Pixels, picture_format: str, metadata: Metadata | None = None, quality: int | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a picture, and notes of what was left out."""
    stream = io.BytesIO()
    with progress.stage("writing"):
        notes = write_image(pixels, stream, format=picture_format, metadata=metadata, quality=quality)
    return stream.getvalue(), notes


def denoise_file(
    source: Path,
    output: Path,
    model: str | None,
    sigma: float | None,
    *,
    threads: int | None,
    max_pixels: int,
    overwrite: bool,
) -> Converted:
    """A picture to one with less noise, of the format that the name of `output` asks for, complete or not at all.

    `sigma` None is estimated; the notes tell it. Raises InputError, ModelError, LimitError, OutputError.
    """
    picture_format = _format_of(output)
    check_output(output, overwrite=overwrite, source=source)
    attributes, bytes_in = attributes_of(source, keep_times=False), _size_of(source)
    how = "given" if sigma is not None else "estimated"
    with naming(source):
        image = _read(source, max_pixels)
        start = time.perf_counter()
        sigma = api.estimate_sigma(image.pixels) if sigma is None else sigma
        told = f"sigma {sigma:.1f} grey levels, {how}"
        if sigma < MIN_SIGMA:
            told += ": too little to take out, the picture stays as it is"
        pixels = api.denoise(image.pixels, model=model, sigma=sigma, threads=threads)
        seconds = time.perf_counter() - start
    with naming(output, "standard output"):
        picture, left_out = _written(pixels, picture_format, image.metadata)
    write_atomic(output, picture, overwrite=overwrite, attributes=attributes)
    return _converted(pixels, bytes_in, len(picture), seconds, (*image.notes, told, *left_out))


def _read(source: Path, max_pixels: int) -> ImageData:
    """The picture in a file or stream. Raises InputError, which says what there is instead of a picture that can be read;
    LimitError."""
    with open_input(source) as stream, progress.stage("reading"):
        if reason := why_not_read(source.name, stream.peek(HEAD_BYTES)):  # type: ignore[attr-defined]  # open_input buffers
            raise InputError(reason)
        return read_image(stream, name=name_of(source), max_pixels=max_pixels)


def _format_of(output: Path) -> str:
    with naming(output, "standard output"):
        return format_of(output)


def _converted(
    pixels: Pixels, bytes_in: int, bytes_out: int, seconds: float, notes: tuple[str, ...] = (), *, grew: bool = False
) -> Converted:
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Converted(width, height, channels, bytes_in, bytes_out, seconds, notes, grew)


def _size_of(source: Path) -> int:
    return source.stat().st_size if source != STREAM and source.is_file() else 0
