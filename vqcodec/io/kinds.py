"""Kinds of files by their first bytes and their names: picture formats and others.

    kind_of    name, first bytes  ->  Kind

Nothing is opened here. Content decides; the name counts only if the content is unknown, or is TIFF, which most raw camera files
look like. image_reader.py knows which formats are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Final, NamedTuple

HEAD_BYTES: Final = 4096
"""First bytes of a file that determine its kind."""


class Kind(NamedTuple):
    """A kind of file: its name ("PNG", "HEIC", "text"; empty if unknown), the reason why it is not encoded unless its format is
    read, and Pillow's name of the format, empty for formats that Pillow does not read."""

    name: str = ""
    reason: str = ""
    format: str = ""


Tests = tuple[tuple[Callable[[bytes], bool], Kind], ...]


def is_picture_name(name: str) -> bool:
    """Whether the suffix belongs to a picture format, whether or not that is read."""
    suffix = PurePath(name).suffix.lower()
    return suffix in _BY_SUFFIX or suffix in _RAW_SUFFIXES


def kind_of(name: str, head: bytes) -> Kind:
    """The kind of a file by its name and its first HEAD_BYTES, or all bytes if it has fewer.

    A file of unknown content is of the kind that its suffix says, so a damaged picture is still a picture.
    """
    suffix = PurePath(name).suffix.lower()
    if not head:
        return Kind("", "the file is empty")
    found = _first(_SURE, head)
    if found in (_TIFF, None) and suffix in _RAW_SUFFIXES:
        return _raw(suffix[1:].upper())
    if found is not None:
        return found
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if re.fullmatch(r"\.[0-9a-f]{16}\.tmp", name):
        return Kind("", "a temporary file")
    if not suffix and _is_tga(head):
        return _TGA
    return _first(_NO_PICTURES, head) or (_no_picture("text") if _is_text(head) else Kind("", "not a picture"))


def lossy_kind(name: str, head: bytes) -> str:
    """The name of the kind of a file, with the arguments of `kind_of`, if its pixels were coded with loss; else an empty string.

    AVIF, HEIC and JPEG 2000 count as lossy, although they need not be.
    """
    kind = kind_of(name, head)
    lossy = kind in (_JPEG, _JPEG_2000, _AVIF, _HEIC) or (kind.name == "WebP" and b"VP8 " in head[12:])
    return kind.name if lossy else ""


def why_not_vqz(kind: Kind) -> str:
    """The reason why a file of another kind than .vqz is not decoded."""
    if kind == PACK:
        return kind.reason
    return f"not a .vqz file ({kind.name})" if kind.name else kind.reason.replace("not a picture", "not a .vqz file")


def _first(tests: Tests, head: bytes) -> Kind | None:
    """The kind of the first test that the head passes; None if it passes none."""
    return next((kind for test, kind in tests if test(head)), None)


def _no_picture(name: str) -> Kind:
    return Kind(name, f"not a picture ({name})")


def _picture(name: str, format: str = "") -> Kind:
    return Kind(name, f"{name} is not read: convert it to PNG or TIFF first", format)


def _raw(name: str) -> Kind:
    return Kind(name, f"raw camera file ({name}): develop it to TIFF or PNG first")


def _is_text(head: bytes) -> bool:
    """Whether the bytes are UTF-8, which may be cut within a character, or UTF-16 with a byte order mark, without control
    characters other than white space."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return False
    return not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)


def _is_tga(head: bytes) -> bool:
    """Whether the header is one of Truevision TGA, which has no magic number: its fields are checked (specification 2.0, page
    6)."""
    if len(head) < 19:
        return False
    colour_map, image_type, entry_bits, depth, descriptor = head[1], head[2], head[7], head[16], head[17]
    sizes = head[12:14] != b"\0\0" and head[14:16] != b"\0\0"
    mapped = image_type in (1, 9)
    if not sizes or descriptor & 0xC0 or image_type not in (1, 2, 3, 9, 10, 11) or (mapped and colour_map != 1):
        return False
    entries = entry_bits in (15, 16, 24, 32) if colour_map == 1 else colour_map == 0 and not any(head[3:8])
    return entries and depth in ((8,) if image_type in (1, 3, 9, 11) else (15, 16, 24, 32))


def _is_dib(head: bytes) -> bool:
    """Whether this is a BMP file without its file header: the size of the information header, width, height and 1 plane."""
    return re.match(rb"[\x28\x6c\x7c]\0{3}.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", head, re.DOTALL) is not None


def _brands(head: bytes) -> list[bytes]:
    """Major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return []
    box = head[8 : max(16, min(int.from_bytes(head[:4], "big"), len(head)))]
    return [box[:4]] + [box[k : k + 4] for k in range(8, len(box) - 3, 4)]


def _has_brand(*wanted: bytes) -> Callable[[bytes], bool]:
    return lambda head: any(brand in wanted for brand in _brands(head))


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    return lambda head: re.match(pattern, head, re.DOTALL) is not None


VQZ: Final = Kind(".vqz", "a .vqz file already")
PACK: Final = Kind(".vqzs pack", "a pack of pictures: unpack it")
_PNG: Final = _picture("PNG", "PNG")
_JPEG: Final = _picture("JPEG", "JPEG")
_JPEG_2000: Final = _picture("JPEG 2000", "JPEG2000")
_TIFF: Final = _picture("TIFF", "TIFF")
_AVIF: Final = _picture("AVIF", "AVIF")
_PPM: Final = _picture("PPM", "PPM")
_BMP: Final = _picture("BMP", "BMP")
_TGA: Final = _picture("TGA", "TGA")
_SGI: Final = _picture("SGI", "SGI")
_SUN: Final = _picture("Sun raster", "SUN")
_PSD: Final = _picture("PSD", "PSD")
_HEIC: Final = _picture("HEIC", "HEIF")
_JXL: Final = _picture("JPEG XL", "JXL")
_SVG: Final = Kind("SVG", "SVG is a vector format: draw it as a PNG first")
_VIDEO: Final = _no_picture("video")
_AUDIO: Final = _no_picture("sound")

_BY_SUFFIX: Final = {
    **dict.fromkeys((".png", ".apng"), _PNG),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"), _JPEG),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), _JPEG_2000),
    **dict.fromkeys((".tif", ".tiff"), _TIFF),
    **dict.fromkeys((".avif", ".avifs"), _AVIF),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), _PPM),
    **dict.fromkeys((".bmp", ".dib"), _BMP),
    **dict.fromkeys((".tga", ".icb", ".vda", ".vst"), _TGA),
    **dict.fromkeys((".sgi", ".rgb", ".rgba", ".bw"), _SGI),
    **dict.fromkeys((".ras", ".sun"), _SUN),
    **dict.fromkeys((".psd", ".psb"), _PSD),
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    **dict.fromkeys((".svg", ".svgz"), _SVG),
    ".jxl": _JXL,
    ".webp": _picture("WebP", "WEBP"),
    ".gif": _picture("GIF", "GIF"),
    ".qoi": _picture("QOI", "QOI"),
    ".ico": _picture("ICO", "ICO"),
    ".cur": _picture("CUR", "CUR"),
    ".icns": _picture("ICNS", "ICNS"),
    ".pcx": _picture("PCX", "PCX"),
    ".xbm": _picture("XBM", "XBM"),
    ".xpm": _picture("XPM", "XPM"),
    ".exr": _picture("OpenEXR"),
    ".hdr": _picture("Radiance HDR"),
    ".dds": _picture("DDS"),
    ".xcf": _picture("XCF"),
    ".jxr": _picture("JPEG XR"),
    ".eps": _picture("EPS"),
    ".wmf": _picture("WMF"),
    ".emf": _picture("EMF"),
}
_RAW_SUFFIXES: Final = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".ptx", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
))  # fmt: skip

_SURE: Final[Tests] = (
    (_starts(bytes((0x89, 0x56, 0x51, 0x5A, 0x0D, 0x0A, 0x1A, 0x0A))), VQZ),
    (_starts(bytes((0x89, 0x56, 0x51, 0x53, 0x0D, 0x0A, 0x1A, 0x0A))), PACK),
    (_starts(b"\x89PNG\r\n\x1a\n"), _PNG),
    (_starts(b"\xff\xd8\xff"), _JPEG),
    (_starts(b"GIF87a", b"GIF89a"), _BY_SUFFIX[".gif"]),
    (_matches(rb"RIFF....WEBP"), _BY_SUFFIX[".webp"]),
    (_has_brand(b"avif", b"avis"), _AVIF),
    (_starts(b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"), _JPEG_2000),
    (_starts(b"qoif"), _BY_SUFFIX[".qoi"]),
    (_matches(rb"\x00\x00\x01\x00[^\x00]\x00"), _BY_SUFFIX[".ico"]),
    (_matches(rb"\x00\x00\x02\x00[^\x00]\x00"), _BY_SUFFIX[".cur"]),
    (_matches(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"), _BMP),
    (_is_dib, _picture("DIB", "DIB")),
    (_matches(rb"P[1-6](\s*#|\s+[0-9])|P[fF]\s+[0-9]"), _PPM),
    # raw camera files, many of which begin like TIFF
    (_matches(rb"II\*\x00....CR"), _raw("CR2")),
    (_has_brand(b"crx "), _raw("CR3")),
    (_starts(b"II\x1a\0\0\0HEAPCCDR"), _raw("CRW")),
    (_starts(b"IIU\0"), _raw("RW2")),
    (_starts(b"IIRO", b"IIRS", b"MMOR"), _raw("ORF")),
    (_starts(b"FUJIFILMCCD-RAW"), _raw("RAF")),
    (_starts(b"FOVb"), _raw("X3F")),
    (_starts(b"\0MRM"), _raw("MRW")),
    (_matches(rb"II\*\x00.*\x12\xc6\x01\x00\x04\x00{3}|MM\x00\*.*\xc6\x12\x00\x01\x00{3}\x04"), _raw("DNG")),  # tag DNGVersion
    (_starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _TIFF),
    (_has_brand(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"), _HEIC),
    (_starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), _JXL),
    # an XML file whose first element is svg, after declarations and comments
    (_matches(rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>[]*+(?>\[.*?\]\s*)?>)*+<(?:\w+:)?svg\b"), _SVG),
    (_starts(b"8BPS"), _PSD),
    (_starts(b"icns"), _BY_SUFFIX[".icns"]),
    (_starts(b"\1\xda\0", b"\1\xda\1"), _SGI),
    (_starts(b"\x59\xa6\x6a\x95"), _SUN),
    (_matches(rb"\x0a[\x00\x02\x03\x04\x05]\x01[\x01\x02\x04\x08]"), _BY_SUFFIX[".pcx"]),
    (_matches(rb"\s*#define[ \t]+\w+_width[ \t]+[0-9]"), _BY_SUFFIX[".xbm"]),
    (_matches(rb"\s*/\* XPM \*/"), _BY_SUFFIX[".xpm"]),
    (_starts(b"v/1\1"), _BY_SUFFIX[".exr"]),
    (_starts(b"#?RADIANCE", b"#?RGBE"), _BY_SUFFIX[".hdr"]),
    (_starts(b"DDS "), _BY_SUFFIX[".dds"]),
    (_starts(b"gimp xcf"), _BY_SUFFIX[".xcf"]),
    (_starts(b"II\xbc\1"), _BY_SUFFIX[".jxr"]),
    (_starts(b"%!PS", b"\xc5\xd0\xd3\xc6"), _BY_SUFFIX[".eps"]),
    (_starts(b"\xd7\xcd\xc6\x9a"), _BY_SUFFIX[".wmf"]),
    (_matches(rb"\x01\x00\x00\x00.{36} EMF"), _BY_SUFFIX[".emf"]),
    (_starts(b"\xabKTX "), _picture("KTX")),
    (_matches(rb"P7\s+WIDTH|P7\s*#"), _picture("PAM")),
    (_starts(b"BPG\xfb"), _picture("BPG")),
    (_starts(b"FLIF"), _picture("FLIF")),
    (_matches(rb"SIMPLE  ="), _picture("FITS")),
    (_matches(rb".{128}DICM"), _picture("DICOM")),
    (_starts(b"AT&TFORM"), _picture("DjVu")),
    (_starts(b"\0\5\x16\7", b"\0\5\x16\0"), _no_picture("AppleDouble metadata of macOS")),
)
"""Tests of content that decide regardless of the name, in this order."""

_NO_PICTURES: Final[Tests] = (
    (_starts(b"%PDF"), _no_picture("PDF")),
    (_matches(rb"....ftyp(M4A|M4B)"), _AUDIO),
    (_matches(rb"\x00...(ftyp|moov|mdat|wide|free|skip)"), _VIDEO),
    (_starts(b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"\x30\x26\xb2\x75"), _VIDEO),
    (_matches(rb"RIFF....AVI "), _VIDEO),
    (_matches(rb"RIFF....WAVE|ID3[\x02-\x04]|fLaC|OggS|FORM....AIF"), _AUDIO),
    (_starts(b"PK\3\4", b"PK\5\6"), _no_picture("ZIP archive, or a document in one")),
    (
        _starts(b"\x1f\x8b", b"BZh91AY", b"\xfd7zXZ\0", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd", b"Rar!\x1a"),
        _no_picture("compressed archive"),
    ),
    (_matches(rb".{257}ustar"), _no_picture("tar archive")),
    (_starts(b"\x7fELF", b"MZ\x90\0", b"\xcf\xfa\xed\xfe"), _no_picture("program")),
    (_starts(b"SQLite format 3\0"), _no_picture("database")),
)
"""Tests with short magic numbers, used unless the name is that of a picture."""
