"""PNG, TIFF and PPM files of 16 bits per sample in colour or with alpha, against readers that share no code with Pillow."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.deep_files import deep_png, deep_samples, read_deep_png
from helpers.picture_files import PROFILE
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.errors import InputError, LimitError, VqcodecError
from vqcodec.io import deep_reader, exif
from vqcodec.io.image_reader import read_image
from vqcodec.io.samples import TRANSPOSES, upright_samples


def deep_tiff(samples: np.ndarray, **options: Any) -> io.BytesIO:
    """A TIFF file by tifffile, with options of its `imwrite`."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    kind = {"photometric": "rgb" if channels > 2 else "minisblack", "planarconfig": "contig", "metadata": None}
    if channels in (2, 4):
        kind["extrasamples"] = ["unassalpha"]
    options = kind | options
    stream = io.BytesIO()
    if options["planarconfig"] == "separate":
        samples = np.ascontiguousarray(samples.transpose(2, 0, 1))
    tifffile.imwrite(stream, samples, **options)
    stream.seek(0)
    return stream


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.integers(0, 99))
def test_png(height: int, width: int, channels: int, seed: int) -> None:
    samples = deep_samples(height, width, channels, seed)
    data = read_image(deep_png(samples))
    assert data.pixels.dtype == np.uint16
    np.testing.assert_array_equal(data.pixels, samples)
    assert data.notes == ()


@pytest.mark.parametrize("compression", [None, "zlib", "predictor"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_tiff(channels: int, order: str, compression: str | None) -> None:
    samples = deep_samples(13, 17, channels)
    options: dict[str, Any] = {"byteorder": order, "rowsperstrip": 5}
    if compression:
        options |= {"compression": "zlib", "predictor": compression == "predictor"}
    for tiled in ({}, {"tile": (16, 16)}):
        data = read_image(deep_tiff(samples, **options, **tiled))
        np.testing.assert_array_equal(data.pixels, samples)
        assert (data.pixels.dtype, data.notes) == (np.uint16, ())


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_in_separate_planes(order: str) -> None:
    for channels in (3, 4):
        samples = deep_samples(13, 17, channels)
        found = read_image(deep_tiff(samples, byteorder=order, planarconfig="separate")).pixels
        np.testing.assert_array_equal(found, samples)
        with pytest.raises(InputError, match=r"16 bits per sample in separate planes, .*: convert it to one of these"):
            read_image(deep_tiff(samples, byteorder=order, planarconfig="separate", compression="zlib"))


def test_tiff_with_alpha_in_its_colours() -> None:
    samples = deep_samples(13, 17, 4)
    alpha = samples[..., 3:].astype(float) / 65535
    multiplied = np.dstack([np.rint(samples[..., :3] * alpha), samples[..., 3]]).astype(np.uint16)
    for channels in ([0, 1, 2, 3], [0, 3]):
        found = read_image(deep_tiff(np.ascontiguousarray(multiplied[..., channels]), extrasamples=["assocalpha"])).pixels
        wanted = samples[..., channels]
        np.testing.assert_array_equal(found[..., -1], wanted[..., -1])
        assert np.all(np.abs(found[..., :-1].astype(float) - wanted[..., :-1]) <= 0.5 / np.maximum(alpha, 1e-9) + 0.5)


def test_tiff_with_a_channel_of_unknown_meaning() -> None:
    for channels in (2, 4):
        samples = deep_samples(13, 17, channels)
        data = read_image(deep_tiff(samples, extrasamples=["unspecified"]))
        np.testing.assert_array_equal(data.pixels, samples[..., 0] if channels == 2 else samples[..., :3])
        assert data.notes == ("a channel of unknown meaning is left out",)


def test_tiff_whose_white_is_zero() -> None:
    samples = deep_samples(13, 17, 2)
    found = read_image(deep_tiff(samples, photometric="miniswhite")).pixels
    np.testing.assert_array_equal(found, np.dstack([65535 - samples[..., 0], samples[..., 1]]))


def test_pages_after_the_first_are_noted() -> None:
    first, second = deep_samples(13, 17, 4), deep_samples(13, 17, 4, seed=5)
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in (first, second):
            writer.write(page, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    stream.seek(0)
    data = read_image(stream)
    assert data.notes == ("only the first of several frames is kept",)
    np.testing.assert_array_equal(data.pixels[..., 3], first[..., 3])


@pytest.mark.parametrize("largest", [65535, 1023, 256])
def test_ppm(largest: int) -> None:
    samples = (deep_samples(9, 11, 3).astype(int) % (largest + 1)).astype(np.uint16)
    data = read_image(io.BytesIO(b"P6 11 9 %d\n" % largest + samples.astype(">u2").tobytes()))
    np.testing.assert_array_equal(data.pixels, np.rint(samples * (65535 / largest)))
    assert data.notes == (() if largest == 65535 else (f"scaled from {largest.bit_length()} to 16 bits per sample",))
    with pytest.raises(InputError, match=r"truncated"):
        read_image(io.BytesIO(b"P6 11 9 %d\n" % largest + bytes(100)))
    with pytest.raises(InputError, match="bits per sample of RGB, and more than 8 are read from PNG, TIFF and PPM files"):
        read_image(io.BytesIO(b"P3 1 1 %d\n 1 2 3" % largest))


def test_a_transparent_value_becomes_alpha() -> None:
    for channels in (1, 3):
        samples = deep_samples(8, 9, channels)
        colours = samples.reshape(8, 9, channels)  # the same memory
        colours[3, 4] = colours[5, 6] = (0x1234, 0x5678, 0x9ABC)[:channels]
        colours[5, 6, 0] += 1  # the high bytes, which Pillow compares, are still those of the transparent value
        clear = np.array((0x1234, 0x5678, 0x9ABC)[:channels], ">u2").tobytes()
        found = read_image(deep_png(samples, clear)).pixels
        np.testing.assert_array_equal(found[..., :-1], colours)
        assert found[..., -1].sum() == 65535 * 71
        assert found[3, 4, -1] == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    samples = deep_samples(5, 7, 4)
    shallow = (samples >> 8).astype(np.uint8)
    image = Image.fromarray(shallow)
    wanted = image if orientation == 1 else image.transpose(TRANSPOSES[orientation])
    np.testing.assert_array_equal(upright_samples(samples, orientation) >> 8, np.asarray(wanted))
    for channels in (2, 3):
        stream = deep_tiff(samples[..., :channels].copy(), extratags=[(274, 3, 1, orientation, True)])
        np.testing.assert_array_equal(read_image(stream).pixels, upright_samples(samples[..., :channels], orientation))
    data = deep_png(samples).getvalue()
    tags = Image.Exif()
    tags[exif.ORIENTATION] = orientation
    shown = io.BytesIO()
    Image.fromarray(shallow).save(shown, "PNG", exif=tags)
    start = shown.getvalue().index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", shown.getvalue(), start)
    chunk = shown.getvalue()[start : start + 12 + length]
    for at in (33, len(data) - 12):  # behind IHDR, and before IEND
        found = read_image(io.BytesIO(data[:at] + chunk + data[at:])).pixels
        np.testing.assert_array_equal(found, upright_samples(samples, orientation))


def test_metadata_is_that_of_the_file() -> None:
    stream = deep_tiff(deep_samples(8, 9, 3), resolution=(300, 150), iccprofile=PROFILE, description="a ramp")
    data = read_image(stream)
    assert data.metadata.icc == PROFILE
    assert exif.resolution(data.metadata.exif) == (300, 150)
    assert b"a ramp" in data.metadata.exif


@pytest.mark.parametrize("kind", ["png", "grey png", "tiff", "grey tiff", "packed tiff", "ppm"])
def test_every_truncation(kind: str) -> None:
    samples = deep_samples(9, 11, 2 if "grey" in kind else 3)
    if "png" in kind:
        whole = deep_png(samples).getvalue()
    elif "tiff" in kind:
        whole = deep_tiff(samples, **({"compression": "zlib"} if "packed" in kind else {})).getvalue()
    else:
        whole = b"P6 11 9 65535\n" + samples.astype(">u2").tobytes()
    for length in range(len(whole)):
        with warnings.catch_warnings(action="ignore"):
            try:
                found = read_image(io.BytesIO(whole[:length])).pixels
            except VqcodecError as error:
                assert str(error).isprintable()
            else:  # a cut at the end of a file, behind its samples
                np.testing.assert_array_equal(found, samples)


def test_a_png_file_without_pixels() -> None:
    data = deep_png(deep_samples(8, 9, 3)).getvalue()
    with pytest.raises(InputError, match="cannot read the image: cannot load this image"):
        read_image(io.BytesIO(data[:33] + data[-12:]))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damage(data: st.DataObject) -> None:
    samples = deep_samples(9, 11, data.draw(st.integers(2, 4)))
    makers = [deep_png, deep_tiff, lambda each: deep_tiff(each, compression="zlib", predictor=True)]
    whole = bytearray(data.draw(st.sampled_from(makers))(samples).getvalue())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings(action="ignore"):
        try:
            found = read_image(io.BytesIO(bytes(whole)), max_pixels=2**20)
        except VqcodecError as error:
            assert str(error).isprintable()
        else:
            assert found.pixels.ndim == 2 or found.pixels.shape[2] in (2, 3, 4)


def test_size_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_reader, "DeepColour", None)
    for stream in (deep_png(deep_samples(8, 9, 3)), deep_tiff(deep_samples(8, 9, 2))):
        with pytest.raises(LimitError, match="more than 71"):
            read_image(stream, max_pixels=71)


def test_deep_kinds_that_are_not_read() -> None:
    cmyk = deep_tiff(deep_samples(8, 9, 4), photometric="separated", extrasamples=None)
    with pytest.raises(InputError, match="16 bits per sample of CMYK, and more than 8 are read from PNG, TIFF and PPM"):
        read_image(cmyk)
    with pytest.raises(InputError, match=r"32 bits per sample and \.vqz holds 16: convert it first"):
        read_image(deep_tiff(np.ones((8, 9), np.float32)))


@pytest.mark.parametrize("name", ["basn2c16", "basn4a16", "basn6a16", "tbgn2c16", "tbbn2c16", "tbwn0g16", "oi9n2c16", "cs3n2c16"])
def test_pngsuite(name: str, shared_data: Path) -> None:
    data = (shared_data / "odd/pngsuite" / f"{name}.png").read_bytes()
    wanted, found = read_deep_png(data), read_image(io.BytesIO(data)).pixels
    if name.startswith("t"):
        clear = np.frombuffer(data[data.index(b"tRNS") + 4 :][: 2 * wanted.shape[2]], ">u2")
        wanted = np.dstack([wanted, np.where((wanted == clear).all(axis=2), 0, 65535)])
        assert 0 < np.count_nonzero(wanted[..., -1]) < wanted[..., -1].size
    np.testing.assert_array_equal(np.atleast_3d(found), wanted)


@pytest.mark.parametrize("kind", ["2c", "4a", "6a", "0g"])
def test_interlaced_png(kind: str, shared_data: Path) -> None:
    folder = shared_data / "odd/pngsuite"
    plain, interlaced = (read_image(folder / f"bas{way}{kind}16.png").pixels for way in "ni")
    assert plain.dtype == np.uint16
    np.testing.assert_array_equal(interlaced, plain)


def test_a_pillow_image_that_is_cut_warns(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(deep_samples(8, 9, 3)).getvalue())
    with Image.open(path) as image, pytest.warns(UserWarning, match=r"Pillow keeps 8 of its 16 bits per sample: pass the file"):
        api.encode(image, model="photo-lite")
    assert api.info(api.encode(path, model="photo-lite"))["depth"] == 16


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 2), (".png", 3), (".tif", 4), (".tif", 2), (".ppm", 3)])
def test_from_file_to_file(suffix: str, channels: int, tmp_path: Path) -> None:
    y, x = np.mgrid[:40, :56]
    samples = np.stack([(900 * x + 200 * y + 99 * c).astype(np.uint16) for c in range(channels)], axis=2)
    source, coded, decoded = tmp_path / "a.png", tmp_path / "a.vqz", tmp_path / f"b{suffix}"
    source.write_bytes(deep_png(samples).getvalue())
    assert main(["encode", str(source), str(coded), "-q", "100", "--quiet"]) == 0
    assert main(["decode", str(coded), str(decoded), "--quiet"]) == 0
    found = read_image(decoded).pixels
    assert found.dtype == np.uint16
    assert np.sqrt(np.square(found.astype(float) - samples).mean()) < 80
    if channels in (2, 4):
        np.testing.assert_array_equal(found[..., -1], samples[..., -1])
