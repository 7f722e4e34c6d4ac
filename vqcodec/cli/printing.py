"""Terminal output: lines, JSON, the progress line, and the console for tables and bars."""

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
_DEFAULT_COLUMNS: Final = 80
"""Columns of a terminal: lower limit, value for output to files, and value for terminals that do not state their width."""
SHOWN_AFTER_S: Final = 2.0
_REDRAW_INTERVAL_S: Final = 0.25
_BAR_COLUMNS: Final = 20
_ESTIMATE_FROM: Final = 0.02
"""Share of a stage that must be done before the remaining time is shown."""


def print_json(**facts: Any) -> None:
    """Print one JSON object on standard output."""
    import json

    print(json.dumps(facts))


def tell(message: str) -> None:
    """Print a line on standard error, ignoring errors if it is closed."""
    with suppress(OSError):
        print(f"vqcodec: {printable(message)}", file=sys.stderr)


def tell_at_once(message: str) -> None:
    """Print a line on standard error without Python's buffers, as a signal handler must; where a progress line may be."""
    with suppress(OSError, ValueError):
        start = "\r\n" if sys.stderr.isatty() else ""
        os.write(sys.stderr.fileno(), f"{start}vqcodec: {message}\n".encode())


class _IfRead(io.TextIOBase):
    """A text stream that ignores write errors, for a standard error that may be closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in TextIOBase
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):  # already closed: the destructor flushes, and Python 3.13 reports errors there
            self._stream.flush()


def console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    """A console of rich, without cursor changes, for standard output or standard error."""
    from rich.console import Console  # slow to import, and most commands do not use it

    class OurConsole(Console):
        def show_cursor(self, show: bool = True) -> bool:
            """Leave the cursor visible: a signal may end the program at any moment, and the terminal would stay without one."""
            return False

    console = OurConsole(file=cast(TextIO, _IfRead(sys.stderr)) if stderr else None, stderr=stderr, highlight=False, quiet=quiet)
    if not console.is_terminal:
        console.width = _UNLIMITED  # do not wrap lines in files
    elif console.width < _NARROWEST:  # some terminals report a width of 0 or 1
        console.width = _NARROWEST
    return console


# ------------------------------------------------------------------------------------------------ progress


@contextmanager
def progress_line(*, quiet: bool = False, after_s: float = SHOWN_AFTER_S) -> Iterator[Callable[[], None]]:
    """Show the stages of the block (progress.py) on the last line of a terminal at standard error, after `after_s` seconds.

    Yields a function that clears the line before something else is printed. A timer signal redraws it, not a thread: copies of this
    process share the work only while it has a single thread (workers.py).
    """
    in_main = threading.current_thread() is threading.main_thread()
    if quiet or not in_main or not hasattr(signal, "setitimer") or not sys.stderr.isatty():
        yield lambda: None
        return
    with watched() as stages:
        line = _Line(sys.stderr.fileno(), stages)
        before = signal.signal(signal.SIGALRM, line.draw)
        signal.setitimer(signal.ITIMER_REAL, max(after_s, 1e-3), _REDRAW_INTERVAL_S)
        try:
            yield line.clear
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            line.clear()


class _Line:
    """The last line of a terminal, which is overwritten again and again."""

    def __init__(self, terminal: int, stages: Stages) -> None:
        self._terminal, self._stages = terminal, stages
        self._begun = time.monotonic()
        self._shown = 0

    def draw(self, number: int, frame: FrameType | None) -> None:
        """Draw the line; a signal handler."""
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
            return os.get_terminal_size(self._terminal).columns or _DEFAULT_COLUMNS
        except OSError:
            return _DEFAULT_COLUMNS

    def _write(self, text: str) -> None:
        """Write without Python's buffers, which the signal may have interrupted."""
        with suppress(OSError):
            os.write(self._terminal, text.encode(errors="replace"))


def progress_text(stages: Sequence[Stage], begun: float, now: float, columns: int) -> str:
    """The progress line in at most `columns` columns: names of stages, bar, share done, time since `begun` and time left. `begun`
    and `now` are in seconds of time.monotonic()."""
    name = ", ".join(one.name for one in stages if one.name) or "working"
    bar, parts = "", [clock(now - begun)]
    if (share := share_done(stages)) is not None:
        full = round(_BAR_COLUMNS * share.done)
        bar = f"[{'#' * full}{'.' * (_BAR_COLUMNS - full)}]"
        parts.insert(0, f"{share.done:4.0%}")
        if share.done >= _ESTIMATE_FROM:
            parts.append(f"{clock((now - share.begun) * (1 - share.done) / share.done)} left")
    for rest in ("  ".join([bar, *parts] if bar else parts), "  ".join(parts), parts[0]):  # the first that fits
        if _cells(name) + 2 + len(rest) <= columns:
            return f"{name}  {rest}"
    room, name = columns - 3 - len(parts[0]), name[-columns:]
    while _cells(name) > max(room, 0):
        name = name[1:]
    return f"…{name}  {parts[0]}" if room >= 0 else parts[0][:columns]


def _cells(text: str) -> int:
    """Number of terminal columns of a text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clock(seconds: float) -> str:
    """A duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
