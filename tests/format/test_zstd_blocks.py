"""Huffman codes, dictionaries, and stored parts."""

import heapq
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.errors import CorruptError
from vqcodec.format import stream_records, zstd_blocks
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.train import huffman
from vqcodec.weights import registry

seeds = st.integers(0, 2**32 - 1)


def random_counts(seed: int, symbols: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    counts = np.zeros(256)
    counts[rng.permutation(256)[:symbols]] = rng.exponential(1, symbols) ** rng.integers(1, 9) + 1e-9
    return counts


def huffman_total(counts: np.ndarray) -> tuple[float, int]:
    """The cost of a Huffman code without a length limit, and its longest code length."""
    heap = [(float(c), 0) for c in counts if c > 0]
    heapq.heapify(heap)
    total = 0.0
    while len(heap) > 1:
        (a, deep), (b, deeper) = heapq.heappop(heap), heapq.heappop(heap)
        total += a + b
        heapq.heappush(heap, (a + b, max(deep, deeper) + 1))
    return total, heap[0][1]


@given(seeds, st.integers(2, 256))
def test_codes_are_complete_and_best(seed: int, symbols: int) -> None:
    counts = random_counts(seed, symbols)
    lengths = huffman.code_lengths(counts).astype(int)
    assert np.array_equal(lengths > 0, counts > 0)
    assert lengths.max() <= 11
    assert (0.5 ** lengths[lengths > 0]).sum() == 1
    least, longest = huffman_total(counts)
    assert counts @ lengths >= least * (1 - 1e-9)
    if longest <= 11:
        assert counts @ lengths == pytest.approx(least)


@pytest.mark.parametrize("symbols", [0, 1])
def test_too_few_symbols_have_no_code(symbols: int) -> None:
    assert not huffman.code_lengths(random_counts(0, symbols)).any()


def dictionary_of(counts: np.ndarray) -> zstd_blocks.Dictionary | None:
    try:
        return huffman.dictionary(huffman.code_lengths(counts))
    except ValueError:  # a code of equal lengths for more than 128 symbols has no description
        return None


@pytest.mark.slow
@given(seeds, st.integers(2, 256))
def test_zstd_reads_every_dictionary(seed: int, symbols: int) -> None:
    counts = random_counts(seed, symbols)
    dictionary = dictionary_of(counts)
    if dictionary is None:
        assert symbols > 128
        return
    rng = np.random.default_rng(seed)
    data = rng.choice(256, 3000, p=counts / counts.sum()).astype(np.uint8).tobytes()
    frame = zstandard.ZstdCompressor(dict_data=dictionary.zstd).compress(data)
    assert zstandard.ZstdDecompressor(dict_data=dictionary.zstd).decompress(frame) == data


def test_code_lengths_that_do_not_match_their_dictionary_are_refused() -> None:
    dictionary = dictionary_of(2.0 ** -np.arange(256))
    assert dictionary is not None
    lengths = dictionary.lengths.copy()
    lengths[[0, 1]] = lengths[[1, 0]]
    with pytest.raises(ValueError, match="does not match its code lengths"):
        zstd_blocks.Dictionary(dictionary.content, lengths).check()


def test_the_shipped_dictionaries_match_their_code_lengths() -> None:
    dictionaries = registry.find("photo-lite").dictionaries
    assert len(dictionaries) > 20
    for dictionary in dictionaries:
        dictionary.check()


@settings(max_examples=60)
@given(seeds, st.integers(1, 256), st.sampled_from([0, 1, 7, 40, 255, 256, 1023, 1024, 9000, 16384, 140_000]), st.booleans())
def test_parts_come_back(seed: int, symbols: int, size: int, known: bool) -> None:
    counts = random_counts(seed, symbols)
    data = np.random.default_rng(seed).choice(256, size, p=counts / counts.sum()).astype(np.uint8).tobytes()
    dictionary = dictionary_of(counts) if known and symbols > 1 else None
    part = zstd_blocks.compress(data, dictionary, (1, 9))
    assert part.size == len(data)
    assert len(part.data) <= len(data)
    assert zstd_blocks.decompress(part, dictionary) == data
    for broken in (part.data[:-1], part.data + b"\0"):
        with suppress(CorruptError):
            assert len(zstd_blocks.decompress(replace(part, data=broken), dictionary)) == len(data)


def test_each_mode_is_used_if_it_is_smallest() -> None:
    rng = np.random.default_rng(0)
    counts = np.where(np.arange(256) < 100, 0.95 ** np.arange(256), 0)
    dictionary = dictionary_of(counts)
    alike = rng.choice(256, 3000, p=counts / counts.sum()).astype(np.uint8)
    unlike = 99 - alike
    assert zstd_blocks.compress(alike[:30].tobytes(), dictionary, (1,)).mode == Mode.BLOCK_WITH_DICTIONARY
    assert zstd_blocks.compress(alike.tobytes(), dictionary, (1,)).mode == Mode.BLOCK_WITH_DICTIONARY
    assert zstd_blocks.compress(alike.tobytes(), None, (1,)).mode == Mode.BLOCK
    assert zstd_blocks.compress(unlike.tobytes(), dictionary, (1,)).mode == Mode.BLOCK
    assert zstd_blocks.compress(alike[:20].tobytes() * 50, dictionary, (1,)).mode == Mode.FRAME
    assert zstd_blocks.compress(rng.bytes(300), dictionary, (1,)).mode == Mode.VERBATIM


def test_data_that_is_too_long_for_a_block_is_stored_verbatim() -> None:
    data = np.random.default_rng(0).bytes(200_000)
    part = zstd_blocks.compress(data, None, (1,))
    assert part == StoredPart(len(data), Mode.VERBATIM, data)
    assert zstd_blocks.decompress(part, None) == data


@pytest.mark.parametrize("size", [zstd_blocks.MAX_BLOCK, zstd_blocks.MAX_BLOCK + 1])
def test_the_largest_block_can_be_read(size: int) -> None:
    counts = np.where(np.arange(256) < 100, 0.95 ** np.arange(256), 0)
    dictionary = dictionary_of(counts)
    assert dictionary is not None
    data = np.random.default_rng(0).choice(256, size, p=counts / counts.sum()).astype(np.uint8).tobytes()
    part = zstd_blocks.compress(data, dictionary, (1,))
    assert part.mode == (Mode.BLOCK_WITH_DICTIONARY if size == zstd_blocks.MAX_BLOCK else Mode.FRAME)
    section = stream_records.write_streams([part], [[dictionary.mean]], b"")
    assert stream_records.read_streams(section, [[dictionary.mean]], size) == ([part], b"")
    assert zstd_blocks.decompress(part, dictionary) == data


def test_an_invalid_dictionary_is_a_corrupt_file() -> None:
    dictionary = registry.find("photo-lite").dictionaries[0]
    likely = np.flatnonzero(dictionary.lengths == dictionary.lengths[dictionary.lengths > 0].min())
    data = likely.repeat(200).astype(np.uint8).tobytes()
    part = zstd_blocks.compress(data, dictionary, ())
    assert part.mode == Mode.BLOCK_WITH_DICTIONARY
    assert zstd_blocks.decompress(part, dictionary) == data
    for content in (b"", dictionary.content[:20]):
        with pytest.raises(CorruptError):
            zstd_blocks.decompress(part, replace(dictionary, content=content))


def test_nothing_follows_a_frame() -> None:
    data = b"a frame of its own, as it has repetitions; " * 10
    part = zstd_blocks.compress(data, None, (1,))
    assert part.mode == Mode.FRAME
    assert zstd_blocks.decompress(part, None) == data
    with pytest.raises(CorruptError, match="does not decompress"):
        zstd_blocks.decompress(replace(part, data=part.data + b"\0"), None)


packed = st.sampled_from([Mode.FRAME, Mode.BLOCK, Mode.BLOCK_WITH_DICTIONARY])


@given(packed, st.binary(max_size=60), st.integers(1, 200))
def test_any_bytes_decompress_or_are_corrupt(mode: Mode, stored: bytes, size: int) -> None:
    dictionary = registry.find("photo-lite").dictionaries[0]
    with suppress(CorruptError):
        assert len(zstd_blocks.decompress(StoredPart(size, mode, stored), dictionary)) == size


def test_a_bomb_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=17, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=0, write_checksum=0
    )
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(100_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(CorruptError):
        zstd_blocks.decompress(StoredPart(1000, Mode.FRAME, bomb[2:]), None)


@pytest.mark.parametrize("level", [1, 19, 22])
def test_whole_data_repeats_over_any_distance(level: int) -> None:
    noise = np.random.default_rng(0).bytes(300_000)
    part = zstd_blocks.compress_whole(noise + noise, (level,))
    assert len(part.data) < 301_000
    assert zstd_blocks.decompress_whole(part) == noise + noise
    with pytest.raises(CorruptError):
        zstd_blocks.decompress_whole(replace(part, size=part.size - 1))


def test_whole_data_is_stored_in_its_smallest_form() -> None:
    rng = np.random.default_rng(0)
    skewed = np.minimum(rng.exponential(2, 500), 255).astype(np.uint8).tobytes()
    modes = {zstd_blocks.compress_whole(data, (19,)).mode for data in (b"", b"abc", rng.bytes(99), skewed, bytes(99))}
    assert modes == {Mode.VERBATIM, Mode.BLOCK, Mode.FRAME}
