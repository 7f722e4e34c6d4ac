"""A model folder: `model.safetensors` (everything that affects decoding) and `model.json` (everything else).

A model's id is a SHA-256 over its tensors in order of name: for each, the UTF-8 text "name NUL dtype NUL shape NUL" (dtype as numpy
writes it, <i4 or |u1; shape as decimal numbers joined by commas), then its little-endian bytes in C order. Files carry its first 6
bytes. The modules beside this one describe the tensors of each kind of model.
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
from typing import Any, ClassVar, Final, Self

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
    r"book\.(dim|alphabet)|merge\.(maps|form)|pairs\.zeros|dictionary\..*|prior\.token_id|sheet\.data|profiles": np.uint8,
    r"book\.(size|bits)|merge\.dictionary|prior\.picture": np.uint16,
    r"sheet\.bytes": np.uint32,
    r"token\.(mean|scale)": np.float32,
    r"token\.words|(synthesis|synthesis_ssim|refiner|denoiser|encoder|decoder|prior)\..*": np.float16,
}
"""Types of tensors, by the first pattern that matches the whole name."""


@cache
def _type_of(name: str) -> np.dtype[Any] | None:
    return next((np.dtype(kind) for pattern, kind in _TYPES.items() if re.fullmatch(pattern, name)), None)


@contextmanager
def checking(kind: str, tensors: Tensors) -> Iterator[None]:
    """Check the types of the tensors, then run the block; errors that wrong tensors cause there become ModelErrors."""
    try:
        for name, array in tensors.items():
            wanted = _type_of(name)
            if wanted is not None and array.dtype != wanted:
                raise ValueError(f"{name} is {array.dtype}, not {wanted}")
        yield
    except KeyError as error:
        raise ModelError(f"{kind}: tensor {error} is missing") from error
    except (ValueError, IndexError, TypeError, zstandard.ZstdError) as error:
        raise ModelError(f"{kind}: {error}") from error


@dataclass(frozen=True, eq=False)
class Weights:
    """The contents of a model folder. Everything else is derived from `tensors`, and checked."""

    name: str
    tensors: Tensors
    summary: dict[str, Any] = field(default_factory=dict)
    """The contents of model.json."""
    noun: ClassVar[str] = "a model"
    """Name of the kind in messages, with its article."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and check a model folder; the inverse of `save_model`. Raises ModelError."""
        found = read_weights(folder)
        model = cls(found.name, found.tensors, found.summary)
        model.check()
        return model

    def check(self) -> None:
        """Raise ModelError unless every tensor is present and right."""

    @cached_property
    def id(self) -> str:
        """SHA-256 over the tensors, hexadecimal."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            array = np.asarray(self.tensors[name])
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            digest.update(f"{name}\0{little.dtype.str}\0{','.join(map(str, array.shape))}\0".encode())
            digest.update(little.data.cast("B") if little.size else b"")
        return digest.hexdigest()

    @property
    def file_id(self) -> bytes:
        """The part of the id that files carry, ID_BYTES bytes."""
        return bytes.fromhex(self.id)[:ID_BYTES]

    @property
    def older_ids(self) -> list[str]:
        """Ids of the models that this one replaces, from model.json: they differed in synthesis networks only."""
        return older_ids_in(self.summary)

    def decodes(self, file_id: bytes) -> bool:
        """Whether it decodes files that name `file_id`."""
        return file_id == self.file_id or any(older.startswith(file_id.hex()) for older in self.older_ids)

    @property
    def color(self) -> Int32:
        """Colour matrix (color.py), int32 [3, 3]."""
        return self.tensors["color"]


def older_ids_in(summary: Any) -> list[str]:
    """The entry `older_ids` of a model.json, which may hold anything; [] if there is none."""
    found = summary.get("older_ids") if isinstance(summary, dict) else None
    return [str(older) for older in found] if isinstance(found, list) else []


def read_weights(folder: Path) -> Weights:
    """The contents of a model folder of any kind, unchecked. Raises ModelError."""
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
    return Weights(str(summary.get("name", folder.name)), tensors, summary)


def weights_of(tensors: bytes, summary: bytes) -> Weights:
    """A model from the contents of its two files, of any kind, unchecked. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found, facts = load(tensors), json.loads(summary)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ModelError(f"a model cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise ModelError(f"a model cannot be read: {SUMMARY} is not an object")
    return Weights(str(facts.get("name", "unnamed")), found, facts)


def packed(model: Weights) -> bytes:
    """The content of a model's TENSORS file."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in sorted(model.tensors.items())})


def save_model(folder: Path, model: Weights) -> None:
    """Write a model folder, whose parent must exist; the inverse of `Weights.load`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TENSORS).write_bytes(packed(model))  # unlike save_file, this gives the permissions of new files
    text = json.dumps(model.summary, indent=2, ensure_ascii=False) + "\n"
    (folder / SUMMARY).write_text(text, encoding="utf-8", errors="backslashreplace")  # file names may be any bytes
