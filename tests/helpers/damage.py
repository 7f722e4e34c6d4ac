"""Models with a changed or a missing tensor."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

Change = Callable[[np.ndarray], np.ndarray | None]


def damaged(model: Any, name: str, change: Change) -> Any:
    """A model with one tensor changed or removed."""
    found = change(model.tensors[name].copy())
    others = {key: array for key, array in model.tensors.items() if key != name}
    return replace(model, name="damaged", tensors=others if found is None else {**others, name: found})


def put(place: Any, value: int) -> Change:
    """A value, in the place of another or of several."""

    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


def add(place: Any, value: int) -> Change:
    return lambda array: put(place, array[place] + value)(array)


def gone(array: np.ndarray) -> None:
    return None
