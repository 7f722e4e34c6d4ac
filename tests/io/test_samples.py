"""Pillow images to sample arrays: modes, depths, transparency and orientation."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.picture_files import stored
from helpers.pictures import png, smooth_picture
from vqcodec.errors import InputError
from vqcodec.io.image_reader import read_image
from vqcodec.io.image_writer import write_image
from vqcodec.io.samples import bits_per_sample, flat_image


def test_rgb_and_grey_are_unchanged() -> None:
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
    """The profile is kept, and PNG refuses it for grey."""
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


def test_cmyk_is_converted_by_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow cannot make a CMYK profile, so littlecms is replaced here. A damaged profile is ignored."""
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
    """The second sample is transparent."""
    sample = int.from_bytes(rows, "big") >> (8 * len(rows) - 2 * depth) & ((1 << depth) - 1)
    pixels = read_image(png(2, 1, depth, 0, b"\0" + rows, struct.pack(">H", sample))).pixels
    assert pixels[0, :, 1].tolist() == [255, 0]
    assert pixels[0, 1, 0] == sample * 255 // ((1 << depth) - 1)


def test_a_transparent_grey_of_many_bits() -> None:
    pixels = read_image(png(2, 1, 16, 0, b"\0\1\2\1\3", b"\1\2")).pixels
    assert pixels.tolist() == [[[0x0102, 0], [0x0103, 65535]]]


def test_premultiplied_alpha() -> None:
    for mode, target in (("La", "LA"), ("RGBa", "RGBA")):
        image = Image.new(target, (2, 2), (200, 128) if target == "LA" else (200, 100, 50, 128)).convert(mode)
        assert flat_image(image, "it", []).getpixel((0, 0)) == image.convert(target).getpixel((0, 0))


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
    """X-ray pictures. Pillow inverts samples of 8 bits only."""
    most = np.iinfo(dtype).max
    stored_values = np.array([[0, most // 3, most]], dtype)
    data = stored(Image.fromarray(stored_values), "TIFF").getvalue()
    entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert data.count(entry) == 1
    found = read_image(io.BytesIO(data.replace(entry, struct.pack("<HHIHH", 262, 3, 1, 0, 0))))
    assert found.pixels.tolist() == [[most, most - most // 3, 0]]


def test_signed_samples_are_refused_and_dropped_channels_noted() -> None:
    """Pillow reads signed samples as unsigned."""
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


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_more_than_16_bits_are_refused(dtype: type) -> None:
    with pytest.raises(InputError, match=r"32 bits per sample and \.vqz holds 16: convert it first"):
        read_image(stored(Image.fromarray(np.ones((8, 8), dtype)), "TIFF"))


def test_pnm_with_any_8_bit_maximum() -> None:
    np.testing.assert_array_equal(read_image(io.BytesIO(b"P2 2 1 100\n0 100\n")).pixels, [[0, 255]])
    np.testing.assert_array_equal(read_image(io.BytesIO(b"P4 2 1\n\x40")).pixels, [[255, 0]])


def test_depth_of_avif() -> None:
    """Pillow neither writes AVIF of more than 8 bits nor states the depth, so the field is set by hand."""
    data = stored(Image.fromarray(smooth_picture(16, 16)), "AVIF").getvalue()
    flags = data.index(b"av1C") + 6
    with Image.open(io.BytesIO(data)) as image:
        for bits, value in ((8, 0x00), (10, 0x40), (12, 0x60)):
            patched = data[:flags] + bytes([data[flags] & 0x9F | value]) + data[flags + 1 :]
            assert bits_per_sample(image, io.BytesIO(patched)) == bits


def test_lab_is_refused() -> None:
    with pytest.raises(InputError, match="LAB samples"):
        read_image(stored(Image.new("LAB", (4, 4)), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied(orientation: int, format: str) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 250
    upright[:8, 8:16] = 120
    # Transposition of an upright picture for each orientation: the inverse of turning it upright.
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
    upright, template = (
        np.arange(32, dtype=np.uint8).reshape(8, 4),
        b"<x:xmpmeta><rdf:Description tiff:Orientation=%b6%b/></x:xmpmeta>",
    )
    first = read_image(stored(Image.fromarray(upright), "WEBP", lossless=True, xmp=template % (quote, quote)))
    again = io.BytesIO()
    write_image(first.pixels, again, format="PNG", metadata=first.metadata)
    again.seek(0)
    found = read_image(again)
    np.testing.assert_array_equal(found.pixels, first.pixels)
    assert found.metadata.xmp == template.replace(b"%b6%b", quote + b"1" + quote)


def test_broken_exif_does_no_harm() -> None:
    image = Image.fromarray(smooth_picture(8, 8))
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"\xff" * 40):
        with warnings.catch_warnings(action="ignore"):
            assert read_image(stored(image, "JPEG", exif=exif)).pixels.shape == (8, 8, 3)
