"""Samples of more than 8 bits in colour or with alpha, of PNG, TIFF and PPM files, through Pillow.

Pillow has no mode for them: it decodes these files, but keeps only the high byte of each sample. Its decoders learn from a raw mode
how the bytes of a file are arranged; with the raw mode of the other byte order they keep the low byte. So two decodes give all 16
bits, and limits, damage and compression stay Pillow's business, as for all other files. A pixel of grey with alpha has four bytes
and is decoded once, as a pixel of RGBA with 8 bits per sample.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from vqcodec.arrays import UInt16

_ORDERS: Final = {"little": "L", "big": "B"}
"""Letters at the end of raw modes, by byte order: decoders keep the high bytes of samples in this order."""
_OTHER: Final = {"little": "big", "big": "little"}
_COLOURS: Final = {"RGB;16": "RGB;16", "RGBX;16": "RGBX;16", "RGBA;16": "RGBA;16", "RGBa;16": "RGBA;16"}
"""Pillow's raw modes of 16 bits without the letter of the order, and those to decode with. Where alpha is to be divided out, Pillow
would do it in 8 bits."""
_GREY_WITH_ALPHA: Final = "LA;16B"
_BITS_TAG, _PHOTOMETRIC_TAG, _CHANNELS_TAG, _PLANES_TAG, _EXTRA_TAG = 258, 262, 277, 284, 338
_SEPARATE_PLANES: Final = 2
"""Value of TIFF's tag PlanarConfiguration."""
_PREMULTIPLIED: Final = 1
"""Value of TIFF's tag ExtraSamples: the colours are multiplied by alpha."""
_MEANINGLESS: Final = 0
"""Value of TIFF's tag ExtraSamples: a channel of unknown meaning."""
_ROWS: Final = 256
"""Rows that are computed at once."""
_LARGEST: Final = 65535


class GreyAlphaTiff(TiffImagePlugin.TiffImageFile):
    """A TIFF file of grey and a second channel of 16 bits, which Pillow does not open: opened as RGBA of 8 bits.

    Opening raises SyntaxError for other TIFF files.
    """

    def _setup(self) -> None:
        tags = self.tag_v2
        own = {tag: tags[tag] for tag in (_BITS_TAG, _PHOTOMETRIC_TAG, _CHANNELS_TAG, _EXTRA_TAG) if tag in tags}
        is_grey = own.get(_PHOTOMETRIC_TAG) in (0, 1) and own.get(_CHANNELS_TAG) == 2 and set(own.get(_BITS_TAG, ())) == {16}
        if not is_grey or tags.get(_PLANES_TAG) == _SEPARATE_PLANES:
            raise SyntaxError("not grey with alpha of 16 bits")
        tags[_BITS_TAG], tags[_PHOTOMETRIC_TAG], tags[_CHANNELS_TAG], tags[_EXTRA_TAG] = (8, 8, 8, 8), 2, 4, (2,)
        super()._setup()
        del tags[_EXTRA_TAG]
        for tag, value in own.items():
            tags[tag] = value


def open_grey_alpha_tiff(stream: BinaryIO) -> GreyAlphaTiff | None:
    """The file as a GreyAlphaTiff; None if it is none."""
    stream.seek(0)
    try:
        return GreyAlphaTiff(stream)
    except SyntaxError:
        return None


def reads(image: ImageFile.ImageFile) -> bool:
    """Whether DeepColour reads this open image."""
    if isinstance(image, GreyAlphaTiff):
        return True
    if image.format == "PNG":
        return all(tile.args == _GREY_WITH_ALPHA or _raw_mode(tile)[:-1] in _COLOURS for tile in image.tile)
    if image.format == "TIFF":
        if _tags(image).get(_PLANES_TAG) == _SEPARATE_PLANES:  # Pillow's libtiff has no raw modes for planes
            return image.mode in ("RGB", "RGBA") and all(tile.codec_name == "raw" for tile in image.tile)
        return all(_raw_mode(tile)[:-1] in _COLOURS for tile in image.tile)
    return image.format == "PPM" and image.mode == "RGB" and image.tile[0].codec_name == "ppm"


def is_cut(image: Image.Image) -> bool:
    """Whether an image that Pillow has opened, but not loaded, has 16 bits per sample, of which Pillow keeps 8."""
    return not image.mode.startswith("I") and any(";16" in _raw_mode(tile) for tile in getattr(image, "tile", ()))


class DeepColour:
    """An open image that `reads` accepts, and the samples of its file. Made before the image is loaded."""

    def __init__(self, image: ImageFile.ImageFile, stream: BinaryIO) -> None:
        """Decodes the low bytes, and makes `image` decode to the high bytes. Raises what Pillow's readers raise."""
        self._image, self._largest = image, _LARGEST
        self._low: UInt16 | None = None  # [H, W, 3 or 4]
        if not image.tile:  # a file without pixels: Pillow says so when the image is loaded
            return
        self._order = _byte_order(image)
        if image.format == "PPM":
            self._largest = int(_arguments(image.tile[0])[1])
        if isinstance(image, GreyAlphaTiff):
            return
        if _raw_mode(image.tile[0]) == _GREY_WITH_ALPHA:
            image.tile = [tile._replace(args="RGBA") for tile in image.tile]
            return
        stream.seek(0)
        other = type(image)(stream)
        other.tile = [_with_order(tile, image, _OTHER[self._order]) for tile in other.tile]
        image.tile = [_with_order(tile, image, self._order) for tile in image.tile]
        other.load()
        self._low = np.zeros((other.height, other.width, len(other.getbands())), np.uint16)
        _add(self._low, other, 1)

    def samples(self) -> UInt16:
        """The samples of the loaded image, uint16 [H, W] or [H, W, 2 to 4], not turned by EXIF unless Pillow does it (TIFF).

        White is 65535 and alpha is not multiplied into colours. PNG's transparent colour has become alpha. To be called once.
        """
        samples = self._low
        if samples is None:
            pixels = np.asarray(self._image)  # uint8 [H, W, 4]
            high = 0 if self._order == "big" else 1
            samples = pixels[..., high::2] * np.uint16(256) + pixels[..., 1 - high :: 2]
        else:
            _add(samples, self._image, 256)
        if self._image.format == "TIFF":
            return self._of_tiff(samples)
        if self._largest < _LARGEST:  # PPM
            for rows in _strips(samples):
                rows[:] = (rows * (_LARGEST / self._largest) + 0.5).clip(0, _LARGEST)
        return with_clear(samples, self._image.info.get("transparency"))

    def _of_tiff(self, samples: UInt16) -> UInt16:
        """Samples of a TIFF file without its conventions: white that is 0, premultiplied alpha, a channel of unknown meaning."""
        tags, channels = _tags(self._image), samples.shape[2]
        extra = tags.get(_EXTRA_TAG, ())
        if channels == 2 and tags.get(_PHOTOMETRIC_TAG) == 0:
            samples[..., 0] = _LARGEST - samples[..., 0]
        if channels in (2, 4) and _PREMULTIPLIED in extra:
            for rows in _strips(samples):
                alpha = rows[..., -1:].astype(np.float64)
                rows[..., :-1] = (rows[..., :-1] * (_LARGEST / np.maximum(alpha, 1)) + 0.5).clip(0, _LARGEST)
        return np.ascontiguousarray(samples[..., 0]) if channels == 2 and _MEANINGLESS in extra else samples


def with_clear(samples: UInt16, clear: object) -> UInt16:
    """Samples [H, W] or [H, W, 3] with an alpha plane that is 0 where they have the value `clear`; as they are if it is None."""
    if clear is None:
        return samples
    picture = samples if samples.ndim == 3 else samples[:, :, None]
    is_clear = (picture == np.array(clear, np.uint16)).all(axis=2)
    return np.dstack([picture, np.where(is_clear, np.uint16(0), np.uint16(_LARGEST))])


def _strips(samples: UInt16) -> Iterator[UInt16]:
    """Samples [H, W, c] in strips of rows, which need little memory."""
    return (samples[top : top + _ROWS] for top in range(0, len(samples), _ROWS))


def _add(samples: UInt16, image: Image.Image, factor: int) -> None:
    """Add a factor times the bytes of a loaded image to samples [H, W, c]."""
    for number, rows in enumerate(_strips(samples)):
        top = number * _ROWS
        rows += np.asarray(image.crop((0, top, image.width, top + len(rows)))) * np.uint16(factor)


# ------------------------------------------------------------------------------------------------ Pillow's tiles


def _tags(image: ImageFile.ImageFile) -> Any:
    """The tags of a TIFF image; empty for others."""
    return getattr(image, "tag_v2", {})


def _arguments(tile: Any) -> tuple[Any, ...]:
    return tile.args if isinstance(tile.args, tuple) else (tile.args,)


def _raw_mode(tile: Any) -> str:
    """The raw mode of a tile of Pillow's; empty if its decoder takes none."""
    return str(_arguments(tile)[0]) if tile.args else ""


def _byte_order(image: ImageFile.ImageFile) -> str:
    """The byte order of samples as they come to the raw mode: "little" or "big"."""
    if image.format != "TIFF":
        return "big"
    if image.tile[0].codec_name == "libtiff":
        return sys.byteorder
    return "little" if _tags(image).prefix == b"II" else "big"


def _with_order(tile: Any, image: ImageFile.ImageFile, order: str) -> Any:
    """A tile that decodes to the high bytes if samples have this byte order, and to the low bytes if they have the other."""
    if image.format == "PPM":
        return tile._replace(codec_name="raw", args=("RGB;16" + _ORDERS[order], 0, 1))
    raw_mode, *others = _arguments(tile)
    kind = f"{raw_mode};16" if len(raw_mode) == 1 else _COLOURS[raw_mode[:-1]]  # one channel: TIFF's planes
    found = kind + _ORDERS[order]
    return tile._replace(args=(found, *others) if isinstance(tile.args, tuple) else found)
