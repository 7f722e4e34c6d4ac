"""Image files to arrays and back. The only importer of Pillow outside the bench: its errors stay in this room.

    read_image    PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM/PGM/PBM, GIF, JPEG 2000, TGA, ICO, QOI and others  ->  pixels, metadata
    write_image   pixels, metadata  ->  PNG, PPM/PGM, JPEG, WebP, TIFF, BMP

A .vqz file holds grey or RGB of 8 bits, with or without alpha, or grey of up to 16, with ICC profile, EXIF and XMP. What has an
equal there is converted silently (1 bit to grey, the EXIF orientation, colours signalled otherwise, resolution), what has none is
converted or left out with a note (palette, CMYK, further frames, text), and what would lose half its precision is refused with the
way out (colour of more than 8 bits).
"""

import io
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from vqcodec.arrays import Pixels, UInt8, UInt16
from vqcodec.errors import InputError, LimitError, OutputError, VqcodecError, printable
from vqcodec.format.header import MAX_METADATA, MAX_PIXELS, Metadata
from vqcodec.io import exif, icc
from vqcodec.io.files import STREAM, name_of, open_input, read_head, read_stream, stream_limit, why_no_file
from vqcodec.io.kinds import HEAD_BYTES, kind_of

# Tried in this order. An allow-list: with Pillow's own list an EPS file would start Ghostscript. The last have magic numbers of few
# bytes.
_READ_FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "QOI"),
    *("ICO", "CUR", "ICNS", "PSD", "SUN", "XPM", "XBM", "SGI", "PCX", "DIB", "TGA"),
)
_READ_NAMES = "PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM, GIF, JPEG 2000, QOI, TGA, ICO, CUR, ICNS, PSD, SGI, PCX, Sun, XBM or XPM"
_TGA_SUFFIXES = (".tga", ".icb", ".vda", ".vst")
"""TGA has no magic number: it is tried where the name says so, or there is none that says otherwise."""
_HEIF = "HEIF"
"""Pillow's name of what is read if the package pillow-heif is installed."""

_FORMAT_OF_SUFFIX = {
    "": "PNG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".pgm": "PGM",
    ".pnm": "PPM",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}

# Lossless wherever the format can be; JPEG as close as is reasonable.
_SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 3},  # half the time of Pillow's 6, and no larger on decoded photos
    "PPM": {},
    "PGM": {"format": "PPM"},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True, "quality": 0, "method": 2},  # exact: colours of what is transparent, too
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {"dpi": (0, 0)},  # none, where Pillow would say 96
}

_HEAD_BYTES = MAX_METADATA + (1 << 20)
"""In which the pixels of a file begin: its profile and the like come before."""
_MOST_IN_JPEG = {"icc": 255 * 65519, "exif": 65533 - len(exif.PREFIX), "xmp": 65533 - 29}
"""Bytes: of markers with two of their length and a name before what they hold; ICC profiles alone are spread over several."""
_PHOTOMETRIC_TAG, _XMP_TAG, _CHANNELS_TAG, _SAMPLE_FORMAT_TAG = 262, 700, 277, 339
_TIFF_TAGS_KEPT = {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}
"""Tags of a TIFF file about the picture: its names, description, make, model, software, date, artist, host, rating, copyright,
and Windows's title, comment, author, keywords and subject."""
# EXIF orientation -> what puts the picture upright (EXIF 2.32, section 4.6.4).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_IN_INFO = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
"""Kinds of metadata, and their names in Pillow's `info`."""
_ON_THEIR_SIDE = (5, 6, 7, 8)
_END_OF_THUMBNAILS = b"</xmp:Thumbnails>"

_GREY_MODES = {"1", "L", "LA"}
_COLOUR_MODES = {"RGB", "RGBX", "RGBA"}
_CONVERTED_MODES = {"P": "a palette", "PA": "a palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV"}
_PREMULTIPLIED_MODES = {"La": "LA", "RGBa": "RGBA"}


@dataclass(frozen=True)
class ImageData:
    """A picture as it enters the encoder.

    pixels:   uint8 [H,W] grey or [H,W,3] RGB, with alpha [H,W,2] or [H,W,4]; or uint16 [H,W] grey; upright
    notes:    what was changed or dropped on the way, one short line each
    metadata: what the file says besides, as it is of the upright picture: orientation, sizes and resolution are corrected, and
              colours signalled otherwise are an ICC profile
    """

    pixels: Pixels
    notes: tuple[str, ...]
    metadata: Metadata = field(default_factory=Metadata)


# ------------------------------------------------------------------------------------------------ reading


def read_image(source: Path | BinaryIO, *, name: str = "the image", max_pixels: int = MAX_PIXELS) -> ImageData:
    """The picture in a file, in standard input (`-`) or in a binary stream, which errors call `name`.

    Raises InputError where it cannot be read or cannot be held by a .vqz file, LimitError where it has more than
    `max_pixels` pixels; sizes are looked at before pixels are decoded.
    """
    if not isinstance(source, Path):
        return _read_named(source, name, max_pixels)
    with open_input(source) as stream:
        return _read_named(stream, name_of(source), max_pixels)


def read_opaque(source: Path | BinaryIO, *, name: str = "the image", max_pixels: int = MAX_PIXELS) -> UInt8:
    """As `read_image`, grey or RGB of 8 bits alone: uint8 [H,W] or [H,W,3]. Raises InputError, too, where there is more to it."""
    name = name_of(source) if isinstance(source, Path) else name
    pixels = read_image(source, name=name, max_pixels=max_pixels).pixels
    if pixels.dtype != np.uint8:
        raise InputError(f"{name} has more than 8 bits per sample: convert it to 8 bits first")
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if pixels[:, :, -1].min() < 255:
            raise InputError(f"{name} has transparent pixels: flatten it onto a background first")
        pixels = pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3]
    return np.ascontiguousarray(pixels, np.uint8)


def why_not_read(name: str, head: bytes) -> str:
    """Why a file of this name that begins with `head` (HEAD_BYTES of kinds.py) is not a picture to be read; empty if it is one, or
    said to be one."""
    kind = kind_of(name, head)
    if kind.format == _HEIF:
        return (
            ""
            if _knows_heif()
            else f"{kind.name} needs the package pillow-heif: pip install pillow-heif, or convert it to PNG first"
        )
    return "" if kind.format in _READ_FORMATS else kind.reason


def not_encoded(path: Path) -> str:
    """The reason for which a file of a folder is not encoded; empty if it is, and if reading it will tell what is wrong."""
    if reason := why_no_file(path):
        return reason
    try:
        head = read_head(path, HEAD_BYTES)
    except OSError:
        return ""
    return why_not_read(path.name, head)


def _knows_heif() -> bool:
    """Whether Pillow reads HEIC: it does from now on, if the package is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _formats(name: str, head: bytes) -> list[str]:
    """Those that a file of this name and beginning may have, as Pillow calls them."""
    if kind_of(name, head).format == _HEIF and _knows_heif():
        return [_HEIF]
    foreign = Path(name).suffix.lower() not in ("", *_TGA_SUFFIXES)
    return [format for format in _READ_FORMATS if not (foreign and format == "TGA")]


def _read_named(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    if not stream.seekable():
        stream = io.BytesIO(read_stream(stream, stream_limit(max_pixels)))
    try:
        with _pillow_limit(max_pixels):
            return _read(stream, name, max_pixels)
    except VqcodecError:
        raise
    except UnidentifiedImageError as error:
        reason = why_not_read(name, _peek(stream, HEAD_BYTES)) or _READ_NAMES
        raise InputError(f"{name} is not a picture in a format that can be read: {reason}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"{name} has more than {max_pixels} pixels; --max-pixels raises the limit") from error
    except MemoryError as error:
        raise LimitError(f"{name} does not fit into memory") from error
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead to: KeyError, struct.error, ...
        raise InputError(f"cannot read {name}: {printable(str(error)) or type(error).__name__}") from error


def _read(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    from vqcodec.io import extras  # as signalling, below: writing pictures needs neither

    with Image.open(stream, formats=_formats(name, _peek(stream, HEAD_BYTES))) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise LimitError(f"{name} has {width} x {height} pixels, more than {max_pixels}; --max-pixels raises the limit")
        notes: list[str] = []
        bits = _bits_per_sample(image, stream)
        deep_grey = bits <= 16 and image.mode.startswith("I") and not image.has_transparency_data
        rounded = image.format in ("AVIF", _HEIF)  # by their decoders, while others drop bits or clip
        if bits > 8 and rounded and not deep_grey:
            notes.append(f"reduced from {bits} to 8 bits per sample")
        elif bits > 8 and not deep_grey:
            held = ".vqz holds 16 of grey without transparency and 8 of all else"
            raise InputError(f"{name} has {bits} bits per sample: {held}, convert it to 8")
        if image.format == "TIFF":
            _check_tiff(image, name, notes)
            orientation = _orientation(image)  # which loading turns, and forgets
        image.load()
        if image.format == "PNG" and image.mode in ("1", "L") and bits < 8 and "transparency" in image.info:
            image.info["transparency"] = _scaled_clear(image, bits)
        if image.format != "TIFF":
            orientation = _orientation(image)
        if image.format == "PSD":
            image.info |= extras.psd_info(image)
        elif _is_animated(image):
            notes.append("only the first of several frames is kept")
        if bits > 8 and deep_grey:
            if image.format == "PPM" and bits < 16:
                notes.append(f"scaled from {bits} to 16 bits per sample")  # by Pillow
            pixels: Pixels = _deep_pixels(image, bits, orientation)
        else:
            pixels = np.asarray(_upright(flat_image(image, name, notes), image, orientation))
        metadata = _metadata(image, stream, name, pixels, orientation, notes)
        if note := extras.left_out(image, stream, _TIFF_TAGS_KEPT):
            notes.append(note)
    return ImageData(pixels, tuple(notes), metadata)


def _check_tiff(image: Image.Image, name: str, notes: list[str]) -> None:
    """Refuse what Pillow reads as if it were something else: raw files and samples with a sign (InputError); a note for a channel
    that is left out."""
    tags = getattr(image, "tag_v2", {})
    signs = tags.get(_SAMPLE_FORMAT_TAG, 1)
    if 50706 in tags or (330 in tags and tags.get(254, 0) & 1):  # DNG, or a small picture before the large one, as raw files begin
        raise InputError(f"{name} is a raw camera file: develop it to TIFF or PNG first")
    if 2 in (signs if isinstance(signs, tuple) else (signs,)):
        raise InputError(f"{name} has samples with a sign: .vqz holds grey or RGB from 0 up, convert it first")
    if tags.get(_CHANNELS_TAG, 1) > len(image.getbands()) > 1:
        notes.append("a channel that the file does not explain is left out")


def _deep_pixels(image: Image.Image, bits: int, orientation: int) -> UInt16:
    """Upright grey of more than 8 bits."""
    found = np.asarray(_upright(image, image, orientation))  # of either byte order, or of mode I, whose 32 bits hold 16
    pixels = np.ascontiguousarray(found.astype(np.uint16))
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0:  # white is 0: Pillow turns 8 bits alone
        pixels = np.uint16((1 << bits) - 1) - pixels
    return pixels


def flat_image(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """A loaded image of 8 bits a sample as L, LA, RGB or RGBA; what is converted is added to `notes`. Raises InputError."""
    mode = image.mode
    if mode in _PREMULTIPLIED_MODES:
        return image.convert(_PREMULTIPLIED_MODES[mode])
    if mode in _CONVERTED_MODES:
        notes.append(f"converted from {_CONVERTED_MODES[mode]}")
    elif mode not in _GREY_MODES | _COLOUR_MODES:
        raise InputError(f"{name} has {mode} samples and .vqz holds grey or RGB: convert it first")
    grey = _is_grey(image)
    if mode == "CMYK" and image.info.get("icc_profile"):
        if converted := _cmyk_by_profile(image):
            return converted
        notes.append("the ICC profile is damaged and left out")
    if image.has_transparency_data:
        target = "LA" if grey else "RGBA"
        return image if mode == target else image.convert("RGBA").convert(target)  # by RGBA: a transparent grey becomes alpha
    target = "L" if grey else "RGB"
    return image if mode == target else image.convert(target)  # converting would copy


def samples_of_image(image: Image.Image) -> Pixels:
    """Samples of a Pillow image, not turned, as ImageData has them; mode I is grey of 16 bits. Raises InputError."""
    if 0 in image.size:
        raise InputError(f"the image has {image.width} x {image.height} pixels: a .vqz file has at least one")
    try:
        image.load()
        if not image.mode.startswith("I"):
            return np.asarray(flat_image(_with_scaled_clear(image), "the image", []))
        found = np.asarray(image)
    except VqcodecError:
        raise
    except Exception as error:  # as in _read_named
        raise InputError(f"cannot read the image: {printable(str(error)) or type(error).__name__}") from error
    if image.has_transparency_data:
        raise InputError(f"the image has {image.mode} samples and a transparent value: .vqz holds deep grey without one")
    if found.size and not 0 <= found.min() <= found.max() <= 65535:
        raise InputError(f"the image has {image.mode} samples from {found.min()} to {found.max()}: .vqz holds grey from 0 to 65535")
    return found.astype(np.uint16)


def _with_scaled_clear(image: Image.Image) -> Image.Image:
    if image.format != "PNG" or image.mode not in ("1", "L") or "transparency" not in image.info:
        return image
    if (bits := _bits_of_png(image)) < 8:
        image = image.copy()
        image.info["transparency"] = _scaled_clear(image, bits)
    return image


def _scaled_clear(image: Image.Image, bits: int) -> int:
    """The grey that is transparent, of 8 bits: Pillow scales the samples of a PNG file of fewer, and this one, if at all, of 1."""
    clear = image.info["transparency"]
    return 255 * bool(clear) if image.mode == "1" else clear * (255 // ((1 << bits) - 1))


def _bits_of_png(image: Image.Image) -> int:
    """As `_bits_per_sample`, of an image that others have opened; 8 where its file is gone."""
    with suppress(OSError, ValueError, AttributeError, IndexError):
        if filename := getattr(image, "filename", ""):
            with open(filename, "rb") as file:
                return file.read(25)[24]
        return _peek(image._fp, 25)[24]  # type: ignore[attr-defined]  # the stream that was given to Image.open
    return 8


def metadata_of_image(image: Image.Image, **given: Any) -> Metadata:
    """The metadata of a Pillow image, for samples as `samples_of_image` gives them. `given`, named as in its `info`, goes first, as
    it is."""
    said = _said(image) | {kind: _bytes_of(given[name]) for kind, name in _IN_INFO.items() if name in given}
    said["exif"] = said["exif"].removeprefix(exif.PREFIX)
    wanted = _resolution("", given, {}) if "dpi" in given else _resolution(image.format, image.info, getattr(image, "tag_v2", {}))
    said["exif"] = _with_resolution(said["exif"], wanted, [])
    if "icc_profile" not in given:
        grey = _is_grey(image)
        if not said["icc"] and image.mode != "CMYK":
            from vqcodec.io import signalling

            said["icc"] = signalling.profile_of_info(image.info, said["exif"], grey=grey)
        said["icc"] = icc.fitted(said["icc"], grey=grey)[0]
    return Metadata(**said)


def _said(image: Image.Image) -> dict[str, bytes]:
    """ICC profile, EXIF and XMP as Pillow knows them; none of the profile that CMYK has, as what is made of it is sRGB."""
    found = {kind: _bytes_of(image.info.get(name)) for kind, name in _IN_INFO.items()}
    if image.format == "TIFF" and not found["exif"]:  # whose own directory is the EXIF
        found["exif"] = _exif_of_tiff(image)
    if image.format == "PNG":
        from vqcodec.io import extras

        found |= {kind: found[kind] or data for kind, data in extras.raw_profiles(image.info).items()}
    return found | ({"icc": b""} if image.mode == "CMYK" else {})


def _cmyk_by_profile(image: Image.Image) -> Image.Image | None:
    """A CMYK image in sRGB by its own profile; None where it has none that works."""
    try:
        from PIL import ImageCms

        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # no profile, a broken one, or Pillow built without it
        return None


def _metadata(image: Image.Image, stream: BinaryIO, name: str, pixels: Pixels, orientation: int, notes: list[str]) -> Metadata:
    """The metadata of a file whose pixels are upright now; what is too large is left out, with a note."""
    kept = _said(image)
    kept["exif"] = kept["exif"].removeprefix(exif.PREFIX)
    grey = pixels.ndim == 2 or pixels.shape[2] == 2
    if image.mode != "CMYK":
        from vqcodec.io import signalling

        kept["icc"] = signalling.colour_profile(image, stream, kept["icc"], kept["exif"], name, notes, grey=grey)
    for kind, data in kept.items():
        if len(data) > MAX_METADATA:
            notes.append(f"{kind.upper()} of {len(data)} bytes is not kept: it is larger than 16 MiB")
            kept[kind] = b""
    kept["icc"], note = icc.fitted(kept["icc"], grey=grey)
    notes += [note] if note else []
    height, width = pixels.shape[:2]
    turned = orientation in _UPRIGHT
    kept["exif"] = exif.resized(exif.upright(kept["exif"], turned=turned), width, height)
    told = exif.resolution(kept["exif"])
    wanted = _resolution(image.format, image.info, getattr(image, "tag_v2", {})) or told
    if wanted and orientation in _ON_THEIR_SIDE:
        wanted = wanted[::-1]
    kept["exif"] = _with_resolution(kept["exif"], wanted, notes)
    kept["xmp"] = _resized_xmp(_upright_xmp(kept["xmp"], turned=turned), width, height)
    return Metadata(**kept)


def _bytes_of(value: object) -> bytes:
    if isinstance(value, Image.Exif):
        return value.tobytes()
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return data if isinstance(data, bytes) else b""


def _exif_of_tiff(image: Image.Image) -> bytes:
    """The tags of a TIFF file that tell of the picture and not of how it is stored, as EXIF; empty where there are none."""
    try:
        found = image.getexif()
        told = {tag: value for tag, value in found.items() if tag in _TIFF_TAGS_KEPT}
        if not told and not found.get_ifd(exif.EXIF_IFD):
            return b""
        kept = Image.Exif()
        kept.update(told)
        for number in (exif.EXIF_IFD, exif.GPS_IFD):
            if directory := found.get_ifd(number):
                kept.get_ifd(number).update(directory)
        return kept.tobytes()
    except Exception:  # a broken directory does not make the pixels unreadable
        return b""


def _resolution(format: str | None, info: dict[Any, Any], tags: Mapping[int, object]) -> exif.Resolution | None:
    """Pixels per inch by the file's own field, which says more than EXIF to those who show it; None for a mere aspect ratio."""
    if format in ("JPEG", "MPO"):  # where there is none, Pillow makes one up
        scale = {1: 1.0, 2: 2.54}.get(info.get("jfif_unit", 0), 0)  # of a unit
        found = tuple(value * scale for value in info.get("jfif_density", ()))
    elif format == "TIFF" and not {282, 283} <= set(tags):
        return None
    else:
        found = info.get("dpi") or ()
    try:
        across, down = (float(value) for value in found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (_inches(across), _inches(down)) if all(0.01 <= value < 1e6 for value in (across, down)) else None


def _inches(value: float) -> float:
    """Whole numbers, which PNG and BMP round to pixels per metre, come back as such."""
    return round(value) if abs(value - round(value)) < 0.02 else value


def _with_resolution(data: bytes, wanted: exif.Resolution | None, notes: list[str]) -> bytes:
    """EXIF that tells it, as it is where that is as JPEG and others round it."""

    def agrees(told: exif.Resolution | None) -> bool:
        return told is not None and wanted is not None and all(abs(a - b) <= 0.5 for a, b in zip(told, wanted, strict=True))

    if wanted is None or agrees(exif.resolution(data)):
        return data
    told = exif.with_resolution(data, wanted)
    if agrees(exif.resolution(told)) and len(told) <= MAX_METADATA:
        return told
    notes.append("the resolution is not kept: EXIF, which would tell it, is broken")
    return data


def _upright_xmp(data: bytes, *, turned: bool) -> bytes:
    """As `exif.upright`."""
    data = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", data)  # where Pillow looks, too
    start = data.find(b"<xmp:Thumbnails") if turned else -1
    end = data.find(_END_OF_THUMBNAILS, max(start, 0))
    return data[:start] + data[end + len(_END_OF_THUMBNAILS) :] if start >= 0 and end >= 0 else data


def _resized_xmp(data: bytes, width: int, height: int) -> bytes:
    """As `exif.resized`."""
    for names, size in ((rb"tiff:ImageWidth|exif:PixelXDimension", width), (rb"tiff:ImageLength|exif:PixelYDimension", height)):
        data = re.sub(rb"((?:" + names + rb")(?:=[\"']|>))\d+", rb"\g<1>%d" % size, data)
    return data


def _has_colour_profile(image: Image.Image) -> bool:
    """Whether its profile is one of RGB, which must not stand beside grey."""
    return (image.info.get("icc_profile") or b"")[16:20] == b"RGB "


def _is_grey(image: Image.Image) -> bool:
    """Whether what `flat_image` makes of it, or it itself if deep, is grey."""
    if isinstance(image.info.get("transparency"), tuple):
        return False
    grey_palette = image.mode in ("P", "PA") and _is_grey_palette(image) and not _has_colour_profile(image)
    return image.mode in _GREY_MODES or image.mode.startswith("I") or grey_palette


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _orientation(image: Image.Image) -> int:
    """By EXIF, XMP or TIFF."""
    try:
        found = image.info["original_orientation"] if image.format == _HEIF else image.getexif().get(exif.ORIENTATION)
        return int(found) if found in _UPRIGHT else 1
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return 1


def _upright(flat: Image.Image, image: Image.Image, orientation: int) -> Image.Image:
    """Turned as it is meant, where Pillow has not done so, as it does with TIFF and HEIC."""
    return flat if orientation == 1 or image.format in ("TIFF", _HEIF) else flat.transpose(_UPRIGHT[orientation])


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the frames after the first may be broken without harm to it
        return False


def _bits_per_sample(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """Bits per sample as the file says. Pillow's mode is no guide: it opens 16-bit RGB silently as 8-bit."""
    if image.format == "PNG":
        return _peek(stream, 26)[24]  # signature 8, length and type of IHDR 8, width and height 8
    if image.format == "TIFF" and image.mode not in ("I", "F"):
        bits = getattr(image, "tag_v2", {}).get(258, 8)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM":
        arguments = image.tile[0].args  # "RGB", or ("RGB", the largest sample value)
        return int(arguments[1]).bit_length() if isinstance(arguments, tuple) else 16 if "16" in str(arguments) else 8
    if image.format == _HEIF:
        return image.info.get("bit_depth", 8)
    if image.format == "SGI":
        return 8 * _peek(stream, 4)[3]
    if image.mode.startswith(("I", "F")):
        return 32 if image.mode in ("I", "F") else 16
    if image.format == "JPEG2000":
        head = _peek(stream, _HEAD_BYTES)
        start = head.find(b"\xff\x4f\xff\x51")  # start of codestream, size marker; the depth minus 1 is at 42
        return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8
    if image.format == "AVIF":
        head = _peek(stream, _HEAD_BYTES)
        start = head.find(b"av1C")  # codec configuration; bits 6 and 5 of its third byte: over 8 bits, 12 bits
        flags = head[start + 6] & 0x60 if 0 <= start < len(head) - 6 else 0
        return {0x40: 10, 0x60: 12}.get(flags, 8)
    return 8


def _peek(stream: BinaryIO, count: int) -> bytes:
    """The first `count` bytes; the stream's position is kept."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read(count)
    stream.seek(position)
    return data


_PILLOW_LOCK = threading.RLock()


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Pillow's limit is a variable of its module, and lower than ours: set for the time of one reading."""
    with _PILLOW_LOCK:
        previous = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = previous


# ------------------------------------------------------------------------------------------------ writing


def format_of(path: Path) -> str:
    """The format that a file name asks for, PNG where it has no suffix. Raises OutputError for an unknown one."""
    suffix = "" if path == STREAM else path.suffix.lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        known = ", ".join(sorted(s for s in _FORMAT_OF_SUFFIX if s))
        raise OutputError(f"cannot tell the picture format from {printable(suffix)!r}; known are {known}")
    return _FORMAT_OF_SUFFIX[suffix]


def write_image(
    pixels: Pixels, stream: BinaryIO, *, format: str, metadata: Metadata | None = None, quality: int | None = None
) -> tuple[str, ...]:
    """Write pixels, as ImageData has them, as `format` (a value of `format_of`); lossless except for JPEG, and for WebP if there is
    a `quality` (0 to 100, of these two alone). Returns notes: of metadata that is not kept as it is. EXIF and XMP that tell
    another size, as those of a whole picture beside a region, are made to fit.

    Raises OutputError where the format cannot hold the picture.
    """
    height, width = pixels.shape[:2]
    what = f"{width} x {height} pixels as {format}"
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and format in ("JPEG", "PPM", "PGM", "BMP"):
        if pixels[:, :, -1].min() < 255:
            raise OutputError(f"cannot write {what}, which holds no transparency: .png, .webp and .tif do")
        pixels = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3])  # opaque: nothing is lost
    if format == "PGM" and pixels.ndim == 3:
        raise OutputError(f"cannot write {what}, which holds grey alone: .ppm holds colour")
    if pixels.dtype != np.uint8 and format not in ("PNG", "TIFF", "PPM", "PGM"):
        raise OutputError(f"cannot write {what}, which holds 8 bits a sample: .png, .tif and .pgm hold 16")
    image = Image.fromarray(pixels)
    held, notes = _held(metadata or Metadata(), format, pixels)
    options: dict[str, Any] = {"format": format} | _SAVE_OPTIONS[format] | _metadata_options(held, format)
    if quality is not None:
        options |= {"quality": quality, "lossless": False}
    try:
        image.save(stream, **options)
    except (ValueError, OverflowError, SystemError, OSError) as error:
        raise OutputError(f"cannot write {what}: {printable(str(error))}") from error
    return notes


def _held(metadata: Metadata, format: str, pixels: Pixels) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata that a format can hold beside these pixels, and notes on the rest."""
    height, width = pixels.shape[:2]
    metadata = replace(metadata, exif=exif.resized(metadata.exif, width, height), xmp=_resized_xmp(metadata.xmp, width, height))
    if format in ("PPM", "PGM", "BMP"):
        lost = [kind.upper() for kind in ("icc", "exif", "xmp") if getattr(metadata, kind)]
        if format == "BMP" and _is_resolution_alone(metadata.exif):  # for which it has a field
            lost.remove("EXIF")
        return replace(metadata, icc=b"", xmp=b""), (f"not kept: {', '.join(lost)}, which {format} does not hold",) if lost else ()
    notes = []
    grey = format != "WEBP" and (pixels.ndim == 2 or pixels.shape[2] == 2)  # of which WebP makes RGB
    profile, note = icc.fitted(metadata.icc, grey=grey)
    if note:
        notes.append(note)
        metadata = replace(metadata, icc=profile)
    if format == "JPEG":
        for name, most in _MOST_IN_JPEG.items():
            if len(getattr(metadata, name)) > most:
                notes.append(f"{name.upper()} of {len(getattr(metadata, name))} bytes is not kept: JPEG holds {most}")
                metadata = replace(metadata, **{name: b""})
    if format == "TIFF" and metadata.exif and not _is_exif(metadata.exif):
        notes.append("EXIF is not kept: it is broken, and TIFF holds its entries one by one")
        metadata = replace(metadata, exif=b"")
    return metadata, tuple(notes)


def _is_resolution_alone(data: bytes) -> bool:
    """Whether EXIF says no more, as it was made to (or less)."""
    told = exif.resolution(data)
    return told is not None and exif.with_resolution(b"", told) == data


def _is_exif(data: bytes) -> bool:
    """Whether Pillow can read, and write again, all entries of EXIF."""
    try:
        found = Image.Exif()
        found.load(exif.PREFIX + data)
        found.tobytes()
    except Exception:  # whatever broken bytes lead to
        return False
    return True


def _metadata_options(metadata: Metadata, format: str) -> dict[str, object]:
    """Arguments of Pillow's `save`; the inverse of `_metadata`."""
    options: dict[str, object] = {}
    if format in ("PNG", "JPEG", "TIFF", "BMP") and (told := exif.resolution(metadata.exif)):
        options["dpi"] = told
    if format in ("PPM", "PGM", "BMP"):
        return options
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = exif.PREFIX + metadata.exif
    if metadata.exif and format == "TIFF":
        options["compression"] = "raw"  # Pillow's libtiff fails at directories within the EXIF
    if metadata.xmp and format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = chunks
    elif metadata.xmp and format == "TIFF":  # a tag among the others
        tags = Image.Exif()
        tags.load(exif.PREFIX + metadata.exif if metadata.exif else b"")
        tags[_XMP_TAG] = metadata.xmp
        options["exif"] = tags
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options
