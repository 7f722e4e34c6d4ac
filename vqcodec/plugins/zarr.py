"""The codec "vqcodec.vqz" of Zarr 3, from arrays to bytes: pictures and stacks of them, lossy or lossless.

zarr.create_array(store, ..., serializer=VqzCodec(quality=80), compressors=None)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
from zarr.abc.codec import ArrayBytesCodec

from vqcodec.errors import CorruptError
from vqcodec.plugins.chunks import ChunkOptions, check_dtype, decode_chunk, encode_chunk

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME: Final = "vqcodec.vqz"
"""The codec's name in the metadata of arrays."""


@dataclass(frozen=True, kw_only=True)
class VqzCodec(ChunkOptions, ArrayBytesCodec):  # type: ignore[misc]  # zarr is not installed everywhere
    """A codec of chunks, uint8 or uint16: [h, w], [h, w, c], and stacks of them. The arguments are those of chunks.ChunkOptions.

    It works inside of shards, too. Raises InputError for other arrays when the array is created.
    """

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The codec of an array's metadata."""
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """The codec's name and its options, for an array's metadata."""
        return {"name": NAME, "configuration": self.stored()}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise InputError for arrays whose chunks cannot be coded."""
        check_dtype(dtype.to_native_dtype(), len(shape))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known beforehand: raises NotImplementedError."""
        raise NotImplementedError

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        data = encode_chunk(np.ascontiguousarray(chunk_array.as_numpy_array()), self)
        return chunk_spec.prototype.buffer.from_bytes(data)

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = decode_chunk(chunk_bytes.to_bytes(), self)
        dtype = cast(Any, chunk_spec.dtype).to_native_dtype()
        if (chunk.shape, chunk.dtype.itemsize) != (chunk_spec.shape, dtype.itemsize):
            held = f"{chunk.dtype.name} {list(chunk.shape)}"
            raise CorruptError(f"a chunk of {dtype.name} {list(chunk_spec.shape)} holds {held}: it is of another array")
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk.astype(dtype, copy=False))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)
