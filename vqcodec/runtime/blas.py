"""Threads of BLAS, of which coding wants one: its products are small and many, and every one would wait for all of them.

Tile groups and strips have threads or processes of their own (workers.py). The program says so before numpy is imported; in
programs of others numpy is there before us, with a thread for each core: decodes took five times as long on a busy machine
(docs/experiments).
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
"""Of the threads of BLAS, whichever numpy has; read when numpy is imported, so only a process that has not done so can be told."""


def begin_with_one_thread() -> None:
    """Let numpy, which is imported next, begin with one thread; who has set a variable keeps it."""
    for name in VARIABLES:
        os.environ.setdefault(name, "1")
    _LIMIT.needless = "numpy" not in sys.modules and all(os.environ[name] == "1" for name in VARIABLES)


class _Limit:
    """One thread while anybody is inside, and as many as before when nobody is."""

    def __init__(self) -> None:
        self.renew_lock()
        self._inside = 0
        self._limiter: Any = None
        self.needless = False
        """There is only one."""
        self.idle = 0
        """Threads of BLAS that have nothing to do while anybody is inside."""

    def renew_lock(self) -> None:
        """In a fork: a thread that is not there may have held the old one."""
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0 and not self.needless:
                controller = _libraries()
                self.idle = sum(library["num_threads"] - 1 for library in controller.info())
                self._limiter = controller.limit(limits=1)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limiter is not None:
                _let_any_thread_set_limits()  # the one that set this one may be another
                self._limiter.restore_original_limits()
                _let_any_thread_set_limits()
                self._limiter, self.idle = None, 0


@cache
def _libraries() -> Any:
    """The libraries that numpy has loaded."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # 5 ms, which the program does without

    return ThreadpoolController().select(user_api="blas")


def _let_any_thread_set_limits() -> None:
    from threadpoolctl import OpenBLASController

    OpenBLASController.clear_controlling_thread(force=True)


_LIMIT: Final = _Limit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIMIT.renew_lock)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of BLAS for the block, in all threads of this process."""
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()


def with_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs in `one_thread`."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with one_thread():
            return function(*args, **kwargs)

    return limited


def end_idle_threads() -> None:
    """End the threads of OpenBLAS that wait for work, if there are any: it does so before a fork, and begins new ones when it needs
    them, which is never inside `one_thread`."""
    if _LIMIT.idle and threading.active_count() == 1:
        with interrupts_wait(), suppress(OSError):  # an interrupt must not make the copy go on; without a copy all stays as it is
            copy = os.fork()
            if copy == 0:
                os._exit(0)
            os.waitpid(copy, 0)
