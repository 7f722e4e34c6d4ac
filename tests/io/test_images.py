"""Image files: what is accepted, what is converted, and that nothing foreign is ever raised."""

import io
import struct
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from helpers.exif_data import THUMBNAIL, camera
from helpers.pictures import png, smooth_picture
from vqcodec.errors import InputError, LimitError, OutputError, VqcodecError
from vqcodec.format.header import Metadata
from vqcodec.io import exif as exif_bytes
from vqcodec.io import icc
from vqcodec.io.image_reader import ImageData, read_image, read_opaque, why_not_read
from vqcodec.io.image_writer import format_of, write_image
from vqcodec.io.kinds import is_picture_name
from vqcodec.io.samples import bits_per_sample, flat_image


def stored(image: Image.Image, format: str = "PNG", **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    stream.seek(0)
    return stream


# ------------------------------------------------------------------------------------------------ modes


def test_rgb_and_grey_are_taken_as_they_are() -> None:
    for channels in (1, 3):
        pixels = smooth_picture(9, 14, channels)
        data = read_image(stored(Image.fromarray(pixels)))
        assert data.pixels.dtype == np.uint8
        np.testing.assert_array_equal(data.pixels, pixels)
        assert data.notes == ()


def test_one_bit_becomes_grey() -> None:
    bits = np.random.default_rng(0).random((7, 13)) < 0.5
    data = read_image(stored(Image.fromarray(bits)))
    np.testing.assert_array_equal(data.pixels, bits * np.uint8(255))


def test_palette() -> None:
    pixels = smooth_picture(20, 20) // 64 * 64
    image = Image.fromarray(pixels).quantize(256)
    data = read_image(stored(image))
    np.testing.assert_array_equal(data.pixels, np.asarray(image.convert("RGB")))
    assert data.notes == ("converted from a palette",)


def test_a_grey_palette_with_a_profile_of_colours_stays_colour() -> None:
    """The profile is kept, and PNG for one refuses it beside grey."""
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    assert read_image(stored(image)).pixels.ndim == 2
    found = read_image(stored(image, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()))
    assert found.pixels.shape == (4, 4, 3)
    assert found.metadata.icc


def test_grey_palette_becomes_grey() -> None:
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16), "L").convert("P")
    np.testing.assert_array_equal(read_image(stored(image)).pixels, np.arange(256).reshape(16, 16))


def test_cmyk() -> None:
    image = Image.fromarray(smooth_picture(16, 16)).convert("CMYK")
    data = read_image(stored(image, "JPEG", quality=95))
    assert data.pixels.shape == (16, 16, 3)
    assert data.notes == ("converted from CMYK",)


def test_cmyk_goes_through_its_profile_where_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow makes no CMYK profile, so what converts by one is watched at its seam, and a broken one does no harm."""
    from PIL import ImageCms

    image = Image.fromarray(smooth_picture(16, 16)).convert("CMYK")
    assert read_image(stored(image, "JPEG", icc_profile=b"broken")).metadata.icc == b""
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", lambda stream: stream.read())
    monkeypatch.setattr(ImageCms, "profileToProfile", lambda image, own, *_, **mode: Image.new("RGB", image.size, (own[0], 2, 3)))
    data = read_image(stored(image, "JPEG", icc_profile=b"\x07profile"))
    assert data.pixels[0, 0].tolist() == [7, 2, 3]
    assert data.metadata.icc == b""  # the pixels are sRGB now


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_kept(mode: str, format: str) -> None:
    image = Image.fromarray(smooth_picture(7, 6)).convert(mode)
    image.putalpha(Image.fromarray(smooth_picture(7, 6, 1, seed=3)))
    data = read_image(stored(image, format, **({"lossless": True, "exact": True} if format == "WEBP" else {})))
    wanted = np.asarray(image.convert("RGBA") if format == "WEBP" else image)
    np.testing.assert_array_equal(data.pixels, wanted)
    assert data.notes == ()


def test_transparent_colours_become_alpha() -> None:
    palette = Image.fromarray(smooth_picture(8, 8)).quantize(16)
    clear = palette.getpixel((0, 0))
    for stream, channels in (
        (stored(palette, transparency=clear), 4),
        (stored(Image.new("RGB", (8, 8), (1, 2, 3)), transparency=(1, 2, 3)), 4),
        (stored(Image.new("L", (8, 8), 7), transparency=7), 2),
    ):
        pixels = read_image(stream).pixels
        assert pixels.shape == (8, 8, channels)
        assert pixels[0, 0, -1] == 0


@pytest.mark.parametrize(("depth", "rows"), [(1, b"\x50"), (2, b"\x1b"), (4, b"\x12"), (8, b"\x01\x02")])
def test_a_transparent_grey_of_few_bits(depth: int, rows: bytes) -> None:
    """The second sample is the clear one."""
    sample = int.from_bytes(rows, "big") >> (8 * len(rows) - 2 * depth) & ((1 << depth) - 1)
    pixels = read_image(png(2, 1, depth, 0, b"\0" + rows, struct.pack(">H", sample))).pixels
    assert pixels[0, :, 1].tolist() == [255, 0]
    assert pixels[0, 1, 0] == sample * 255 // ((1 << depth) - 1)


def test_a_transparent_grey_of_many_bits_is_refused() -> None:
    with pytest.raises(InputError, match="16 bits for grey without transparency and 8 bits otherwise, convert it to 8"):
        read_image(png(2, 1, 16, 0, b"\0\1\2\3\4", b"\1\2"))


def test_premultiplied_alpha() -> None:
    for mode, target in (("La", "LA"), ("RGBa", "RGBA")):
        image = Image.new(target, (2, 2), (200, 128) if target == "LA" else (200, 100, 50, 128)).convert(mode)
        assert flat_image(image, "it", []).getpixel((0, 0)) == image.convert(target).getpixel((0, 0))


def test_opaque_pictures_for_those_who_want_no_more() -> None:
    rgba = Image.fromarray(smooth_picture(8, 8)).convert("RGBA")
    np.testing.assert_array_equal(read_opaque(stored(rgba)), smooth_picture(8, 8))
    assert read_opaque(stored(rgba.convert("LA"))).shape == (8, 8)
    rgba.putpixel((3, 3), (10, 20, 30, 254))
    with pytest.raises(InputError, match=r"transparent pixels.*flatten"):
        read_opaque(stored(rgba))
    with pytest.raises(InputError, match="8 bits"):
        read_opaque(stored(Image.fromarray(np.full((8, 8), 1000, np.uint16))))


def test_deep_grey_is_kept() -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    for stream in (
        stored(Image.fromarray(deep)),
        stored(Image.fromarray(deep), "TIFF"),
        stored(Image.fromarray(deep), "JPEG2000"),
        io.BytesIO(b"P5 8 8 65535\n" + deep.astype(">u2").tobytes()),
    ):
        pixels = read_image(stream).pixels
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels, deep)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_whose_white_is_zero(dtype: type) -> None:
    """Of X-rays. Pillow turns samples of 8 bits, and leaves others."""
    most = np.iinfo(dtype).max
    told = np.array([[0, most // 3, most]], dtype)
    data = stored(Image.fromarray(told), "TIFF").getvalue()
    entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert data.count(entry) == 1
    found = read_image(io.BytesIO(data.replace(entry, struct.pack("<HHIHH", 262, 3, 1, 0, 0))))
    assert found.pixels.tolist() == [[most, most - most // 3, 0]]


def test_samples_with_a_sign_are_refused_and_channels_left_out_are_told_of() -> None:
    """Pillow reads the former as if they had none."""
    entry = lambda tag, value: struct.pack("<HHIHH", tag, 3, 1, value, 0)  # noqa: E731  # one line says it
    signed = stored(Image.new("L", (3, 2), 200), "TIFF", tiffinfo={339: 1}).getvalue()
    assert signed.count(entry(339, 1)) == 1
    read_image(io.BytesIO(signed))
    with pytest.raises(InputError, match="has signed samples"):
        read_image(io.BytesIO(signed.replace(entry(339, 1), entry(339, 2))))
    four = stored(Image.new("RGBA", (3, 2), (1, 2, 3, 4)), "TIFF").getvalue()
    assert read_image(io.BytesIO(four)).notes == ()
    unexplained = read_image(io.BytesIO(four.replace(entry(338, 2), entry(338, 0))))
    assert unexplained.pixels.shape == (2, 3, 3)
    assert unexplained.notes == ("a channel of unknown meaning is left out",)


def test_deep_colour_is_refused_as_pillow_would_cut_it() -> None:
    rows = (b"\0" + bytes(8 * 6)) * 8
    for stream in (
        png(8, 8, 16, 2, rows),  # 16-bit RGB, which Pillow opens as 8-bit
        png(8, 8, 16, 4, (b"\0" + bytes(8 * 4)) * 8),
        png(8, 8, 16, 6, (b"\0" + bytes(8 * 8)) * 8),
        stored(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"),
        stored(Image.fromarray(np.ones((8, 8), np.int32)), "TIFF"),
        io.BytesIO(b"P6 2 2 65535\n" + bytes(24)),
    ):
        with pytest.raises(InputError, match=r"bits per sample.*convert"):
            read_image(stream)


def test_pnm_with_any_8_bit_maximum() -> None:
    np.testing.assert_array_equal(read_image(io.BytesIO(b"P2 2 1 100\n0 100\n")).pixels, [[0, 255]])
    np.testing.assert_array_equal(read_image(io.BytesIO(b"P4 2 1\n\x40")).pixels, [[255, 0]])


def test_depth_of_avif() -> None:
    """Pillow neither writes AVIF of more than 8 bits nor tells the depth, so the field that says it is set by hand."""
    data = stored(Image.fromarray(smooth_picture(16, 16)), "AVIF").getvalue()
    flags = data.index(b"av1C") + 6
    with Image.open(io.BytesIO(data)) as image:
        for bits, value in ((8, 0x00), (10, 0x40), (12, 0x60)):
            patched = data[:flags] + bytes([data[flags] & 0x9F | value]) + data[flags + 1 :]
            assert bits_per_sample(image, io.BytesIO(patched)) == bits


def test_lab_is_refused() -> None:
    with pytest.raises(InputError, match="LAB samples"):
        read_image(stored(Image.new("LAB", (4, 4)), "TIFF"))


# ------------------------------------------------------------------------------------------------ what else files hold


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied(orientation: int, format: str) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 250
    upright[:8, 8:16] = 120
    # How each orientation stores an upright picture: the inverse of what puts it upright.
    turned = [
        upright,
        upright[:, ::-1],
        upright[::-1, ::-1],
        upright[::-1],
        upright.T,
        np.rot90(upright),
        upright[::-1, ::-1].T,
        np.rot90(upright, -1),
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(turned)).convert("RGB" if format == "WEBP" else "L")
    options = {"lossless": True} if format == "WEBP" else {}
    pixels = read_image(stored(image, format, exif=exif, **options)).pixels
    grey = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    assert np.abs(grey.astype(int) - upright).max() < 12


@pytest.mark.parametrize("quote", [b'"', b"'"])
def test_an_orientation_in_xmp_alone_is_applied_once(quote: bytes) -> None:
    upright, told = np.arange(32, dtype=np.uint8).reshape(8, 4), b"<x:xmpmeta><rdf:Description tiff:Orientation=%b6%b/></x:xmpmeta>"
    first = read_image(stored(Image.fromarray(upright), "WEBP", lossless=True, xmp=told % (quote, quote)))
    again = io.BytesIO()
    write_image(first.pixels, again, format="PNG", metadata=first.metadata)
    again.seek(0)
    found = read_image(again)
    np.testing.assert_array_equal(found.pixels, first.pixels)
    assert found.metadata.xmp == told.replace(b"%b6%b", quote + b"1" + quote)


def test_broken_exif_does_no_harm() -> None:
    image = Image.fromarray(smooth_picture(8, 8))
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"\xff" * 40):
        with warnings.catch_warnings(action="ignore"):
            assert read_image(stored(image, "JPEG", exif=exif)).pixels.shape == (8, 8, 3)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_only_the_first_frame_is_kept(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    data = read_image(
        stored(
            frames[0],
            format,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if format == "WEBP" else {}),
        )
    )
    assert "only the first of several frames is kept" in data.notes
    assert np.abs(data.pixels[4, 4].astype(int) - [200, 0, 0]).max() <= 4


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_comes_through_a_file_and_back(format: str) -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2026:11:24 12:00:00"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    stream = io.BytesIO()
    given = Metadata(srgb, exif.tobytes().removeprefix(b"Exif\0\0"), xmp)
    write_image(smooth_picture(8, 16), stream, format=format, metadata=given)
    stream.seek(0)
    data = read_image(stream)
    assert data.pixels.shape == (16, 8, 3)  # upright
    assert data.metadata.icc == srgb
    assert data.metadata.xmp == xmp
    again = Image.Exif()
    again.load(data.metadata.exif)
    assert again[0x010F] == "Maker"
    assert again.get(0x0112, 1) == 1  # and said to be
    assert again.get_ifd(0x8769)[0x9003] == "2026:11:24 12:00:00"


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


PROFILE = icc.profile(icc.Colours("test", icc.ADOBE_RGB), grey=False)


def turned(data: bytes, format: str = "JPEG") -> ImageData:
    """A picture stored 40 wide and 30 high, with EXIF."""
    return read_image(stored(Image.fromarray(smooth_picture(30, 40)), format, exif=exif_bytes.PREFIX + data))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_exif_of_a_turned_picture(format: str, orientation: int) -> None:
    found = turned(camera(orientation=orientation, width=40, height=30), format)
    tags = Image.Exif()
    tags.load(found.metadata.exif)
    height, width = found.pixels.shape[:2]
    assert (width, height) == ((30, 40) if orientation == 6 else (40, 30))
    assert (tags[0x0100], tags[0x0101]) == (width, height)
    assert (tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == (width, height)
    assert tags[0x0112] == 1
    assert bool(tags.get_ifd(ExifTags.IFD.IFD1)) == (orientation == 1)
    assert (THUMBNAIL in found.metadata.exif) == (orientation == 1)


def test_exif_of_a_part_or_a_smaller_picture() -> None:
    """The sizes that `decode --region` and `--scale` write."""
    metadata = turned(camera(orientation=1, width=40, height=30)).metadata
    for format in ("PNG", "JPEG", "WEBP", "TIFF"):
        write_image(smooth_picture(15, 20), stream := io.BytesIO(), format=format, metadata=metadata)
        with Image.open(stream) as image:
            inner = image.getexif().get_ifd(0x8769)
            assert (inner[0xA002], inner[0xA003]) == (20, 15)
            assert not image.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_xmp_of_a_turned_picture() -> None:
    told = (
        b"<x tiff:Orientation='%d' tiff:ImageWidth='%d' tiff:ImageLength='%d'><exif:PixelXDimension>%d</exif:PixelXDimension>%s</x>"
    )
    thumbnail = b"<xmp:Thumbnails><rdf:Alt>abc</rdf:Alt></xmp:Thumbnails>"
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(smooth_picture(30, 40))
    found = read_image(stored(image, "WEBP", exif=exif, xmp=told % (6, 40, 30, 40, thumbnail)))
    assert found.metadata.xmp == told % (1, 30, 40, 30, b"")
    write_image(found.pixels[:8, :9], stream := io.BytesIO(), format="PNG", metadata=found.metadata)
    assert read_image(stream).metadata.xmp == told % (1, 9, 8, 9, b"")


# ------------------------------------------------------------------------------------------------ resolution


def resolution(data: ImageData) -> tuple[float, float] | None:
    return exif_bytes.resolution(data.metadata.exif)


@pytest.mark.parametrize("dpi", [(300, 300), (72, 72), (300, 150), (96.5, 96.5)])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "JPEG"])
def test_resolution_comes_through_a_file_and_back(format: str, dpi: tuple[float, float]) -> None:
    given = tuple(map(round, dpi)) if format == "JPEG" else dpi  # which holds whole numbers
    found = read_image(stored(Image.fromarray(smooth_picture(9, 8)), format, dpi=dpi))
    assert resolution(found) == pytest.approx(given, abs=0.02)
    assert all(value == round(value) for value in resolution(found) or () if dpi[0] == 300)
    assert found.notes == ()
    assert len(found.metadata.exif) <= 58 + 8 * (dpi[0] != dpi[1])
    for output in ("PNG", "JPEG", "TIFF", "BMP"):
        stream = io.BytesIO()
        assert write_image(found.pixels, stream, format=output, metadata=found.metadata) == ()
        with Image.open(stream) as image:
            assert tuple(map(float, image.info["dpi"])) == pytest.approx(given, abs=0.51 if output == "JPEG" else 0.02)
    write_image(found.pixels, stream := io.BytesIO(), format="WEBP", metadata=found.metadata)
    assert resolution(read_image(stream)) == resolution(found)


def test_a_resolution_in_centimetres() -> None:
    data = stored(Image.fromarray(smooth_picture(9, 8)), "JPEG", dpi=(100, 100)).getvalue()
    at = data.index(b"JFIF") + 7
    assert data[at] == 1
    assert resolution(read_image(io.BytesIO(data[:at] + b"\2" + data[at + 1 :]))) == (254, 254)
    tiff = stored(Image.fromarray(smooth_picture(9, 8)), "TIFF", resolution_unit=3, x_resolution=100.0, y_resolution=50.0)
    assert resolution(read_image(tiff)) == (254, 127)


def test_no_resolution_is_made_up() -> None:
    image = Image.fromarray(smooth_picture(9, 8))
    aspect = stored(image, "PNG").getvalue()
    chunk = b"pHYs" + struct.pack(">IIB", 1, 2, 0)
    aspect = aspect[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + aspect[33:]
    empty = Image.Exif()
    empty[0x010F] = "Maker"
    for stream in (
        *(stored(image, format) for format in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "JPEG2000")),
        stored(image, "BMP", dpi=(0, 0)),
        stored(image, "JPEG", exif=empty),  # of which Pillow says 72
        io.BytesIO(aspect),
    ):
        assert resolution(read_image(stream)) is None
    for format in ("PNG", "JPEG", "TIFF", "BMP"):
        write_image(smooth_picture(9, 8), stream := io.BytesIO(), format=format)
        assert resolution(read_image(stream)) is None


def test_the_resolution_that_viewers_use_counts() -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128], exif[0x010F] = 72.0, 72.0, 2, "Maker"
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    image = Image.fromarray(smooth_picture(9, 8))
    for format in ("PNG", "JPEG"):
        same = read_image(stored(image, format, exif=exif, dpi=(72, 72)))
        assert same.metadata.exif == data
        alone = read_image(stored(image, format, exif=exif))
        assert alone.metadata.exif == data
        other = read_image(stored(image, format, exif=exif, dpi=(300, 300)))
        assert resolution(other) == (300, 300)
        found = Image.Exif()
        found.load(other.metadata.exif)
        assert found[0x010F] == "Maker"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_resolution_is_turned_with_the_picture(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = orientation, 300.0, 150.0, 2
    options = {"dpi": (300, 150)} if format != "WEBP" else {}
    found = read_image(stored(Image.fromarray(smooth_picture(9, 8)), format, exif=exif, **options))
    assert resolution(found) == ((150, 300) if orientation == 6 else (300, 150))


# ------------------------------------------------------------------------------------------------ what is not kept


def test_what_png_says_and_vqz_cannot_is_noted_once() -> None:
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


def test_profiles_of_imagemagick_are_kept() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    text = PngInfo()
    for kind, data in (("exif", exif.tobytes()), ("icc", PROFILE), ("xmp", b"<x/>")):
        text.add_text(f"Raw profile type {kind}", f"\n{kind}\n{len(data):8}\n{data.hex()}\n", zip=True)
    found = read_image(stored(Image.fromarray(smooth_picture(9, 8)), pnginfo=text))
    assert found.pixels.shape == (8, 9, 3)
    assert found.notes == ()
    assert found.metadata.icc == PROFILE
    assert found.metadata.xmp == b"<x/>"
    tags = Image.Exif()
    tags.load(found.metadata.exif)
    assert (tags[0x010F], tags[0x0112]) == ("Maker", 1)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


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
def test_what_jpeg_says_and_vqz_cannot_is_noted(added: bytes, word: str) -> None:
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


def test_what_other_formats_say_and_vqz_cannot_is_noted() -> None:
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


# ------------------------------------------------------------------------------------------------ which formats


@pytest.mark.parametrize(
    ("format", "suffix"),
    [
        ("PNG", ".apng"),
        ("JPEG", ".jfif"),
        ("JPEG", ".jpe"),
        ("MPO", ".mpo"),
        ("TGA", ".tga"),
        ("ICO", ".ico"),
        ("ICNS", ".icns"),
        ("JPEG2000", ".j2k"),
        ("JPEG2000", ".jp2"),
        ("DIB", ".dib"),
        ("SGI", ".sgi"),
        ("PCX", ".pcx"),
        ("XBM", ".xbm"),
    ],
)
def test_formats_that_are_read(format: str, suffix: str, tmp_path: Path) -> None:
    image = Image.fromarray(smooth_picture(128, 128))
    path = tmp_path / f"a{suffix}"
    (image.convert("1") if format == "XBM" else image).save(path, format)
    with Image.open(path) as again:
        wanted = np.asarray(again.convert("L" if format == "XBM" else "RGB"))
    found = read_image(path).pixels
    np.testing.assert_array_equal(found if found.ndim == 2 else found[:, :, :3], wanted)
    assert is_picture_name(path.name)


def test_formats_that_pillow_does_not_write() -> None:
    cursor = bytearray(stored(Image.fromarray(smooth_picture(16, 16)), "ICO", bitmap_format="bmp").getvalue())
    cursor[2] = 2
    xpm = b'/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #ff0000",\n"b c #0000ff",\n"ab"};\n'
    sun = struct.pack(">8I", 0x59A66A95, 2, 1, 24, 6, 1, 0, 0) + b"\1\2\3\4\5\6"
    assert read_image(io.BytesIO(bytes(cursor))).pixels.shape[:2] == (16, 16)
    assert read_image(io.BytesIO(xpm)).pixels.tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert read_image(io.BytesIO(sun)).pixels.tolist() == [[[3, 2, 1], [6, 5, 4]]]


def test_photoshop_files() -> None:
    def resource(number: int, data: bytes) -> bytes:
        return b"8BIM" + struct.pack(">H2xI", number, len(data)) + data + bytes(len(data) % 2)

    pixels = smooth_picture(9, 8)
    resources = resource(0x03ED, struct.pack(">IHHIHH", 300 << 16, 1, 1, 150 << 16, 1, 1)) + resource(0x0424, b"<x/>")
    resources += resource(0x040F, PROFILE) + resource(0x0404, b"\x1c\2")
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 9, 8, 8, 3)
    data = (
        head + bytes(4) + struct.pack(">I", len(resources)) + resources + bytes(4) + b"\0\0" + pixels.transpose(2, 0, 1).tobytes()
    )
    found = read_image(io.BytesIO(data))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert resolution(found) == (300, 150)
    assert (found.metadata.icc, found.metadata.xmp) == (PROFILE, b"<x/>")
    assert found.notes == ("not kept: IPTC",)


def test_deep_sgi_is_refused_as_pillow_would_cut_it() -> None:
    data = bytearray(stored(Image.fromarray(smooth_picture(8, 8)), "SGI").getvalue())
    data[3] = 2
    with pytest.raises(InputError, match="16 bits per sample"):
        read_image(io.BytesIO(bytes(data) + bytes(200)))


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def test_heic_without_the_package_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="HEIC needs the package pillow-heif: pip install pillow-heif, or convert it"):
        read_image(io.BytesIO(HEIC))
    assert "pip install pillow-heif" in why_not_read("a.heic", HEIC)


def test_heic_with_the_package_that_reads_it() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    found = read_image(stored(Image.fromarray(smooth_picture(64, 96)), "HEIF", quality=95, exif=exif.tobytes()))
    assert found.pixels.shape == (96, 64, 3)
    assert np.abs(found.pixels.astype(int) - np.rot90(smooth_picture(64, 96), -1)).mean() < 4
    assert b"Maker" in found.metadata.exif
    assert why_not_read("a.heic", HEIC) == ""


def test_pictures_that_are_not_read_say_what_to_do() -> None:
    for data, word in (
        (b"\xff\x0a" + bytes(60), "JPEG XL is not read: convert it to PNG or TIFF first"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is a vector format: draw it as a PNG first"),
        (b"FUJIFILMCCD-RAW " + bytes(60), r"raw camera file \(RAF\): develop it to TIFF or PNG first"),
    ):
        with pytest.raises(InputError, match=f"^the image is not a picture in a format that can be read: {word}"):
            read_image(io.BytesIO(data))


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}])
def test_raw_files_that_begin_with_a_small_picture(tags: dict[int, object]) -> None:
    """As DNG and NEF do: Pillow reads that one."""
    with pytest.raises(InputError, match="is a raw camera file: develop it to TIFF or PNG first"):
        read_image(stored(Image.fromarray(smooth_picture(8, 8)), "TIFF", tiffinfo=tags))


def test_tga_by_its_name_alone(tmp_path: Path) -> None:
    """It has no magic number: what is called otherwise is none."""
    data = stored(Image.fromarray(smooth_picture(8, 8)), "TGA").getvalue()
    for name, is_read in (("a.tga", True), ("a.VDA", True), ("a", True), ("a.dat", False), ("a.png", False)):
        (tmp_path / name).write_bytes(data)
        if is_read:
            assert read_image(tmp_path / name).pixels.shape == (8, 8, 3)
        else:
            with pytest.raises(InputError, match="not a picture in a format that can be read"):
                read_image(tmp_path / name)


# ------------------------------------------------------------------------------------------------ limits and damage


def test_size_is_checked_before_decoding() -> None:
    for side in (100_000, 2**31 - 1):
        with pytest.raises(LimitError, match=r"pixels.*--max-pixels"):
            read_image(png(side, side, 8, 2))
    small = stored(Image.new("L", (20, 10)))
    assert read_image(small, max_pixels=200).pixels.shape == (10, 20)
    with pytest.raises(LimitError, match="more than 199"):
        read_image(small, max_pixels=199)


def test_our_limit_replaces_pillows_and_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert read_image(stored(Image.new("L", (20, 10)))).pixels.shape == (10, 20)
    assert Image.MAX_IMAGE_PIXELS == 50


def test_threads_read_by_their_own_limits_and_leave_pillows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread waits in the middle of its reading for another to begin, which must not, and else would end after it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    begun, other_begun, done = (threading.Event() for _ in range(3))

    class Slow(io.BytesIO):
        def read(self, *arguments: int) -> bytes:
            if not begun.is_set():
                begun.set()
                other_begun.wait(0.3)
            return super().read(*arguments)

    class Other(io.BytesIO):
        def read(self, *arguments: int) -> bytes:
            other_begun.set()
            done.wait(10)
            return super().read(*arguments)

    data = stored(Image.new("L", (20, 20))).getvalue()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(read_image, Slow(data), max_pixels=400)
        slow.add_done_callback(lambda _: done.set())
        assert begun.wait(10)
        other = pool.submit(read_image, Other(data), max_pixels=100)
        assert slow.result().pixels.shape == (20, 20)
        with pytest.raises(LimitError, match="more than 100"):
            other.result()
    assert Image.MAX_IMAGE_PIXELS == 50


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "TGA", "QOI", "ICO"])
def test_every_truncation(format: str) -> None:
    whole = stored(Image.fromarray(smooth_picture(24, 24)), format).getvalue()
    assert read_image(io.BytesIO(whole)).pixels.shape[:2] == (24, 24)
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        with warnings.catch_warnings(action="ignore"):
            assert_picture_or_error(whole[:length])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage(data: st.DataObject) -> None:
    format = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "TGA", "QOI", "PPM"]))
    whole = bytearray(stored(Image.fromarray(smooth_picture(16, 16)), format).getvalue())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings(action="ignore"):
        assert_picture_or_error(bytes(whole))


def assert_picture_or_error(data: bytes) -> None:
    """Any VqcodecError of one line is fine, and so is a well-formed picture."""
    try:
        picture = read_image(io.BytesIO(data), max_pixels=2**20)
    except VqcodecError as error:
        assert str(error).isprintable()
    else:
        assert_well_formed(picture)


def assert_well_formed(picture: ImageData) -> None:
    assert picture.pixels.dtype == np.uint8 or (picture.pixels.dtype == np.uint16 and picture.pixels.ndim == 2)
    assert picture.pixels.ndim == 2 or picture.pixels.shape[2] in (2, 3, 4)
    assert picture.pixels.size > 0
    assert all(note.isprintable() for note in picture.notes)


def test_what_is_no_picture(tmp_path: Path) -> None:
    postscript = tmp_path / "a.eps"
    postscript.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    (tmp_path / "empty.png").touch()
    for path in (postscript, tmp_path / "empty.png", Path(__file__)):
        with pytest.raises(InputError, match="not a picture in a format that can be read"):
            read_image(path)
    with pytest.raises(InputError, match="No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="directory"):
        read_image(tmp_path)


def test_a_stream_that_cannot_seek() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pixels = smooth_picture(8, 8)
    np.testing.assert_array_equal(read_image(Pipe(stored(Image.fromarray(pixels)).getvalue())).pixels, pixels)
    with pytest.raises(LimitError, match="over"):
        read_image(Pipe(bytes(2**26 + 401)), max_pixels=100)


@pytest.mark.slow
def test_odd_files_as_pillow_does(shared_data: Path) -> None:
    """What Pillow refuses is refused; what it accepts is accepted, or refused for one of our own reasons."""
    ours = ("bits per sample", "not a picture in a format")
    accepted = 0
    with warnings.catch_warnings(action="ignore"):
        for path in sorted(p for p in (shared_data / "odd").rglob("*") if p.is_file()):
            try:
                with Image.open(path) as image:
                    image.load()
                    pillow_reads = True
            except Exception:
                pillow_reads = False
            try:
                picture = read_image(path)
            except VqcodecError as error:
                assert not pillow_reads or any(reason in str(error) for reason in ours), path
                assert str(error).isprintable(), path
            else:
                assert pillow_reads, path
                assert_well_formed(picture)
                accepted += 1
    assert accepted > 550


# ------------------------------------------------------------------------------------------------ writing


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
        pixels[0, 0, -1] = 0  # what is transparent has a colour, too
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
    if format == "WEBP" and channels < 3:  # WebP knows no grey
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
def test_opaque_alpha_is_no_transparency(format: str) -> None:
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
