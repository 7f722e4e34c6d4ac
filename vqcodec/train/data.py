"""The corpus: images of a folder (recursive, with its .tar files), a .tar or an idx file, and the fixed held-out tenth."""

from __future__ import annotations

import hashlib
import io
import itertools
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.errors import InputError, VqcodecError
from vqcodec.format.container import VERSION
from vqcodec.io.files import why_no_file
from vqcodec.io.image_reader import read_opaque, why_not_read
from vqcodec.io.kinds import HEAD_BYTES
from vqcodec.train import idx
from vqcodec.train.watch import Progress

_SKIPPED_NAMED: Final = 20
"""Skipped files that model.json names."""
MAX_SIDE: Final = 1024
"""Side in pixels above which only the middle of an image is used, so that no large image dominates."""
LEAST_HELD_OUT: Final = 65_536
LEAST_TRAINED_ON: Final = 262_144
"""Least number of pixels: with fewer held-out ones a gain is chance, and fewer to train on teach almost nothing."""
_ARCHIVE: Final = ".tar"
_LICENCE_NAMES: Final = ("license", "licence", "copying")


def identity(model_id: str, kind: str, paths: tuple[Path, Path], options: dict[str, object]) -> dict[str, Any]:
    """First entries of model.json: the model, and the command that makes it from the folder and output `paths`."""
    folder, output = paths
    words = {name: value.name if isinstance(value, Path) else value for name, value in options.items() if value is not None}
    given = [f"--{name}" if value is True else f"--{name} {value}" for name, value in words.items()]
    return {
        "name": output.name,
        "kind": kind,
        "format": ".".join(map(str, VERSION)),
        "id": model_id,
        "command": " ".join(["vqcodec train", folder.name, "-o", output.name, *given]),
    }


@dataclass(frozen=True)
class TrainingImage:
    """An image of the corpus: its name within the folder, its pixels uint8 [H, W, 1 or 3], and its ICC profile if it was kept."""

    name: str
    pixels: UInt8
    icc: bytes = b""


class Skipped(NamedTuple):
    """A file that is left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Corpus:
    """The images of a folder, split, and the files that are not images or cannot be used."""

    train: list[TrainingImage]
    held_out: list[TrainingImage]
    skipped: list[Skipped]
    licences: dict[str, str]
    """First line of every licence file among the images, by name."""

    @property
    def pixels(self) -> int:
        """Number of pixels of all images."""
        return count_pixels(self.train + self.held_out)

    @property
    def shortage(self) -> str:
        """A sentence that says how many pictures are missing; empty if there are enough to train on and to hold out."""
        if count_pixels(self.held_out) >= LEAST_HELD_OUT and count_pixels(self.train) >= LEAST_TRAINED_ON:
            return ""
        count = len(self.train) + len(self.held_out)
        mean = self.pixels / count
        enough = next(
            n
            for n in itertools.count(count + 1)
            if mean * held_out_of(n) >= LEAST_HELD_OUT and mean * (n - held_out_of(n)) >= LEAST_TRAINED_ON
        )
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        return (
            f"{pictures} of {self.pixels} pixels are too few to train on: training needs {LEAST_TRAINED_ON} pixels, and the check"
            f" of the result {LEAST_HELD_OUT} in a tenth of the pictures: add {enough - count} more of this size, or larger ones"
        )

    def facts(self) -> dict[str, Any]:
        """The corpus in model.json."""
        return {
            "images": len(self.train) + len(self.held_out),
            "trained_on": len(self.train),
            "held_out": len(self.held_out),
            "pixels": self.pixels,
            "skipped": len(self.skipped),
            "skipped_files": [f"{one.name}: {one.reason}" for one in self.skipped[:_SKIPPED_NAMED]],
            "licences": self.licences,
        }


def count_pixels(images: list[TrainingImage]) -> int:
    """Number of pixels of the images."""
    return sum(image.pixels.shape[0] * image.pixels.shape[1] for image in images)


def load_corpus(folder: Path, progress: Progress, read_one: Callable[[str, BinaryIO], TrainingImage] | None = None) -> Corpus:
    """Read every image below a folder, or of the image, .tar or gzipped idx file `folder`. Raises InputError if there is none.

    `read_one` reads an image of a name from a stream, and raises InputError for one that is left out; None: `read_middle`.
    """
    if folder.suffix == idx.SUFFIX and folder.is_file():
        parts = split([TrainingImage(one.name, one.pixels) for one in idx.read_pictures(folder)])
        return Corpus(parts.train, parts.held_out, [], {})
    images: list[TrainingImage] = []
    skipped: list[Skipped] = []
    licences: dict[str, str] = {}
    entries = list(_entries(folder, skipped))
    stage = f"reading {len(entries)} files"
    for done, entry in enumerate(entries):
        name, read = entry.name, entry.read
        progress(stage, done, len(entries))
        if PurePath(name).stem.lower() in _LICENCE_NAMES:
            with suppress(OSError, InputError):
                licences[name] = _first_line(read(-1))
            continue
        if PurePath(name).suffix.lower() == _ARCHIVE:
            skipped.append(Skipped(name, "a tar archive that cannot be read"))
            continue
        try:
            if reason := why_not_read(name, read(HEAD_BYTES)):
                skipped.append(Skipped(name, reason))
                continue
            images.append((read_one or read_middle)(name, io.BytesIO(read(-1))))
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be read: {error.strerror}"))
        except VqcodecError as error:
            skipped.append(Skipped(name, str(error)))
    progress(stage, len(entries), len(entries))
    if not images:
        why = f" ({len(skipped)} left out, first {skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise InputError(f"{folder}: no images to train on{why}")
    parts = split(images)
    return Corpus(parts.train, parts.held_out, skipped, licences)


@dataclass(frozen=True)
class _Entry:
    """A file on disk or in an archive; `read` returns its first bytes, or all for -1."""

    name: str
    read: Callable[[int], bytes]


def _entries(folder: Path, skipped: list[Skipped]) -> Iterator[_Entry]:
    """Every file below a folder and inside its .tar files, in order of name.

    Archives that cannot be read, or that lie inside others, count as files. `skipped` gets entries that are not files, and folders
    that cannot be read.
    """
    if not os.path.exists(folder):
        raise InputError(f"{folder}: no such folder")
    for path in sorted(_below(folder, skipped)) if os.path.isdir(folder) else [folder]:
        name = path.name if path == folder else str(path.relative_to(folder))
        if reason := why_no_file(path):
            skipped.append(Skipped(name, reason))
            continue
        members = _members(path) if path.suffix.lower() == _ARCHIVE else None
        if members is None:
            yield _Entry(name, partial(_read_file, path))
        else:
            for member in members:
                member_name = member.name if path == folder else f"{name}/{member.name}"
                yield _Entry(member_name, partial(_read_member, path, member))


def _below(folder: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Paths of everything below a folder except folders; `skipped` gets folders that cannot be read."""

    def cannot_read(error: OSError) -> None:
        skipped.append(Skipped(os.path.relpath(error.filename, folder), f"cannot read the folder: {error.strerror}"))

    for place, _, names in os.walk(folder, onerror=cannot_read):
        yield from (Path(place, name) for name in names)


def _members(path: Path) -> list[tarfile.TarInfo] | None:
    """The files in a tar archive, in order of name; None if it cannot be read."""
    try:
        with _archive_errors(path), tarfile.open(path) as archive:
            return sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
    except InputError:
        return None


def _read_file(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(count)


def _read_member(path: Path, member: tarfile.TarInfo, count: int) -> bytes:
    """The first bytes of a file in an archive. Raises InputError."""
    with _archive_errors(path), tarfile.open(path) as archive:
        stream = archive.extractfile(member)
        if stream is None:
            raise InputError(f"{member.name}: not a file")
        return stream.read(count)


@contextmanager
def _archive_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged archive in the block into InputError."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path.name}: the archive cannot be read: {error}") from error


def _first_line(data: bytes) -> str:
    lines = (line.strip() for line in data.decode("utf-8", "replace").splitlines())
    return next((line[:100] for line in lines if line), "")


def read_middle(name: str, stream: BinaryIO) -> TrainingImage:
    """The middle of an opaque image of 8 bits a sample. Raises InputError, LimitError."""
    pixels = read_opaque(stream)
    return TrainingImage(name, _middle(pixels.reshape(*pixels.shape[:2], -1)))


def _middle(pixels: UInt8) -> UInt8:
    """The middle of an image, at most MAX_SIDE pixels a side."""
    top, left = (max(0, (side - MAX_SIDE) // 2) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + MAX_SIDE, left : left + MAX_SIDE])


def held_out_of(count: int) -> int:
    """Number of held-out pictures among `count`."""
    return max(1, round(count / 10)) if count > 1 else 0


class Split(NamedTuple):
    """Images to train on and held-out ones."""

    train: list[TrainingImage]
    held_out: list[TrainingImage]


def split(images: list[TrainingImage]) -> Split:
    """Hold out a tenth by a hash of the names, so that it is the same in every run, whatever the order."""
    ranked = sorted(images, key=lambda image: hashlib.sha256(os.fsencode(image.name)).digest())
    held = {id(image) for image in ranked[: held_out_of(len(images))]}
    return Split([i for i in images if id(i) not in held], [i for i in images if id(i) in held])
