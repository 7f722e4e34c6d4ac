"""Packs: the worked example, finding pictures, limits, and damage."""

import io
import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.packs import opened, pack_of
from vqcodec.errors import CorruptError, FormatError, TruncatedError, UnsupportedError
from vqcodec.format import pack
from vqcodec.format.blobs import write_blob
from vqcodec.format.pack import Directory, Entry, Lost, PackFile

EXAMPLE = (pack.__doc__ or "").split("5. EXAMPLE\n==========\n")[1].split("6. CHANGES\n")[0]
FIELDS = re.findall(r"^    ((?:[0-9A-F]{2} )*[0-9A-F]{2}) {3,}.+$", EXAMPLE, re.MULTILINE)
NAMES = [f"{folder}/{number:03}" for folder in "ab" for number in range(50)]
FILES = {name: name.encode() * 3 for name in NAMES}
PACK = pack_of([{name: FILES[name] for name in NAMES[first : first + 10]} for first in range(0, 100, 10)])
parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=9)
names = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)


def test_the_example_of_the_specification() -> None:
    assert bytes.fromhex("".join(FIELDS)) == pack_of([{"a": bytes((1, 2, 3, 4, 5))}])
    assert f"in {len(pack_of([{'a': bytes(5)}]))} bytes" in EXAMPLE


@given(st.lists(names, min_size=1, max_size=12, unique=True), st.data())
def test_a_directory_comes_back(found: list[str], data: st.DataObject) -> None:
    templates = [b"x" * count for count in range(data.draw(st.integers(0, len(found))))]
    entries = []
    for name in sorted(found, key=lambda name: name.encode()):
        kind = data.draw(st.integers(0, len(templates)))
        step = data.draw(st.integers(1, 65535)) if kind else 0
        entries.append(Entry(name, kind, data.draw(st.integers(0, 2**30)), data.draw(st.integers(0, 2**32 - 1)), step))
    directory = Directory(entries, templates)
    assert pack.read_directory(pack.write_directory(directory)) == directory


def test_every_picture_is_found_by_reading_little() -> None:
    found = opened(PACK)
    assert len(found) == 100
    assert [place.entry.name for place in found.each()] == NAMES
    for name in NAMES:
        place = found.find(name)
        assert place is not None
        assert found.stored(place) == FILES[name]
    assert all(found.find(name) is None for name in ("", "a", "a/0", "a/0000", "b/050", "c"))
    fresh = opened(PACK)
    place = fresh.find("b/007")
    assert place is not None
    fresh.stored(place)
    assert fresh.read_bytes < len(PACK) / 2


def test_names_that_leave_the_folder_are_refused() -> None:
    for name in ("/a", "../a", "a/../b", "a//b", "./a", "a/", "", "a\0b", "\udc80", "x" * 5000):
        with pytest.raises(CorruptError, match="is not a relative path"):
            pack.check_name(name)
    good = pack.write_directory(Directory([Entry("aa/b", 0, 1, 0)]))
    assert good.count(b"aa/b") == 1
    for bad, message in ((b"../b", "relative path"), (b"a\xffab", "not UTF-8")):
        with pytest.raises(CorruptError, match=message):
            pack.read_directory(good.replace(b"aa/b", bad))
    with pytest.raises(CorruptError, match="not in order"):
        pack.read_directory(pack.write_directory(Directory([Entry("b", 0, 1, 0), Entry("a", 0, 1, 0)])))


def test_files_that_are_no_packs() -> None:
    with pytest.raises(FormatError, match=r"not a \.vqzs pack"):
        opened(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(TruncatedError):
        opened(pack.MAGIC[:4])
    with pytest.raises(UnsupportedError, match=r"version is 1\.2"):
        opened(pack.MAGIC + b"\x12" + PACK[9:])


def test_every_truncation_is_noticed_and_keeps_what_is_whole() -> None:
    ends = dict.fromkeys(NAMES, 0)
    for place in opened(PACK).each():
        ends[place.entry.name] = place.offset + place.entry.size
    for size in range(len(pack.HEAD), len(PACK)):
        cut = PACK[:size]
        with pytest.raises(FormatError):
            opened(cut)
        if size % 7:
            continue
        found, lost = opened(cut, allow_partial=True), list[str]()
        whole = []
        for place in found.each([]):
            try:
                assert found.stored(place) == FILES[place.entry.name]
                whole.append(place.entry.name)
            except TruncatedError:
                lost.append(place.entry.name)
        heads = {name for name in NAMES if name in whole or name in lost}
        assert whole == [name for name in NAMES if name in heads and ends[name] <= size]
        assert {name for name in NAMES if ends[name] <= size and name not in heads} == set()


def read_all(data: bytes) -> None:
    found = opened(data)
    for place in found.each():
        found.stored(place)


def test_no_flipped_bit_is_silent() -> None:
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 8 * len(PACK), 400).tolist():
        damaged = bytearray(PACK)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(FormatError):
            read_all(bytes(damaged))


def test_a_damaged_chunk_loses_its_own_pictures_only() -> None:
    second = opened(PACK).chunks[1]
    damaged = bytearray(PACK)
    damaged[second.offset + 20] ^= 1
    found, lost = opened(bytes(damaged)), list[Lost]()
    assert [place.entry.name for place in found.each(lost)] == NAMES[:10] + NAMES[20:]
    assert lost == [Lost("a/010 and 9 after it", "corrupt pack: the checksum of a record is wrong")]
    damaged[-30] ^= 1  # the index, too
    scanned = opened(bytes(damaged), allow_partial=True)
    assert scanned.scanned
    assert [place.entry.name for place in scanned.each([])] == NAMES[:10] + NAMES[20:]
    assert len(scanned.gaps) == 2
    assert scanned.find("a/025") is not None


def test_hostile_packs_raise_only_format_errors() -> None:
    """Checksums of records are corrected, so that parsers see the changes."""
    rng, whole = np.random.default_rng(1), opened(PACK)
    places = [record.offset for record in whole.chunks]
    for _ in range(400):
        damaged = bytearray(PACK)
        at = places[int(rng.integers(10))] if rng.random() < 0.5 else whole.end
        head = int.from_bytes(damaged[at + 4 : at + 8], "little")
        for _ in range(int(rng.integers(1, 4))):
            damaged[at + 3 + int(rng.integers(13 + head))] = int(rng.integers(256))
        head = min(int.from_bytes(damaged[at + 4 : at + 8], "little"), len(damaged))
        checksum = zlib.crc32(damaged[at + 16 : at + 16 + head], zlib.crc32(damaged[at : at + 12]))
        damaged[at + 12 : at + 16] = checksum.to_bytes(4, "little")
        for allow_partial in (False, True):
            try:
                found = opened(bytes(damaged), allow_partial=allow_partial)
                for place in found.each([]):
                    found.stored(place)
                found.find("a/007")
                found.find("b/049")
            except FormatError:
                pass


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = write_blob(bytes(1 << 20))
    data = pack.HEAD + pack.write_record(pack.INDEX, b"\x01" + bomb)
    place = len(pack.HEAD).to_bytes(8, "little")
    with pytest.raises(CorruptError, match="a blob of 1048576 bytes"):
        PackFile(io.BytesIO(data + place + zlib.crc32(place).to_bytes(4, "little") + b"VQS\n"))
