"""The errors of calls, and the time and memory that they take."""

import time
import tracemalloc
from collections.abc import Callable

from vqcodec import api
from vqcodec.errors import LimitError, ModelError, VqcodecError
from vqcodec.format import container

MAX_PIXELS = 1 << 16
SECONDS = 20.0


def raised(function: Callable[..., object], *arguments: object, **options: object) -> VqcodecError | None:
    """The documented error that a call raises, or None. Any other exception, or a warning, fails the test."""
    try:
        function(*arguments, **options)
    except VqcodecError as error:
        return error
    return None


def outcome(data: bytes) -> VqcodecError | None:
    """The error of decoding, if any. Parser and info must agree with it, and none may take long."""
    start = time.perf_counter()
    parsed = raised(container.read_file, data, MAX_PIXELS)
    found = raised(api.decode, data, max_pixels=MAX_PIXELS, threads=1)
    assert (parsed is None) or (found is not None)
    if not isinstance(found, LimitError | ModelError):  # info has another limit, and needs no model
        reported = raised(api.info, data, streams=True)
        assert (reported is None) == (found is None)  # with two defects, either may be reported
    assert time.perf_counter() - start < SECONDS
    return found


def peak_of_decoding(data: bytes) -> int:
    """The largest number of bytes allocated at a time while decoding."""
    tracemalloc.start()
    raised(api.decode, data, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
