"""XMP packets as bytes, edited in place; the counterpart of exif.py."""

from __future__ import annotations

import re
from typing import Final

_THUMBNAILS_BEGIN: Final = b"<xmp:Thumbnails"
_THUMBNAILS_END: Final = b"</xmp:Thumbnails>"


def upright(data: bytes, *, turned: bool) -> bytes:
    """XMP of a picture that has been turned upright: orientation 1 and, if it was `turned`, no thumbnails."""
    data = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", data)  # the two spellings that Pillow reads
    if not turned:
        return data
    begin = data.find(_THUMBNAILS_BEGIN)
    end = data.find(_THUMBNAILS_END, max(begin, 0))
    return data[:begin] + data[end + len(_THUMBNAILS_END) :] if begin >= 0 and end >= 0 else data


def resized(data: bytes, width: int, height: int) -> bytes:
    """XMP with the width and height that it states set to these."""
    for names, size in ((rb"tiff:ImageWidth|exif:PixelXDimension", width), (rb"tiff:ImageLength|exif:PixelYDimension", height)):
        data = re.sub(rb"((?:" + names + rb")(?:=[\"']|>))\d+", rb"\g<1>%d" % size, data)
    return data
