"""The pattern codebook of a graphic model, decoded: its sheets, and cells that are copied from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Pixels, UInt8, UInt64
from vqcodec.codec.reader import Reader
from vqcodec.errors import CorruptError, FormatError, ModelError
from vqcodec.format.patterns import Copies
from vqcodec.options import DecodeOptions
from vqcodec.transform.palette import CELL, pixels_of_cells
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.graphic import GraphicModel

if TYPE_CHECKING:
    from vqcodec.codec.pixel_codec import PixelCodec

_ROW_HASH: Final = 0x9E3779B97F4A7C15
_COLUMN_HASH: Final = 0xD1B54A32D192ED03
_MIX: Final = 0xBF58476D1CE4E5B9
_OF_CHANNELS: Final = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}
"""The samples of a sheet that a picture with this many channels takes."""


@dataclass(frozen=True, eq=False)
class PatternBook:
    """The sheets of a graphic model, each decoded when it is first needed."""

    model: GraphicModel

    @cached_property
    def _decoded(self) -> dict[int, UInt8]:
        return {}

    def __len__(self) -> int:
        return len(self.model.sheets)

    def sheet(self, number: int) -> UInt8:
        """The samples of a sheet, uint8 [H, W, 4]. Raises CorruptError for a number that is too large, and ModelError."""
        if number >= len(self):
            raise CorruptError("corrupt file: a copied cell is of a sheet that is not in the model")
        if number not in self._decoded:
            self._decoded[number] = self._decode(number)
        return self._decoded[number]

    def prepare(self, copies: Iterable[Copies]) -> None:
        """Decode all sheets of some copies. Raises CorruptError, ModelError."""
        for number in {number for one in copies for number in one.displacements[:, 0].tolist()}:
            self.sheet(number)

    def _decode(self, number: int) -> UInt8:
        codec = _codec()
        try:
            reader = Reader(BytesIO(self.model.sheets[number]))
            reader.file.check()
            return codec.decode(reader, DecodeOptions(threads=1), None, None, None).astype(np.uint8, copy=False)
        except FormatError as error:
            raise ModelError(f"{self.model.name}: sheet {number} is damaged: {error}") from error

    @cached_property
    def windows(self) -> list[UInt64]:
        """Hashes of all windows of CELL x CELL pixels of each sheet, uint64 [H - 7, W - 7] each."""
        return [window_hashes(colours_of(self.sheet(number))) for number in range(len(self))]

    def paste(self, pixels: Pixels, copies: Copies) -> None:
        """Write the copied cells into the samples [H, W, 1 to 4] of a tile group. Raises CorruptError, ModelError."""
        if not len(copies.displacements):
            return
        channels = _OF_CHANNELS[pixels.shape[2]]
        height, width = pixels.shape[:2]
        numbers = copies.numbers.repeat(CELL, axis=0)[:height].repeat(CELL, axis=1)[:, :width]
        places = np.nonzero(pixels_of_cells(copies.cells, height, width))
        sheets, down, right = copies.displacements[numbers[places].astype(np.intp) - 1].astype(np.intp).T
        rows, columns = (places[0] + down) & 0xFFFF, (places[1] + right) & 0xFFFF
        for number in np.unique(sheets).tolist():
            sheet, own = self.sheet(number), sheets == number
            if rows[own].max() >= sheet.shape[0] or columns[own].max() >= sheet.shape[1]:
                raise CorruptError("corrupt file: a copied cell is outside of its sheet")
            pixels[places[0][own], places[1][own]] = sheet[rows[own], columns[own]][:, channels]


@lru_cache(maxsize=2)
def book_of(model: GraphicModel) -> PatternBook:
    """The pattern codebook of a model, kept from file to file."""
    return PatternBook(model)


def _codec() -> PixelCodec:
    from vqcodec.codec.pixel_codec import PixelCodec  # it imports this module

    return PixelCodec(BUILT_IN)


def colours_of(pixels: Pixels) -> NDArray[np.uint32]:
    """Red, green, blue and alpha of samples [H, W, 1 to 4] of 8 bits as one number, uint32 [H, W]; opaque without alpha."""
    channels = pixels.shape[2]
    alpha = pixels[:, :, -1] if channels % 2 == 0 else np.full(pixels.shape[:2], 255, np.uint8)
    components = [pixels[:, :, 0]] * 3 if channels < 3 else [pixels[:, :, component] for component in range(3)]
    return np.ascontiguousarray(np.dstack([*components, alpha]).astype(np.uint8)).view(np.uint32)[:, :, 0]


def window_hashes(colours: NDArray[np.uint32]) -> UInt64:
    """Hashes of all windows of CELL x CELL pixels, uint64 [H - 7, W - 7], of colours [H, W]; [0, 0] if there is none.

    They are polynomials modulo 2**64 (Rabin and Karp 1987) of mixed colours.
    """
    if min(colours.shape) < CELL:
        return np.zeros((0, 0), np.uint64)
    hashes = (colours.astype(np.uint64) + np.uint64(1)) * np.uint64(_MIX)
    hashes ^= hashes >> np.uint64(29)
    for base in (_ROW_HASH, _COLUMN_HASH):
        hashes = np.ascontiguousarray(hashes.T)
        length = 1
        while length < CELL:  # windows of 2, 4 and 8 rows
            weight = np.uint64(pow(base, length, 1 << 64))
            hashes = hashes[:-length] * weight + hashes[length:]
            length *= 2
    return hashes
