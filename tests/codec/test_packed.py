"""Pictures without headers and sections: the same pixels, fewer bytes, and damage."""

import io

import numpy as np
import pytest

from helpers.encoded import LITE
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import packed, pipeline, symbol_coder
from vqcodec.codec.reader import Reader
from vqcodec.errors import CorruptError, FormatError, LimitError
from vqcodec.format.header import Metadata
from vqcodec.format.range_coder import TOTAL
from vqcodec.options import DecodeOptions, EncodeOptions

PLAIN = DecodeOptions(refine="none", threads=1)


def file_of(seed: int, height: int = 40, width: int = 56, channels: int = 3, quality: float = 50) -> bytes:
    pixels = smooth_picture(height, width, channels, seed)
    rough = pixels[8:20, 8:20]
    rough[:] = np.random.default_rng(seed).integers(0, 256, rough.shape)  # makes escapes and raw bits
    return pipeline.encode(pixels, LITE, EncodeOptions(quality=quality, threads=1), Metadata())


@pytest.mark.parametrize(
    ("seed", "height", "width", "channels", "quality"),
    [(0, 40, 56, 3, 50), (1, 1, 1, 3, 60), (2, 33, 17, 1, 20), (3, 40, 40, 3, 100), (4, 8, 64, 3, 0)],
)
def test_packed_pictures_decode_as_their_files(seed: int, height: int, width: int, channels: int, quality: float) -> None:
    file = file_of(seed, height, width, channels, quality)
    found = packed.pack(file, LITE, MAX_PIXELS)
    assert found.template
    assert len(found.data) < len(file)
    expected = api.decode(file, refine="none", model=LITE)
    reader = packed.CodedReader(found, MAX_PIXELS)
    np.testing.assert_array_equal(pipeline.read(reader, LITE, PLAIN), expected)
    restored = packed.restore(found, LITE, MAX_PIXELS)
    np.testing.assert_array_equal(api.decode(restored, refine="none", model=LITE), expected)
    assert Reader(io.BytesIO(restored)).header.step_64 == found.step_64


def test_pictures_of_other_kinds_stay_files() -> None:
    pixels = smooth_picture(16, 16)
    for file in (
        api.encode(pixels, lossless=True),
        api.encode(pixels, model=LITE, metadata=Metadata(exif=b"II*\0")),
        api.encode(np.dstack([pixels, pixels[:, :, :1]]), model=LITE),
        api.encode(smooth_picture(136, 136), model=LITE, tile=64),
    ):
        assert packed.pack(file, LITE, MAX_PIXELS) == packed.Packed(b"", 0, file)
    file = file_of(0)
    assert packed.pack(file, None, MAX_PIXELS).data == file
    with pytest.raises(CorruptError):
        packed.pack(file[:-1], LITE, MAX_PIXELS)
    with pytest.raises(LimitError):
        packed.pack(file, LITE, 10)


def test_frequencies_add_up_for_every_codebook_and_sharpness() -> None:
    own = symbol_coder.statistics(LITE)
    for codebook, size in enumerate(LITE.tensors["book.size"].tolist()):
        for sharpness in (0, 8, 15):
            found = own.frequencies(codebook, sharpness)
            assert (len(found), int(found.sum()), int(found.min()) >= 1) == (size, TOTAL, True)
    sharper = own.frequencies(0, 12)
    assert sharper.max() > own.frequencies(0, 4).max()


def test_damaged_symbols_give_errors_or_pixels() -> None:
    """Checksums of packs see damage first; without them a range code decodes to something, or bytes are left over."""
    found, rng = packed.pack(file_of(5), LITE, MAX_PIXELS), np.random.default_rng(0)
    shape = api.decode(file_of(5), model=LITE).shape
    for _ in range(60):
        data = bytearray(found.data[: int(rng.integers(0, len(found.data) + 1))])
        for position in rng.integers(0, len(data), 2).tolist() if data else []:
            data[position] = int(rng.integers(256))
        try:
            reader = packed.CodedReader(found._replace(data=bytes(data) + rng.bytes(int(rng.integers(3)))), MAX_PIXELS)
            assert pipeline.read(reader, LITE, PLAIN).shape == shape
        except CorruptError:
            pass


def test_damaged_templates_are_refused() -> None:
    found, rng = packed.pack(file_of(5), LITE, MAX_PIXELS), np.random.default_rng(0)
    header = packed.header_of(found.template, 77, MAX_PIXELS)
    assert (header.width, header.height, header.step_64, packed.template_of(header)) == (56, 40, 77, found.template)
    for template in (b"", found.template[:-1], found.template + b"\0"):
        with pytest.raises(FormatError):
            packed.header_of(template, 77, MAX_PIXELS)
    for _ in range(500):
        other = bytearray(found.template)
        other[int(rng.integers(len(other)))] = int(rng.integers(256))
        try:
            changed = packed.header_of(bytes(other), 77, MAX_PIXELS)
        except (FormatError, LimitError):
            continue
        assert packed.can_pack(changed)
