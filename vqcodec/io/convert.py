"""Conversions of one file or stream to another, for the commands `encode`, `decode`, `denoise`, `generate` and `repair`.

`encode` and `decode` also convert each file of a folder by them (batch.py).
"""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

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
"""File in a folder of generated pictures with the prior, the options, and the class of each picture."""


@dataclass(frozen=True)
class Converted:
    """The result for one file. `seconds` is the time of coding only; `bytes_in` is 0 for a stream; `grew`: the .vqz file is larger
    than its source."""

    width: int
    height: int
    channels: int
    bytes_in: int
    bytes_out: int
    seconds: float
    notes: tuple[str, ...]
    grew: bool = False


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
    keep_times: bool = False
    """Copy access and modification times from source to output."""
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
            picture = _written(pixels, picture_format, metadata, self.quality)
        write_atomic(output, picture.data, overwrite=overwrite, attributes=attributes)
        lost = len(reader.lost)
        damage = (f"{lost} of {len(reader.header.groups)} tile groups were damaged",) if lost else ()
        return _converted(pixels, bytes_in, len(picture.data), seconds, (*reader.notes, *damage, *picture.notes))


def generate_files(
    prior: str,
    output: Path,
    count: int,
    *,
    label: str | None,
    temperature: float,
    guidance: float,
    seed: int,
    overwrite: bool,
) -> Converted:
    """Write pictures generated by a token prior (api.generate): one contact sheet if `output` has a suffix, else a folder with a
    file for each picture and a list of them. For a folder the result has the size of one picture and the bytes of all.

    Raises ModelError, InputError, OutputError.
    """
    one_sheet = output == STREAM or bool(output.suffix)
    picture_format = _format_of(output) if one_sheet else "PNG"
    if one_sheet:
        check_output(output, overwrite=overwrite)
    else:
        check_new_folder(output, overwrite=overwrite, marker=GENERATED, known=["*.png"])
    start = time.perf_counter()
    pictures, labels = api.generate(count, prior=prior, label=label, temperature=temperature, guidance=guidance, seed=seed)
    if one_sheet:
        sheet = generation.contact_sheet(pictures, labels)
        seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            data = _written(sheet, picture_format).data
        write_atomic(output, data, overwrite=overwrite)
        return _converted(sheet, 0, len(data), seconds)
    seconds = time.perf_counter() - start
    digits = max(3, len(str(count - 1)))
    names = [f"{number:0{digits}}{_name_part(label)}.png" for number, label in enumerate(labels)]
    bytes_out = 0
    with new_folder(output, overwrite=overwrite, marker=GENERATED, known=["*.png"]) as folder:
        for name, pixels in zip(names, pictures, strict=True):
            bytes_out += (folder / name).write_bytes(_written(pixels, picture_format).data)
        facts: dict[str, object] = {"model": prior, "label": label, "temperature": temperature, "guidance": guidance, "seed": seed}
        facts["pictures"] = dict(zip(names, labels, strict=True))
        (folder / GENERATED).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return _converted(pictures[0], 0, bytes_out, seconds)


def _name_part(label: str) -> str:
    """A class name for a file name. It comes from a model.json, which is not trusted."""
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
    """Write a picture in which the pixels that are white in the picture `mask` are generated by a token prior (api.repair).

    Raises ModelError, InputError, LimitError, OutputError.
    """
    picture_format = _format_of(output)
    for read in (source, mask):
        check_output(output, overwrite=overwrite, source=read)
    attributes, bytes_in = attributes_of(source, keep_times=False), _size_of(source)
    with naming(mask):
        white = read_opaque(mask, max_pixels=max_pixels)
    hidden = white.reshape(*white.shape[:2], -1).mean(axis=2) >= 128
    with naming(source):
        image = _read(source, max_pixels)
        start = time.perf_counter()
        repaired = api.repair(image.pixels, hidden, prior=prior, label=label, temperature=temperature, seed=seed, threads=threads)
        seconds = time.perf_counter() - start
    with naming(output, "standard output"):
        picture = _written(repaired, picture_format, image.metadata)
    write_atomic(output, picture.data, overwrite=overwrite, attributes=attributes)
    notes = image.notes + picture.notes
    if picture_format == "JPEG":
        notes += ("JPEG changes all pixels slightly: .png keeps the pixels that were not repaired",)
    if not hidden.any():
        notes += ("the mask has no white pixel: nothing was repaired",)
    return _converted(repaired, bytes_in, len(picture.data), seconds, notes)


class _Written(NamedTuple):
    """The bytes of a picture file, and notes on metadata that is dropped."""

    data: bytes
    notes: tuple[str, ...]


def _written(pixels: Pixels, picture_format: str, metadata: Metadata | None = None, quality: int | None = None) -> _Written:
    stream = io.BytesIO()
    with progress.stage("writing"):
        notes = write_image(pixels, stream, format=picture_format, metadata=metadata, quality=quality)
    return _Written(stream.getvalue(), notes)


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
    """Write a picture with less noise (api.denoise), in the format of the output's name.

    `sigma` is in grey levels; None is estimated. The notes state it. Raises InputError, ModelError, LimitError, OutputError.
    """
    picture_format = _format_of(output)
    check_output(output, overwrite=overwrite, source=source)
    attributes, bytes_in = attributes_of(source, keep_times=False), _size_of(source)
    origin = "given" if sigma is not None else "estimated"
    with naming(source):
        image = _read(source, max_pixels)
        start = time.perf_counter()
        sigma = api.estimate_sigma(image.pixels) if sigma is None else sigma
        sigma_note = f"sigma {sigma:.1f} grey levels, {origin}"
        if sigma < MIN_SIGMA:
            sigma_note += ": too little to remove, the picture is unchanged"
        pixels = api.denoise(image.pixels, model=model, sigma=sigma, threads=threads)
        seconds = time.perf_counter() - start
    with naming(output, "standard output"):
        picture = _written(pixels, picture_format, image.metadata)
    write_atomic(output, picture.data, overwrite=overwrite, attributes=attributes)
    return _converted(pixels, bytes_in, len(picture.data), seconds, (*image.notes, sigma_note, *picture.notes))


def _read(source: Path, max_pixels: int) -> ImageData:
    """The picture in a file or stream. Raises InputError, with the kind of the file if it is not a readable picture, and
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
