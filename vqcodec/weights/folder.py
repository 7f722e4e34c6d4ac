"""What a model folder holds: `model.safetensors` (everything that affects decoding) and `model.json` (everything else).

The id is a SHA-256 over the tensors in order of name: for each, the UTF-8 text "name NUL dtype NUL shape NUL" (dtype as numpy
writes it, <i4 or |u1; shape as decimal numbers joined by commas), then its little-endian bytes in C order. Files carry its
first 6 bytes. Tensors of each kind of model are described where the kind is: exact.py and tokens.py (what files are made with),
sharpening.py, denoising.py, generation.py and inpainting.py (what no file names).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from vqcodec.arrays import Int32
from vqcodec.errors import ModelError
from vqcodec.format.container import ID_BYTES

TENSORS: Final = "model.safetensors"
SUMMARY: Final = "model.json"
Tensors = dict[str, NDArray[Any]]
_TYPES: Final[dict[str, type[np.generic]]] = {
    r"color|(tile|dc)\..*|context\..*_bias": np.int32,
    r"book\.(table|escape|words)|pairs\.tails|context\..*": np.int16,
    r"book\.(dim|alphabet)|merge\.(maps|form)|pairs\.zeros|dictionary\..*|prior\.token_id": np.uint8,
    r"book\.(size|bits)|merge\.dictionary|prior\.picture": np.uint16,
    r"token\.(mean|scale)": np.float32,
    r"token\.words|(synthesis|refiner|denoiser|encoder|decoder|prior)\..*": np.float16,
}
"""Of tensors, by the first pattern of their names."""


@cache
def _type_of(name: str) -> np.dtype[Any] | None:
    return next((np.dtype(kind) for pattern, kind in _TYPES.items() if re.fullmatch(pattern, name)), None)


@contextmanager
def checking(kind: str, tensors: Tensors) -> Iterator[None]:
    """In the block, whatever wrong tensors lead to is a ModelError."""
    try:
        for name, array in tensors.items():
            wanted = _type_of(name)
            if wanted is not None and array.dtype != wanted:
                raise ValueError(f"{name} is of {array.dtype}, not of {wanted}")
        yield
    except KeyError as error:
        raise ModelError(f"{kind}: tensor {error} is missing") from error
    except (ValueError, IndexError, TypeError, zstandard.ZstdError) as error:
        raise ModelError(f"{kind}: {error}") from error


@dataclass(frozen=True, eq=False)
class Weights:
    """What a model folder holds. `tensors` is the truth; all else is parsed from it and checked."""

    name: str
    tensors: Tensors
    summary: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Hexadecimal SHA-256 over the tensors."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            array = np.asarray(self.tensors[name])
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            digest.update(f"{name}\0{little.dtype.str}\0{','.join(map(str, array.shape))}\0".encode())
            digest.update(little.data.cast("B") if little.size else b"")
        return digest.hexdigest()

    @property
    def file_id(self) -> bytes:
        """What files have of the id."""
        return bytes.fromhex(self.id)[:ID_BYTES]

    @property
    def color(self) -> Int32:
        return self.tensors["color"]


def read_weights(folder: Path) -> tuple[str, Tensors, dict[str, Any]]:
    """Name, tensors and summary."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(folder / TENSORS)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"no model at {folder}: {Path(error.filename or TENSORS).name} is missing") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"model at {folder} cannot be read: {error}") from error
    if not isinstance(summary, dict):
        raise ModelError(f"model at {folder} cannot be read: {SUMMARY} is not an object")
    return str(summary.get("name", folder.name)), tensors, summary


def save_model(folder: Path, model: Weights) -> None:
    """Write a model folder (its parent must exist); the inverse of `load_any_model` and those of other kinds."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = save({name: np.ascontiguousarray(array) for name, array in sorted(model.tensors.items())})
    (folder / TENSORS).write_bytes(tensors)  # unlike save_file's, with the permissions that new files have here
    text = json.dumps(model.summary, indent=2, ensure_ascii=False) + "\n"
    (folder / SUMMARY).write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be any bytes
