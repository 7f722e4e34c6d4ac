"""Errors of a call."""

from collections.abc import Callable

from vqcodec.errors import VqcodecError


def raised(function: Callable[..., object], *arguments: object, **options: object) -> VqcodecError | None:
    """The documented error of a call; any other, a warning too, fails the test."""
    try:
        function(*arguments, **options)
    except VqcodecError as error:
        return error
    return None
