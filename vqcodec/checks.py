"""Checks of values that callers pass: each returns the value as the codec works with it, or raises an InputError that names it."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Sequence
from typing import Any, Final, SupportsFloat, SupportsIndex, TypeVar, cast

from vqcodec.errors import InputError, printable

T = TypeVar("T", int, str)
MAX_PIXELS: Final = 1 << 28
"""Largest number of pixels of a picture, unless the user sets another limit."""


def described(value: object) -> str:
    """A value and its type on one short line, for error messages."""
    return f"{printable(reprlib.repr(value))} ({type(value).__name__})"


def number(name: str, value: object, least: float, most: float) -> float:
    """A number from `least` to `most`. Raises InputError."""
    found = _number(value)
    if found is None or not least <= found <= most:
        raise _wrong(name, f"a number from {least:g} to {most:g}", value, _hint(name, value, "float"))
    return found


def positive(name: str, value: object) -> float:
    """A finite number above 0. Raises InputError."""
    found = _number(value)
    if found is None or found <= 0:
        raise _wrong(name, "a number above 0", value, _hint(name, value, "float"))
    return found


def whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number from `least` to `most`; a float such as 3.0 is one. Raises InputError."""
    found = _whole(value)
    if found is None or found < least or (most is not None and found > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise _wrong(name, f"a whole number {bounds}", value, _hint(name, value, "int"))
    return found


def _number(value: object) -> float | None:
    """A finite number; None for anything else, text and bool included."""
    try:
        scalar = _scalar(value)
        found = float(scalar) if isinstance(scalar, SupportsFloat) and not isinstance(scalar, bool) else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor without values (device "meta")
        return None
    return found if math.isfinite(found) else None


def _whole(value: object) -> int | None:
    found = _number(value)
    if found is None or not found.is_integer():
        return None
    exact = _scalar(value)
    return operator.index(exact) if isinstance(exact, SupportsIndex) else int(found)  # a float has 53 bits


def _scalar(value: object) -> object:
    """The number in an array or tensor without dimensions; None for other arrays; any other value itself."""
    dimensions = getattr(value, "ndim", None)
    if dimensions is None:
        return value
    return cast(Any, value).item() if dimensions == 0 else None


def _wrong(name: str, wanted: str, value: object, hint: str = "") -> InputError:
    """The error for an argument, and for the option of the same name, whose value needs no type there."""
    given = f"{value:g}" if isinstance(value, float) else printable(reprlib.repr(value))
    return InputError(f"{name} is {wanted}, not {described(value)}{hint}", for_option=f"--{name} is {wanted}, not {given}")


def _hint(name: str, value: object, converter: str) -> str:
    """Advice to convert a number that was given as text; empty for other values."""
    if not isinstance(value, str):
        return ""
    try:
        {"float": float, "int": int}[converter](value)
    except ValueError:
        return ""
    return f": {converter}({name}) converts it"


def one_of(name: str, value: object, known: Sequence[T]) -> T:
    """One of the known names or whole numbers. Raises InputError."""
    found = _whole(value) if isinstance(known[0], int) else value
    for item in known:
        if isinstance(found, type(item)) and found == item:
            return item
    raise _wrong(name, f"one of {', '.join(map(str, known))}", value)


def flag(name: str, value: object) -> bool:
    """True or False. Raises InputError, also for values that are merely truthy: "no" would be one."""
    found = _scalar(value)
    if not isinstance(found, bool):
        raise InputError(f"{name} is True or False, not {described(value)}")
    return found


def region(value: object) -> tuple[int, int, int, int]:
    """Left, top, width and height. Raises InputError."""
    found = [_whole(item) for item in cast(Any, value)] if hasattr(value, "__iter__") else []
    sides = [side for side in found if side is not None]
    if len(sides) != 4 or len(found) != 4:
        raise InputError(f"a region is four whole numbers (left, top, width, height), not {described(value)}")
    left, top, width, height = sides
    return left, top, width, height


def text(name: str, value: object) -> str:
    """A string. Raises InputError."""
    if not isinstance(value, str):
        raise InputError(f"{name} is text, not {described(value)}")
    return value
