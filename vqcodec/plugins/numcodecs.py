"""The codec "vqcodec" of numcodecs, for Zarr 2 and others: pictures and stacks of them, lossy or lossless.

zarr.create_array(store, ..., zarr_format=2, compressors=VqzCodec(quality=80))
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ndarray_copy

from vqcodec.arrays import Pixels
from vqcodec.errors import InputError
from vqcodec.options import DEFAULT_EFFORT, Refine, Tune
from vqcodec.plugins.chunks import ChunkOptions, decode_chunk, encode_chunk


class VqzCodec(Codec):  # type: ignore[misc]  # numcodecs is not typed everywhere
    """A codec of chunks, uint8 or uint16: [h, w], [h, w, c], and stacks of them. The arguments are those of chunks.ChunkOptions.

    Chunks of uint16 are little-endian, as `decode` cannot know another order. Raises InputError for other arrays.
    """

    codec_id = "vqcodec"

    def __init__(
        self,
        *,
        quality: float | None = None,
        lossless: bool = False,
        effort: int = DEFAULT_EFFORT,
        tune: Tune | None = None,
        model: str | None = None,
        refine: Refine = "none",
        channels_last: bool | None = None,
    ) -> None:
        self._options = ChunkOptions(
            quality=quality, lossless=lossless, effort=effort, tune=tune, model=model, refine=refine, channels_last=channels_last
        )

    def encode(self, buf: Any) -> bytes:
        """The bytes of a chunk. Raises InputError, ModelError."""
        chunk = np.asarray(buf)
        if chunk.dtype.newbyteorder("<") != chunk.dtype:
            raise InputError(f'chunks of uint16 are little-endian, not {chunk.dtype.str}: give the array the dtype "<u2"')
        return encode_chunk(chunk, self._options)

    def decode(self, buf: Any, out: Any = None) -> Pixels:
        """The chunk, also written to `out` if it is given. Raises FormatError, ModelError."""
        chunk = decode_chunk(bytes(memoryview(buf)), self._options)
        chunk = chunk.astype(chunk.dtype.newbyteorder("<"), copy=False)
        return ndarray_copy(chunk, out)

    def get_config(self) -> dict[str, Any]:
        """The codec's name and its options, as Zarr stores them."""
        return {"id": self.codec_id, **self._options.stored()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec of a stored configuration, without its "id"."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"VqzCodec({', '.join(f'{name}={value!r}' for name, value in self._options.stored().items())})"
