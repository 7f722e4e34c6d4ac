"""Graphic models: the pattern codebook of a folder, whose content files copy (format/patterns.py), and a network that tells the
contexts of their pixels (entropy/pixel_contexts.py).

    sheet.data      uint8 [n]     the sheets, one .vqz file after the other
    sheet.bytes     uint32 [k]    the size of each
    profiles        uint8 [m]     ICC profiles, one after the other: the dictionary of those in files
    pixels.NAME                   weights of the network; not in every model

A sheet is a picture with red, green, blue and alpha of 8 bits: a file without layers that needs no model and has no metadata. All
sheets together have at most 2**26 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import numpy as np

from vqcodec.entropy.pixel_contexts import PREFIX, PixelContexts
from vqcodec.errors import FormatError, LimitError
from vqcodec.format import container
from vqcodec.format.header import MAX_METADATA
from vqcodec.weights.folder import Tensors, Weights, checking

MAX_SHEET_PIXELS: Final = 1 << 26
"""Most pixels of all sheets together."""
MARK: Final = "sheet.bytes"
"""A tensor that graphic models alone have."""
PROFILES: Final = "profiles"
"""The tensor of ICC profiles."""


@dataclass(frozen=True, eq=False)
class GraphicModel(Weights):
    """A loaded graphic model."""

    noun: ClassVar[str] = "a graphic model"

    @cached_property
    def sheets(self) -> list[bytes]:
        """The .vqz file of each sheet. Raises KeyError, ValueError."""
        data, sizes = self.tensors["sheet.data"], self.tensors[MARK]
        if data.ndim != 1 or sizes.ndim != 1 or int(sizes.sum(dtype=np.uint64)) != len(data):
            raise ValueError(f"the sizes in {MARK} do not sum to that of sheet.data")
        ends = np.cumsum(sizes, dtype=np.int64).tolist()
        return [data[end - size : end].tobytes() for end, size in zip(ends, sizes.tolist(), strict=True)]

    @cached_property
    def profiles(self) -> bytes:
        """The ICC profiles, one after the other."""
        return self.tensors[PROFILES].tobytes()

    @cached_property
    def network(self) -> PixelContexts | None:
        """The network that tells contexts, if the model has one. Raises KeyError, ValueError, ModelError."""
        own = any(name.startswith(PREFIX) for name in self.tensors)
        return PixelContexts.from_tensors(self.tensors) if own else None

    def check(self) -> None:
        """Raise ModelError unless every tensor is present and right. Sheets are decoded later, when a file needs them."""
        with checking(self.name, self.tensors):
            pixels = 0
            for data in self.sheets:
                try:
                    header = container.read_header(data).header
                except (FormatError, LimitError) as error:
                    raise ValueError(f"a sheet is damaged: {error}") from error
                if header.layers or header.tokens or header.patterns or header.channels != 4 or header.depth != 8:
                    raise ValueError("a sheet is not a file without layers, of red, green, blue and alpha of 8 bits")
                pixels += header.width * header.height
            if pixels > MAX_SHEET_PIXELS:
                raise ValueError(f"its sheets have {pixels} pixels, more than {MAX_SHEET_PIXELS}")
            if self.tensors[PROFILES].ndim != 1 or len(self.profiles) > MAX_METADATA:
                raise ValueError("its ICC profiles are not one array of at most 16 MiB")
            _ = self.network


def tensors_of(sheets: Sequence[bytes], profiles: Sequence[bytes]) -> Tensors:
    """The tensors of a graphic model with these .vqz files and ICC profiles, without a network."""
    sizes = np.array([len(sheet) for sheet in sheets], np.uint32)
    joined = {"sheet.data": b"".join(sheets), PROFILES: b"".join(profiles)}
    return {MARK: sizes, **{name: np.frombuffer(data, np.uint8) for name, data in joined.items()}}
