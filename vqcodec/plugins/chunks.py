"""Chunks of arrays to bytes and back, for numcodecs and Zarr.

A chunk [h, w] or [h, w, 3] is one .vqz file, which all commands read. A chunk of any other shape is a stack of pictures:

    magic      8 bytes            STACK_MAGIC
    dims       u8                 2..32
    flags      u8                 1: the last axis is channels that are planes; 2: in Fortran order; 4: pictures are [h, w, 3]
    shape      u32 [dims]         of the chunk
    sizes      u32 [n]            bytes of each picture; n is the product of the axes that are not of a picture
    checksum   u32                CRC-32 of all bytes before
    pictures   n .vqz files

Integers are little-endian. Samples are uint8 or uint16.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import api, checks
from vqcodec.arrays import Pixels
from vqcodec.errors import CorruptError, InputError, TruncatedError
from vqcodec.options import DEFAULT_EFFORT, EncodeOptions, Refine, Tune

STACK_MAGIC: Final = b"\x89VQSTK\r\n"
_PLANES, _FORTRAN, _COLOUR = 1, 2, 4
_MOST_DIMS: Final = 32
_MOST_GUESSED_CHANNELS: Final = 4


@dataclass(frozen=True, kw_only=True)
class ChunkOptions:
    """Options of a chunk codec; all are stored with the array. Raises InputError for values out of range."""

    quality: float | None = None
    """0..100; None: 60."""
    lossless: bool = False
    effort: int = DEFAULT_EFFORT
    tune: Tune | None = None
    model: str | None = None
    """Name or folder of the model that encodes; None: photo. Decoding finds it by its id in the file."""
    refine: Refine = "none"
    """"none": chunks decode to the same samples on every machine, and fast. "best": closer, and equal within 1 of 255."""
    channels_last: bool | None = None
    """Whether the last axis is channels: three are RGB, others are planes. None: if there are three axes or more and it has at most
    four."""

    def __post_init__(self) -> None:
        self.encode_options()  # raises InputError
        if self.lossless and self.model is not None:
            raise InputError("lossless chunks have no model")
        checks.one_of("refine", self.refine, ("none", "best"))
        if self.channels_last is not None:
            checks.flag("channels_last", self.channels_last)

    def encode_options(self) -> EncodeOptions:
        """The options of each picture. One thread: a store codes several chunks at once."""
        return EncodeOptions(quality=self.quality, lossless=self.lossless, effort=self.effort, tune=self.tune, threads=1)

    def stored(self) -> dict[str, Any]:
        """The options that are not the default, for JSON."""
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


def check_dtype(dtype: np.dtype[Any], dimensions: int) -> None:
    """Raise InputError for arrays that are not of pictures."""
    if dtype.kind != "u" or dtype.itemsize > 2 or dimensions < 2:
        raise InputError(
            f"chunks are uint8 or uint16, of two axes or more, not {dtype.name} of {dimensions}: use another codec for it"
        )


def encode_chunk(chunk: NDArray[Any], options: ChunkOptions) -> bytes:
    """The bytes of a chunk of any memory order: uint8 or uint16, [..., h, w] or [..., h, w, c]. Raises InputError, ModelError."""
    check_dtype(chunk.dtype, chunk.ndim)
    if not chunk.size:
        raise InputError(f"a chunk has the shape {list(chunk.shape)}, and an empty one cannot be coded")
    chosen = options.channels_last
    has_channels = chunk.ndim > 2 and chunk.shape[-1] <= _MOST_GUESSED_CHANNELS if chosen is None else chosen
    if has_channels and chunk.ndim < 3:
        raise InputError(f"a chunk {list(chunk.shape)} has no channels: leave out channels_last")
    flags = 0
    if has_channels:
        flags |= _COLOUR if chunk.shape[-1] == 3 else _PLANES
    if chunk.flags.f_contiguous and not chunk.flags.c_contiguous:
        flags |= _FORTRAN
    pictures = _pictures(chunk, flags)
    files = [_encode(picture, options) for picture in pictures]
    if (chunk.ndim, flags) in ((2, 0), (3, _COLOUR)):
        return files[0]
    head = STACK_MAGIC + struct.pack(f"<BB{chunk.ndim + len(files)}I", chunk.ndim, flags, *chunk.shape, *map(len, files))
    return b"".join([head, struct.pack("<I", zlib.crc32(head)), *files])


def decode_chunk(data: bytes, options: ChunkOptions) -> Pixels:
    """The chunk, of its shape, uint8 or uint16 and writable. Raises FormatError and its subclasses, ModelError."""
    if not data.startswith(STACK_MAGIC):
        return _decode(data, options)
    head = _read_head(data)
    place, pictures = head.size, []
    for size in head.sizes:
        pictures.append(_decode(data[place : place + size], options))
        place += size
    if place != len(data):
        raise (TruncatedError if place > len(data) else CorruptError)("the stack's size is wrong")
    if {(picture.shape, picture.dtype) for picture in pictures} != {(head.picture_shape, pictures[0].dtype)}:
        raise CorruptError("the pictures of the stack are not of its shape")
    stack = np.stack(pictures).reshape(head.planes_shape)
    chunk = np.moveaxis(stack, -3, -1) if head.flags & _PLANES else stack
    return np.asfortranarray(chunk) if head.flags & _FORTRAN else np.ascontiguousarray(chunk)


def _pictures(chunk: NDArray[Any], flags: int) -> NDArray[Any]:
    """The pictures of a chunk: [n, h, w] or [n, h, w, 3]."""
    planes = np.moveaxis(chunk, -1, -3) if flags & _PLANES else chunk
    axes = 3 if flags & _COLOUR else 2
    return np.ascontiguousarray(planes).reshape(-1, *planes.shape[-axes:])


def _encode(picture: NDArray[Any], options: ChunkOptions) -> bytes:
    given = options.encode_options()
    return api.encode(
        picture,
        model=options.model,
        quality=given.quality,
        lossless=given.lossless,
        effort=given.effort,
        tune=given.tune,
        threads=given.threads,
    )


def _decode(data: bytes, options: ChunkOptions) -> Pixels:
    return api.decode(data, refine=options.refine, threads=1)


@dataclass(frozen=True)
class _Head:
    """The start of a stack, `size` bytes."""

    shape: tuple[int, ...]
    flags: int
    sizes: tuple[int, ...]
    size: int

    @property
    def planes_shape(self) -> tuple[int, ...]:
        """The shape with channels that are planes before the picture's axes."""
        return (*self.shape[:-3], self.shape[-1], *self.shape[-3:-1]) if self.flags & _PLANES else self.shape

    @property
    def picture_shape(self) -> tuple[int, ...]:
        return self.planes_shape[-3 if self.flags & _COLOUR else -2 :]


def _read_head(data: bytes) -> _Head:
    """Read and check the start of a stack. Raises CorruptError, TruncatedError."""
    start = len(STACK_MAGIC) + 2
    if len(data) < start:
        raise TruncatedError("the stack ends too early")
    dims, flags = data[start - 2 : start]
    if len(data) < start + 4 * dims:
        raise TruncatedError("the stack ends too early")
    shape = struct.unpack_from(f"<{dims}I", data, start)
    if not (2 <= dims <= _MOST_DIMS and flags <= 7 and flags & (_PLANES | _COLOUR) != (_PLANES | _COLOUR)):
        raise CorruptError("the stack's flags are wrong")
    if flags & (_PLANES | _COLOUR) and dims < 3:
        raise CorruptError("the stack's shape is wrong")
    head = _Head(shape, flags, (), 0)
    count = math.prod(head.planes_shape) // max(math.prod(head.picture_shape), 1)
    end = start + 4 * (dims + count)
    if len(data) < end + 4:
        raise TruncatedError("the stack ends too early")
    if struct.unpack_from("<I", data, end)[0] != zlib.crc32(data[:end]):
        raise CorruptError("corrupt stack: its checksum is wrong")
    if not count:
        raise CorruptError("the stack is empty")
    return _Head(shape, flags, struct.unpack_from(f"<{count}I", data, start + 4 * dims), end + 4)
