"""Marks for parametrised tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def fast_first(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Cases for `pytest.mark.parametrize`, all but the first `count` marked slow; a tuple is a case of several arguments."""
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*value, marks=[pytest.mark.slow] if number >= count else []) for number, value in enumerate(values)]
