"""ICC profiles for colours that a file signals by other means: .vqz files hold nothing else.

The first signal that a file has counts:

    PNG         cICP, the profile, sRGB, gAMA and cHRM (PNG specification, third edition, 4.3)
    AVIF, HEIC  the profile, the nclx box of the primary item (ISO/IEC 23008-12, 6.5.5)
    TIFF        the profile, TransferFunction with WhitePoint and PrimaryChromaticities
    JPEG 2000   the profile or the enumerated colour space of a JP2 file
    BMP         the profile, or the end points and gammas of a header of version 4 or 5
    GIF         the profile
    all         the colour space of EXIF: Adobe RGB, as cameras write it

QOI's colour space byte is ignored: it is "purely informative", and Pillow writes "linear" for any picture.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from PIL import Image

from vqcodec.errors import InputError
from vqcodec.format.header import MAX_METADATA
from vqcodec.io import exif, icc
from vqcodec.io.files import peek

_MOST_CHUNKS: Final = 1 << 16
_HEAD_BYTES: Final = 1 << 16
_SRGB = icc.Colours("sRGB")
_ADOBE_RGB = icc.Colours("Adobe RGB by EXIF", icc.ADOBE_RGB, (icc.gamma_curve(563 / 256),) * 3)
_UNSPECIFIED: Final = 2
_HDR: Final = {16: "PQ", 18: "HLG"}


class CodePoints(NamedTuple):
    """Code points of H.273: ColourPrimaries, TransferCharacteristics and VideoFullRangeFlag."""

    primaries: int
    transfer: int
    full_range: int


def colour_profile(
    image: Image.Image, stream: BinaryIO, own: bytes, exif_data: bytes, name: str, notes: list[str], *, grey: bool
) -> bytes:
    """The ICC profile for the colours of an open file, empty for sRGB. `own` is the file's profile as Pillow has read it. What
    cannot be expressed is added to `notes`.

    Raises InputError for HDR: no ICC profile shows its samples right.
    """
    try:
        if image.format == "PNG" and (points := _png_code_points(stream)):
            colours = _of_code_points(points, "cICP", name, notes, has_profile=bool(own))
            if colours is not None:
                return _profile(colours, grey)
        if own := own or _unread_profile(image, stream):
            return own
        return _profile(_signalled(image, stream, exif_data, name, notes, grey) or _SRGB, grey)
    except (ValueError, np.linalg.LinAlgError) as error:
        notes.append(f"colours are taken for sRGB: {error}")
    except (struct.error, IndexError, OverflowError):  # a truncated box or header
        notes.append("colours are taken for sRGB: the file's colour information is damaged")
    return b""


def _profile(colours: icc.Colours, grey: bool) -> bytes:
    """The ICC profile of a colour space, empty for sRGB."""
    if colours.is_srgb or (grey and set(colours.curves) == {icc.SRGB_CURVE}):
        return b""
    return icc.profile(colours, grey=grey)


def _signalled(
    image: Image.Image, stream: BinaryIO, exif_data: bytes, name: str, notes: list[str], grey: bool
) -> icc.Colours | None:
    """The colours that a file without a profile signals; None if it does not."""
    found: icc.Colours | None = None
    if image.format == "PNG":
        found = _of_png(image.info, grey)
    elif image.format in ("AVIF", "HEIF") and (points := _nclx_code_points(stream)):
        found = _of_code_points(points, "nclx", name, notes)
    elif image.format == "TIFF":
        found = _of_tiff(image)
    elif image.format == "JPEG2000":
        found = _of_jp2(stream, notes)
    elif image.format in ("BMP", "DIB"):
        found = _of_bmp(stream, notes)
    if found is None and (space := exif.colour_space(exif_data)):
        found = _ADOBE_RGB if space == "adobe" else None
        if found is None and image.format in ("JPEG", "MPO"):
            notes.append("colours are taken for sRGB: EXIF states another colour space, without naming it")
    return found


def profile_of_info(info: dict[Any, Any], exif_data: bytes, *, grey: bool) -> bytes:
    """`colour_profile` for a file that is closed, from what Pillow keeps of it: gAMA, cHRM and EXIF."""
    try:
        found = _of_png(info, grey) or (_ADOBE_RGB if exif.colour_space(exif_data) == "adobe" else _SRGB)
        return _profile(found, grey)
    except (ValueError, np.linalg.LinAlgError):
        return b""


def _of_code_points(
    points: CodePoints, source: str, name: str, notes: list[str], *, has_profile: bool = False
) -> icc.Colours | None:
    """The colours for code points from a `source` (cICP or nclx); None if they are unspecified. Raises InputError for HDR."""
    primaries, transfer, full_range = points
    if transfer in _HDR:
        if has_profile:
            notes.append(f"{source} says {_HDR[transfer]} and is left out: the ICC profile is kept")
            return None
        samples = f"{name} has HDR samples ({_HDR[transfer]})"
        raise InputError(f"{samples}, which .vqz does not hold: convert it to sRGB or Display P3 first")
    if primaries == transfer == _UNSPECIFIED:
        return None
    known = icc.PRIMARIES.get(1 if primaries == _UNSPECIFIED else primaries)
    curve = icc.CURVES.get(13 if transfer == _UNSPECIFIED else transfer)
    if known is None or curve is None:
        notes.append(f"unknown colours ({source} {primaries}/{transfer}) are left out")
        return None
    if source == "nclx" and primaries == 1 and transfer in icc.BT709_TRANSFERS:  # written and shown as sRGB
        return _SRGB
    if source == "cICP" and not full_range:
        notes.append("cICP states narrow-range samples: they are kept unchanged")
    return icc.Colours(f"{source} {primaries}/{transfer}", known, (curve,) * 3)


# ------------------------------------------------------------------------------------------------ PNG


def png_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Names of chunks, and up to 128 bytes of their content."""
    size = stream.seek(0, 2)
    at = 8
    for _ in range(_MOST_CHUNKS):
        if at + 8 > size:
            return
        stream.seek(at)
        head = stream.read(8 + 128)
        (length,) = struct.unpack_from(">I", head)
        yield head[4:8], head[8 : 8 + min(128, length)]
        at += 12 + length


def _png_code_points(stream: BinaryIO) -> CodePoints | None:
    for name, data in png_chunks(stream):
        if name == b"cICP" and len(data) == 4:
            return CodePoints(data[0], data[1], data[3])
        if name == b"IDAT":
            break
    return None


def _of_png(info: dict[Any, Any], grey: bool) -> icc.Colours | None:
    """Colours by sRGB, gAMA and cHRM in Pillow's `info`; None if there are none. Raises ValueError for implausible values."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info:
        return _SRGB
    if not (gamma or points):
        return None
    primaries = tuple(float(value) for value in points) if points and not grey else icc.PRIMARIES[1]
    if len(primaries) != 8:
        raise ValueError("cHRM does not have eight values")
    colours = icc.Colours("gAMA, cHRM", primaries)
    if not gamma or (0.45 <= gamma <= 0.46 and colours.is_srgb):  # sRGB, from encoders that write only gAMA
        return colours
    return replace(colours, curves=(icc.gamma_curve(1 / gamma),) * 3)


# ------------------------------------------------------------------------------------------------ AVIF, HEIC, JPEG 2000


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of consecutive ISO boxes."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        stop = at + size if size else len(data)
        if stop < at + head:
            return
        yield kind, data[at + head : stop]
        at = stop


def file_boxes(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of the ISO boxes of a file; contents of more than 16 MiB, and media data, are left empty."""
    end, at = stream.seek(0, 2), 0
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        length = 8
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
            length = 16
        stop = min(at + size if size else end, end)
        if stop < at + length:
            return
        stream.seek(at + length)
        yield kind, stream.read(stop - at - length) if kind != b"mdat" and stop - at <= MAX_METADATA else b""
        at = stop


def _nclx_code_points(stream: BinaryIO) -> CodePoints | None:
    """Code points of the nclx colour box that is associated with the primary item."""
    meta = next((data[4:] for kind, data in file_boxes(stream) if kind == b"meta"), b"")
    boxes = dict(_boxes(meta))
    properties = list(_boxes(dict(_boxes(boxes.get(b"iprp", b""))).get(b"ipco", b"")))
    primary = boxes.get(b"pitm", b"")
    item = int.from_bytes(primary[4 : 4 + (4 if primary[:1] == b"\1" else 2)], "big")
    for number in _associations(dict(_boxes(boxes.get(b"iprp", b""))).get(b"ipma", b""), item) or range(1, len(properties) + 1):
        kind, data = properties[number - 1] if 0 < number <= len(properties) else (b"", b"")
        if kind == b"colr" and data[:4] == b"nclx" and len(data) >= 11:
            primaries, transfer = struct.unpack_from(">HH", data, 4)
            return CodePoints(primaries, transfer, data[10] >> 7)
    return None


def _associations(data: bytes, item: int) -> list[int]:
    """Numbers, from 1, of the properties of an item (ISO/IEC 23008-12, 9.3.1)."""
    if len(data) < 8:
        return []
    wide_items, wide_numbers = data[0] > 0, bool(data[3] & 1)
    (count,) = struct.unpack_from(">I", data, 4)
    at = 8
    for _ in range(min(count, len(data))):
        (found,) = struct.unpack_from(">I" if wide_items else ">H", data, at)
        at += 4 if wide_items else 2
        count_of_item, at = data[at], at + 1
        width = 2 if wide_numbers else 1
        if found == item:
            values = [int.from_bytes(data[place : place + width], "big") for place in range(at, at + width * count_of_item, width)]
            return [value & (0x7FFF if wide_numbers else 0x7F) for value in values]
        at += count_of_item * width
    return []


def _jp2_colours(stream: BinaryIO) -> list[bytes]:
    """The colour boxes of a JP2 file, in order."""
    if peek(stream, 4) == b"\xff\x4f\xff\x51":  # a codestream without a file format
        return []
    header = next((data for kind, data in file_boxes(stream) if kind == b"jp2h"), b"")
    return [data for kind, data in _boxes(header) if kind == b"colr"]


def _of_jp2(stream: BinaryIO, notes: list[str]) -> icc.Colours | None:
    """Colours by the enumerated colour space of a JP2 file."""
    for data in _jp2_colours(stream):
        if data[:1] == b"\1" and len(data) >= 7:
            (space,) = struct.unpack_from(">I", data, 3)
            if space in (0, 12, 15, 16, 17, 18):  # bi-level, CMYK; sRGB as RGB, grey, YCC
                return _SRGB
            if space == 21:
                return icc.Colours("ROMM RGB", icc.ROMM, (icc.gamma_curve(1.8),) * 3)
            notes.append(f"colours are taken for sRGB: JPEG 2000's colour space {space} is unknown")
            return _SRGB
    return None


# ------------------------------------------------------------------------------------------------ TIFF, BMP


def _of_tiff(image: Image.Image) -> icc.Colours | None:
    """Colours by TIFF tags; None if there are none. Raises ValueError if they are incomplete."""
    tags = getattr(image, "tag_v2", {})
    white, points, transfer = tags.get(318), tags.get(319), tags.get(301)
    if not (points or transfer):
        return None
    chromaticities = (*(white or icc.PRIMARIES[1][:2]), *(points or icc.PRIMARIES[1][2:]))
    if len(chromaticities) != 8:
        raise ValueError("WhitePoint or PrimaryChromaticities is incomplete")
    colours = icc.Colours("TIFF", tuple(float(value) for value in chromaticities))  # type: ignore[arg-type]  # eight of them
    if not transfer:
        return colours
    values = np.array(transfer, np.uint16)
    depth = tags.get(258, 8)
    levels = 1 << (depth[0] if isinstance(depth, tuple) else depth)
    if len(values) not in (levels, 3 * levels) or levels > 1 << 16:
        raise ValueError("TransferFunction is incomplete")
    at = np.round(np.linspace(0, levels - 1, min(levels, 4096))).astype(int)
    curves = [icc.table_curve(table[at]) for table in values.reshape(-1, levels)]
    return replace(colours, curves=(curves[0], curves[-1 if len(curves) == 1 else 1], curves[-1]))


class _BmpHeader(NamedTuple):
    """The information header of a BMP file, and its offset."""

    data: bytes
    start: int


def _bmp_header(stream: BinaryIO) -> _BmpHeader:
    head = peek(stream, 14 + 124)
    start = 14 if head[:2] == b"BM" else 0
    (size,) = struct.unpack_from("<I", head, start)
    return _BmpHeader(head[start : start + size], start)


def _of_bmp(stream: BinaryIO, notes: list[str]) -> icc.Colours | None:
    """Colours by the header of a BMP file; None if it has none. Raises ValueError for implausible values."""
    header = _bmp_header(stream).data
    if len(header) < 108:
        return None
    if header[56:60] == b"KNIL":
        notes.append("colours are taken for sRGB: the ICC profile is in another file")
    if header[56:60] != bytes(4) or not any(header[60:96]):  # type "calibrated"; many writers leave all values zero
        return None
    points = np.array(struct.unpack_from("<9i", header, 60), float).reshape(3, 3) / (1 << 30)
    gammas = np.array(struct.unpack_from("<3I", header, 96)) / 65536
    sums = points.sum(axis=1)
    if (sums == 0).any() or points.sum(axis=0)[1] <= 0:
        raise ValueError("the end points of BMP are out of range")
    white = points.sum(axis=0)
    primaries = (*(white[:2] / white.sum()), *(points[:, :2] / sums[:, None]).ravel())
    curves = [icc.gamma_curve(float(gamma)) if gamma else icc.SRGB_CURVE for gamma in gammas]
    return icc.Colours("BMP", tuple(map(float, primaries)), tuple(curves))  # type: ignore[arg-type]  # eight and three of them


def _unread_profile(image: Image.Image, stream: BinaryIO) -> bytes:
    """An ICC profile that Pillow does not read."""
    if image.format == "JPEG2000":
        return next((data[3:] for data in _jp2_colours(stream) if data[:1] in (b"\2", b"\3")), b"")
    if image.format in ("BMP", "DIB"):
        header, start = _bmp_header(stream)
        if len(header) == 124 and header[56:60] == b"DEBM":
            place, size = struct.unpack_from("<II", header, 112)
            stream.seek(start + place)
            return stream.read(min(size, MAX_METADATA + 1))
    if image.format == "GIF":
        head = peek(stream, _HEAD_BYTES)
        start = head.find(b"\x21\xff\x0bICCRGBG1012")
        if start >= 0:
            return _gif_blocks(stream, start + 14)
    return b""


def _gif_blocks(stream: BinaryIO, start: int) -> bytes:
    """The data of consecutive GIF sub-blocks."""
    stream.seek(start)
    found = bytearray()
    while (size := stream.read(1)) not in (b"", b"\0") and len(found) <= MAX_METADATA:
        found += stream.read(size[0])
    return bytes(found)
