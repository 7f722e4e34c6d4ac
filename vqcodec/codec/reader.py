"""A .vqz file as the decoder reads it: sections on demand, and replacements for damaged ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import BinaryIO, Final

import numpy as np

from vqcodec.arrays import Pixels
from vqcodec.checks import MAX_PIXELS
from vqcodec.codec.streams import Stored
from vqcodec.errors import CorruptError, FormatError, InputError, ModelError, TruncatedError
from vqcodec.format import alpha, container, profile_parts
from vqcodec.format.header import Metadata
from vqcodec.options import Region
from vqcodec.transform.dct import sample_type
from vqcodec.transform.rect import Rect
from vqcodec.weights import registry
from vqcodec.weights.graphic import GraphicModel
from vqcodec.weights.kinds import AnyModel, FileModel

METADATA: Final = {"icc": container.ICC, "exif": container.EXIF, "xmp": container.XMP}
"""Section type of each field of Metadata."""


class Reader:
    """Sections of a file, each read and checked when it is asked for. With `allow_partial`, damaged ones are replaced."""

    def __init__(self, source: BinaryIO, *, max_pixels: int = MAX_PIXELS, allow_partial: bool = False) -> None:
        """Reads the header. Raises FormatError and its subclasses, LimitError."""
        try:
            self.file = container.File(source, max_pixels)
        except (CorruptError, TruncatedError) as error:
            if not allow_partial:
                raise
            raise type(error)(f"{error}; nothing is left of it: only files with tile groups are read in part") from error
        self.header = self.file.header
        self.allow_partial = allow_partial
        self.lost: set[int] = set()
        """Tile groups that were read and found damaged, with `allow_partial`."""
        self.notes: list[str] = []
        """Remarks for the user, such as damaged parts that were replaced."""

    def tell(self, note: str) -> None:
        """Add a note, once."""
        if note not in self.notes:
            self.notes.append(note)

    def indices(self, group: int, layers: int) -> Stored:
        """The index sections of the first `layers` of a tile group. Raises TruncatedError, CorruptError."""
        if not self.allow_partial:
            return self.file.indices(group, layers)
        found = self.file.intact_indices(group, layers)
        if None in found:
            self.lost.add(group)
        return found

    def region(self, region: Region | None) -> Rect | None:
        """A region as a rectangle in pixels. Raises InputError if it is not in the picture."""
        if region is None:
            return None
        left, top, width, height = region
        found, header = Rect(top, left, height, width), self.header
        if min(left, top) < 0 or min(width, height) < 1 or found.right > header.width or found.bottom > header.height:
            raise InputError(f"the region {left},{top},{width},{height} is not in the picture of {header.width}x{header.height}")
        return found

    def model(self, given: AnyModel | None = None, others: Callable[[], Sequence[FileModel]] = tuple) -> AnyModel:
        """The model to decode the file with: `given` if it needs one, by default that which it names.

        A graphic model is not for files with layers. The model that a file names may be installed, one of `others` (called only if
        it is not installed), or inside the file. Raises ModelError, FormatError.
        """
        if given is not None and self.header.model_id and not (isinstance(given, GraphicModel) and self.header.layers):
            return given
        try:
            return registry.find_by_id(self.header.model_id)
        except ModelError:
            for model in others():
                if model.decodes(self.header.model_id):
                    return model
            stored = self._other(container.MODEL)
            if not stored:
                raise
        from vqcodec.weights.embedded import read_embedded  # most files carry none

        return read_embedded(stored, self.header.model_id)

    def opacity(self) -> Pixels | None:
        """The alpha plane [H, W], uint8 or uint16, if the file has one of its own; opaque if it was damaged. Raises FormatError."""
        if not self.header.alpha or not self.header.layers:
            return None
        height, width, depth = self.header.height, self.header.width, self.header.depth
        try:
            data = self.file.other(container.alpha_type(depth))
            return alpha.decode_alpha(data, height, width) if depth == 8 else alpha.decode_deep_alpha(data, height, width, depth)
        except FormatError:
            if not self.allow_partial:
                raise
            self.tell("the alpha plane was damaged: all is opaque")
            return np.full((height, width), (1 << depth) - 1, sample_type(depth))

    def read_metadata(self, profiles: bytes = b"") -> Metadata:
        """The metadata; damaged parts are left out. `profiles` are the ICC profiles of the file's model. Raises FormatError."""
        found = Metadata(**{name: self._other(kind) for name, kind in METADATA.items()})
        if self.header.patterns and (stored := self._other(container.MODEL_ICC)):
            return replace(found, icc=profile_parts.read(stored, profiles))
        return found

    def _other(self, kind: int) -> bytes:
        try:
            return self.file.other(kind)
        except FormatError:
            if not self.allow_partial:
                raise
            self.tell(f"{container.NAMES[kind]} was damaged and is left out")
            return b""
