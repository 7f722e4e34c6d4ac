"""The Pillow plugin, used in the same way as the built-in formats."""

import copy
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence, UnidentifiedImageError

import vqcodec.pillow  # noqa: F401 (what registers it)
from helpers.marks import fast_first
from helpers.pictures import png, smooth_picture
from vqcodec import api
from vqcodec.io.image_reader import read_image

LITE: dict[str, Any] = {"model": "photo-lite", "effort": 1, "threads": 1}


@pytest.fixture(scope="module")
def stored() -> bytes:
    """A colour file of 90 x 60 pixels."""
    return api.encode(smooth_picture(60, 90), **LITE)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_open(stored: bytes) -> None:
    with opened(stored) as image:
        assert (image.format, image.mode, image.size) == ("VQZ", "RGB", (90, 60))
        assert image.get_format_mimetype() == "image/vnd.vqcodec.vqz"
        np.testing.assert_array_equal(np.asarray(image), api.decode(stored))
        assert image.convert("L").size == (90, 60)
        assert image.copy().crop((0, 0, 5, 5)).size == (5, 5)


KEPT = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "P": "RGB", "1": "L", "CMYK": "RGB", "La": "LA", "RGBa": "RGBA"} | {
    "PA": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}


@pytest.mark.parametrize(("mode", "kept"), fast_first(KEPT.items(), 5))
def test_save_and_open_every_mode(mode: str, kept: str, tmp_path: Path) -> None:
    image = Image.fromarray(smooth_picture(40, 50)).convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode)).convert(mode)
    path = tmp_path / "a.vqz"
    image.save(path, quality=90, **LITE)
    with Image.open(path) as back:
        assert back.mode == kept
        assert back.size == image.size
        wanted = np.asarray(image.convert(kept), float)
        assert np.abs(np.asarray(back, float) - wanted).mean() < 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"])
def test_every_pixel_of_a_lossless_file_comes_back(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(smooth_picture(40, 50, 1).astype(np.uint16) * 257 + 3)
    else:
        image = Image.fromarray(smooth_picture(40, 50, 4 if mode in ("LA", "RGBA") else 3)).convert(mode)
    image.save(tmp_path / "a.vqz", lossless=True)
    wanted = image if mode == "I;16" else image.convert(KEPT[mode])
    with Image.open(tmp_path / "a.vqz") as back:
        assert (back.mode, back.size) == (wanted.mode, wanted.size)
        np.testing.assert_array_equal(np.asarray(back), np.asarray(wanted))
        assert api.info(tmp_path / "a.vqz")["lossless"]


def test_lossless_files_keep_metadata_and_make_thumbnails(tmp_path: Path) -> None:
    Image.fromarray(smooth_picture(80, 120)).save(tmp_path / "a.vqz", lossless=True, dpi=(300, 300), effort=1, tile=64)
    with Image.open(tmp_path / "a.vqz") as image:
        assert image.info["dpi"] == (300, 300)
        image.thumbnail((30, 30))
        assert image.size == (30, 20)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "I;16L", "I;16N"])
def test_deep_grey_of_every_mode(mode: str) -> None:
    grey = smooth_picture(40, 50, 1)
    stream = io.BytesIO()
    Image.fromarray(grey).convert(mode).save(stream, "VQZ", **LITE)
    assert stream.getvalue() == api.encode(grey.astype(np.uint16), **LITE)
    with opened(stream.getvalue()) as back:
        assert back.mode == "I;16"


@pytest.mark.parametrize(("mode", "value"), [("F", 1), ("LAB", 0), ("I", 65536), ("I", -1)])
def test_modes_without_a_place_are_named(mode: str, value: int, tmp_path: Path) -> None:
    image = Image.new(mode, (4, 4), value)
    with pytest.raises(OSError, match=f"cannot write mode {mode} as VQZ: the image has {mode} samples"):
        image.save(tmp_path / "a.vqz")
    assert not (tmp_path / "a.vqz").exists()


def test_a_palette_with_transparent_entries() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.info["transparency"] = bytes((255, 7))
    stream = io.BytesIO()
    image.save(stream, "VQZ", **LITE)
    with opened(stream.getvalue()) as back:
        assert back.mode == "RGBA"
        assert (np.asarray(back)[:, :, 3] == 7).all()


@pytest.mark.parametrize(("mode", "clear", "kept"), [("L", 7, "LA"), ("RGB", (1, 2, 3), "RGBA")])
def test_a_transparent_colour_stays_so(mode: str, clear: Any, kept: str) -> None:
    image = Image.new(mode, (20, 20), clear)
    image.info["transparency"] = clear
    stream = io.BytesIO()
    image.save(stream, "VQZ", **LITE)
    with opened(stream.getvalue()) as back:
        assert back.mode == kept
        assert np.asarray(back)[:, :, -1].max() == 0


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_transparent_grey_of_few_bits(bits: int, by_name: bool, tmp_path: Path) -> None:
    """Pillow scales the samples of PNG files of 1 to 4 bits, but not their transparent value."""
    rows = bytes(8 * (bits - 1)) + bytes((0b10110001,)) if bits < 8 else bytes(range(8))
    data = png(8 * len(rows) // bits, 1, bits, 0, b"\0" + rows, struct.pack(">H", 1)).getvalue()
    (tmp_path / "a.png").write_bytes(data)
    with Image.open(tmp_path / "a.png" if by_name else io.BytesIO(data)) as image:
        image.save(stream := io.BytesIO(), "VQZ", **LITE)
    wanted = np.asarray(read_image(io.BytesIO(data)).pixels)[:, :, 1]
    assert 0 in wanted
    assert 255 in wanted
    with opened(stream.getvalue()) as back:
        np.testing.assert_array_equal(np.asarray(back)[:, :, 1], wanted)


def saved(image: Image.Image, **options: Any) -> dict[Any, Any]:
    """The `info` of an image that was saved as a .vqz file and opened again."""
    image.save(stream := io.BytesIO(), "VQZ", **LITE, **options)
    return opened(stream.getvalue()).info


@pytest.mark.parametrize("format", fast_first(["PNG", "JPEG", "TIFF", "BMP"], 2))
def test_resolution_is_kept(format: str) -> None:
    image = Image.fromarray(smooth_picture(20, 20))
    image.save(stream := io.BytesIO(), format, dpi=(300, 150))
    assert saved(Image.open(stream))["dpi"] == (300, 150)
    assert saved(image, dpi=(72, 96))["dpi"] == (72, 96)
    assert "dpi" not in saved(image)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image.save(stream := io.BytesIO(), "JPEG", exif=exif)
    assert "dpi" not in saved(Image.open(stream))  # although Pillow reports 72


def test_tiff_tags_are_kept() -> None:
    Image.fromarray(smooth_picture(20, 20)).save(stream := io.BytesIO(), "TIFF", tiffinfo={315: "Artist"})
    assert b"Artist" in saved(Image.open(stream))["exif"]


def test_colours_of_png_are_kept() -> None:
    for mode, space in (("RGB", b"RGB "), ("L", b"GRAY")):
        image = Image.fromarray(smooth_picture(20, 20)).convert(mode)
        image.info["gamma"] = 1.0
        assert saved(image)["icc_profile"][16:20] == space
        image.info["srgb"] = 0
        assert "icc_profile" not in saved(image)


def test_a_profile_that_does_not_fit_is_converted_or_left_out() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(smooth_picture(20, 20, 1))
    image.info["icc_profile"] = srgb
    assert saved(image)["icc_profile"][16:20] == b"GRAY"
    image.info["icc_profile"] = b"broken"
    assert "icc_profile" not in saved(image)
    assert saved(image.convert("RGB"), icc_profile=srgb)["icc_profile"] == srgb
    with pytest.warns(UserWarning, match="RGB ICC profile is converted to grey"):
        assert saved(image, icc_profile=srgb)["icc_profile"][16:20] == b"GRAY"


def test_a_profile_of_cmyk_does_not_go_with_rgb() -> None:
    image = Image.new("CMYK", (8, 8))
    image.info["icc_profile"] = b"of CMYK"
    stream = io.BytesIO()
    image.save(stream, "VQZ", **LITE)
    with opened(stream.getvalue()) as back:
        assert "icc_profile" not in back.info


def test_more_pixels_than_pillow_allows(stored: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        opened(stored)


def test_deep_grey() -> None:
    pixels = smooth_picture(32, 32, 1).astype(np.uint16) * 200
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "VQZ", quality=95, **LITE)
    with opened(stream.getvalue()) as image:
        assert image.mode == "I;16"
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 500


def test_options(tmp_path: Path) -> None:
    image = Image.fromarray(smooth_picture(64, 64))
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    sizes = []
    for quality in (20, 80):
        stream = io.BytesIO()
        image.save(stream, "VQZ", quality=quality, **LITE, exif=exif, icc_profile=b"profile", xmp=b"<x/>")
        sizes.append(len(stream.getvalue()))
        with opened(stream.getvalue()) as back:
            assert back.info["icc_profile"] == b"profile"
            assert back.info["xmp"] == b"<x/>"
            assert back.getexif()[0x010F] == "Maker"
            again = io.BytesIO()
            back.save(again, "VQZ", **LITE)  # with the metadata that it was read with
        with opened(again.getvalue()) as back:
            assert back.getexif()[0x010F] == "Maker"
    assert sizes[0] < sizes[1]
    with pytest.raises(ValueError, match="quality is a number from 0 to 100, not 101"):
        image.save(tmp_path / "b.vqz", quality=101)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lossless": True, "quality": 100}, "lossless has no quality"),
        ({"lossless": True, "model": "photo"}, "no graphic model named photo"),
        ({"lossless": "yes"}, r"lossless is .*\(str\)"),
        ({"append": True}, "VQZ holds one image"),
        ({"quality": "keep"}, r"quality is a number .*'keep' \(str\)"),
        ({"quality": "60"}, r"quality is a number .*'60' \(str\)"),
        ({"quality": -1}, r"quality is a number .*-1 \(int\)"),
        ({"effort": "5"}, r"effort is a whole number .*\(str\)"),
        ({"size": 20.5}, r"size is a whole number .*\(float\)"),
        ({"model": 5}, r"model is .*\(int\)"),
        ({"model": "no-such-model"}, "no model named no-such-model"),
    ],
    ids=str,
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Image.fromarray(smooth_picture(8, 8)).save(io.BytesIO(), "VQZ", **options)


def test_a_file_that_is_refused_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lossless has no size"):
        Image.fromarray(smooth_picture(8, 8)).save(tmp_path / "a.vqz", lossless=True, size=100)
    assert not (tmp_path / "a.vqz").exists()


@pytest.mark.parametrize(
    "options",
    [{"lossless": False}, {"quality": None}, {"optimize": True, "progressive": True, "subsampling": 0}, {"restart_marker_rows": 1}]
    + [{"save_all": True}, {"save_all": True, "append_images": []}, {"append_images": None}, {"quality": np.int64(60)}],
    ids=str,
)
def test_options_that_change_nothing(options: dict[str, Any]) -> None:
    """Options of other formats are ignored, as in Pillow's own plugins."""
    image, stream, plain = Image.fromarray(smooth_picture(30, 40)), io.BytesIO(), io.BytesIO()
    image.save(plain, "VQZ", **LITE)
    image.save(stream, "VQZ", **LITE, **options)
    assert stream.getvalue() == plain.getvalue()


def test_several_frames_are_refused_and_the_current_one_is_saved_alone() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    for others in (frames[1:], iter(frames[1:])):
        with pytest.raises(ValueError, match="VQZ holds one image, not 2 frames"):
            frames[0].save(io.BytesIO(), "VQZ", save_all=True, append_images=others)
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    with Image.open(stream) as animation:
        with pytest.raises(ValueError, match="not 2 frames"):
            animation.save(io.BytesIO(), "VQZ", save_all=True)
        animation.seek(1)
        saved = io.BytesIO()
        animation.save(saved, "VQZ", **LITE)
    with opened(saved.getvalue()) as back:
        red, _, blue = np.asarray(back.convert("RGB"))[10, 10]
        assert blue > 200 > 50 > red


def test_there_is_one_frame(stored: bytes) -> None:
    with opened(stored) as image:
        assert image.tell() == 0
        image.seek(0)
        with pytest.raises(EOFError):
            image.seek(1)
        assert len(list(ImageSequence.Iterator(image))) == 1
        image.load()
        image.load()
        np.testing.assert_array_equal(np.asarray(image), api.decode(stored))


def test_images_that_are_closed(stored: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.vqz").write_bytes(stored)
    for end in ("close", "verify"):
        for source in (tmp_path / "a.vqz", io.BytesIO(stored)):
            image = Image.open(source)
            getattr(image, end)()
            with pytest.raises(ValueError, match="Operation on closed image"):
                image.load()
    stream = io.BytesIO(stored)
    image = Image.open(stream)
    stream.close()
    with pytest.raises(OSError, match="closed"):
        image.load()


def test_thumbnail_decodes_a_smaller_picture(stored: bytes) -> None:
    with opened(stored) as image:
        image.draft("RGB", (20, 20))  # as thumbnail does: twice the size that is asked for, or more
        assert image.size == (45, 30)
        np.testing.assert_array_equal(np.asarray(image), api.open_vqz(stored).read(scale=2))
    with opened(stored) as image:
        image.thumbnail((10, 10))
        assert max(image.size) == 10
    whole = Image.fromarray(api.decode(stored))
    whole.thumbnail((10, 10))
    assert np.abs(np.asarray(image, float) - np.asarray(whole, float)).mean() < 4


def test_a_thumbnail_of_loaded_pixels_shows_the_whole_picture(stored: bytes) -> None:
    with opened(stored) as image, opened(stored) as fresh:
        image.load()
        image.thumbnail((10, 10))
        fresh.thumbnail((10, 10))
        assert image.size == fresh.size
        assert np.abs(np.asarray(image, float) - np.asarray(fresh, float)).mean() < 4


@pytest.mark.parametrize("mode", fast_first(["LA", "I;16", "L", "RGB", "RGBA"], 2))
@pytest.mark.parametrize("loaded", [False, True])
def test_all_kinds_of_copies_have_the_pixels(mode: str, loaded: bool) -> None:
    pixels = smooth_picture(40, 50, len(mode) if mode != "I;16" else 1)
    data = api.encode(pixels.astype(np.uint16) * 257 if mode == "I;16" else pixels, **LITE)
    image = opened(data)
    if loaded:
        image.load()
    for copied in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image), image.copy()):
        assert copied.mode == mode
        np.testing.assert_array_equal(np.asarray(copied), api.decode(data))
        copied.draft("L", (5, 5))
        assert copied.size == (50, 40)


@pytest.mark.parametrize("mode", fast_first(["LA", "I;16", "L", "RGB", "RGBA"], 2))
def test_single_pixels_can_be_changed(mode: str) -> None:
    pixels = smooth_picture(40, 50, len(mode) if mode != "I;16" else 1)
    image = opened(api.encode(pixels.astype(np.uint16) * 257 if mode == "I;16" else pixels, **LITE))
    value = (1, 2, 3, 4)[: len(mode)] if len(mode) in (2, 3) or mode == "RGBA" else 7
    access = image.load()
    access[3, 5] = value
    assert image.getpixel((3, 5)) == value


def test_a_transparent_value_of_deep_grey_is_refused() -> None:
    image = Image.fromarray(np.full((9, 9), 300, np.uint16))
    image.info["transparency"] = 300
    with pytest.raises(OSError, match="transparent value"):
        image.save(io.BytesIO(), "VQZ", **LITE)


def test_verify_finds_damage_that_opening_does_not() -> None:
    data = bytearray(api.encode(smooth_picture(66, 70), **LITE, tile=64))
    data[-20] ^= 1
    with opened(bytes(data)) as image, pytest.raises(OSError, match="checksum"):
        image.verify()


def test_verify(stored: bytes) -> None:
    opened(stored).verify()
    damaged = bytearray(stored)
    damaged[-3] ^= 1
    with pytest.raises((OSError, SyntaxError)):
        opened(bytes(damaged)).verify()


def test_damage_is_an_oserror(tmp_path: Path) -> None:
    data = api.encode(smooth_picture(20, 20, 4), **LITE)
    damaged = data[:-2] + bytes((data[-2] ^ 1, data[-1]))
    with pytest.raises(OSError, match="checksum"):
        opened(damaged).load()
    for broken in (data[:20], data[:8] + b"\xff" * 40):
        with pytest.raises(UnidentifiedImageError):
            opened(broken)
    (tmp_path / "a.vqz").write_bytes(data)
    Image.open(tmp_path / "a.vqz").load()  # a file left open would give a ResourceWarning, which fails the test


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_deep_colour_is_refused_with_a_way_out(channels: int, mode: str) -> None:
    data = api.encode(np.full((8, 8, channels), 9000, np.uint16), **LITE)
    with pytest.raises(OSError, match=rf"no mode for {mode} of more than 8 bits: vqcodec\.decode\(path\) returns uint16"):
        Image.open(io.BytesIO(data))
