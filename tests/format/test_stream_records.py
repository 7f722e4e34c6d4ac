"""Index sections are read as they were written."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vqcodec.errors import CorruptError
from vqcodec.format import stream_records
from vqcodec.format.header import StreamRecord

modes = st.sampled_from([stream_records.VERBATIM, stream_records.FRAME, stream_records.BLOCK, stream_records.BLOCK_WITH_DICTIONARY])
record = st.tuples(st.integers(0, 9000), modes, st.binary(max_size=200), st.integers(1, 20000))


@given(st.lists(st.lists(record, min_size=1, max_size=2), max_size=8), st.sampled_from([b"", b"raw"]))
def test_records_come_back(entries: list[list[tuple[int, int, bytes, int]]], raw: bytes) -> None:
    found = []
    for stream in entries:
        largest = 1 << 30
        for size, mode, data, _ in stream:
            whole = min(size, largest)  # a second part is no larger than the first
            stored = (bytes(whole) if mode == stream_records.VERBATIM else data) if whole else b""
            if mode == stream_records.BLOCK_WITH_DICTIONARY and whole >= stream_records.SINGLE_BELOW:
                stored = bytes((len(data) // 2, 0, 0, 0, len(data) // 3, 0)) + data  # the second of four streams is empty
            found.append(StreamRecord(whole, mode if whole else stream_records.VERBATIM, stored))
            largest = whole
    means = [[mean for *_, mean in stream] for stream in entries]
    limit = sum(entry.size for entry in found)
    data = stream_records.write_streams(found, means, raw)
    if limit >= len(raw):
        assert stream_records.read_streams(data, means, limit) == (found, raw)
    assert stream_records.read_streams(data + b"later", means, limit + 8) == (found, raw + b"later")  # raw bits are all the rest
    if limit:
        with pytest.raises(CorruptError, match="larger than the picture allows"):
            stream_records.read_streams(data, means, limit - 1)
    if not raw and data:
        with pytest.raises(CorruptError):
            stream_records.read_streams(data[:-1], means, limit)


@given(st.integers(0, 1 << 45), st.integers(0, 20))
@example(value=0xFFFFFFFF, order=0)  # 32 zeros
def test_numbers_in_bits_come_back(value: int, order: int) -> None:
    written = stream_records._number_bits(value) + stream_records._golomb_bits(order, value & 0xFFFFFFFF) + "1"
    bits = stream_records._BitReader(int(written.ljust(-(-len(written) // 8) * 8, "0"), 2).to_bytes(-(-len(written) // 8), "big"))
    assert stream_records._read_number(bits) == value
    assert stream_records._read_golomb(bits, order) == value & 0xFFFFFFFF
    assert bits.take(1) == 1
    assert bits.cursor == len(written)
