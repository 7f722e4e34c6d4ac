"""Samples of Pillow images as arrays: upright, grey or RGB, with or without alpha."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import BinaryIO, Final

import numpy as np
from PIL import Image, ImageFile

from vqcodec.arrays import Pixels, UInt16
from vqcodec.errors import InputError, VqcodecError, printable
from vqcodec.format.header import MAX_METADATA
from vqcodec.io import exif
from vqcodec.io.files import peek

HEIF: Final = "HEIF"
"""Pillow's name for the format that the package pillow-heif reads."""
TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that turns a picture upright, by EXIF orientation (EXIF 2.32, section 4.6.4). Pillow's ImageOps.exif_transpose does
not fit: it re-encodes EXIF, which breaks maker notes and fails on damaged entries, and does not say what it has done."""
SIDEWAYS: Final = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
_HEAD_BYTES: Final = MAX_METADATA + (1 << 20)
"""The codestream of a JPEG 2000 or AVIF file begins within these bytes: profile and other metadata come before it."""
_PHOTOMETRIC_TAG, _BITS_TAG = 262, 258
_GREY_MODES: Final = {"1", "L", "LA"}
_COLOUR_MODES: Final = {"RGB", "RGBX", "RGBA"}
_CONVERTED_MODES: Final = {"P": "a palette", "PA": "a palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV"}
_PREMULTIPLIED_MODES: Final = {"La": "LA", "RGBa": "RGBA"}


# ------------------------------------------------------------------------------------------------ samples


def samples_of_image(image: Image.Image) -> Pixels:
    """Samples of a Pillow image, not turned: uint8 [H, W] or [H, W, 2 to 4], or uint16 [H, W] for mode I. Raises InputError."""
    if 0 in image.size:
        raise InputError(f"the image has {image.width} x {image.height} pixels: a .vqz file has at least one")
    try:
        image.load()
        if not image.mode.startswith("I"):
            return np.asarray(flat_image(_with_scaled_clear(image), "the image", []))
        samples = np.asarray(image)
    except VqcodecError:
        raise
    except Exception as error:  # Pillow's readers raise anything on damaged data: KeyError, struct.error, ...
        raise InputError(f"cannot read the image: {printable(str(error)) or type(error).__name__}") from error
    if image.has_transparency_data:
        raise InputError(f"the image has {image.mode} samples and a transparent value: .vqz holds deep grey without transparency")
    if samples.size and not 0 <= samples.min() <= samples.max() <= 65535:
        problem = f"the image has {image.mode} samples from {samples.min()} to {samples.max()}"
        raise InputError(f"{problem}: .vqz holds grey from 0 to 65535")
    return samples.astype(np.uint16)


def flat_image(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """A loaded image of 8 bits a sample as mode L, LA, RGB or RGBA; conversions are added to `notes`. Raises InputError."""
    mode = image.mode
    if mode in _PREMULTIPLIED_MODES:
        return image.convert(_PREMULTIPLIED_MODES[mode])
    if mode in _CONVERTED_MODES:
        notes.append(f"converted from {_CONVERTED_MODES[mode]}")
    elif mode not in _GREY_MODES | _COLOUR_MODES:
        raise InputError(f"{name} has {mode} samples and .vqz holds grey or RGB: convert it first")
    grey = is_grey(image)
    if mode == "CMYK" and image.info.get("icc_profile"):
        if converted := _srgb_of_cmyk(image):
            return converted
        notes.append("the ICC profile is damaged and left out")
    if image.has_transparency_data:
        target = "LA" if grey else "RGBA"
        return image if mode == target else image.convert("RGBA").convert(target)  # RGBA makes alpha of a clear grey
    target = "L" if grey else "RGB"
    return image if mode == target else image.convert(target)  # convert would copy


def deep_samples(image: Image.Image, bits: int, orientation: int) -> UInt16:
    """Upright grey samples of a loaded image of more than 8 bits: uint16 [H, W]."""
    turned = np.asarray(upright(image, image, orientation))  # any byte order, or mode I: 16 bits in 32
    samples = np.ascontiguousarray(turned.astype(np.uint16))
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0:  # white is 0; Pillow inverts 8 bits only
        samples = np.uint16((1 << bits) - 1) - samples
    return samples


def _srgb_of_cmyk(image: Image.Image) -> Image.Image | None:
    """A CMYK image converted to sRGB by its ICC profile, or None if the profile does not work."""
    try:
        from PIL import ImageCms

        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # a damaged profile, or Pillow built without littlecms
        return None


def is_grey(image: Image.Image) -> bool:
    """Whether the image becomes grey: by `flat_image`, or as deep samples."""
    if isinstance(image.info.get("transparency"), tuple):
        return False
    grey_palette = image.mode in ("P", "PA") and _has_grey_palette(image) and not _has_rgb_profile(image)
    return image.mode in _GREY_MODES or image.mode.startswith("I") or grey_palette


def _has_grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _has_rgb_profile(image: Image.Image) -> bool:
    """Whether the ICC profile is for RGB and so must not be stored with grey samples."""
    return (image.info.get("icc_profile") or b"")[16:20] == b"RGB "


# ------------------------------------------------------------------------------------------------ orientation


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, from EXIF, XMP or a TIFF tag; 1 if there is none."""
    try:
        found = image.info["original_orientation"] if image.format == HEIF else image.getexif().get(exif.ORIENTATION)
        return int(found) if found in TRANSPOSES else 1
    except Exception:  # damaged EXIF does not make the pixels unreadable
        return 1


def upright(flat: Image.Image, image: Image.Image, orientation: int) -> Image.Image:
    """`flat` turned upright. `image` is the image that it was made from: Pillow turns TIFF and HEIF itself."""
    return flat if orientation == 1 or image.format in ("TIFF", HEIF) else flat.transpose(TRANSPOSES[orientation])


def upright_samples(samples: UInt16, orientation: int) -> UInt16:
    """Samples [H, W] or [H, W, 2 to 4] turned upright, as TRANSPOSES turns images."""
    turned = samples.swapaxes(0, 1) if orientation in SIDEWAYS else samples
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return np.ascontiguousarray(turned)


# ------------------------------------------------------------------------------------------------ bits


def bits_per_sample(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """Bits per sample in the file. Pillow's mode does not tell: it opens 16-bit RGB as 8-bit."""
    if image.format == "PNG":
        return peek(stream, 26)[24]  # signature 8, length and type of IHDR 8, width and height 8
    if image.format == "TIFF" and image.mode not in ("I", "F"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_TAG, 8)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM":
        arguments = image.tile[0].args  # "RGB", or ("RGB", the largest sample value)
        return int(arguments[1]).bit_length() if isinstance(arguments, tuple) else 16 if "16" in str(arguments) else 8
    if image.format == HEIF:
        return image.info.get("bit_depth", 8)
    if image.format == "SGI":
        return 8 * peek(stream, 4)[3]
    if image.mode.startswith(("I", "F")):
        return 32 if image.mode in ("I", "F") else 16
    if image.format == "JPEG2000":
        head = peek(stream, _HEAD_BYTES)
        start = head.find(b"\xff\x4f\xff\x51")  # start of codestream, size marker; the depth minus 1 is at 42
        return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8
    if image.format == "AVIF":
        head = peek(stream, _HEAD_BYTES)
        start = head.find(b"av1C")  # codec configuration; bits 6 and 5 of its third byte: over 8 bits, 12 bits
        flags = head[start + 6] & 0x60 if 0 <= start < len(head) - 6 else 0
        return {0x40: 10, 0x60: 12}.get(flags, 8)
    return 8


def _with_scaled_clear(image: Image.Image) -> Image.Image:
    """The image or, if its transparent grey needs scaling, a copy with it scaled."""
    if image.format != "PNG" or image.mode not in ("1", "L") or "transparency" not in image.info:
        return image
    if (bits := _bits_of_png(image)) < 8:
        image = image.copy()
        image.info["transparency"] = scaled_clear(image, bits)
    return image


def scaled_clear(image: Image.Image, bits: int) -> int:
    """The transparent grey of a PNG file of fewer than 8 bits, scaled to 8. Pillow scales the samples, but this value only for
    1 bit."""
    clear = image.info["transparency"]
    return 255 * bool(clear) if image.mode == "1" else clear * (255 // ((1 << bits) - 1))


def _bits_of_png(image: Image.Image) -> int:
    """Bits per sample of a PNG image that the caller has opened; 8 if its file is gone."""
    with suppress(OSError, ValueError, AttributeError, IndexError):
        if filename := getattr(image, "filename", ""):
            with open(filename, "rb") as file:
                return file.read(25)[24]
        return peek(image._fp, 25)[24]  # type: ignore[attr-defined]  # the stream that was given to Image.open
    return 8
