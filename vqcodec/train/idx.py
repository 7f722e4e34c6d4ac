"""Reader of gzipped idx files, the format of MNIST (LeCun, Cortes, Burges 1998). Images and their labels are separate files.

idx: 00 00, 08 for bytes, the number of dimensions; the dimensions, u32 each, big-endian; the bytes, last dimension fastest
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.checks import MAX_PIXELS
from vqcodec.errors import InputError, printable
from vqcodec.io.files import open_input

SUFFIX: Final = ".gz"
_IMAGES, _LABELS = "images-idx3", "labels-idx1"
"""Parts of the names of files that belong together."""


def read_idx(path: Path, dimensions: int) -> UInt8:
    """The uint8 array in a gzipped idx file. Raises InputError unless its number of dimensions is `dimensions`."""
    name = printable(path)
    with open_input(path) as stream:
        try:
            with gzip.open(stream) as file:
                head = file.read(4 + 4 * dimensions)
                shape = [int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4)]
                if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) != 4 + 4 * dimensions or 0 in shape:
                    raise InputError(f"{name}: not an idx file of bytes in {dimensions} dimensions")
                if math.prod(shape) > MAX_PIXELS:
                    raise InputError(f"{name}: more than {MAX_PIXELS} bytes")
                data = file.read(math.prod(shape) + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{name}: not a gzip file, or damaged") from error
    if len(data) != math.prod(shape):
        raise InputError(f"{name}: its size differs from its header")
    return np.frombuffer(data, np.uint8).reshape(shape)


class IdxPicture(NamedTuple):
    """A picture's name and pixels uint8 [H, W, 1]."""

    name: str
    pixels: UInt8


def read_pictures(path: Path) -> list[IdxPicture]:
    """The pictures in an idx file. With a file of labels beside it, names are `label/number`, as if each class had a folder.

    Raises InputError.
    """
    pictures = read_idx(path, 3)
    labels_path = path.with_name(path.name.replace(_IMAGES, _LABELS))
    if labels_path == path or not labels_path.exists():
        return [IdxPicture(f"{number:06d}", pixels[:, :, None]) for number, pixels in enumerate(pictures)]
    labels = read_idx(labels_path, 1)
    if len(labels) != len(pictures):
        raise InputError(f"{printable(labels_path)}: {len(labels)} labels for {len(pictures)} pictures")
    names = [f"{label}/{number:06d}" for number, label in enumerate(labels)]
    return [IdxPicture(name, pixels[:, :, None]) for name, pixels in zip(names, pictures, strict=True)]
