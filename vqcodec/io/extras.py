"""Notes on the parts of picture files that .vqz files cannot hold, so that nothing is lost silently."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Final

from PIL import Image

from vqcodec.errors import printable
from vqcodec.format.header import Metadata
from vqcodec.io.signalling import file_boxes, png_chunks

_MOST_NAMES: Final = 5
_RAW_PROFILE: Final = "Raw profile type "
_RAW_PROFILES: Final = {"exif": "exif", "APP1": "exif", "xmp": "xmp", "icc": "icc", "icm": "icc"}
"""Kinds of ImageMagick's profiles, stored as hexadecimal text, and the metadata that each is kept as."""
_XMP_PREFIX: Final = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_KEPT: Final = frozenset(
    (
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"cICP", b"gAMA", b"iCCP", b"sRGB", b"pHYs", b"eXIf"),
        *(b"acTL", b"fcTL", b"fdAT", b"bKGD", b"hIST", b"sBIT", b"sPLT", b"gIFg", b"mDCV", b"cLLI", b"iDOT", b"vpAg"),
    )
)
"""Chunks that are read, or that mean nothing without the palette or the animation."""
_TIFF_KEPT: Final = (
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289, 290, 291}
    | {292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 336, 337, 338, 339, 340, 341, 342, 347}
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 700, 34665, 34675, 34853, 40965}
)
_PHOTOSHOP_IPTC: Final = 0x0404
_PHOTOSHOP_KEPT: Final = {0x03ED, 0x0404, 0x0406, 0x040B, 0x040F, 0x0422, 0x0424, 0x0425}
"""Photoshop resources without a note of their own: resolution, IPTC, quality, URL, ICC profile, EXIF, XMP, checksum of IPTC."""


def left_out(image: Image.Image, stream: BinaryIO, tiff_kept: Iterable[int]) -> str:
    """A note that names the parts of an open picture file that are dropped; empty if there are none. `tiff_kept`: further TIFF tags
    that are kept."""
    found: list[str] = []
    if image.format == "PNG":
        found = _of_png(image, stream)
    elif image.format in ("JPEG", "MPO"):
        found = _of_jpeg(image)
    elif image.format == "TIFF":
        found = _of_tiff(image, _TIFF_KEPT | set(tiff_kept))
    elif image.format == "GIF" and image.info.get("comment"):
        found = ["a comment"]
    elif image.format == "JPEG2000":
        found = _of_jp2(image, stream)
    elif image.format == "AVIF" and b"tmap" in _brands(stream):
        found = ["a gain map (HDR)"]
    elif image.format == "PSD":
        found = ["layers"] * (getattr(image, "n_frames", 1) > 1) + _of_photoshop(_psd_resources(image))
    elif image.format == "HEIF":
        found = _of_heif(image)
    elif len(sizes := set(image.info.get("sizes", ()))) > 1:
        found = [_plural(len(sizes) - 1, "smaller picture")]
    elif image.format == "TGA" and image.info.get("id_section"):
        found = ["a comment"]
    if _has_oblong_pixels(image):
        found = [*found, "the aspect ratio of pixels"]
    return f"not kept: {', '.join(found)}" if found else ""


def _has_oblong_pixels(image: Image.Image) -> bool:
    """Whether the file states a pixel aspect ratio other than 1 and no resolution, which would be kept."""
    ratio: tuple[Any, ...] = ()
    if image.format == "PNG":
        ratio = image.info.get("aspect", ())
    elif image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") == 0:
        ratio = image.info.get("jfif_density", ())
    elif image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        ratio = (tags.get(282), tags.get(283)) if tags.get(296) == 1 else ()
    return len(ratio) == 2 and all(ratio) and ratio[0] != ratio[1]


def _plural(count: int, noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}" if count == 1 else f"{count} {noun}s"


def _named(noun: str, names: list[str]) -> str:
    """A count of a noun, with the first names."""
    shown = [printable(name)[:40] for name in names[:_MOST_NAMES]] + ["..."] * (len(names) > _MOST_NAMES)
    return f"{_plural(len(names), noun)} ({', '.join(shown)})"


# ------------------------------------------------------------------------------------------------ formats


def raw_profiles(info: Mapping[Any, Any]) -> Metadata:
    """ICC, EXIF and XMP that ImageMagick has written as text chunks of a PNG file; damaged ones are empty."""
    found: dict[str, bytes] = {}
    for kind, name in _RAW_PROFILES.items():
        text = info.get(_RAW_PROFILE + kind)
        if not isinstance(text, str):
            continue
        try:
            data = bytes.fromhex("".join(text.split("\n")[3:]))  # after an empty line, the kind, and the number of bytes
        except ValueError:
            continue
        if data.startswith(_XMP_PREFIX):
            name, data = "xmp", data.removeprefix(_XMP_PREFIX)
        found.setdefault(name, data)
    return Metadata(icc=found.get("icc", b""), exif=found.get("exif", b""), xmp=found.get("xmp", b""))


def _of_png(image: Image.Image, stream: BinaryIO) -> list[str]:
    found, texts, others = [], [], []
    has_raw_profile = raw_profiles(image.info) != Metadata()
    for name, data in png_chunks(stream):
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            key = data.split(b"\0")[0].decode("latin-1")
            kind = key.removeprefix(_RAW_PROFILE)
            if key in ("XML:com.adobe.xmp", "exif") or (kind != key and kind in _RAW_PROFILES and has_raw_profile):
                continue
            if kind != key and kind in ("iptc", "8bim"):
                found.append("IPTC")
            else:
                texts.append(key)
        elif name == b"tIME":
            found.append("the time of the last change")
        elif name not in _PNG_KEPT and name.isalpha():
            others.append(name.decode())
    found = list(dict.fromkeys(found))
    return [*([_named("text chunk", texts)] if texts else []), *found, *([_named("chunk", others)] if others else [])]


def _of_jpeg(image: Image.Image) -> list[str]:
    found = _of_photoshop(image.info.get("photoshop"))
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    comments = sum(name == "COM" for name, _ in segments)
    if comments:
        found.append(_plural(comments, "JPEG comment"))
    xmp = image.info.get("xmp") or b""
    gain_map = b"hdrgm:" in xmp or any(b"urn:iso:std:iso:ts:21496" in data[:64] for _, data in segments)
    for word, is_there in (
        ("a gain map (Ultra HDR)", gain_map),
        ("extended XMP", any(data.startswith(b"http://ns.adobe.com/xmp/extension/") for _, data in segments)),
        ("content credentials", any(name == "APP11" and data.startswith(b"JP") for name, data in segments)),
        ("the video of a motion photo", b"MotionPhoto" in xmp or b"MicroVideo" in xmp),
        ("FlashPix data", bool(image.info.get("flashpix"))),
    ):
        if is_there:
            found.append(word)
    return found


def _of_photoshop(resources: object) -> list[str]:
    """Notes on Photoshop resources, which are given by number."""
    numbers = set(resources) if isinstance(resources, dict) else set()
    return ["IPTC"] * (_PHOTOSHOP_IPTC in numbers) + ["Photoshop data"] * bool(numbers - _PHOTOSHOP_KEPT)


def _psd_resources(image: Image.Image) -> dict[int, bytes]:
    return {number: data for number, _, data in getattr(image, "resources", [])}


def psd_info(image: Image.Image) -> dict[Any, Any]:
    """EXIF, XMP and resolution of a PSD file, which Pillow does not read, with the names that they have in Pillow's `info`."""
    resources = _psd_resources(image)
    found: dict[Any, Any] = {"exif": resources.get(0x0422), "xmp": resources.get(0x0424)}
    if len(resolution := resources.get(0x03ED, b"")) >= 12:
        found["dpi"] = tuple(value / 65536 for value in struct.unpack_from(">I4xI", resolution))  # always per inch
    return found


def _of_heif(image: Image.Image) -> list[str]:
    found = ["depth"] * bool(image.info.get("depth_images"))
    further = image.info.get("aux") or {}
    gain_maps = sum("gainmap" in str(kind).lower() for kind in further)
    found += ["a gain map (HDR)"] * bool(gain_maps)
    others = len(further) - gain_maps
    return found + ([_plural(others, "auxiliary picture")] if others else [])


def _of_tiff(image: Image.Image, kept: set[int]) -> list[str]:
    from PIL import TiffTags

    tags = set(getattr(image, "tag_v2", {})) - kept
    found = [word for tag, word in ((33723, "IPTC"), (34377, "Photoshop data"), (37724, "layers")) if tag in tags]
    names = [TiffTags.lookup(tag).name for tag in sorted(tags - {33723, 34377, 37724})]
    names = [str(tag) if name == "unknown" else name for tag, name in zip(sorted(tags - {33723, 34377, 37724}), names, strict=True)]
    return [*found, *([_named("TIFF tag", names)] if names else [])]


def _of_jp2(image: Image.Image, stream: BinaryIO) -> list[str]:
    """Notes on the comment and on boxes with other content of a JPEG 2000 file."""
    comment = image.info.get("comment") or b""
    found = ["a comment"] if comment and not comment.startswith(b"Created by OpenJPEG") else []
    if getattr(image, "codec", "") == "jp2":
        kinds = [kind.decode("latin-1").strip() for kind, _ in file_boxes(stream) if kind in (b"xml ", b"uuid", b"jp2i", b"asoc")]
        found += [_named("box", kinds)] if kinds else []
    return found


def _brands(stream: BinaryIO) -> list[bytes]:
    kind, data = next(iter(file_boxes(stream)), (b"", b""))
    return [data[at : at + 4] for at in range(0, min(len(data), 256), 4)] if kind == b"ftyp" else []
