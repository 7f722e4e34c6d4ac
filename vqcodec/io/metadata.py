"""ICC profile, EXIF, XMP and resolution of Pillow images, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, Final

from PIL import Image, PngImagePlugin

from vqcodec.arrays import Pixels
from vqcodec.format.header import MAX_METADATA, Metadata
from vqcodec.io import exif, icc, xmp
from vqcodec.io.samples import SIDEWAYS, TRANSPOSES, is_grey

TIFF_TAGS_KEPT: Final = {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}
"""Descriptive TIFF tags: document and page name, description, make, model, software, date, artist, host, rating, copyright, and
Windows's title, comment, author, keywords and subject."""
_X_RESOLUTION_TAG, _Y_RESOLUTION_TAG, _XMP_TAG = 282, 283, 700


# ------------------------------------------------------------------------------------------------ reading


def metadata_of_file(
    image: Image.Image, stream: BinaryIO, name: str, pixels: Pixels, orientation: int, notes: list[str]
) -> Metadata:
    """Metadata of an open picture file, adapted to its upright pixels. What is dropped is added to `notes`. Raises InputError for
    HDR colours."""
    height, width = pixels.shape[:2]
    grey = pixels.ndim == 2 or pixels.shape[2] == 2
    found = _embedded(image)
    if image.mode != "CMYK":
        from vqcodec.io import signalling  # here, as writing a picture does not need it

        found = replace(found, icc=signalling.colour_profile(image, stream, found.icc, found.exif, name, notes, grey=grey))
    found = _within_limit(found, notes)
    fitted = icc.fitted(found.icc, grey=grey)
    if fitted.note:
        notes.append(fitted.note)
    turned = orientation in TRANSPOSES
    exif_data = exif.resized(exif.upright(found.exif, turned=turned), width, height)
    wanted = _resolution(image.format, image.info, getattr(image, "tag_v2", {})) or exif.resolution(exif_data)
    if wanted and orientation in SIDEWAYS:
        wanted = wanted[::-1]
    return Metadata(
        icc=fitted.profile,
        exif=_with_resolution(exif_data, wanted, notes),
        xmp=xmp.resized(xmp.upright(found.xmp, turned=turned), width, height),
    )


def metadata_of_image(image: Image.Image, given: Mapping[str, Any] | None = None) -> Metadata:
    """Metadata of a Pillow image, for samples by `samples_of_image`. Entries of `given`, named as in the image's `info`, replace
    the image's own; a profile given there is not adapted to the samples."""
    given = given or {}
    found = _embedded(image)
    profile = _bytes_of(given["icc_profile"]) if "icc_profile" in given else found.icc
    exif_data = _bytes_of(given["exif"]).removeprefix(exif.PREFIX) if "exif" in given else found.exif
    wanted = _resolution("", given, {}) if "dpi" in given else _resolution(image.format, image.info, getattr(image, "tag_v2", {}))
    exif_data = _with_resolution(exif_data, wanted, [])
    if "icc_profile" not in given:
        grey = is_grey(image)
        if not profile and image.mode != "CMYK":
            from vqcodec.io import signalling

            profile = signalling.profile_of_info(image.info, exif_data, grey=grey)
        profile = icc.fitted(profile, grey=grey).profile
    return Metadata(icc=profile, exif=exif_data, xmp=_bytes_of(given["xmp"]) if "xmp" in given else found.xmp)


def _embedded(image: Image.Image) -> Metadata:
    """ICC profile, EXIF and XMP as Pillow has read them. CMYK has no profile here: its samples are converted to sRGB."""
    profile, exif_data, packet = (_bytes_of(image.info.get(name)) for name in ("icc_profile", "exif", "xmp"))
    if image.format == "TIFF" and not exif_data:  # a TIFF file's own directory serves as its EXIF
        exif_data = _exif_of_tiff(image)
    if image.format == "PNG":
        from vqcodec.io import extras

        raw = extras.raw_profiles(image.info)
        profile, exif_data, packet = profile or raw.icc, exif_data or raw.exif, packet or raw.xmp
    return Metadata(icc=b"" if image.mode == "CMYK" else profile, exif=exif_data.removeprefix(exif.PREFIX), xmp=packet)


def _bytes_of(value: object) -> bytes:
    if isinstance(value, Image.Exif):
        return value.tobytes()
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return data if isinstance(data, bytes) else b""


def _within_limit(metadata: Metadata, notes: list[str]) -> Metadata:
    """The metadata without parts of more than MAX_METADATA bytes."""
    for kind in ("icc", "exif", "xmp"):
        if (size := len(getattr(metadata, kind))) > MAX_METADATA:
            notes.append(f"{kind.upper()} of {size} bytes is not kept: it is larger than 16 MiB")
            metadata = replace(metadata, **{kind: b""})
    return metadata


def _exif_of_tiff(image: Image.Image) -> bytes:
    """EXIF with the descriptive tags of a TIFF file; empty if it has none."""
    try:
        found = image.getexif()
        described = {tag: value for tag, value in found.items() if tag in TIFF_TAGS_KEPT}
        if not described and not found.get_ifd(exif.EXIF_IFD):
            return b""
        kept = Image.Exif()
        kept.update(described)
        for number in (exif.EXIF_IFD, exif.GPS_IFD):
            if directory := found.get_ifd(number):
                kept.get_ifd(number).update(directory)
        return kept.tobytes()
    except Exception:  # a damaged directory does not make the pixels unreadable
        return b""


# ------------------------------------------------------------------------------------------------ resolution


def _resolution(format: str | None, info: Mapping[Any, Any], tags: Mapping[int, object]) -> exif.Resolution | None:
    """Resolution by the format's own field, which viewers prefer to EXIF; None if there is none, or only an aspect ratio."""
    if format in ("JPEG", "MPO"):  # Pillow's "dpi" is made up if the file has no resolution
        unit_inches = {1: 1.0, 2: 2.54}.get(info.get("jfif_unit", 0), 0)
        found = tuple(value * unit_inches for value in info.get("jfif_density", ()))
    elif format == "TIFF" and not {_X_RESOLUTION_TAG, _Y_RESOLUTION_TAG} <= set(tags):
        return None
    else:
        found = info.get("dpi") or ()
    try:
        across, down = (float(value) for value in found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (_unrounded(across), _unrounded(down)) if all(0.01 <= value < 1e6 for value in (across, down)) else None


def _unrounded(value: float) -> float:
    """Pixels per inch before PNG or BMP rounded them to pixels per metre, if that was a whole number."""
    return round(value) if abs(value - round(value)) < 0.02 else value


def _with_resolution(data: bytes, wanted: exif.Resolution | None, notes: list[str]) -> bytes:
    """EXIF that states the wanted resolution; `data` itself if it agrees within the rounding of JPEG (0.5)."""

    def agrees(stated: exif.Resolution | None) -> bool:
        return stated is not None and wanted is not None and all(abs(a - b) <= 0.5 for a, b in zip(stated, wanted, strict=True))

    if wanted is None or agrees(exif.resolution(data)):
        return data
    changed = exif.with_resolution(data, wanted)
    if agrees(exif.resolution(changed)) and len(changed) <= MAX_METADATA:
        return changed
    notes.append("the resolution is not kept: the EXIF to store it in is damaged")
    return data


# ------------------------------------------------------------------------------------------------ writing


def save_options(metadata: Metadata, format: str) -> dict[str, object]:
    """Arguments of Pillow's `save` that store metadata in a file of this format; the inverse of `metadata_of_file`."""
    options: dict[str, object] = {}
    if format in ("PNG", "JPEG", "TIFF", "BMP") and (resolution := exif.resolution(metadata.exif)):
        options["dpi"] = resolution
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
    elif metadata.xmp and format == "TIFF":  # a tag like any other
        tags = Image.Exif()
        tags.load(exif.PREFIX + metadata.exif if metadata.exif else b"")
        tags[_XMP_TAG] = metadata.xmp
        options["exif"] = tags
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options
