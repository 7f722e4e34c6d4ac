"""A model inside of a .vqz file or a pack: two blobs of at most 2**26 bytes, model.json and model.safetensors (folder.py).

A reader uses it for files that name it, and only if the hash of its tensors begins with the id that they name.
"""

from __future__ import annotations

import json
from typing import Final

from vqcodec.errors import CorruptError, ModelError
from vqcodec.format.bits import ByteReader
from vqcodec.format.blobs import read_blob, write_blob
from vqcodec.weights.folder import packed, weights_of
from vqcodec.weights.kinds import FileModel, file_model_of

_MOST_BYTES: Final = 1 << 26
"""Most bytes of each of the two."""


def write_embedded(model: FileModel) -> bytes:
    """The bytes of a model; the inverse of `read_embedded`."""
    summary = json.dumps({**model.summary, "name": model.name}, ensure_ascii=False).encode(errors="backslashreplace")
    return write_blob(summary) + write_blob(packed(model))


def read_embedded(data: bytes, file_id: bytes) -> FileModel:
    """The model of these bytes, checked. Raises CorruptError, TruncatedError; ModelError if it has not the id `file_id`."""
    reader = ByteReader(data)
    summary, tensors = read_blob(reader, _MOST_BYTES), read_blob(reader, _MOST_BYTES)
    if reader.cursor != len(data):
        raise CorruptError("corrupt file: bytes are left over after a model")
    model = file_model_of(weights_of(tensors, summary))
    if model.file_id != file_id:
        raise ModelError(f"the model inside is not {file_id.hex()}")
    return model
