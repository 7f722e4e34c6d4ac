"""Notes on the parts of picture files that are dropped."""

import io
import struct
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers.picture_files import stored
from helpers.pictures import smooth_picture
from vqcodec.io.image_reader import read_image


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def test_png_content_that_is_dropped_is_noted_once() -> None:
    text = PngInfo()
    text.add_text("Title", "a")
    text.add_text("Author", "b", zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    text.add(b"tIME", bytes(7))
    text.add(b"prVt", b"layers")
    text.add(b"bKGD", bytes(6))
    text.add_text("Raw profile type iptc", "\niptc\n   2\n1c02\n")
    found = read_image(stored(Image.fromarray(smooth_picture(9, 8)), pnginfo=text))
    assert found.notes == ("not kept: 2 text chunks (Title, Author), the time of the last change, IPTC, a chunk (prVt)",)
    assert found.metadata.xmp == b"<x/>"
    many = PngInfo()
    for number in range(7):
        many.add_text(f"Key{number}", "")
    assert read_image(stored(Image.fromarray(smooth_picture(9, 8)), pnginfo=many)).notes == (
        "not kept: 7 text chunks (Key0, Key1, Key2, Key3, Key4, ...)",
    )


@pytest.mark.parametrize(
    ("added", "word"),
    [
        (segment(0xFE, b"made by hand"), "a JPEG comment"),
        (segment(0xFE, b"a") + segment(0xFE, b"b"), "2 JPEG comments"),
        (segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\2\x1c\2"), "IPTC"),
        (segment(0xED, b"Photoshop 3.0\0" + b"8BIM\3\xf3\0\0\0\0\0\2ab"), "Photoshop data"),
        (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version='1.0'/>"), "a gain map (Ultra HDR)"),
        (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x Camera:MotionPhoto='1'/>"), "the video of a motion photo"),
        (segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)), "extended XMP"),
        (segment(0xEB, b"JP\0\1" + bytes(20)), "content credentials"),
    ],
)
def test_jpeg_content_that_is_dropped_is_noted(added: bytes, word: str) -> None:
    data = stored(Image.fromarray(smooth_picture(9, 8)), "JPEG").getvalue()
    found = read_image(io.BytesIO(data[:20] + added + data[20:]))
    assert found.notes == (f"not kept: {word}",)


def test_an_aspect_ratio_of_pixels_is_noted() -> None:
    image = Image.fromarray(smooth_picture(32, 32))
    png, jpeg = stored(image, "PNG").getvalue(), bytearray(stored(image, "JPEG").getvalue())
    for across, note in ((2, ("not kept: the aspect ratio of pixels",)), (1, ())):
        chunk = b"pHYs" + struct.pack(">IIB", across, 1, 0)
        ratio = png[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
        jpeg[13:18] = struct.pack(">BHH", 0, across, 1)
        tiff = stored(image, "TIFF", tiffinfo={282: float(across), 283: 1.0, 296: 1})
        for stream in (io.BytesIO(ratio), io.BytesIO(jpeg), tiff):
            assert read_image(stream).notes == note


def test_content_of_other_formats_that_is_dropped_is_noted() -> None:
    image = Image.fromarray(smooth_picture(32, 32))
    tags = {33723: b"\x1c\2", 34377: b"8BIM", 42112: "<GDALMetadata/>", 270: "description"}
    for stream, note in (
        (stored(image, "TIFF", tiffinfo=tags), "not kept: IPTC, Photoshop data, a TIFF tag (GDAL_METADATA)"),
        (stored(image, "GIF", comment=b"made by hand"), "not kept: a comment"),
        (stored(image, "ICO", sizes=[(16, 16), (32, 32)]), "not kept: a smaller picture"),
        (stored(image, "JPEG2000", comment=b"made by hand"), "not kept: a comment"),
    ):
        assert read_image(stream).notes[-1] == note
    for format in ("TIFF", "GIF", "ICO", "JPEG2000", "BMP", "TGA", "QOI", "WEBP", "AVIF", "PNG", "JPEG", "PPM", "SGI", "PCX"):
        small = stored(
            image.quantize(8) if format == "GIF" else image, format, **({"sizes": [(32, 32)]} if format == "ICO" else {})
        )
        assert not any("not kept" in note for note in read_image(small).notes)
