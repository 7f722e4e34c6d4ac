"""The interface of a kind of model: how its files are made, read and described."""

from __future__ import annotations

from typing import Any, Protocol

from vqcodec.arrays import Pixels, UInt32
from vqcodec.codec.picture import Picture
from vqcodec.codec.reader import Reader
from vqcodec.format.header import Header
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.transform.rect import Rect
from vqcodec.weights.builtin import BuiltIn
from vqcodec.weights.folder import Weights
from vqcodec.weights.refiner import Refiner


class FileCodec(Protocol):
    """Encodes and decodes files of one model: ExactCodec (pipeline.py), TokenCodec (tokens.py), PixelCodec (pixel_codec.py)."""

    @property
    def model(self) -> Weights | BuiltIn: ...

    def encode(self, picture: Picture, options: EncodeOptions) -> bytes:
        """The file of a picture. Raises InputError, LimitError."""
        ...

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: Pixels | None, refiner: Refiner | None
    ) -> Pixels:
        """A file, or a `region` of it in pixels, to samples [h, w, 1 or 3]; `opacity` is its alpha plane [H, W].

        Raises CorruptError, TruncatedError, ModelError, InputError.
        """
        ...

    def check(self, header: Header) -> None:
        """Raise ModelError or CorruptError unless the file was made with this model."""
        ...

    def indices(self, reader: Reader) -> dict[str, UInt32]:
        """Every codebook index of a file: columns uint32 [n] in decoding order. Raises CorruptError, TruncatedError."""
        ...

    def describe(self, reader: Reader) -> dict[str, Any]:
        """Facts that need decoding, as a JSON-able dict. Raises CorruptError, TruncatedError."""
        ...
