"""The parser on damaged and invalid files: any bytes soon give an image or a documented error."""

import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.errors import outcome, peak_of_decoding
from helpers.layers import encode_blocks
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.pixel_files import broken_pixel_files
from helpers.vqz_fields import Fields, bomb, index_section, put_together, take_apart
from vqcodec import api
from vqcodec.codec.pipeline import Encoder
from vqcodec.errors import CorruptError, FormatError, LimitError, ModelError, TruncatedError, UnsupportedError, VqcodecError
from vqcodec.format import container, stream_records, zstd_blocks
from vqcodec.format.bits import BitWriter, write_golomb, write_number, write_varint
from vqcodec.format.header import Header, Section
from vqcodec.format.stream_forms import Split
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.options import EncodeOptions
from vqcodec.weights import registry

GOLDEN = REPOSITORY / "tests" / "golden"
MODEL = registry.find("photo-lite")
seeds = st.integers(0, 2**32 - 1)


def tabled_file() -> bytes:
    """A file with two tile groups, three layers, an ICC profile and an optional section of an unknown type."""
    encoder = Encoder(smooth_picture(20, 70), MODEL, EncodeOptions(threads=1, tile=64), layers=3)
    header, sections = container.read_file(encoder.file(1000))
    return container.write_file(header, [*sections, Section(container.ICC, b"profile"), Section(0x90, b"later")])


PLAIN = take_apart((GOLDEN / "decode" / "pixel.vqz").read_bytes())
TABLED = take_apart(tabled_file())
LAYOUT = PLAIN["layout"][0]


# ------------------------------------------------------------------------------------------------ known broken files

BROKEN: dict[str, tuple[type[VqcodecError], str]] = {
    "bomb": (CorruptError, "corrupt file: a zstd frame does not decompress"),
    "critical-section": (UnsupportedError, "unsupported file: it needs sections of type 0x02"),
    "flipped-bit": (CorruptError, "corrupt file: its checksum is wrong"),
    "future-version": (UnsupportedError, "unsupported file: its format version is 9."),
    "index-not-in-codebook": (CorruptError, "corrupt file: an index is not in its codebook"),
    "needs-step-map": (UnsupportedError, "unsupported file: it needs a step map"),
    "no-alpha-plane": (CorruptError, "corrupt file: its sections do not match its header"),
    "no-width": (CorruptError, "corrupt file: an invalid size of 0x1 pixels"),
    "not-a-vqz": (FormatError, "not a .vqz file"),
    "overlong-number": (CorruptError, "corrupt file: a varint is malformed"),
    "section-cut-short": (TruncatedError, "truncated file"),
    "too-many-pixels": (LimitError, "65535x65535 is more than 65536 pixels (--max-pixels)"),
    "unknown-model": (ModelError, "the file needs model 000000000000, which is not installed"),
}


def test_every_broken_golden_file_is_known() -> None:
    assert {path.stem for path in (GOLDEN / "errors").iterdir()} == {*BROKEN, *broken_pixel_files()}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_golden_files_end_in_their_error(name: str) -> None:
    kind, message = BROKEN[name]
    found = outcome((GOLDEN / "errors" / f"{name}.vqz").read_bytes())
    assert type(found) is kind
    assert str(found).startswith(message)


# ------------------------------------------------------------------------------------------------ the header


@given(
    st.builds(
        Header,
        width=st.integers(1, 600),
        height=st.integers(1, 600),
        layout=st.integers(0, 2),
        layers=st.integers(1, 3),
        group_log2=st.sampled_from([0, 3, 5, 13]),
        model_id=st.binary(min_size=container.ID_BYTES, max_size=container.ID_BYTES),
        step_64=st.integers(1, 65535),
        merge_map=st.integers(0, 31),
        masking=st.integers(0, 7),
        best_is_plain=st.booleans(),
        equal_components=st.booleans(),
    ).filter(lambda header: header.layout == 0 or not header.equal_components),
    st.data(),
)
def test_files_come_back(header: Header, data: st.DataObject) -> None:
    count = header.layers * len(header.groups)
    sections = [Section(container.INDICES, data.draw(st.binary(max_size=20))) for _ in range(count)]
    sections.append(Section(container.ICC, b"profile"))
    file = container.write_file(header, sections)
    assert container.read_file(file) == (header, sections)


@given(st.sampled_from([b"", container.MAGIC, container.MAGIC + bytes((container.VERSION[1],))]), st.binary(max_size=300))
def test_random_bytes_are_no_file(start: bytes, rest: bytes) -> None:
    assert isinstance(outcome(start + rest), FormatError)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from([PLAIN, TABLED]))
def test_any_header_with_a_right_checksum(data: st.DataObject, good: Fields) -> None:
    changed = dict(good)
    for name in data.draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3)):
        value = bytearray(changed[name])
        if value and data.draw(st.booleans()):
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
            changed[name] = bytes(value)
        else:
            changed[name] = data.draw(st.binary(max_size=12))
    outcome(put_together(changed))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"version": bytes((container.VERSION[1] ^ 1,))}, UnsupportedError, "vqcodec reads 0.3"),
        ({"height": b"\x00"}, CorruptError, "an invalid size of 1x0"),
        ({"height": write_varint(65536)}, CorruptError, "an invalid size of 1x65536"),
        ({"width": write_varint(65536)}, CorruptError, "an invalid size of 65536x1"),
        ({"width": write_varint(2**35 - 1)}, CorruptError, f"an invalid size of {2**35 - 1}x1"),
        ({"width": write_varint(2**35)}, CorruptError, "a varint is malformed"),
        ({"width": b"\x80\x80\x80\x80\x00"}, CorruptError, "a varint is malformed"),
        ({"layout": bytes((LAYOUT | 0x10,))}, UnsupportedError, "it has layers but no table of sections"),
        ({"step": bytes(2)}, CorruptError, "a reserved value in the header"),
        ({"map": bytes((len(MODEL.maps),))}, CorruptError, "its merge map is not in the model"),
        ({"map": b"\xff"}, CorruptError, "its merge map is not in the model"),
        ({"body": b""}, CorruptError, "a section ends too early"),
    ],
)
def test_an_invalid_header_is_refused(changes: Fields, kind: type[VqcodecError], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        api.decode(put_together(PLAIN | changes))


ONE_ENTRY = {"layout": bytes((LAYOUT | 0x40,)), "flags": bytes(1), "group": bytes(1), "others": bytes(1)}
ONE_ENTRY |= {"table": bytes(5), "body": b""}
"""Fields of a table with a single entry: one layer, one tile group, an empty index section."""
NOTHING = bytes(4) + b"\x90" + bytes(5)
"""The checksum of an entry, and the entry of an empty optional section."""
OTHERS = -12  # start of the entries of the ICC profile and the unknown section: 1 byte of type, 1 of length, 4 of checksum each


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        *[
            (ONE_ENTRY | {"group": bytes((k,)), "height": b"\x01", "width": b"\x01"}, CorruptError, "a reserved value")
            for k in (1, 2, 14, 255)
        ],
        (ONE_ENTRY | {"layout": bytes((LAYOUT | 0x70,)), "table": bytes(20)}, CorruptError, "a reserved value"),
        ({"flags": b"\x01"}, UnsupportedError, "it needs a step map"),
        ({"flags": b"\xf2"}, UnsupportedError, "it needs a pattern codebook"),
        ({"flags": b"\x08"}, UnsupportedError, "it needs an unknown feature"),
        (ONE_ENTRY | {"others": write_varint(2**35 - 1)}, TruncatedError, "truncated file"),
        ({"others": b"\x01"}, CorruptError, "its checksum is wrong"),
        ({"table": TABLED["table"][:OTHERS] + b"\x81" + write_varint((1 << 24) + 1) + NOTHING}, LimitError, "16 MiB"),
        ({"table": TABLED["table"][:OTHERS] + b"\x82" + write_varint(1 << 24) + NOTHING}, TruncatedError, "truncated file"),
        ({"table": TABLED["table"][:OTHERS] + b"\x00" + TABLED["table"][OTHERS + 1 :]}, UnsupportedError, "type 0x00"),
        ({"body": bytes(1) + TABLED["body"][1:]}, CorruptError, "a section's checksum is wrong"),
        ({"body": TABLED["body"] + b"\x00"}, CorruptError, "bytes after the last section"),
    ],
)
def test_an_invalid_table_is_refused(changes: Fields, kind: type[VqcodecError], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        api.decode(put_together(TABLED | changes))


@pytest.mark.parametrize("kind", [container.ALPHA, container.ICC, container.EXIF, container.XMP], ids=container.NAMES.get)
def test_there_is_one_section_of_a_kind(kind: int) -> None:
    header, sections = container.read_file((GOLDEN / "decode" / "alpha-q40.vqz").read_bytes())
    if kind != container.ALPHA:
        sections.append(Section(kind, b"first"))
        assert outcome(container.write_file(header, sections)) is None
    found = outcome(container.write_file(header, [*sections, Section(kind, b"second")]))
    assert str(found) == "corrupt file: its sections do not match its header"


def test_tokens_have_no_tile_groups() -> None:
    header, sections = container.read_file((GOLDEN / "token" / "grey.vqz").read_bytes())
    tabled = take_apart(container.write_file(header, [*sections, Section(container.ICC, b"profile")]))
    assert outcome(put_together(tabled)) is None
    found = outcome(put_together(tabled | {"group": b"\x03"}))  # the picture is smaller than a group
    assert str(found) == "corrupt file: a reserved value in the header"


def test_unused_bits_and_optional_sections_change_nothing() -> None:
    header, sections = container.read_file(put_together(TABLED))
    assert [section.type for section in sections[-2:]] == [container.INDICES, container.ICC]
    without = container.write_file(header, [section for section in sections if section.type == container.INDICES])
    pixels = api.decode(without)
    np.testing.assert_array_equal(api.decode(put_together(TABLED)), pixels)
    np.testing.assert_array_equal(api.decode(put_together(TABLED | {"flags": b"\xf0"})), pixels)


def test_files_without_layers_alone_can_be_marked_lossless() -> None:
    data = api.encode(smooth_picture(20, 30), lossless=True)
    header, sections = container.read_file(data)
    assert header.lossless
    unmarked = container.write_file(replace(header, lossless=False), sections)
    assert take_apart(data) | {"flags": take_apart(unmarked)["flags"]} == take_apart(unmarked)
    assert take_apart(data)["flags"][0] ^ take_apart(unmarked)["flags"][0] == 0x20
    assert not container.read_file(unmarked)[0].lossless
    np.testing.assert_array_equal(api.decode(unmarked), api.decode(data))
    assert not container.read_file(put_together(TABLED | {"flags": b"\x20"}))[0].lossless


@pytest.mark.parametrize("good", [PLAIN, TABLED], ids=["plain", "tabled"])
def test_a_huge_picture_is_refused_before_anything_is_allocated(good: Fields) -> None:
    sides = {"width": write_varint(65535), "height": write_varint(65535)}
    data = put_together(good | (ONE_ENTRY if "group" in good else {}) | sides)
    for function in (api.decode, api.info, container.read_header):
        tracemalloc.start()
        with pytest.raises(LimitError, match="65535x65535 is more than 268435456 pixels"):
            function(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000


def test_a_long_table_is_read() -> None:
    header, _ = container.read_file(put_together(PLAIN))
    many = replace(header, width=4096, height=2048, layout=0, group_log2=3)
    data = container.write_file(many, [Section(container.INDICES, b"")] * len(many.groups))
    assert len(container.read_file(data)[1]) == 2048


# ------------------------------------------------------------------------------------------------ index sections


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(0, len(MODEL.maps) - 1))
def test_any_bytes_as_an_index_section(section: bytes, merge_map: int) -> None:
    outcome(put_together(PLAIN | {"map": bytes((merge_map,)), "body": section}))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(seeds, st.integers(0, len(MODEL.maps) - 1), st.integers(1, 40))
def test_any_symbols_in_streams_that_are_well_stored(seed: int, merge_map: int, side: int) -> None:
    """Damage that neither zstd nor checksums detect: parts, pairs, escapes and raw bits that do not match each other."""
    rng = np.random.default_rng(seed)
    parts: list[bytes | StoredPart] = []
    for stream in MODEL.streams[merge_map]:
        count = int(rng.integers(0, side))
        for dictionary in stream.dictionaries:
            values = rng.geometric(rng.uniform(0.02, 0.9), count) - 1
            count = int(rng.integers(0, count + 1))
            part = np.minimum(values, rng.integers(0, 256)).astype(np.uint8).tobytes()
            parts.append(zstd_blocks.compress(part, dictionary, zstd_blocks.FAST_LEVELS))
    body = index_section(parts, MODEL, merge_map, raw=rng.bytes(int(rng.integers(0, 9))))
    size = write_varint(side)
    outcome(put_together(PLAIN | {"width": size, "height": size, "map": bytes((merge_map,)), "body": body}))


@settings(max_examples=400)
@given(st.binary(max_size=40), st.sampled_from([0, 3, 2000, 1 << 20]), st.integers(0, 60))
@example(data=b"", limit=0, zeros=0)
def test_any_records_are_read_or_corrupt(data: bytes, limit: int, zeros: int) -> None:
    for means in ([[0], [3000, 14000], [9000]], [[9000]], [[0, 0]]):
        try:
            found, raw = stream_records.read_streams(data + bytes(zeros), means, limit)
        except CorruptError:
            continue
        assert len(found) == sum(map(len, means))
        assert sum(record.size for record in found) <= limit
        assert sum(len(record.data) for record in found) + len(raw) <= len(data) + zeros
        assert stream_records.read_streams(stream_records.write_streams(found, means, raw), means, limit) == (found, raw)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize(
    ("symbols", "raw", "message"),
    [
        ([], b"", None),
        ([0], b"", None),  # zeros at the end are not written
        ([1], b"", "corrupt file: indices left over"),
        ([], b"\0", "corrupt file: raw bits left over"),
    ],
)
def test_unread_symbols_and_raw_bits_are_corrupt(layer: int, symbols: list[int], raw: bytes, message: str | None) -> None:
    encoder = Encoder(smooth_picture(20, 20), MODEL, EncodeOptions(threads=1, effort=1), layers=3)
    coded = encoder.group(0, encoder.header(200))
    coded.symbols.calls[layer].append((0, np.array(symbols, np.uint8)))
    coded.symbols.raw[layer] += raw
    found = outcome(encoder.write(encoder.header(200), [coded]))
    assert (found and str(found)) == message


@pytest.mark.parametrize("excess", [0, 1])
def test_streams_are_not_too_long_together(excess: int) -> None:
    """No tile reads the symbols, so both files are corrupt, but only one because of its length."""
    merge_map, half = 1, container.LAYOUTS[LAYOUT & 3].channels  # half of the limit: two symbols for each channel of the only cell
    parts = []
    for stream, count in zip(MODEL.streams[merge_map], (half, half + excess), strict=False):
        assert isinstance(stream.form, Split)
        parts += stream.form.pack(np.ones(count, np.uint8))
    found = outcome(put_together(PLAIN | {"map": bytes((merge_map,)), "body": index_section(parts, MODEL, merge_map)}))
    assert type(found) is CorruptError
    assert (str(found) == "corrupt file: a stream is too long") == bool(excess)


def bits(*texts: str) -> bytes:
    """Records given as bits, filled up with zeros."""
    text = "".join(texts)
    return bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


SIZE_5 = "0011" + "01"
LENGTH_9 = "0100" + "001"
DICTIONARY, VERBATIM, FRAME, BLOCK = "1", "01", "000", "001"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (bits(SIZE_5, DICTIONARY, "1" + "0"), "an invalid record"),  # there is none
        (bits("1111" + "00011" + "0" * 16 + "1", BLOCK, LENGTH_9) + bytes(9), "an invalid record"),  # 131073 bytes
        (bits("1111" + "00110" + "0" * 20, FRAME, LENGTH_9) + bytes(9), "larger than the picture allows"),
        (bits("1111" + "11111"), "ends too early"),
        (bits("0000", "1"), "the bits that fill a byte are not 0"),
        (bits("0000") + bytes((1 << 19) + 1), "more raw bits than the picture allows"),
        (bits(SIZE_5, FRAME, LENGTH_9) + bytes(8), "ends too early"),
        (bits(SIZE_5, VERBATIM) + bytes(4), "ends too early"),
        (bits(SIZE_5, DICTIONARY) + bytes(6), "a Golomb code is too long"),
        (bits(SIZE_5, DICTIONARY, "0" * 33, "1" * 40), "a Golomb code is too long"),
        (b"", "ends too early"),
    ],
)
def test_an_invalid_record_is_refused(section: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        stream_records.read_streams(section, [[0]], 1 << 19)


def test_a_second_part_is_no_larger_than_the_first_and_blocks_have_a_length() -> None:
    with pytest.raises(CorruptError, match="an invalid record"):
        stream_records.read_streams(bits(SIZE_5, VERBATIM, "001" + "11") + bytes(20), [[0, 0]], 100)  # 6 less than 5
    with pytest.raises(CorruptError, match="an invalid record"):
        stream_records.read_streams(bits(SIZE_5, DICTIONARY, "0001" + "000") + bytes(20), [[2]], 100)  # 4 less than 0


def test_lengths_of_four_streams_have_two_bytes() -> None:
    for length, message in ((65535, "a section ends too early"), (65536, "an invalid record")):
        writer = BitWriter()
        write_number(writer, 1 << 17)
        writer.put(1, 1)
        for _ in range(4):
            write_golomb(writer, stream_records._order(1 << 15), 2 * (length - 4))  # 4 bytes are expected of this mean
        with pytest.raises(CorruptError, match=message):
            stream_records.read_streams(writer.to_bytes(), [[2]], 1 << 17)


# ------------------------------------------------------------------------------------------------ bombs


def forged(size: int) -> bytes:
    """A frame whose own header claims `size` bytes of content (RFC 8878, 3.1.1.1), with the magic number before it."""
    return zstandard.MAGIC_NUMBER.to_bytes(4, "little") + b"\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


@pytest.mark.parametrize(
    "record",
    [
        bomb(100_000_000, claimed=100),
        StoredPart(100, Mode.FRAME, forged(1 << 40)),
        StoredPart(100, Mode.FRAME, forged(1 << 40)[4:]),
        StoredPart(100, Mode.BLOCK, forged(1 << 40)[4:]),
    ],
    ids=["100 MB", "a whole frame of 1 TiB", "a frame of 1 TiB", "a block of 1 TiB"],
)
def test_a_bomb_is_refused_without_being_unpacked(record: StoredPart) -> None:
    data = put_together(PLAIN | {"body": index_section([record], MODEL, PLAIN["map"][0])})
    assert len(data) < 20_000
    found = outcome(data)
    assert type(found) is CorruptError
    assert "zstd frame" in str(found)
    assert peak_of_decoding(data) < 1_000_000


def test_streams_within_their_limits_take_no_more_memory_than_the_picture() -> None:
    side, merge_map = write_varint(256), 0
    picture = PLAIN | {"width": side, "height": side, "map": bytes((merge_map,)), "step": b"\xff\xff"}
    parts = sum(len(stream.dictionaries) for stream in MODEL.streams[merge_map])
    symbols = 2 * 32 * 32 * container.LAYOUTS[LAYOUT & 3].channels
    empty = put_together(picture | {"body": index_section([], MODEL, merge_map)})
    full = put_together(picture | {"body": index_section([bomb(symbols, symbols)] * parts, MODEL, merge_map)})
    assert len(full) < 2000
    assert outcome(empty) is None  # all symbols are 0: a valid picture
    assert peak_of_decoding(full) < 2 * peak_of_decoding(empty)


def test_the_type_of_the_alpha_section_follows_the_depth() -> None:
    """Type 01 is that of 8 bits and type 02 that of more; a reader that knows only one of them refuses the other."""
    shallow, deep = np.full((8, 8, 2), 9, np.uint8), np.full((8, 8, 2), 9000, np.uint16)
    for pixels, other in ((shallow, container.DEEP_ALPHA), (deep, container.ALPHA)):
        header, sections = container.read_file(encode_blocks(pixels, model="photo-lite"))
        assert sections[1].type == container.alpha_type(header.depth) != other
        changed = container.write_file(header, [sections[0], Section(other, sections[1].data)])
        with pytest.raises(UnsupportedError, match=f"it needs sections of type {other:#04x}"):
            container.read_file(changed)
