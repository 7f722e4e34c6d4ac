"""Every error vqcodec raises on purpose. Foreign errors are mapped to these at the seam where they arise.

VqcodecError
├── FormatError              the .vqz file cannot be read                      exit 3
│   ├── TruncatedError       it ends before it should
│   ├── CorruptError         a checksum, a count or an index is wrong
│   └── UnsupportedError     a newer version or a feature this reader lacks
├── ModelError               a model is missing, damaged or not the file's     exit 4
├── InputError               an image cannot be read or has no place in .vqz   exit 3
├── OutputError              an output exists already or cannot be written     exit 5
├── LimitError               a size is over a limit                            exit 6
└── MissingExtraError        an optional package is not installed              exit 2
"""

import os


class VqcodecError(Exception):
    """Base of all errors below; its message is one line fit for a user."""

    exit_code = 1


class FormatError(VqcodecError):
    """The bytes are not a .vqz file that can be read."""

    exit_code = 3


class TruncatedError(FormatError):
    """The file ends before it should."""


class CorruptError(FormatError):
    """A checksum, a count, an index or a field is wrong."""


class UnsupportedError(FormatError):
    """The file needs a feature or a version that this reader does not have."""


class ModelError(VqcodecError):
    """A model is missing, damaged, or not the one the file was made with."""

    exit_code = 4


class InputError(VqcodecError):
    """An input image cannot be read, or its pixels have no place in a .vqz file."""

    exit_code = 3


class OutputError(VqcodecError):
    """An output already exists, or cannot be written."""

    exit_code = 5


class LimitError(VqcodecError):
    """A size is over a limit that protects memory."""

    exit_code = 6


class MissingExtraError(VqcodecError):
    """An optional package is not installed."""

    exit_code = 2


def printable(text: str | os.PathLike[str]) -> str:
    """`text` on one line: characters that a terminal would act on are written as escapes (`\\n`, `\\x1b`)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(text))
