"""Colours that a file signals otherwise than by an ICC profile that Pillow reads, as one: .vqz files hold no other sign.

The first that a file has counts:

    PNG         cICP, the profile, sRGB, gAMA and cHRM (PNG specification, third edition, 4.3)
    AVIF, HEIC  the profile, the nclx box of the primary item (ISO/IEC 23008-12, 6.5.5)
    TIFF        the profile, TransferFunction with WhitePoint and PrimaryChromaticities
    JPEG 2000   the profile or the enumerated colour space of a JP2 file
    BMP         the profile or the end points and gammas of its header, versions 4 and 5
    GIF         the profile
    all         the colour space of EXIF: Adobe RGB, as cameras write it

QOI's byte that says linear is "purely informative", and Pillow writes it for any picture: it is left aside.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Final

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


def colour_profile(
    image: Image.Image, stream: BinaryIO, own: bytes, exif_data: bytes, name: str, notes: list[str], *, grey: bool
) -> bytes:
    """The ICC profile that says how the file's colours are meant, empty for sRGB. `own` is the file's profile as Pillow has it;
    what cannot be said is added to `notes`.

    Raises InputError for HDR, whose samples look wrong by any other sign.
    """
    try:
        if image.format == "PNG" and (points := _png_code_points(stream)):
            colours = _of_code_points(points, "cICP", name, notes, has_profile=bool(own))
            if colours is not None:
                return _written(colours, grey)
        if own := own or _unread_profile(image, stream):
            return own
        return _written(_signalled(image, stream, exif_data, name, notes, grey) or _SRGB, grey)
    except (ValueError, np.linalg.LinAlgError) as error:
        notes.append(f"colours are taken for sRGB: {error}")
    except (struct.error, IndexError, OverflowError):  # of a box or a header that is cut off
        notes.append("colours are taken for sRGB: what the file says of them is damaged")
    return b""


def _written(colours: icc.Colours, grey: bool) -> bytes:
    if colours.is_srgb or (grey and set(colours.curves) == {icc.SRGB_CURVE}):
        return b""
    return icc.profile(colours, grey=grey)


def _signalled(
    image: Image.Image, stream: BinaryIO, exif_data: bytes, name: str, notes: list[str], grey: bool
) -> icc.Colours | None:
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
            notes.append("colours are taken for sRGB: EXIF says that they are of another space, and not of which")
    return found


def profile_of_info(info: dict[Any, Any], exif_data: bytes, *, grey: bool) -> bytes:
    """As `colour_profile`, by what Pillow keeps of a file that is closed: gAMA, cHRM and EXIF."""
    try:
        found = _of_png(info, grey) or (_ADOBE_RGB if exif.colour_space(exif_data) == "adobe" else _SRGB)
        return _written(found, grey)
    except (ValueError, np.linalg.LinAlgError):
        return b""


def _of_code_points(
    points: tuple[int, int, int], sign: str, name: str, notes: list[str], *, has_profile: bool = False
) -> icc.Colours | None:
    """Primaries, transfer and whether samples have their full range, as H.273 numbers them; None where unspecified."""
    primaries, transfer, full = points
    if transfer in _HDR:
        if has_profile:
            notes.append(f"{sign} says {_HDR[transfer]}, and is left out: the ICC profile is kept")
            return None
        told = f"{name} has HDR samples ({_HDR[transfer]})"
        raise InputError(f"{told}, which .vqz does not hold: convert it to sRGB or Display P3 first")
    if primaries == transfer == _UNSPECIFIED:
        return None
    known = icc.PRIMARIES.get(1 if primaries == _UNSPECIFIED else primaries)
    curve = icc.CURVES.get(13 if transfer == _UNSPECIFIED else transfer)
    if known is None or curve is None:
        notes.append(f"colours by {sign} {primaries}/{transfer} are not known and left out")
        return None
    if sign == "nclx" and primaries == 1 and transfer in icc.BT709_TRANSFERS:  # written for sRGB, and shown as sRGB
        return _SRGB
    if sign == "cICP" and not full:
        notes.append("cICP says that samples have the narrow range of video: they are kept as they are")
    return icc.Colours(f"{sign} {primaries}/{transfer}", known, (curve,) * 3)


# ------------------------------------------------------------------------------------------------ PNG


def png_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Names of chunks and up to 128 bytes of what they hold."""
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


def _png_code_points(stream: BinaryIO) -> tuple[int, int, int] | None:
    for name, data in png_chunks(stream):
        if name == b"cICP" and len(data) == 4:
            return data[0], data[1], data[3]
        if name == b"IDAT":
            break
    return None


def _of_png(info: dict[Any, Any], grey: bool) -> icc.Colours | None:
    """From Pillow's `info` of a PNG file; None where it says nothing. Raises ValueError for a gamma that makes no sense."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info:
        return _SRGB
    if not (gamma or points):
        return None
    primaries = tuple(float(value) for value in points) if points and not grey else icc.PRIMARIES[1]
    if len(primaries) != 8:
        raise ValueError("cHRM has not its eight values")
    colours = icc.Colours("gAMA, cHRM", primaries)
    if not gamma or (0.45 <= gamma <= 0.46 and colours.is_srgb):  # so those write sRGB who have but a number
        return colours
    return replace(colours, curves=(icc.gamma_curve(1 / gamma),) * 3)


# ------------------------------------------------------------------------------------------------ AVIF, HEIC, JPEG 2000


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of ISO boxes, one after the other."""
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
    """As `_boxes`, of a file, where contents of more than 16 MiB are empty."""
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


def _nclx_code_points(stream: BinaryIO) -> tuple[int, int, int] | None:
    """The colour box of the primary item, by its associations with properties."""
    meta = next((data[4:] for kind, data in file_boxes(stream) if kind == b"meta"), b"")
    boxes = dict(_boxes(meta))
    properties = list(_boxes(dict(_boxes(boxes.get(b"iprp", b""))).get(b"ipco", b"")))
    primary = boxes.get(b"pitm", b"")
    item = int.from_bytes(primary[4 : 4 + (4 if primary[:1] == b"\1" else 2)], "big")
    for number in _associations(dict(_boxes(boxes.get(b"iprp", b""))).get(b"ipma", b""), item) or range(1, len(properties) + 1):
        kind, data = properties[number - 1] if 0 < number <= len(properties) else (b"", b"")
        if kind == b"colr" and data[:4] == b"nclx" and len(data) >= 11:
            primaries, transfer = struct.unpack_from(">HH", data, 4)
            return primaries, transfer, data[10] >> 7
    return None


def _associations(data: bytes, item: int) -> list[int]:
    """Numbers, from 1 on, of the properties of an item (ISO/IEC 23008-12, 9.3.1)."""
    if len(data) < 8:
        return []
    wide_items, wide_numbers = data[0] > 0, bool(data[3] & 1)
    (count,) = struct.unpack_from(">I", data, 4)
    at = 8
    for _ in range(min(count, len(data))):
        (found,) = struct.unpack_from(">I" if wide_items else ">H", data, at)
        at += 4 if wide_items else 2
        numbers, at = data[at], at + 1
        if found == item:
            step = 2 if wide_numbers else 1
            values = [int.from_bytes(data[place : place + step], "big") for place in range(at, at + step * numbers, step)]
            return [value & (0x7FFF if wide_numbers else 0x7F) for value in values]
        at += numbers * (2 if wide_numbers else 1)
    return []


def _jp2_colours(stream: BinaryIO) -> list[bytes]:
    """The colour boxes of a JP2 file, in order."""
    if peek(stream, 4) == b"\xff\x4f\xff\x51":  # a codestream alone
        return []
    header = next((data for kind, data in file_boxes(stream) if kind == b"jp2h"), b"")
    return [data for kind, data in _boxes(header) if kind == b"colr"]


def _of_jp2(stream: BinaryIO, notes: list[str]) -> icc.Colours | None:
    for data in _jp2_colours(stream):
        if data[:1] == b"\1" and len(data) >= 7:
            (space,) = struct.unpack_from(">I", data, 3)
            if space in (0, 12, 15, 16, 17, 18):  # of two levels, CMYK, and sRGB: as RGB, grey, YCC
                return _SRGB
            if space == 21:
                return icc.Colours("ROMM RGB", icc.ROMM, (icc.gamma_curve(1.8),) * 3)
            notes.append(f"colours are taken for sRGB: JPEG 2000's colour space {space} is not known")
            return _SRGB
    return None


# ------------------------------------------------------------------------------------------------ TIFF, BMP


def _of_tiff(image: Image.Image) -> icc.Colours | None:
    tags = getattr(image, "tag_v2", {})
    white, points, transfer = tags.get(318), tags.get(319), tags.get(301)
    if not (points or transfer):
        return None
    chromaticities = (*(white or icc.PRIMARIES[1][:2]), *(points or icc.PRIMARIES[1][2:]))
    if len(chromaticities) != 8:
        raise ValueError("WhitePoint or PrimaryChromaticities has not its values")
    colours = icc.Colours("TIFF", tuple(float(value) for value in chromaticities))  # type: ignore[arg-type]  # eight of them
    if not transfer:
        return colours
    values = np.array(transfer, np.uint16)
    depth = tags.get(258, 8)
    levels = 1 << (depth[0] if isinstance(depth, tuple) else depth)
    if len(values) not in (levels, 3 * levels) or levels > 1 << 16:
        raise ValueError("TransferFunction has not its values")
    at = np.round(np.linspace(0, levels - 1, min(levels, 4096))).astype(int)
    curves = [icc.table_curve(table[at]) for table in values.reshape(-1, levels)]
    return replace(colours, curves=(curves[0], curves[-1 if len(curves) == 1 else 1], curves[-1]))


def _bmp_header(stream: BinaryIO) -> tuple[bytes, int]:
    """The information header, and where it begins."""
    head = peek(stream, 14 + 124)
    start = 14 if head[:2] == b"BM" else 0
    (size,) = struct.unpack_from("<I", head, start)
    return head[start : start + size], start


def _of_bmp(stream: BinaryIO, notes: list[str]) -> icc.Colours | None:
    header, _ = _bmp_header(stream)
    if len(header) < 108:
        return None
    if header[56:60] == b"KNIL":
        notes.append("colours are taken for sRGB: the profile is in another file")
    if header[56:60] != bytes(4) or not any(header[60:96]):  # calibrated, though many write zeros alone
        return None
    points = np.array(struct.unpack_from("<9i", header, 60), float).reshape(3, 3) / (1 << 30)
    gammas = np.array(struct.unpack_from("<3I", header, 96)) / 65536
    sums = points.sum(axis=1)
    if (sums == 0).any() or points.sum(axis=0)[1] <= 0:
        raise ValueError("the end points of BMP make no sense")
    white = points.sum(axis=0)
    primaries = (*(white[:2] / white.sum()), *(points[:, :2] / sums[:, None]).ravel())
    curves = [icc.gamma_curve(float(gamma)) if gamma else icc.SRGB_CURVE for gamma in gammas]
    return icc.Colours("BMP", tuple(map(float, primaries)), tuple(curves))  # type: ignore[arg-type]  # eight and three of them


def _unread_profile(image: Image.Image, stream: BinaryIO) -> bytes:
    """An ICC profile that Pillow passes over."""
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
    stream.seek(start)
    found = bytearray()
    while (size := stream.read(1)) not in (b"", b"\0") and len(found) <= MAX_METADATA:
        found += stream.read(size[0])
    return bytes(found)
