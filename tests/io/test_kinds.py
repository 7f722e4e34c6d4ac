"""Kinds of files: pictures are recognised by content, and others have a reason."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vqcodec.errors import VqcodecError
from vqcodec.format.container import MAGIC
from vqcodec.io.image_reader import read_image, why_not_read
from vqcodec.io.kinds import HEAD_BYTES, VQZ, is_picture_name, kind_of, lossy_kind


def saved(format: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (24, 16)).save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("format", "mode", "name"),
    [
        ("PNG", "RGB", "PNG"),
        ("JPEG", "L", "JPEG"),
        ("WEBP", "RGBA", "WebP"),
        ("AVIF", "RGB", "AVIF"),
        ("TIFF", "RGB", "TIFF"),
        ("BMP", "RGB", "BMP"),
        ("BMP", "P", "BMP"),
        ("DIB", "RGB", "DIB"),
        ("PPM", "RGB", "PPM"),
        ("PPM", "L", "PPM"),
        ("PPM", "1", "PPM"),
        ("GIF", "P", "GIF"),
        ("JPEG2000", "RGB", "JPEG 2000"),
        ("ICO", "RGB", "ICO"),
        ("QOI", "RGB", "QOI"),
        ("TGA", "RGB", "TGA"),
        ("TGA", "P", "TGA"),
        ("TGA", "L", "TGA"),
        ("TGA", "RGBA", "TGA"),
    ],
)
@pytest.mark.parametrize("file_name", ["x", "x.txt", "x.vqz", "x.tga"])
def test_pictures_are_known_by_content(format: str, mode: str, name: str, file_name: str) -> None:
    kind = kind_of(file_name, saved(format, mode)[:HEAD_BYTES])
    if format == "TGA" and file_name in ("x.txt", "x.vqz"):  # no magic number, and another suffix
        assert kind.format == ""
    else:
        assert (kind.name, kind.format) == (name, format)


@pytest.mark.parametrize(
    ("format", "options", "name"),
    [
        ("JPEG", {}, "JPEG"),
        ("AVIF", {}, "AVIF"),
        ("JPEG2000", {}, "JPEG 2000"),
        ("WEBP", {"lossless": False}, "WebP"),
        ("WEBP", {"lossless": True}, ""),
        ("PNG", {}, ""),
        ("TIFF", {}, ""),
    ],
)
def test_lossy_files_are_known(format: str, options: dict[str, bool], name: str) -> None:
    assert lossy_kind("x", saved(format, **options)[:HEAD_BYTES]) == name


@pytest.mark.slow
def test_every_picture_that_is_read_has_a_known_kind(shared_data: Path) -> None:
    """With and without a name."""
    files = [path for path in sorted((shared_data / "odd").rglob("*")) if path.is_file()]
    read = 0
    for path in files:
        try:
            read_image(path, max_pixels=1 << 20)
        except VqcodecError:
            continue
        read += 1
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        assert not why_not_read(path.name, head), path
        assert not why_not_read("x", head), path
    assert read > 100


def isobmff(*brands: bytes) -> bytes:
    box = brands[0] + bytes(4) + b"".join(brands)
    return (8 + len(box)).to_bytes(4, "big") + b"ftyp" + box + bytes(64)


RAW = "raw camera file ({}): develop it to TIFF or PNG first"
SVG = "SVG is a vector format: draw it as a PNG first"
UNREAD = "{} is not read: convert it to PNG or TIFF first"
WITH_PACKAGE = "HEIC needs the package pillow-heif: pip install pillow-heif, or convert it to PNG first"
TIFF = saved("TIFF")
DNG = b"II*\0\x08\0\0\0\2\0\xfe\0\4\0\1\0\0\0\1\0\0\0\x12\xc6\1\0\4\0\0\0\1\4\0\0" + bytes(99)


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("a.png", b"", "the file is empty"),
        ("a.heic", isobmff(b"heic", b"mif1"), WITH_PACKAGE),
        ("a.jpg", isobmff(b"mif1", b"heic"), WITH_PACKAGE),  # phones use this name
        ("a.heif", b"\0\1\2", WITH_PACKAGE),
        ("a.avif", isobmff(b"avif", b"mif1"), ""),
        ("a.jxl", b"\xff\x0a\x80", UNREAD.format("JPEG XL")),
        ("a", b"\0\0\0\x0cJXL \r\n\x87\n", UNREAD.format("JPEG XL")),
        ("a.cr2", TIFF[:8] + b"CR\2\0" + TIFF[12:], RAW.format("CR2")),
        ("a.CR2", b"II*\0\x10\0\0\0CR\2\0", RAW.format("CR2")),
        ("a.tif", b"II*\0\x10\0\0\0CR\2\0", RAW.format("CR2")),
        ("a.nef", TIFF, RAW.format("NEF")),
        ("a.ARW", TIFF, RAW.format("ARW")),
        ("a.dng", DNG, RAW.format("DNG")),
        ("a", DNG, RAW.format("DNG")),
        ("a.cr3", isobmff(b"crx ", b"isom"), RAW.format("CR3")),
        ("a.tif", TIFF, ""),
        ("a.svg", b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", SVG),
        ("a.xml", b"<!-- x --><svg xmlns='x'>", SVG),
        (
            "a",
            b"<!DOCTYPE svg PUBLIC '-//W3C' 'x' [\n<!ENTITY a 'b>'>\n]>\n<s:svg>",
            SVG,
        ),
        ("a.html", b"<!DOCTYPE html><html><svg></svg>", "not a picture (text)"),
        ("a.jpg", b"<!DOCTYPE html><html><svg></svg>", ""),  # a web page instead of a picture
        ("a.txt", b"<!---->" * 500, "not a picture (text)"),
        ("a", MAGIC[:3], "not a picture"),
        ("a.svgz", b"\x1f\x8b\x08", SVG),
        ("a.exr", b"v/1\1", UNREAD.format("OpenEXR")),
        ("a.jpg", MAGIC + b"x", "a .vqz file already"),
        ("._a.jpg", b"\0\5\x16\7\0\2\0\0", "not a picture (AppleDouble metadata of macOS)"),
        ("a.txt", b"P1 and P2 were there", "not a picture (text)"),
        ("a.txt", b"BM is short for bitmap, as all know who work with them", "not a picture (text)"),
        ("a.xmp", "<x:xmpmeta>\N{SNOWMAN}</x:xmpmeta>".encode(), "not a picture (text)"),
        ("a", "naïve ☃".encode()[:-1], "not a picture (text)"),  # cut within a character
        ("a.txt", "text".encode("utf-16"), "not a picture (text)"),
        ("a.pdf", b"%PDF-1.7\n", "not a picture (PDF)"),
        ("a.mp4", isobmff(b"isom", b"avc1"), "not a picture (video)"),
        ("a.mov", b"\0\0\0\x08wide\0\0\0\0mdat", "not a picture (video)"),
        ("a.mp3", b"ID3\4\0\0", "not a picture (sound)"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "not a picture"),
        (".0123456789abcdef.tmp", b"\x89PN", "a temporary file"),
        ("a.jpg", b"text", ""),  # named like a picture: reading it is an error
        ("a.tga", bytes(99), ""),
    ],
)
def test_reasons(name: str, head: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    assert why_not_read(name, head) == reason


def test_an_archive_is_no_picture() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.png", saved("PNG"))
    assert kind_of("a.zip", stream.getvalue()).reason == "not a picture (ZIP archive, or a document in one)"
    assert kind_of("a.vqz", MAGIC) == VQZ


@given(st.binary(max_size=64), st.sampled_from(["", "x", "x.png", "x.cr2", "x.txt"]))
def test_any_bytes_have_a_kind(head: bytes, name: str) -> None:
    kind = kind_of(name, head)
    assert kind.name or kind.reason


def test_few_random_bytes_are_taken_for_tga() -> None:
    random = np.random.default_rng(0)
    assert not [seed for seed in range(2000) if kind_of("x", random.bytes(100)).format]


def test_names_of_pictures() -> None:
    for name in ("a.png", "a.JPEG", "a.heic", "a.CR2", "a.svg", "a.jxl"):
        assert is_picture_name(name)
    for name in ("a", "a.vqz", "a.out", "png"):
        assert not is_picture_name(name)
