"""Signals that end the program: SIGINT, SIGTERM and SIGHUP.

Each ends it at once, by the system's default action, unless there is something to clean up: then the cleaning comes first, and the
same signal ends the program after it. A shell sees a program that a signal has ended, and ends its loop. In programs of others
SIGINT stays the KeyboardInterrupt that Python makes of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_PR_SET_PDEATHSIG: Final = 1
"""Number of the operation in Linux's prctl."""


def termination_raises() -> AbstractContextManager[None]:
    """In the block, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, so that what the block made can be removed. When the block
    has been left, the signal has its usual effect: it ends the program, or is Python's KeyboardInterrupt.

    Only the first signal raises; later ones do not disturb the cleaning. Blocks may be nested. In a thread other than the main one,
    where Python cannot catch signals, the block changes nothing. Keep blocks short: Python runs handlers between two of its
    instructions alone, and drops an exception that is raised in a callback of an import, for instance.
    """
    usual = dict.fromkeys(_SIGNALS, (signal.SIG_DFL,)) | {signal.SIGINT: (signal.SIG_DFL, signal.default_int_handler)}
    return _raise_once({number: handler for number, handler in _handlers().items() if handler in usual[number]})


def interrupts_raise_once() -> AbstractContextManager[None]:
    """In the block, only the first SIGINT raises KeyboardInterrupt where Python makes one of it; later ones disturb no cleaning.

    Nothing changes in the program, which SIGINT ends at once.
    """
    return _raise_once({number: handler for number, handler in _handlers().items() if handler is signal.default_int_handler})


def _handlers() -> dict[int, Any]:
    """Handlers of the signals that Python can catch in this thread."""
    return {number: signal.getsignal(number) for number in (signal.SIGINT, *_SIGNALS) if _is_main()}


@contextmanager
def _raise_once(caught: dict[int, Any]) -> Iterator[None]:
    """In the block, the first of the signals raises KeyboardInterrupt; when it has been left, they have the handlers given."""
    came: list[int] = []
    raising = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal raising
        came.append(number)
        if raising:
            raising = False
            raise KeyboardInterrupt

    try:
        for number in caught:
            signal.signal(number, interrupt)
        yield
    finally:
        raising = False  # first of all: no signal may come between the lines below
        for number, handler in caught.items():
            signal.signal(number, handler)
        if came and (caught[came[0]] is signal.SIG_DFL or not isinstance(sys.exception(), KeyboardInterrupt)):
            signal.raise_signal(came[0])


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """In the block, signals that have a Python handler are kept, and come when it ends: for what must not be left half done.

    Signals that end the process at once still do. In a thread other than the main one, where none come, the block changes nothing.
    """
    came: list[int] = []
    before = {number: handler for number, handler in _handlers().items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def die_by(number: int) -> None:
    """End this process by a signal's default action, without any cleaning."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def end_with_the_parent(parent: int) -> None:
    """On Linux, this process gets SIGTERM when its parent, of this number, is gone, however it ended: nobody else would end it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
