"""Index sections are read as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.errors import CorruptError
from vqcodec.format import stream_records
from vqcodec.format.zstd_blocks import FOUR_STREAMS_FROM, Mode, StoredPart

modes = st.sampled_from(Mode)
record = st.tuples(st.integers(0, 9000), modes, st.binary(max_size=200), st.integers(1, 20000))


@pytest.mark.slow
@given(st.lists(st.lists(record, min_size=1, max_size=2), max_size=8), st.sampled_from([b"", b"raw"]))
def test_records_come_back(entries: list[list[tuple[int, Mode, bytes, int]]], raw: bytes) -> None:
    found = []
    for stream in entries:
        largest = 1 << 30
        for size, mode, data, _ in stream:
            whole = min(size, largest)  # a second part is no larger than the first
            stored = (bytes(whole) if mode == Mode.VERBATIM else data) if whole else b""
            if mode == Mode.BLOCK_WITH_DICTIONARY and whole >= FOUR_STREAMS_FROM:
                stored = bytes((len(data) // 2, 0, 0, 0, len(data) // 3, 0)) + data  # the second of four streams is empty
            found.append(StoredPart(whole, mode if whole else Mode.VERBATIM, stored))
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
