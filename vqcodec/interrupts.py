"""Termination signals while there is something to clean up; at all other times they end the program by the system's default. And
processes that end with the one that began them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_PR_SET_PDEATHSIG: Final = 1
"""Of prctl (linux/prctl.h)."""


@contextmanager
def termination_raises() -> Iterator[None]:
    """In the block, SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, so that what the block made can be removed; the
    first of them all does, and those that follow do not interrupt the cleaning up.

    Blocks may be nested. In a thread other than the main one, where Python cannot catch signals, the block changes nothing. Keep
    blocks short: an exception raised at any place at all may come where Python drops it, in callbacks of an import, say.
    """
    ours = dict.fromkeys(_SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    caught = {number: handler for number, handler in ours.items() if _is_main() and signal.getsignal(number) == handler}
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise KeyboardInterrupt

    try:
        for number in caught:
            signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """In the block, signals that would interrupt it are kept, and come when it ends: for what must not be left half done.

    In a thread other than the main one, where they are never told, the block changes nothing.
    """
    came: list[int] = []
    numbers = [number for number in (signal.SIGINT, *_SIGNALS) if _is_main() and callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def end_with_the_parent(parent: int) -> None:
    """On Linux, this process gets SIGTERM when its parent, of this number, is gone, however it ended: nobody else would end it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
