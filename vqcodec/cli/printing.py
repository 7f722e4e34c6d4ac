"""Output on the terminal: lines, JSON, the line of progress, and the console of tables and bars."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from vqcodec.errors import printable
from vqcodec.runtime.progress import Stage, Stages, share_done, watched

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST: Final = 40
_UNLIMITED: Final = 10_000
_USUAL_COLUMNS: Final = 80
"""Columns; the usual ones are those of terminals that do not say how many they have."""
SHOWN_AFTER_S: Final = 2.0
_REDRAWN_EACH_S: Final = 0.25
_BAR: Final = 20
"""Characters."""
_TOLD_FROM: Final = 0.02
"""Share of a stage that must be done before it tells how long the rest takes."""


def print_json(**facts: Any) -> None:
    """One object on standard output."""
    import json

    print(json.dumps(facts))


def tell(message: str) -> None:
    """A line on standard error, if anybody is there to read it."""
    with suppress(OSError):
        print(f"vqcodec: {printable(message)}", file=sys.stderr)


class _IfRead(io.TextIOBase):
    """Standard error, if anybody is there to read it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):  # closed before this is: its destructor flushes, and Python 3.13 tells of errors there
            self._stream.flush()


def console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    """Rich's console; imported here, as it takes time and most commands print nothing by it."""
    from rich.console import Console

    class OurConsole(Console):
        def show_cursor(self, show: bool = True) -> bool:
            """Leave it as it is: a signal may end the program at any moment, and would leave the terminal without a cursor."""
            return False

    console = OurConsole(file=cast(TextIO, _IfRead(sys.stderr)) if stderr else None, stderr=stderr, highlight=False, quiet=quiet)
    if not console.is_terminal:
        console.width = _UNLIMITED  # a line of a file is one line
    elif console.width < _NARROWEST:  # what some terminals say that do not know
        console.width = _NARROWEST
    return console


# ------------------------------------------------------------------------------------------------ progress


@contextmanager
def progress_line(*, quiet: bool = False, after_s: float = SHOWN_AFTER_S) -> Iterator[Callable[[], None]]:
    """In the block, show its stages (progress.py) in one line on a terminal at standard error, from `after_s` seconds on.

    Yields what clears the line before something else is printed. A timer's signal draws it: with a second thread in this process,
    copies of it would no longer share the work (workers.py).
    """
    in_main = threading.current_thread() is threading.main_thread()
    if quiet or not in_main or not hasattr(signal, "setitimer") or not sys.stderr.isatty():
        yield lambda: None
        return
    with watched() as stages:
        line = _Line(sys.stderr.fileno(), stages)
        before = signal.signal(signal.SIGALRM, line.draw)
        signal.setitimer(signal.ITIMER_REAL, max(after_s, 1e-3), _REDRAWN_EACH_S)
        try:
            yield line.clear
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            line.clear()


class _Line:
    """The last line of a terminal, drawn over again and again."""

    def __init__(self, terminal: int, stages: Stages) -> None:
        self._terminal, self._stages = terminal, stages
        self._begun = time.monotonic()
        self._shown = 0

    def draw(self, number: int, frame: FrameType | None) -> None:
        """A handler of signals."""
        text = progress_text(self._stages, self._begun, time.monotonic(), self._columns() - 1)
        cells = _cells(text)
        self._write("\r" + text + " " * (self._shown - cells))
        self._shown = cells

    def clear(self) -> None:
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._terminal).columns or _USUAL_COLUMNS
        except OSError:
            return _USUAL_COLUMNS

    def _write(self, text: str) -> None:
        """Past Python's buffers, which a signal may come in the midst of."""
        with suppress(OSError):
            os.write(self._terminal, text.encode(errors="replace"))


def progress_text(stages: Sequence[Stage], begun: float, now: float, columns: int) -> str:
    """What is being done, how far it is, for how long, and how long the rest takes, in at most so many columns."""
    name = ", ".join(one.name for one in stages if one.name) or "working"
    bar, parts = "", [_clock(now - begun)]
    if (found := share_done(stages)) is not None:
        share, stage_begun = found
        full = round(_BAR * share)
        bar = f"[{'#' * full}{'.' * (_BAR - full)}]"
        parts.insert(0, f"{share:4.0%}")
        if share >= _TOLD_FROM:
            parts.append(f"{_clock((now - stage_begun) * (1 - share) / share)} left")
    for behind in ("  ".join([bar, *parts] if bar else parts), "  ".join(parts), parts[0]):  # what there is room for
        if _cells(name) + 2 + len(behind) <= columns:
            return f"{name}  {behind}"
    room, name = columns - 3 - len(parts[0]), name[-columns:]
    while _cells(name) > max(room, 0):
        name = name[1:]
    return f"…{name}  {parts[0]}" if room >= 0 else parts[0][:columns]


def _cells(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
