"""All errors that vqcodec raises on purpose. Errors of other libraries are converted to these where they arise.

VqcodecError
├── FormatError              a .vqz file cannot be read                        exit 3
│   ├── TruncatedError       it ends too early
│   ├── CorruptError         a checksum, a count or an index is wrong
│   └── UnsupportedError     it needs a version or a feature this reader lacks
├── ModelError               a model is missing, damaged or another file's     exit 4
├── InputError               an image cannot be read or stored as .vqz         exit 3
├── OutputError              an output exists already or cannot be written     exit 5
├── LimitError               a size exceeds a limit                            exit 6
└── MissingExtraError        an optional package is not installed              exit 2
"""

import os


class VqcodecError(Exception):
    """Base class of the errors below; the message is one line for the user."""

    exit_code = 1


class FormatError(VqcodecError):
    """The bytes are not a readable .vqz file."""

    exit_code = 3


class TruncatedError(FormatError):
    """The file ends too early."""


class CorruptError(FormatError):
    """A checksum, a count, an index or a field is wrong."""


class UnsupportedError(FormatError):
    """The file needs a version or a feature that this reader lacks."""


class ModelError(VqcodecError):
    """A model is missing, damaged, or not the one that the file was made with."""

    exit_code = 4


class InputError(VqcodecError):
    """An input image cannot be read, its pixels cannot be stored in a .vqz file, or an argument has a wrong value."""

    exit_code = 3

    def __init__(self, message: str = "", *, for_option: str = "") -> None:
        super().__init__(message)
        self.for_option = for_option or message
        """The message for the command line, which names options instead of arguments."""


class OutputError(VqcodecError):
    """An output already exists or cannot be written."""

    exit_code = 5


class LimitError(VqcodecError):
    """A size exceeds a limit that protects memory."""

    exit_code = 6


class MissingExtraError(VqcodecError):
    """An optional package is not installed."""

    exit_code = 2


def printable(text: str | os.PathLike[str]) -> str:
    """`text` as one printable line: unprintable characters are written as escapes (`\\n`, `\\x1b`)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(text))
