"""Files that several test modules read."""

from typing import Any

import numpy as np

from vqcodec import api
from vqcodec.weights import registry

LITE = registry.find("photo-lite")


def grouped(pixels: np.ndarray, quality: float = 60, model: Any = LITE) -> bytes:
    """A file of three layers and tile groups of 64 pixels."""
    return api.encode(pixels, quality=quality, model=model, effort=4, tile=64, threads=1)


def there_and_back(pixels: np.ndarray, threads: int = 1) -> tuple[bytes, bytes]:
    """A file of several tile groups, and the bytes of its decode. Processes import this function by its name."""
    data = api.encode(pixels, model="photo-lite", effort=1, tile=64, threads=threads)
    return data, api.decode(data, threads=threads).tobytes()
