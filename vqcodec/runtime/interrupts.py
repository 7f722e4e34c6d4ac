"""Signals that end the program: SIGINT, SIGTERM and SIGHUP.

Each ends the program at once by its default action. If there is something to clean up, that comes first, and the same signal ends
the program afterwards, so a shell sees a program ended by a signal and ends its loop. When vqcodec is used as a library, SIGINT
stays Python's KeyboardInterrupt.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_PR_SET_PDEATHSIG: Final = 1
"""Operation number for Linux's prctl."""


def termination_raises() -> AbstractContextManager[None]:
    """Make SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the block, so that it can remove what it made. After the block,
    the signal has its usual effect: it ends the program, or stays Python's KeyboardInterrupt.

    Only the first signal raises; later ones do not disturb the cleanup. Blocks may be nested. Outside the main thread, where Python
    cannot catch signals, the block changes nothing. Keep blocks short: Python runs signal handlers only between bytecode
    instructions, and drops exceptions raised in some callbacks, such as those of an import.
    """
    usual = dict.fromkeys(_SIGNALS, (signal.SIG_DFL,)) | {signal.SIGINT: (signal.SIG_DFL, signal.default_int_handler)}
    return _raise_once({number: handler for number, handler in _handlers().items() if handler in usual[number]})


def interrupts_raise_once() -> AbstractContextManager[None]:
    """Make only the first SIGINT in the block raise KeyboardInterrupt, where Python raises it; later ones do not disturb the
    cleanup.

    In the program, which SIGINT ends at once, the block changes nothing.
    """
    return _raise_once({number: handler for number, handler in _handlers().items() if handler is signal.default_int_handler})


def _handlers() -> dict[int, Any]:
    """Handlers of the signals that Python can catch in this thread."""
    return {number: signal.getsignal(number) for number in (signal.SIGINT, *_SIGNALS) if _is_main()}


@contextmanager
def _raise_once(caught: dict[int, Any]) -> Iterator[None]:
    """Make the first of the signals raise KeyboardInterrupt in the block; restore the given handlers after it."""
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
        raising = False  # first: a signal may come between any of the lines below
        for number, handler in caught.items():
            signal.signal(number, handler)
        if came and (caught[came[0]] is signal.SIG_DFL or not isinstance(sys.exception(), KeyboardInterrupt)):
            signal.raise_signal(came[0])


@contextmanager
def first_interrupt(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` for the first SIGINT in the block, in the main thread, where it may raise; the second has its usual effect.

    The block changes nothing where SIGINT is ignored or has a handler of its own, and outside the main thread.
    """
    before = _handlers().get(signal.SIGINT)
    if before not in (signal.SIG_DFL, signal.default_int_handler):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        ask()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Delay signals that have a Python handler until the end of the block, which must not be left half done.

    Signals that end the process at once still do. Outside the main thread, which gets no signals, the block changes nothing.
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
    """End this process by a signal's default action, without cleanup."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def end_with_the_parent(parent: int) -> None:
    """Make Linux send this process SIGTERM when its parent, process `parent`, is gone, however it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before prctl
            os.kill(os.getpid(), signal.SIGTERM)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
