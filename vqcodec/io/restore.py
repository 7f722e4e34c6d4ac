"""Picture files denoised, repaired or generated; complete or not at all."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import generation, pictures
from vqcodec.codec.denoising import MIN_SIGMA
from vqcodec.io.convert import Converted, bytes_of, output_format, picture_file, read_picture, result_of
from vqcodec.io.files import STREAM, attributes_of, check_new_folder, check_output, naming, new_folder, write_atomic
from vqcodec.io.image_reader import read_opaque
from vqcodec.weights import registry

GENERATED: Final = "generated.json"
"""File in a folder of generated pictures with the settings of the generation and the class of each picture."""


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """Settings of `denoise`; `sigma` in grey levels, None: estimated."""

    model: str | None = None
    sigma: float | None = None
    threads: int | None = None
    max_pixels: int = MAX_PIXELS

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Denoise a picture. The notes state sigma. Raises InputError, ModelError, LimitError, OutputError."""
        picture_format = output_format(output)
        check_output(output, overwrite=overwrite, source=source)
        attributes, bytes_in = attributes_of(source, keep_times=False), bytes_of(source)
        with naming(source):
            image = read_picture(source, self.max_pixels)
            start = time.perf_counter()
            sigma = pictures.estimate_sigma(image.pixels) if self.sigma is None else self.sigma
            note = f"sigma {sigma:.1f} grey levels, {'given' if self.sigma is not None else 'estimated'}"
            if sigma < MIN_SIGMA:
                note += ": too little to remove, the picture is unchanged"
            pixels = pictures.denoise(image.pixels, registry.find_denoiser(self.model), sigma, self.threads)
            seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            picture = picture_file(pixels, picture_format, image.metadata)
        write_atomic(output, picture.data, overwrite=overwrite, attributes=attributes)
        return result_of(pixels, bytes_in, len(picture.data), seconds, (*image.notes, note, *picture.notes))


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Settings of `repair`: pixels that are white in the picture `mask` are drawn from a token prior."""

    mask: Path
    prior: str
    label: str | None
    temperature: float
    seed: int
    threads: int | None = None
    max_pixels: int = MAX_PIXELS

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        """Repair a picture. Raises ModelError, InputError, LimitError, OutputError."""
        picture_format = output_format(output)
        for path in (source, self.mask):
            check_output(output, overwrite=overwrite, source=path)
        attributes, bytes_in = attributes_of(source, keep_times=False), bytes_of(source)
        with naming(self.mask):
            white = read_opaque(self.mask, max_pixels=self.max_pixels)
        hidden = white.reshape(*white.shape[:2], -1).mean(axis=2) >= 128
        with naming(source):
            image = read_picture(source, self.max_pixels)
            start = time.perf_counter()
            prior, model = registry.find_prior(self.prior)
            repaired = pictures.repair(
                image.pixels,
                hidden,
                prior,
                model,
                label=self.label,
                temperature=self.temperature,
                seed=self.seed,
                threads=self.threads,
            )
            seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            picture = picture_file(repaired, picture_format, image.metadata)
        write_atomic(output, picture.data, overwrite=overwrite, attributes=attributes)
        notes = image.notes + picture.notes
        if picture_format == "JPEG":
            notes += ("JPEG changes all pixels slightly: .png keeps the pixels that were not repaired",)
        if not hidden.any():
            notes += ("the mask has no white pixel: nothing was repaired",)
        return result_of(repaired, bytes_in, len(picture.data), seconds, notes)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Settings of `generate`; `model` is the name or folder of a token prior."""

    model: str
    label: str | None
    temperature: float
    guidance: float
    seed: int

    def draw(self, count: int) -> pictures.Generated:
        """Pictures and their labels. Raises ModelError, InputError."""
        prior, model = registry.find_prior(self.model)
        return pictures.generate(
            prior,
            model,
            count,
            label=self.label,
            temperature=self.temperature,
            guidance=self.guidance,
            seed=self.seed,
        )

    def write(self, output: Path, count: int, *, overwrite: bool) -> Converted:
        """Write a contact sheet if `output` has a suffix or is a stream, else a folder of pictures with a list of them.

        The result describes the sheet, or the first picture and the bytes of all. Raises ModelError, InputError, OutputError.
        """
        if output == STREAM or output.suffix:
            return self._write_sheet(output, count, overwrite=overwrite)
        return self._write_folder(output, count, overwrite=overwrite)

    def _write_sheet(self, output: Path, count: int, *, overwrite: bool) -> Converted:
        """Draw pictures and write them as one contact sheet."""
        start = time.perf_counter()
        picture_format = output_format(output)
        check_output(output, overwrite=overwrite)
        drawn = self.draw(count)
        sheet = generation.contact_sheet(drawn.pictures, drawn.labels)
        seconds = time.perf_counter() - start
        with naming(output, "standard output"):
            data = picture_file(sheet, picture_format).data
        write_atomic(output, data, overwrite=overwrite)
        return result_of(sheet, 0, len(data), seconds)

    def _write_folder(self, output: Path, count: int, *, overwrite: bool) -> Converted:
        """Draw pictures and write a folder with one PNG each, and GENERATED."""
        start = time.perf_counter()
        check_new_folder(output, overwrite=overwrite, marker=GENERATED, known=["*.png"])
        drawn = self.draw(count)
        seconds = time.perf_counter() - start
        digits = max(3, len(str(count - 1)))
        names = [f"{number:0{digits}}{_name_part(label)}.png" for number, label in enumerate(drawn.labels)]
        bytes_out = 0
        with new_folder(output, overwrite=overwrite, marker=GENERATED, known=["*.png"]) as folder:
            for name, pixels in zip(names, drawn.pictures, strict=True):
                bytes_out += (folder / name).write_bytes(picture_file(pixels, "PNG").data)
            facts = asdict(self) | {"pictures": dict(zip(names, drawn.labels, strict=True))}
            (folder / GENERATED).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return result_of(drawn.pictures[0], 0, bytes_out, seconds)


def _name_part(label: str) -> str:
    """A label as part of a file name; it comes from a model.json, which is not trusted."""
    return "-" + re.sub(r"[^\w.-]", "_", label)[:50] if label else ""
