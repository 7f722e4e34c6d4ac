"""The API in several threads, in asyncio, and in processes that fork, spawn or come from a fork server."""

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

import vqcodec
from helpers.encoded import there_and_back
from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from vqcodec.errors import FormatError

PICTURES = [smooth_picture(160, 160, seed=seed) for seed in range(2)]


@pytest.fixture(scope="module")
def wanted() -> list[tuple[bytes, bytes]]:
    """The results one after the other in this process."""
    return [there_and_back(pixels) for pixels in PICTURES]


@pytest.mark.slow
def test_threads_give_the_bytes_of_one(wanted: list[tuple[bytes, bytes]]) -> None:
    before = threading.active_count()  # other tests may have left threads
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(there_and_back, PICTURES)) == wanted
    assert threading.active_count() <= before


def test_an_error_in_a_thread_is_that_of_its_caller(wanted: list[tuple[bytes, bytes]]) -> None:
    with ThreadPoolExecutor(2) as pool:
        good, bad = pool.submit(vqcodec.decode, wanted[0][0]), pool.submit(vqcodec.decode, wanted[0][0][:-1])
        with pytest.raises(FormatError):
            bad.result()
        assert good.result().tobytes() == wanted[0][1]


def test_the_event_loop_goes_on(wanted: list[tuple[bytes, bytes]]) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    async def work() -> list[tuple[bytes, bytes]]:
        counting = asyncio.create_task(count())
        found = await asyncio.gather(*(asyncio.to_thread(there_and_back, pixels) for pixels in PICTURES))
        counting.cancel()
        return found

    assert asyncio.run(work()) == wanted
    assert turns > 1


@pytest.mark.parametrize("method", fast_first(["spawn", "fork", "forkserver"]))
def test_processes_of_any_kind(method: str, wanted: list[tuple[bytes, bytes]]) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        assert pool.submit(there_and_back, PICTURES[0], threads=2).result() == wanted[0]


def test_decoded_pixels_belong_to_the_caller(wanted: list[tuple[bytes, bytes]]) -> None:
    """They are writable and contiguous, as torch and OpenCV need them, whichever way the file is read."""
    lossless = vqcodec.encode(PICTURES[0], lossless=True, effort=1)
    for data in (wanted[0][0], lossless):
        with vqcodec.open_vqz(data) as file:
            for pixels in (vqcodec.decode(data), vqcodec.decode(data, refine="none"), file.read((3, 5, 20, 9)), file.read(scale=2)):
                assert pixels.flags.writeable
                assert pixels.flags.c_contiguous
