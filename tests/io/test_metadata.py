"""ICC profile, EXIF, XMP and resolution through picture files and back."""

import io
import struct
import zlib

import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from helpers.exif_data import THUMBNAIL, camera
from helpers.picture_files import PROFILE, resolution, stored, turned
from helpers.pictures import smooth_picture
from vqcodec.format.header import Metadata
from vqcodec.io.image_reader import read_image
from vqcodec.io.image_writer import write_image


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_comes_through_a_file_and_back(format: str) -> None:

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
    assert again.get(0x0112, 1) == 1  # and stated to be
    assert again.get_ifd(0x8769)[0x9003] == "2026:11:24 12:00:00"


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
    """Sizes written by `decode --region` and `--scale`."""
    metadata = turned(camera(orientation=1, width=40, height=30)).metadata
    for format in ("PNG", "JPEG", "WEBP", "TIFF"):
        write_image(smooth_picture(15, 20), stream := io.BytesIO(), format=format, metadata=metadata)
        with Image.open(stream) as image:
            inner = image.getexif().get_ifd(0x8769)
            assert (inner[0xA002], inner[0xA003]) == (20, 15)
            assert not image.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_xmp_of_a_turned_picture() -> None:
    template = (
        b"<x tiff:Orientation='%d' tiff:ImageWidth='%d' tiff:ImageLength='%d'><exif:PixelXDimension>%d</exif:PixelXDimension>%s</x>"
    )
    thumbnail = b"<xmp:Thumbnails><rdf:Alt>abc</rdf:Alt></xmp:Thumbnails>"
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(smooth_picture(30, 40))
    found = read_image(stored(image, "WEBP", exif=exif, xmp=template % (6, 40, 30, 40, thumbnail)))
    assert found.metadata.xmp == template % (1, 30, 40, 30, b"")
    write_image(found.pixels[:8, :9], stream := io.BytesIO(), format="PNG", metadata=found.metadata)
    assert read_image(stream).metadata.xmp == template % (1, 9, 8, 9, b"")


@pytest.mark.parametrize("dpi", [(300, 300), (72, 72), (300, 150), (96.5, 96.5)])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "JPEG"])
def test_resolution_comes_through_a_file_and_back(format: str, dpi: tuple[float, float]) -> None:
    given = tuple(map(round, dpi)) if format == "JPEG" else dpi  # JPEG holds whole numbers
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
        stored(image, "JPEG", exif=empty),  # for which Pillow says 72
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
