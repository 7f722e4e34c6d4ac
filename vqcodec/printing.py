"""What is told on the terminal: lines, JSON, and the console of tables and bars."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

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


def console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    """Rich's console; imported here, as it takes time and most commands print nothing by it."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, quiet=quiet)
    if not console.is_terminal:
        console.width = _UNLIMITED  # a line of a file is one line
    elif console.width < _NARROWEST:  # what some terminals say that do not know
        console.width = _NARROWEST
    return console
