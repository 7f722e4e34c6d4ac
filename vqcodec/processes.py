"""Several processes at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

from vqcodec.interrupts import termination_raises
from vqcodec.workers import usable_cores

_THREADS_OF_BLAS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Read when numpy is imported, so only a process that has not begun yet can be told."""


@contextmanager
def processes(jobs: int | None = None, initializer: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, one for each core if nothing is said, whose BLAS has one thread each: where every one takes all
    cores, they wait for each other.

    Fresh, as a fork would copy locks of threads that are not there. A termination signal ends the block, and them.
    """
    before = {name: os.environ.get(name) for name in _THREADS_OF_BLAS}
    os.environ.update({name: value or "1" for name, value in before.items()})
    fresh = multiprocessing.get_context("spawn")
    try:
        with termination_raises(), ProcessPoolExecutor(jobs or usable_cores(), fresh, initializer=initializer) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
