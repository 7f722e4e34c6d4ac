"""Pixels of rare colours <-> a byte and a part of differences to predictions (index_planes.py has the specification)."""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Int32, Intp, Pixels
from vqcodec.errors import CorruptError
from vqcodec.format import palettes, sample_bytes, zstd_blocks
from vqcodec.format.bits import ByteReader
from vqcodec.transform import rare_colours
from vqcodec.transform.rare_colours import Predictor

_PLANES: Final = 4
_SMALL_BYTES: Final = 1 << 16
"""Differences of rare colours of fewer bytes are compressed in all ways; larger ones are compared at a fast level of zstd."""
_FAST_LEVELS: Final = (5,)
_BAND: Final = 1 << 18
"""Pixels whose differences are made at once."""


def pack_rare(pixels: Pixels, places: Int32, levels: tuple[int, ...]) -> bytes:
    """The byte and the part of rare colours at `places`; the inverse of `unpack_rare`."""
    size = len(places) * pixels.shape[2] * pixels.itemsize
    compared = levels if size <= _SMALL_BYTES else _FAST_LEVELS
    best, head, least = b"", 0, 0
    for predictor in Predictor:
        if predictor == Predictor.PAETH and size > _SMALL_BYTES:
            continue  # screens gain nothing, and each trial takes time
        differences = differences_at(pixels, places, predictor)
        for layout, to_bytes in ((0, sample_bytes.interleaved), (_PLANES, sample_bytes.planes)):
            data = to_bytes(differences)
            found = len(zstd_blocks.compress_whole(data, compared).data)
            if not best or found < least:
                best, head, least = data, predictor & 3 | layout | (predictor & 4) << 1, found
    return bytes((head,)) + palettes.write_part(zstd_blocks.compress_whole(best, levels), 0)


def unpack_rare(reader: ByteReader, pixels: Pixels, places: Intp) -> None:
    """Write the rare colours at `places` into pixels [H, W, C]. Raises TruncatedError, CorruptError."""
    head = reader.byte()
    predictor = head & 3 | (head & 8) >> 1
    if head >> 4 or predictor >= len(Predictor):
        raise CorruptError("corrupt file: an invalid prediction of rare colours")
    components = pixels.shape[2]
    data = palettes.read_part(reader, len(places) * components * pixels.itemsize).tobytes()
    from_bytes = sample_bytes.from_planes if head & _PLANES else sample_bytes.from_interleaved
    rare_colours.fill(pixels, places, from_bytes(data, components, pixels.dtype), Predictor(predictor))


def differences_at(pixels: Pixels, places: Int32, predictor: Predictor) -> Pixels:
    """Differences [n, C] at `places` of pixels [H, W, C], some at a time."""
    found = np.empty((len(places), pixels.shape[2]), pixels.dtype)
    for first in range(0, len(places), _BAND):
        band = slice(first, first + _BAND)
        found[band] = rare_colours.differences(pixels, places[band].astype(np.intp), predictor)
    return found
