"""The error that a call raises."""

from collections.abc import Callable

from vqcodec.errors import VqcodecError


def raised(function: Callable[..., object], *arguments: object, **options: object) -> VqcodecError | None:
    """The documented error that a call raises, or None. Any other exception, or a warning, fails the test."""
    try:
        function(*arguments, **options)
    except VqcodecError as error:
        return error
    return None
