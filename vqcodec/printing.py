"""What is told on the terminal: lines, JSON, and the console of tables and bars."""

import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from vqcodec.files import printable

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST: Final = 40
_UNLIMITED: Final = 10_000
"""Columns."""


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
        with suppress(OSError):
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
