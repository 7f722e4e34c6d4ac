"""Reading: streams, and damaged files."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.errors import CorruptError, FormatError, TruncatedError
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.weights import registry

LITE = registry.find("photo-lite")


class Short(io.BytesIO):
    """A stream whose reads return at most five bytes, as those of unbuffered streams may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(5 if size is None or size < 0 else min(size, 5))


class Longer(io.BytesIO):
    """A stream that claims more bytes than it has, like a file that is truncated while it is open."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(offset, whence) + (100_000 if whence == 2 else 0)


@pytest.mark.parametrize("tile", [None, 64])
def test_streams_that_give_little_at_a_time(tile: int | None) -> None:
    data = api.encode(smooth_picture(70, 130), model="photo-lite", tile=tile, threads=1)
    with api.open_vqz(Short(data)) as opened:
        np.testing.assert_array_equal(opened.read(threads=1), api.decode(data, threads=1))


@pytest.mark.parametrize("tile", [None, 64])
def test_streams_that_end_before_their_end(tile: int | None) -> None:
    data = api.encode(smooth_picture(70, 130), model="photo-lite", tile=tile, threads=1)
    for size in (0, 3, 10, 20, 60, len(data) - 1):
        with pytest.raises(FormatError), api.open_vqz(Longer(data[:size])) as opened:
            opened.read(threads=1)


class Slow(io.BytesIO):
    """A stream that lets other threads run between a seek and the read after it."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place = super().seek(offset, whence)
        time.sleep(0.001)
        return place


def test_threads_read_one_file_in_turn(file: bytes) -> None:
    opened = container.File(Slow(file))
    sections = [section.data for section in container.read_file(file)[1]]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened.section, range(len(sections)))) == sections


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_opened_as_a_file_is(file: bytes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, file)
        with api.open_vqz(tmp_path / "pipe") as opened:
            np.testing.assert_array_equal(opened.read(), api.decode(file))


def test_pixels_are_the_callers_own(file: bytes) -> None:
    """The pixels are not in memory that forked processes share, where changes by one would be visible to all."""
    owner: Any = api.decode(file)
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert owner is None


def test_little_of_a_large_invalid_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + 30 * b"\xff")
        file.truncate(1 << 40)
    with pytest.raises(FormatError, match=r"not a \.vqz file"), api.open_vqz(path):
        pass


def test_open_reads_little(file: bytes) -> None:
    with api.open_vqz(io.BytesIO(file)) as opened:
        assert opened.size == (170, 150)
        assert opened.channels == 3
    long = io.BytesIO(file + bytes(1 << 20))
    with api.open_vqz(long) as opened:
        assert opened.file.read_bytes < 1 << 15


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 16,)) + data[at + 1 :]


def test_a_damaged_group_costs_no_other(file: bytes) -> None:
    whole = api.decode(file)
    _, table, start = container.read_header(file)
    ends = np.cumsum([start, *(length for _, length, _ in table)])
    for layer, worst in ((0, 200), (1, 40), (2, 20)):
        damaged = flipped(file, int(ends[9 * layer + 4]) + 3)
        with pytest.raises(CorruptError):
            api.decode(damaged)
        with api.open_vqz(io.BytesIO(damaged), allow_partial=True) as opened:
            found = opened.read()
            assert opened.lost == {4}
        outside = np.ones(whole.shape[:2], bool)
        outside[60:132, 60:132] = False  # the group, and what seams.py changes beside it
        np.testing.assert_array_equal(found[outside], whole[outside])
        assert 0 < np.abs(found[~outside].astype(int) - whole[~outside]).mean() < worst


def test_every_longer_prefix_gives_a_better_picture(file: bytes) -> None:
    pixels = smooth_picture(150, 170).astype(float)
    errors = []
    for share in (0.35, 0.6, 0.8, 1.0):
        data = file[: int(len(file) * share)]
        with api.open_vqz(io.BytesIO(data), allow_partial=True) as opened:
            errors.append(np.square(opened.read() - pixels).mean())
            assert bool(opened.lost) == (share < 1)
        if share < 1:
            with pytest.raises(TruncatedError):
                api.decode(data)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.5 * errors[-1]


def test_a_damaged_header_is_never_read_in_part(file: bytes) -> None:
    for at in range(0, 40, 3):
        with pytest.raises(FormatError), api.open_vqz(io.BytesIO(flipped(file, at)), allow_partial=True):
            pass


def test_damaged_alpha_is_opaque_in_part() -> None:
    data = api.encode(smooth_picture(20, 20, 4), model="photo-lite")
    with api.open_vqz(io.BytesIO(flipped(data, len(data) - 2)), allow_partial=True) as opened:
        assert (opened.read()[:, :, 3] == 255).all()
        assert opened.lost == set()
        assert opened.notes == ["the alpha plane was damaged: all is opaque"]


def test_damaged_metadata_is_noted() -> None:
    data = api.encode(smooth_picture(20, 20), model="photo-lite", metadata=Metadata(exif=b"e" * 50, xmp=b"x" * 50))
    with api.open_vqz(io.BytesIO(flipped(data, data.index(b"e" * 50))), allow_partial=True) as opened:
        assert opened.metadata == Metadata(xmp=b"x" * 50)
        assert opened.notes == ["EXIF was damaged and is left out"]


def test_errors_of_the_callers_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "a.vqz").write_bytes(api.encode(smooth_picture(9, 9), model="photo-lite"))
    with pytest.raises(FileNotFoundError), api.open_vqz(str(tmp_path / "a.vqz")):
        open(tmp_path / "none")  # noqa: SIM115  # it raises


def test_a_long_table_is_read_from_a_file(tmp_path: Path) -> None:
    """The table is longer than the first read."""
    header, _ = container.read_file(api.encode(smooth_picture(8, 8, 1), model="photo-lite"))
    many = replace(header, width=4096, height=4096, group_log2=3)
    data = container.write_file(many, [container.Section(container.INDICES, b"")] * len(many.groups))
    assert len(data) > 20_000
    (tmp_path / "long.vqz").write_bytes(data)
    with api.open_vqz(tmp_path / "long.vqz") as opened:
        assert len(opened.file.table) == 4096
    for cut in (10, 18_000, len(data) - 1):
        (tmp_path / "cut.vqz").write_bytes(data[:cut])
        with pytest.raises(TruncatedError), api.open_vqz(tmp_path / "cut.vqz"):
            pass
