"""Threads of the BLAS library behind numpy. Coding uses one: its matrix products are small and many, and each would wait for all
threads.

Tile groups and strips have threads or processes of their own (workers.py). The program sets one thread before numpy is imported. In
other programs numpy is loaded already, with a thread for each core; there, decoding took five times as long on a busy machine
(docs/experiments/2026-11-27-blas-threads.md), so the limit is set while coding.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from typing import Any, Final, ParamSpec, TypeVar

from vqcodec.runtime.interrupts import interrupts_wait

P = ParamSpec("P")
R = TypeVar("R")
VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with the number of threads, by BLAS library. They are read when numpy is imported, and have no effect
later."""


def begin_with_one_thread() -> None:
    """Make numpy, which is imported next, start with one thread, unless the user has set a variable."""
    for name in VARIABLES:
        os.environ.setdefault(name, "1")
    _LIMIT.unneeded = "numpy" not in sys.modules and all(os.environ[name] == "1" for name in VARIABLES)


class _Limit:
    """Limits BLAS to one thread while anyone is inside; restores the number when the last has left."""

    def __init__(self) -> None:
        self.renew_lock()
        self._inside = 0
        self._limiter: Any = None
        self.unneeded = False
        """BLAS has only one thread."""
        self.idle = 0
        """BLAS threads that wait for work while anyone is inside."""

    def renew_lock(self) -> None:
        """Make a new lock, in a fork: a thread that does not exist there may have held the old one."""
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0 and not self.unneeded:
                controller = _libraries()
                self.idle = sum(library["num_threads"] - 1 for library in controller.info())
                self._limiter = controller.limit(limits=1)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limiter is not None:
                _let_any_thread_set_limits()  # the thread that set this limit may be another
                self._limiter.restore_original_limits()
                _let_any_thread_set_limits()
                self._limiter, self.idle = None, 0


@cache
def _libraries() -> Any:
    """A controller of the BLAS libraries that numpy has loaded."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # 5 ms, which the program saves

    return ThreadpoolController().select(user_api="blas")


def _let_any_thread_set_limits() -> None:
    from threadpoolctl import OpenBLASController

    OpenBLASController.clear_controlling_thread(force=True)


_LIMIT: Final = _Limit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIMIT.renew_lock)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread in the block, for all threads of this process."""
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()


def with_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function to run inside `one_thread`."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with one_thread():
            return function(*args, **kwargs)

    return limited


def end_idle_threads() -> None:
    """End OpenBLAS threads that wait for work, if there are any. OpenBLAS ends its threads before a fork and starts new ones when
    it needs them, which never happens inside `one_thread`."""
    if _LIMIT.idle and threading.active_count() == 1:
        with interrupts_wait(), suppress(OSError):  # an interrupt must not let the copy run on; if the fork fails, nothing changes
            copy = os.fork()
            if copy == 0:
                os._exit(0)
            os.waitpid(copy, 0)
