"""Damaged and invalid lossless files: any bytes soon give an image or a documented error."""

import re
import tracemalloc

import numpy as np
import pytest

from helpers.errors import outcome, peak_of_decoding
from helpers.layers import encode_blocks
from helpers.paths import REPOSITORY
from helpers.pixel_files import broken_pixel_files, lossless_file, part_bytes, small_file, with_section
from helpers.vqz_fields import Fields, bomb, put_together, take_apart
from vqcodec import api
from vqcodec.errors import CorruptError, FormatError, LimitError, TruncatedError, UnsupportedError, VqcodecError
from vqcodec.format import container
from vqcodec.format.bits import write_varint
from vqcodec.format.header import Section

SMALL = small_file()
FIELDS = take_apart(SMALL)
LAYOUT = FIELDS["layout"][0]
BLOCKS = encode_blocks(np.zeros((9, 9, 3), np.uint8), model="photo-lite", effort=1)
RARE = bytes((0, 1, 0, 0))
"""The start of a pixel section: all is graphic, strips of one row; with an empty palette, unpredicted samples follow verbatim."""

BROKEN: dict[str, tuple[type[VqcodecError], str]] = {
    "pixels-in-version-0.3": (UnsupportedError, "unsupported file: it needs an unknown feature"),
    "pixels-too-many": (LimitError, "65535x65535 is more than 65536 pixels (--max-pixels)"),
    "palette-bomb": (CorruptError, "corrupt file: a zstd frame does not decompress"),
    "palette-too-large": (CorruptError, "corrupt file: a palette has too many colours"),
    "palette-missing": (TruncatedError, "truncated file"),
    "palette-index-too-large": (CorruptError, "corrupt file: an index is not below the number of colours"),
    "map-bomb": (CorruptError, "corrupt file: a zstd frame does not decompress"),
    "map-of-one-kind": (CorruptError, "corrupt file: a map of graphic cells has one kind of cells only"),
    "weights-too-large": (CorruptError, "corrupt file: its weights of predictions are too large"),
    "sample-out-of-range": (CorruptError, "corrupt file: a sample is out of range"),
    "streams-too-long": (CorruptError, "corrupt file: a stream is too long"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_end_in_their_error(name: str) -> None:
    kind, message = BROKEN[name]
    for data in (broken_pixel_files()[name], (REPOSITORY / "tests" / "golden" / "errors" / f"{name}.vqz").read_bytes()):
        found = outcome(data)
        assert (type(found), str(found)) == (kind, message)


def test_every_broken_file_is_known() -> None:
    assert set(broken_pixel_files()) == set(BROKEN)


def test_the_small_file_is_right() -> None:
    header, sections = container.read_file(SMALL)
    assert SMALL[8] == 4
    assert (header.layers, header.model_id, len(header.groups)) == (0, b"", 1)
    assert [section.type for section in sections] == [container.PIXELS, container.PALETTE]
    assert outcome(SMALL) is None
    assert put_together(FIELDS) == SMALL


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"version": b"\x03", "flags": b"\x00"}, CorruptError, "corrupt file"),
        ({"flags": b"\x00"}, CorruptError, "corrupt file"),
        ({"flags": b"\x09"}, UnsupportedError, "it needs a step map"),
        ({"layout": bytes((LAYOUT - 1,))}, CorruptError, "a reserved value"),
        ({"layout": bytes((LAYOUT + 1,))}, CorruptError, "corrupt file"),  # tokens
        ({"layout": bytes((LAYOUT | 0x80,))}, CorruptError, "a reserved value"),
        ({"group": b"\x02"}, CorruptError, "corrupt file"),
        ({"group": b"\x0e"}, CorruptError, "a reserved value"),
        ({"others": write_varint(2**35 - 1)}, FormatError, "file"),
        ({"body": FIELDS["body"][:-1]}, TruncatedError, "truncated file"),
        ({"body": FIELDS["body"] + b"\0"}, CorruptError, "bytes after the last section"),
    ],
)
def test_an_invalid_header_is_refused(changes: Fields, kind: type[VqcodecError], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        api.decode(put_together(FIELDS | changes))


def test_version_0_4_has_pixel_sections() -> None:
    assert FIELDS["version"] == b"\x04"
    fields = take_apart(BLOCKS)
    assert fields["version"] == b"\x03"
    with pytest.raises(CorruptError, match="a reserved value"):
        api.decode(put_together(fields | {"version": b"\x04"}))


@pytest.mark.parametrize("kind", [container.ALPHA, container.DEEP_ALPHA, 0x04])
@pytest.mark.parametrize("channels", [3, 4])
def test_files_without_layers_have_no_alpha_section(kind: int, channels: int) -> None:
    header, sections = container.read_file(small_file(channels=channels))
    with pytest.raises(FormatError, match="sections do not match" if kind == container.ALPHA else f"type {kind:#04x}"):
        container.read_file(container.write_file(header, [*sections, Section(kind, b"\0")]))


def test_there_is_one_palette_in_files_with_pixel_sections() -> None:
    header, sections = container.read_file(SMALL)
    with pytest.raises(CorruptError, match="sections do not match"):
        container.read_file(container.write_file(header, [*sections, sections[-1]]))
    blocks = container.read_file(BLOCKS)
    with pytest.raises(UnsupportedError, match="type 0x03"):
        container.read_file(container.write_file(blocks[0], [*blocks[1], sections[-1]]))


def test_a_palette_is_optional_where_all_colours_are_rare() -> None:
    """A file without palette and one with the empty palette, 01, are the same picture."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    header, _ = container.read_file(lossless_file(noise, np.ones((1, 1), bool)))
    pixels = Section(container.PIXELS, RARE + noise.tobytes())
    assert np.array_equal(api.decode(container.write_file(header, [pixels])), noise)
    assert np.array_equal(api.decode(container.write_file(header, [pixels, Section(container.PALETTE, b"\1")])), noise)
    with pytest.raises(TruncatedError):
        api.decode(container.write_file(header, [pixels, Section(container.PALETTE, b"")]))


def test_a_palette_beside_no_graphic_cells_changes_nothing() -> None:
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    header, sections = container.read_file(lossless_file(pixels, np.zeros((1, 1), bool)))
    palette = container.read_file(SMALL)[1][-1]
    data = container.write_file(header, [*sections, Section(container.PALETTE, palette.data)])
    assert np.array_equal(api.decode(data), pixels)
    with pytest.raises(FormatError):
        api.decode(container.write_file(header, [*sections, Section(container.PALETTE, b"\2")]))


@pytest.mark.parametrize("depth", [10, 12])
def test_samples_have_no_more_bits_than_the_header_says(depth: int) -> None:
    """Palettes, rare colours and predictions could hold larger ones: samples of more than 8 bits have 16 in a section."""
    large = np.full((8, 8, 1), (1 << depth) - 1, np.uint16)
    large[::2] = 0
    for graphic in (np.ones((1, 1), bool), np.zeros((1, 1), bool)):
        assert outcome(lossless_file(large, graphic, depth)) is None
    header, _ = container.read_file(lossless_file(large, np.ones((1, 1), bool), depth))
    assert outcome(container.write_file(header, [Section(container.PIXELS, RARE + large.tobytes())])) is None
    large[3, 3] += 1
    in_palette = lossless_file(large, np.ones((1, 1), bool), depth)
    for data in (in_palette, container.write_file(header, [Section(container.PIXELS, RARE + large.tobytes())])):
        assert str(outcome(data)) == "corrupt file: a sample has too many bits"


@pytest.mark.parametrize("file", [SMALL, small_file(12, 2)], ids=["8 bits", "12 bits"])
def test_every_truncation_and_every_flipped_bit_are_found(file: bytes) -> None:
    for length in range(len(file)):
        with pytest.raises(FormatError):
            api.decode(file[:length], threads=1)
    for place in range(8 * len(file)):
        damaged = bytearray(file)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(VqcodecError):  # a changed width may be too large
            api.decode(bytes(damaged), threads=1)


@pytest.mark.parametrize("kind", [container.PIXELS, container.PALETTE])
def test_every_truncated_section_is_refused(kind: int) -> None:
    """Checksums are right: the section itself ends too early."""
    section = next(section for section in container.read_file(SMALL)[1] if section.type == kind)
    for length in range(len(section.data)):
        assert isinstance(outcome(with_section(SMALL, kind, section.data[:length])), FormatError)
    assert isinstance(outcome(with_section(SMALL, kind, section.data + b"\0")), FormatError)


def test_a_huge_picture_is_refused_before_anything_is_allocated() -> None:
    sides = {"width": write_varint(65535), "height": write_varint(65535)}
    for function in (api.decode, api.info, container.read_header):
        tracemalloc.start()
        with pytest.raises(LimitError, match="65535x65535 is more than 268435456 pixels"):
            function(put_together(FIELDS | sides))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000


@pytest.mark.parametrize(
    "section",
    [
        b"\0\1" + part_bytes(bomb(100_000_000, claimed=64)),  # indices
        b"\0\0\1" + part_bytes(bomb(100_000_000, claimed=1)),  # heights of strips
        b"\0\0" + write_varint(2**35 - 1) + part_bytes(bomb(100_000_000, claimed=1)),
        b"\2" + part_bytes(bomb(100_000_000, claimed=1)),  # a map
        b"\1\0\1\0\0\0" + write_varint(2**35 - 1) + part_bytes(bomb(100_000_000, claimed=1)),  # weights
    ],
)
def test_a_bomb_is_refused_without_being_unpacked(section: bytes) -> None:
    data = with_section(lossless_file(np.eye(8, dtype=np.uint8)[..., None], np.ones((1, 1), bool)), container.PIXELS, section)
    assert len(data) < 20_000
    assert isinstance(outcome(data), FormatError)
    assert peak_of_decoding(data) < 1_000_000
