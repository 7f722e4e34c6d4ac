"""Arrays to picture files: formats, lossless pixels, and what a format cannot hold."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.picture_files import PROFILE
from helpers.pictures import smooth_picture
from vqcodec.errors import OutputError
from vqcodec.format.header import Metadata
from vqcodec.io.image_reader import read_image
from vqcodec.io.image_writer import format_of, write_image


def test_metadata_that_a_format_cannot_hold_is_left_out_with_a_note() -> None:
    large = Image.Exif()
    large[0x010E] = "x" * 70_000
    exif = large.tobytes().removeprefix(b"Exif\0\0")
    pixels = smooth_picture(8, 16)
    for format, metadata, left_out in (
        ("JPEG", Metadata(exif=exif), "EXIF of 70"),
        ("JPEG", Metadata(xmp=bytes(65_505)), "XMP of 65505"),
        ("JPEG", Metadata(icc=PROFILE.ljust(255 * 65519 + 1, b"\0")), "ICC of"),
        ("TIFF", Metadata(exif=b"II*\0\x08\0\0\0\xff\xffjunk"), "EXIF is not kept: it is damaged"),
        ("TIFF", Metadata(exif=b"no EXIF at all"), "EXIF is not kept: it is damaged"),
    ):
        (note,) = write_image(pixels, stream := io.BytesIO(), format=format, metadata=metadata)
        assert left_out in note
        assert read_image(stream).pixels.shape == pixels.shape
    for format, metadata in (
        ("JPEG", Metadata(exif=exif[:65_000], xmp=bytes(65_504), icc=PROFILE.ljust(255 * 65519, b"\0"))),
        ("TIFF", Metadata(exif=exif)),
    ):
        assert write_image(pixels, io.BytesIO(), format=format, metadata=metadata) == ()


@pytest.mark.parametrize("format", ["PPM", "PGM", "BMP"])
def test_formats_without_metadata_say_so(format: str) -> None:
    pixels = smooth_picture(9, 8, 1 if format == "PGM" else 3)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    given = Metadata(PROFILE, exif.tobytes().removeprefix(b"Exif\0\0"), b"<x/>")
    assert write_image(pixels, io.BytesIO(), format=format, metadata=given) == (
        f"not kept: ICC, EXIF, XMP, which {format} does not hold",
    )
    assert write_image(pixels, io.BytesIO(), format=format, metadata=Metadata()) == ()
    assert write_image(pixels, io.BytesIO(), format=format) == ()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 2, 3, 4]),
    st.sampled_from(["PNG", "PPM", "WEBP", "TIFF", "BMP"]),
)
def test_lossless_formats_keep_every_pixel(height: int, width: int, channels: int, format: str) -> None:
    pixels = smooth_picture(height, width, channels, seed=height).copy()
    if channels in (2, 4):
        pixels[0, 0, -1] = 0  # transparent pixels have colours, too
    stream = io.BytesIO()
    if channels in (2, 4) and format in ("PPM", "BMP"):
        with pytest.raises(OutputError, match=r"no transparency.*\.png"):
            write_image(pixels, stream, format=format)
        pixels[:, :, -1] = 255
        write_image(pixels, stream, format=format)
        stream.seek(0)
        np.testing.assert_array_equal(read_image(stream).pixels, pixels[:, :, 0] if channels == 2 else pixels[:, :, :3])
        return
    write_image(pixels, stream, format=format)
    stream.seek(0)
    back = read_image(stream).pixels
    if format == "WEBP" and channels < 3:  # WebP has no grey
        back = back[:, :, 0] if channels == 1 else back[:, :, [0, 3]]
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("format", ["PNG", "PPM", "TIFF"])
def test_deep_grey_is_written_as_it_is(format: str) -> None:
    pixels = (np.arange(600, dtype=np.uint16) * 109).reshape(20, 30)
    stream = io.BytesIO()
    write_image(pixels, stream, format=format)
    stream.seek(0)
    np.testing.assert_array_equal(read_image(stream).pixels, pixels)
    with pytest.raises(OutputError, match="8 bits per sample"):
        write_image(pixels, io.BytesIO(), format="JPEG")


@pytest.mark.parametrize("format", ["JPEG", "BMP", "PPM", "PGM"])
def test_opaque_alpha_is_dropped(format: str) -> None:
    pixels = smooth_picture(16, 16, 2 if format == "PGM" else 4)
    pixels[:, :, -1] = 255
    write_image(pixels, stream := io.BytesIO(), format=format)
    wanted = pixels[:, :, 0] if format == "PGM" else pixels[:, :, :3]
    assert np.abs(read_image(stream).pixels.astype(int) - wanted).mean() < 3
    pixels[5, 5, -1] = 254
    with pytest.raises(OutputError, match=r"no transparency: use \.png, \.webp or \.tif"):
        write_image(pixels, io.BytesIO(), format=format)


def test_jpeg_is_close() -> None:
    pixels = smooth_picture(64, 64)
    stream = io.BytesIO()
    write_image(pixels, stream, format="JPEG")
    stream.seek(0)
    assert np.abs(read_image(stream).pixels.astype(int) - pixels).mean() < 3


def test_format_by_name() -> None:
    assert [format_of(Path(name)) for name in ("a.png", "a.JPG", "a.b.tif", "-", "none", "/dev/stdout")] == [
        "PNG", "JPEG", "TIFF", "PNG", "PNG", "PNG",
    ]  # fmt: skip
    write_image(smooth_picture(4, 4, 1), io.BytesIO(), format=format_of(Path("a.pgm")))
    with pytest.raises(OutputError, match=r"holds grey only: use \.ppm for colour"):
        write_image(smooth_picture(4, 4), io.BytesIO(), format=format_of(Path("a.pgm")))
    with pytest.raises(OutputError, match=r"'\.xyz': use one of \.bmp, "):
        format_of(Path("a.xyz"))


def test_a_size_that_the_format_cannot_hold() -> None:
    with pytest.raises(OutputError, match="20000 x 1 pixels as WEBP"):
        write_image(np.zeros((1, 20_000, 3), np.uint8), io.BytesIO(), format="WEBP")
