"""PNG, TIFF and PPM files of 16 bits per sample in colour or with alpha, read by readers that share no code with the writer."""

import io

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.deep_files import deep_samples, read_deep_png
from helpers.picture_files import PROFILE, resolution
from vqcodec.errors import OutputError
from vqcodec.format.header import Metadata
from vqcodec.io import deep_writer, exif
from vqcodec.io.image_reader import read_image
from vqcodec.io.image_writer import write_image


def written(samples: np.ndarray, format: str, metadata: Metadata | None = None) -> io.BytesIO:
    """The samples in a file without notes."""
    stream = io.BytesIO()
    assert write_image(samples, stream, format=format, metadata=metadata) == ()
    stream.seek(0)
    return stream


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(2, 4), st.integers(0, 99))
def test_every_sample_comes_back(height: int, width: int, channels: int, seed: int) -> None:
    samples = deep_samples(height, width, channels, seed)
    np.testing.assert_array_equal(read_deep_png(written(samples, "PNG").getvalue()), samples)
    tiff = written(samples, "TIFF")
    with tifffile.TiffFile(tiff) as file:
        np.testing.assert_array_equal(file.pages[0].asarray(), samples)
        assert file.pages[0].compression == 8
        assert [int(kind) for kind in file.pages[0].extrasamples] == ([2] if channels != 3 else [])
    for format in ("PNG", "TIFF", "PPM") if channels == 3 else ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_image(written(samples, format)).pixels, samples)


def test_files_of_several_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_writer, "_STRIP_BYTES", 500)
    samples = deep_samples(23, 17, 4)
    np.testing.assert_array_equal(read_deep_png(written(samples, "PNG").getvalue()), samples)
    stream = written(samples, "TIFF")
    with tifffile.TiffFile(stream) as file:
        assert len(file.pages[0].dataoffsets) == 8
        np.testing.assert_array_equal(file.pages[0].asarray(), samples)
    np.testing.assert_array_equal(read_image(stream).pixels, samples)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_metadata_comes_back(format: str, order: str) -> None:
    tags = Image.Exif()
    tags.endian = order
    tags[0x010E], tags[0x010F] = "a picture", "Maker"
    tags.get_ifd(exif.EXIF_IFD)[0x9003] = "2026:01:02 03:04:05"
    own = exif.with_resolution(tags.tobytes().removeprefix(exif.PREFIX), (300.0, 150.0))
    metadata = Metadata(PROFILE, own, b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    for channels in (3, 4):
        samples = deep_samples(9, 8, channels)
        found = read_image(written(samples, format, metadata))
        np.testing.assert_array_equal(found.pixels, samples)
        assert (found.metadata.icc, found.metadata.xmp) == (metadata.icc, metadata.xmp)
        assert resolution(found) == (300, 150)
        for text in (b"a picture", b"Maker", b"2026:01:02 03:04:05"):
            assert text in found.metadata.exif
        assert found.notes == ()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP"])
def test_formats_of_8_bits_say_so(format: str) -> None:
    with pytest.raises(OutputError, match=r"holds 8 bits per sample: use \.png, \.tif or \.ppm for 16"):
        write_image(deep_samples(9, 8, 3), io.BytesIO(), format=format)


def test_alpha_in_formats_without() -> None:
    samples = deep_samples(9, 8, 4)
    with pytest.raises(OutputError, match=r"holds no transparency: use \.png or \.tif"):
        write_image(samples, io.BytesIO(), format="PPM")
    samples[..., 3] = 65535
    np.testing.assert_array_equal(read_image(written(samples, "PPM")).pixels, samples[..., :3])
    grey = samples[..., 2:].copy()
    np.testing.assert_array_equal(read_image(written(grey, "PGM")).pixels, grey[..., 0])
    with pytest.raises(OutputError, match="holds grey only"):
        write_image(samples, io.BytesIO(), format="PGM")
