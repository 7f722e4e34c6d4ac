"""Lossless coding of alpha planes: differences to the samples to the left and above, compressed by zstd.

A plane has soft edges (second differences are small), flat runs (zstd compresses these without prediction), or is constant. One
predictor for the whole plane serves all of these; the encoder takes the one of four that gives the fewest bytes.

    1 byte    bits 0-1: predictor;  bits 2-3: mode, 0 verbatim, 1 zstd frame, 2 block (3 reserved);  bits 4-7: reserved
    bytes     the H * W differences, row by row, stored in that mode (container.py, section 3)

    predictor 0: a(y, x);  1: a(y, x) - a(y, x-1);  2: a(y, x) - a(y-1, x);
              3: a(y, x) - a(y, x-1) - a(y-1, x) + a(y-1, x-1);  all modulo 256, with a = 0 outside the plane

A deep alpha plane has samples of 10, 12 or 16 bits, like its file. Bit 4 of its first byte, which is not reserved here, says that
all samples are multiples of 257, as where 8 bits were widened to 16: a plane of 8 bits follows, coded as above, and the samples are
257 times its own. Without bit 4 the differences are modulo 65536, and 2 * H * W bytes are stored: the high bytes of all
differences, then the low bytes of all. A sample of 2**depth or more is an error.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Pixels, UInt8, UInt16
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.zstd_blocks import Mode, StoredPart

_MODES: Final = (Mode.VERBATIM, Mode.FRAME, Mode.BLOCK)
_AXES: Final[tuple[tuple[int, ...], ...]] = ((), (1,), (0,), (0, 1))
"""The axes along which each predictor takes differences."""
_WIDENED: Final = 0x10
"""Bit of the first byte of a deep plane."""
_WIDENING: Final = 257
"""Factor between samples of 8 and of 16 bits: 255 * 257 = 65535."""


def encode_alpha(plane: UInt8, levels: tuple[int, ...]) -> bytes:
    """An alpha plane uint8 [H, W] to the bytes of its section. `levels` of zstd are tried."""
    return _encode(plane, levels)


def decode_alpha(data: bytes, height: int, width: int) -> UInt8:
    """The inverse of `encode_alpha`, uint8 [height, width]; raises CorruptError."""
    axes, stored = _stored(data, height * width)
    plane = np.frombuffer(stored, np.uint8).reshape(height, width)
    for axis in axes:
        plane = np.cumsum(plane, axis=axis, dtype=np.uint8)
    return plane


def encode_deep_alpha(plane: UInt16, levels: tuple[int, ...]) -> bytes:
    """An alpha plane uint16 [H, W] to the bytes of its section. `levels` of zstd are tried."""
    if (plane % _WIDENING == 0).all():
        data = _encode((plane // _WIDENING).astype(np.uint8), levels)
        return bytes((data[0] | _WIDENED,)) + data[1:]
    return _encode(plane, levels)


def decode_deep_alpha(data: bytes, height: int, width: int, depth: int) -> UInt16:
    """The inverse of `encode_deep_alpha` for samples of `depth` bits, uint16 [height, width]; raises CorruptError."""
    if data and data[0] & _WIDENED:
        plane = decode_alpha(bytes((data[0] ^ _WIDENED,)) + data[1:], height, width) * np.uint16(_WIDENING)
    else:
        axes, stored = _stored(data, 2 * height * width)
        high, low = np.frombuffer(stored, np.uint8).reshape(2, height, width)
        plane = high * np.uint16(256) + low
        for axis in axes:
            plane = np.cumsum(plane, axis=axis, dtype=np.uint16)
    if int(plane.max()) >> depth:
        raise CorruptError("corrupt file: a sample of its alpha plane has too many bits")
    return plane


def _encode(plane: Pixels, levels: tuple[int, ...]) -> bytes:
    """The shortest of the codes of a plane [H, W] with each predictor: modulo 256 for uint8, modulo 65536 for uint16."""
    found = []
    for predictor, axes in enumerate(_AXES):
        differences = plane
        for axis in axes:
            differences = np.diff(differences, axis=axis, prepend=plane.dtype.type(0))
        planes = (differences >> np.uint16(8), differences) if plane.dtype == np.uint16 else (differences,)
        part = zstd_blocks.compress(b"".join(each.astype(np.uint8).tobytes() for each in planes), None, levels)
        found.append(bytes((predictor | _MODES.index(part.mode) << 2,)) + part.data)
    return min(found, key=len)


def _stored(data: bytes, size: int) -> tuple[tuple[int, ...], bytes]:
    """The axes of the predictor, and the `size` bytes that a section stores; raises CorruptError."""
    if not data or data[0] >> 4 or data[0] >> 2 >= len(_MODES):
        raise CorruptError("corrupt file: the first byte of its alpha plane is invalid")
    return _AXES[data[0] & 3], zstd_blocks.decompress(StoredPart(size, _MODES[data[0] >> 2], data[1:]), None)
