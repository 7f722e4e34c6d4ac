"""Several processes at once."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from vqcodec.blas import VARIABLES
from vqcodec.errors import LimitError
from vqcodec.interrupts import end_with_the_parent, interrupts_wait, termination_raises
from vqcodec.workers import usable_cores

T = TypeVar("T")
DIED: Final = "died, perhaps of too little memory"


class _Worker(multiprocessing.context.SpawnProcess):
    """A fresh process that leaves interrupts to its parent: a terminal sends them to both, and two would tell of one."""

    def start(self) -> None:
        """With SIGINT blocked, which a process inherits from the first moment on: it has tracebacks while it imports, too."""
        if not hasattr(signal, "pthread_sigmask"):
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Pool(ProcessPoolExecutor):
    """One that no interrupt leaves half begun: it would wait for ever for a worker that has not been told what it is."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Begins workers as they are needed."""
        with interrupts_wait():
            return super().submit(_until_terminated, fn, *args, **kwargs)


def _until_terminated(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """In a worker: a termination signal ends it when all is cleaned up. A pool takes the exception that it is until then for the
    outcome of the call, and a worker whose parent is gone would wait for the next one for ever."""
    try:
        return fn(*args, **kwargs)
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
        raise


class _Fresh(multiprocessing.context.SpawnContext):
    Process = _Worker


@contextmanager
def processes(jobs: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, one for each core if nothing is said, whose BLAS has one thread each: where every one takes all
    cores, they wait for each other.

    Fresh, as a fork would copy locks of threads that are not there. An error, an interrupt or a termination signal ends the
    block, and them; interrupts reach the parent alone. Raises LimitError when one of them dies.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update({name: value or "1" for name, value in before.items()})
    count = jobs or usable_cores()
    try:
        with termination_raises(), _Pool(count, _Fresh(), end_with_the_parent, (os.getpid(),)) as pool:
            workers = pool._processes  # which it forgets before it has ended
            try:
                yield pool
            except BaseException:  # the pool would wait for what they do, and for what they are to do next
                for worker in list(workers.values()):
                    worker.terminate()
                raise
    except BrokenProcessPool as error:
        raise LimitError(f"a process at work {DIED}") from error
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
