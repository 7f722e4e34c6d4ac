"""Picture files to arrays: formats, limits, damaged and odd files."""

import io
import struct
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.picture_files import PROFILE, resolution, stored
from helpers.pictures import png, smooth_picture
from vqcodec.errors import InputError, LimitError, VqcodecError
from vqcodec.io.image_reader import ImageData, read_image, read_opaque, why_not_read
from vqcodec.io.kinds import is_picture_name

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def assert_picture_or_error(data: bytes) -> None:
    """Accepts a well-formed picture, or a VqcodecError of one line."""
    try:
        picture = read_image(io.BytesIO(data), max_pixels=2**20)
    except VqcodecError as error:
        assert str(error).isprintable()
    else:
        assert_well_formed(picture)


def assert_well_formed(picture: ImageData) -> None:
    assert picture.pixels.dtype in (np.uint8, np.uint16)
    assert picture.pixels.ndim == 2 or picture.pixels.shape[2] in (2, 3, 4)
    assert picture.pixels.size > 0
    assert all(note.isprintable() for note in picture.notes)


def test_read_opaque() -> None:
    rgba = Image.fromarray(smooth_picture(8, 8)).convert("RGBA")
    np.testing.assert_array_equal(read_opaque(stored(rgba)), smooth_picture(8, 8))
    assert read_opaque(stored(rgba.convert("LA"))).shape == (8, 8)
    rgba.putpixel((3, 3), (10, 20, 30, 254))
    with pytest.raises(InputError, match=r"transparent pixels.*flatten"):
        read_opaque(stored(rgba))
    with pytest.raises(InputError, match="8 bits"):
        read_opaque(stored(Image.fromarray(np.full((8, 8), 1000, np.uint16))))


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
    """DNG and NEF begin with a preview, which Pillow reads."""
    with pytest.raises(InputError, match="is a raw camera file: develop it to TIFF or PNG first"):
        read_image(stored(Image.fromarray(smooth_picture(8, 8)), "TIFF", tiffinfo=tags))


def test_tga_by_its_name_alone(tmp_path: Path) -> None:
    """TGA has no magic number: files with other suffixes are not tried as TGA."""
    data = stored(Image.fromarray(smooth_picture(8, 8)), "TGA").getvalue()
    for name, is_read in (("a.tga", True), ("a.VDA", True), ("a", True), ("a.dat", False), ("a.png", False)):
        (tmp_path / name).write_bytes(data)
        if is_read:
            assert read_image(tmp_path / name).pixels.shape == (8, 8, 3)
        else:
            with pytest.raises(InputError, match="not a picture in a format that can be read"):
                read_image(tmp_path / name)


def test_size_is_checked_before_decoding() -> None:
    for side in (100_000, 2**31 - 1):
        with pytest.raises(LimitError, match=r"pixels.*--max-pixels"):
            read_image(png(side, side, 8, 2))
    small = stored(Image.new("L", (20, 10)))
    assert read_image(small, max_pixels=200).pixels.shape == (10, 20)
    with pytest.raises(LimitError, match="more than 199"):
        read_image(small, max_pixels=199)


def test_our_limit_replaces_pillows_only_while_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert read_image(stored(Image.new("L", (20, 10)))).pixels.shape == (10, 20)
    assert Image.MAX_IMAGE_PIXELS == 50


def test_threads_read_by_their_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread pauses while reading until another has begun; with a shared limit the second would read by the first one's."""
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


def test_files_that_are_not_pictures(tmp_path: Path) -> None:
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
    """Files that Pillow refuses are refused; files that it accepts are accepted, or refused for one of our reasons."""
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
