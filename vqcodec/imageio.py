"""Image files to arrays and back. The only importer of Pillow outside the bench: its errors stay in this room.

    read_image    PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM/PGM/PBM, GIF, JPEG 2000, TGA, ICO, QOI  ->  pixels, metadata
    write_image   pixels, metadata  ->  PNG, PPM/PGM, JPEG, WebP, TIFF, BMP

A .vqz file holds grey or RGB of 8 bits, with or without alpha, or grey of up to 16, with ICC profile, EXIF and XMP. What has an
equal there is converted without a word (1 bit to grey, the EXIF orientation), what is not is converted with a note (palette,
CMYK, further frames), and what would lose half its precision is refused with the way out (colour of more than 8 bits).
"""

import io
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from vqcodec.dct import Pixels
from vqcodec.errors import InputError, LimitError, OutputError, VqcodecError
from vqcodec.files import MAX_PIXELS, STREAM, name_of, open_input, printable, read_stream, stream_limit
from vqcodec.kinds import kind_of
from vqcodec.types import MAX_METADATA, Metadata

# Tried in this order. An allow-list: with Pillow's own list an EPS file would start Ghostscript. TGA has no magic
# number and comes last.
_READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "ICO", "QOI", "TGA")
_READ_NAMES = "PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM, GIF, JPEG 2000, TGA, ICO or QOI"

SUFFIXES: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".gif", ".jp2", ".qoi")
)
"""Of files that are taken for pictures where a folder is read."""

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
    "BMP": {},
}

EXIF_PREFIX = b"Exif\0\0"
_HEAD_BYTES = MAX_METADATA + (1 << 20)
"""In which the pixels of a file begin: its profile and the like come before."""
_MOST_IN_JPEG = {"icc": 255 * 65519, "exif": 65533 - len(EXIF_PREFIX), "xmp": 65533 - 29}
"""Bytes: of markers with two of their length and a name before what they hold; ICC profiles alone are spread over several."""
_ORIENTATION_TAG, _PHOTOMETRIC_TAG, _XMP_TAG, _EXIF_IFD, _GPS_IFD = 0x0112, 262, 700, 0x8769, 0x8825
_CHANNELS_TAG, _SAMPLE_FORMAT_TAG = 277, 339
_TIFF_TAGS_KEPT = {270, 271, 272, 305, 306, 315, 316, 33432}
"""Of a TIFF file, those about the picture: description, make, model, software, date, artist, host, copyright."""
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

_GREY_MODES = {"1", "L", "LA"}
_COLOUR_MODES = {"RGB", "RGBX", "RGBA"}
_CONVERTED_MODES = {"P": "a palette", "PA": "a palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV"}
_PREMULTIPLIED_MODES = {"La": "LA", "RGBa": "RGBA"}


@dataclass(frozen=True)
class ImageData:
    """A picture as it enters the encoder.

    pixels:   uint8 [H,W] grey or [H,W,3] RGB, with alpha [H,W,2] or [H,W,4]; or uint16 [H,W] grey; upright
    notes:    what was changed or dropped on the way, one short line each
    metadata: what the file says besides, as it is, but for the orientation
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


def read_opaque(source: Path | BinaryIO, *, name: str = "the image", max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
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
    return "" if kind.format in _READ_FORMATS else kind.reason


def _read_named(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    if not stream.seekable():
        stream = io.BytesIO(read_stream(stream, stream_limit(max_pixels)))
    try:
        with _pillow_limit(max_pixels):
            return _read(stream, name, max_pixels)
    except VqcodecError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture in a format that can be read: {_READ_NAMES}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"{name} has more than {max_pixels} pixels; --max-pixels raises the limit") from error
    except MemoryError as error:
        raise LimitError(f"{name} does not fit into memory") from error
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead to: KeyError, struct.error, ...
        raise InputError(f"cannot read {name}: {printable(str(error)) or type(error).__name__}") from error


def _read(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    with Image.open(stream, formats=_READ_FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise LimitError(f"{name} has {width} x {height} pixels, more than {max_pixels}; --max-pixels raises the limit")
        notes: list[str] = []
        bits = _bits_per_sample(image, stream)
        deep_grey = bits <= 16 and image.mode.startswith("I") and not image.has_transparency_data
        if bits > 8 and image.format == "AVIF":  # its decoder rounds properly, while others drop bits or clip
            notes.append(f"reduced from {bits} to 8 bits per sample")
        elif bits > 8 and not deep_grey:
            raise InputError(f"{name} has {bits} bits per sample: .vqz holds 16 of plain grey and 8 of all else, convert it to 8")
        if image.format == "TIFF":
            _check_tiff(image, name, notes)
        image.load()
        if image.format == "PNG" and image.mode == "L" and bits < 8 and "transparency" in image.info:
            image.info["transparency"] *= 255 // ((1 << bits) - 1)  # Pillow scales the samples, and not the one that is clear
        if _is_animated(image):
            notes.append("only the first of several frames is kept")
        metadata = _metadata(image, notes)
        if bits > 8 and deep_grey:
            if image.format == "PPM" and bits < 16:
                notes.append(f"scaled from {bits} to 16 bits per sample")  # by Pillow
            pixels: Pixels = _deep_pixels(image, bits)
        else:
            pixels = np.asarray(_upright(flat_image(image, name, notes), image))
            if image.mode == "CMYK":  # what is made of it is sRGB
                metadata = replace(metadata, icc=b"")
    return ImageData(pixels, tuple(notes), metadata)


def _check_tiff(image: Image.Image, name: str, notes: list[str]) -> None:
    """What Pillow reads as if it were something else: InputError for samples with a sign, a note for a channel left out."""
    tags = getattr(image, "tag_v2", {})
    signs = tags.get(_SAMPLE_FORMAT_TAG, 1)
    if 2 in (signs if isinstance(signs, tuple) else (signs,)):
        raise InputError(f"{name} has samples with a sign: .vqz holds grey or RGB from 0 up, convert it first")
    if tags.get(_CHANNELS_TAG, 1) > len(image.getbands()) > 1:
        notes.append("a channel that the file does not explain is left out")


def _deep_pixels(image: Image.Image, bits: int) -> NDArray[np.uint16]:
    """Upright grey of more than 8 bits."""
    found = np.asarray(_upright(image, image))  # of either byte order, or of mode I, whose 32 bits hold 16
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
    grey = mode in _GREY_MODES or (mode in ("P", "PA") and _is_grey_palette(image) and not _has_colour_profile(image))
    if mode == "CMYK" and (converted := _cmyk_by_profile(image)):
        return converted
    if image.has_transparency_data:
        target = "LA" if grey and not isinstance(image.info.get("transparency"), tuple) else "RGBA"
        return image if mode == target else image.convert("RGBA").convert(target)  # by RGBA: a transparent grey becomes alpha
    target = "L" if grey else "RGB"
    return image if mode == target else image.convert(target)  # converting would copy


def samples_of_image(image: Image.Image) -> Pixels:
    """Samples of a Pillow image, not turned, as ImageData has them; mode I is grey of 16 bits. Raises InputError."""
    try:
        image.load()
        if not image.mode.startswith("I"):
            return np.asarray(flat_image(image, "the image", []))
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


def metadata_of_image(image: Image.Image, **given: Any) -> Metadata:
    """The metadata in the `info` of a Pillow image, as it fits its `samples_of_image`; `given` replaces entries, as it is."""
    info: dict[Any, Any] = {name: data for name, data in image.info.items() if isinstance(data, bytes)} | given
    if image.mode == "CMYK" and "icc_profile" not in given:  # what is made of it is sRGB
        info.pop("icc_profile", None)
    exif = info.get("exif") or b""
    data = exif.tobytes() if isinstance(exif, Image.Exif) else exif
    return Metadata(info.get("icc_profile") or b"", data.removeprefix(EXIF_PREFIX), info.get("xmp") or b"")


def _cmyk_by_profile(image: Image.Image) -> Image.Image | None:
    """A CMYK image in sRGB by its own profile; None where it has none that works."""
    try:
        from PIL import ImageCms

        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # no profile, a broken one, or Pillow built without it
        return None


def _metadata(image: Image.Image, notes: list[str]) -> Metadata:
    """What a file says besides its pixels; what is too large is left out, with a note."""
    found = {"icc": image.info.get("icc_profile"), "exif": image.info.get("exif"), "xmp": image.info.get("xmp")}
    if image.format == "TIFF" and not found["exif"]:  # whose own directory is the EXIF
        found["exif"] = _exif_of_tiff(image)
    kept: dict[str, bytes] = {}
    for name, value in found.items():
        data = value.encode("utf-8", "replace") if isinstance(value, str) else value
        if isinstance(data, bytes) and data:
            if len(data) > MAX_METADATA:
                notes.append(f"{name.upper()} of {len(data)} bytes is not kept: it is larger than 16 MiB")
            else:
                kept[name] = data
    if "exif" in kept:
        kept["exif"] = reset_orientation(kept["exif"].removeprefix(EXIF_PREFIX))
    if "xmp" in kept:  # where Pillow looks, too
        kept["xmp"] = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", kept["xmp"])
    return Metadata(**kept)


def _exif_of_tiff(image: Image.Image) -> bytes:
    """The tags of a TIFF file that tell of the picture and not of how it is stored, as EXIF; empty where there are none."""
    try:
        exif = image.getexif()
        told = {tag: value for tag, value in exif.items() if tag in _TIFF_TAGS_KEPT}
        if not told and not exif.get_ifd(_EXIF_IFD):
            return b""
        kept = Image.Exif()
        kept.update(told)
        for number in (_EXIF_IFD, _GPS_IFD):
            if directory := exif.get_ifd(number):
                kept.get_ifd(number).update(directory)
        return kept.tobytes()
    except Exception:  # a broken directory does not make the pixels unreadable
        return b""


def reset_orientation(exif: bytes) -> bytes:
    """EXIF, from its TIFF header on, that says of its picture that it is upright; all else stays, maker notes included.

    What is no EXIF is given back as it is.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return exif
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(order + "H", exif, entry)[0] == _ORIENTATION_TAG:
                value = struct.pack(order + "HIHH", 3, 1, 1, 0)  # a short, one of them, 1, and what fills the entry
                return exif[: entry + 2] + value + exif[entry + 12 :]
    except struct.error:
        pass
    return exif


def _has_colour_profile(image: Image.Image) -> bool:
    """Whether its profile is one of RGB, which must not stand beside grey."""
    return (image.info.get("icc_profile") or b"")[16:20] == b"RGB "


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _upright(flat: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return flat
    return flat.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else flat


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
    a `quality` (0 to 100, of these two alone). Returns notes: of metadata that the format could hold, were it smaller or sound.

    Raises OutputError where the format cannot hold the picture.
    """
    height, width = pixels.shape[:2]
    what = f"{width} x {height} pixels as {format}"
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and format in ("JPEG", "PPM", "PGM", "BMP"):
        raise OutputError(f"cannot write {what}, which holds no transparency: .png, .webp and .tif do")
    if format == "PGM" and pixels.ndim == 3:
        raise OutputError(f"cannot write {what}, which holds grey alone: .ppm holds colour")
    if pixels.dtype != np.uint8 and format not in ("PNG", "TIFF", "PPM", "PGM"):
        raise OutputError(f"cannot write {what}, which holds 8 bits a sample: .png, .tif and .pgm hold 16")
    image = Image.fromarray(pixels)
    held, notes = _held(metadata or Metadata(), format)
    options: dict[str, Any] = {"format": format} | _SAVE_OPTIONS[format] | _metadata_options(held, format)
    if quality is not None:
        options |= {"quality": quality, "lossless": False}
    try:
        image.save(stream, **options)
    except (ValueError, OverflowError, SystemError, OSError) as error:
        raise OutputError(f"cannot write {what}: {printable(str(error))}") from error
    return notes


def _held(metadata: Metadata, format: str) -> tuple[Metadata, tuple[str, ...]]:
    """Of metadata what a format can hold, and what is to be said of the rest."""
    notes = []
    if format == "JPEG":
        for name, most in _MOST_IN_JPEG.items():
            if len(getattr(metadata, name)) > most:
                notes.append(f"{name.upper()} of {len(getattr(metadata, name))} bytes is not kept: JPEG holds {most}")
                metadata = replace(metadata, **{name: b""})
    if format == "TIFF" and metadata.exif and not _is_exif(metadata.exif):
        notes.append("EXIF is not kept: it is broken, and TIFF holds its entries one by one")
        metadata = replace(metadata, exif=b"")
    return metadata, tuple(notes)


def _is_exif(data: bytes) -> bool:
    """Whether Pillow can read, and write again, all entries of EXIF."""
    try:
        exif = Image.Exif()
        exif.load(EXIF_PREFIX + data)
        exif.tobytes()
    except Exception:  # whatever broken bytes lead to
        return False
    return True


def _metadata_options(metadata: Metadata, format: str) -> dict[str, object]:
    """Arguments of Pillow's `save`; the inverse of `_metadata`. PPM and BMP hold none."""
    options: dict[str, object] = {}
    if format in ("PPM", "PGM", "BMP"):
        return options
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.exif and format == "TIFF":
        options["compression"] = "raw"  # Pillow's libtiff fails at directories within the EXIF
    if metadata.xmp and format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = chunks
    elif metadata.xmp and format == "TIFF":  # a tag among the others
        exif = Image.Exif()
        exif.load(EXIF_PREFIX + metadata.exif if metadata.exif else b"")
        exif[_XMP_TAG] = metadata.xmp
        options["exif"] = exif
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options
