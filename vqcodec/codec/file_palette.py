"""The palette of a file's pixel sections, and the number of their samples."""

from __future__ import annotations

import numpy as np

from vqcodec.arrays import Pixels
from vqcodec.codec.reader import Reader
from vqcodec.errors import CorruptError
from vqcodec.format import container, palettes
from vqcodec.format.header import Header
from vqcodec.transform.dct import sample_type
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.transform.palette import FIRST_LEVELS, Palette


def samples_of(header: Header) -> int:
    """Samples of a pixel in pixel sections: alpha is one of them if the file has no layers."""
    return LAYOUTS[header.layout].components + (header.alpha and not header.layers)


def palette_of(reader: Reader) -> Palette:
    """The palette of a file; the empty one if the file has none. Raises FormatError."""
    header = reader.header
    if container.PALETTE not in [entry.type for entry in reader.file.table]:
        return empty_palette(header)
    data, pixels = reader.file.other(container.PALETTE), header.width * header.height
    palette = palettes.unpack_palette(data, samples_of(header), np.dtype(sample_type(header.depth)), pixels)
    check_depth(palette.colours, header.depth)
    return palette


def check_depth(samples: Pixels, depth: int) -> None:
    """Raise CorruptError unless all samples of any shape have at most `depth` bits."""
    if depth > 8 and int(samples.max(initial=0)) >> depth:
        raise CorruptError("corrupt file: a sample has too many bits")


def empty_palette(header: Header) -> Palette:
    """A palette without colours: all colours of graphic pixels are rare."""
    return Palette(np.zeros((0, samples_of(header)), sample_type(header.depth)), FIRST_LEVELS[0], False)
