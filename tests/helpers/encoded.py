"""Files that several test modules read."""

from typing import Any

import numpy as np

from vqcodec import api
from vqcodec.weights import registry

LITE = registry.find("photo-lite")


def grouped(pixels: np.ndarray, quality: float = 60, model: Any = LITE) -> bytes:
    """A file of three layers and tile groups of 64 pixels."""
    return api.encode(pixels, quality=quality, model=model, effort=4, tile=64, threads=1)
