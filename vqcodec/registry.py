"""Finding models: by path, by name, or by the id in a file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from vqcodec.container import ID_BYTES
from vqcodec.errors import ModelError
from vqcodec.model import SUMMARY, TENSORS, Model, load_model

DEFAULT_MODEL: Final = "photo"
LITE_MODEL: Final = "photo-lite"
"""What training of lite models starts from."""


@dataclass(frozen=True)
class ModelEntry:
    """An installed model; `bytes` of its tensors on disk, `summary` is model.json."""

    name: str
    kind: str
    id: str
    path: Path
    bytes: int
    summary: dict[str, Any]


def search_folders() -> list[Path]:
    """Where models are looked for, first match wins: $VQCODEC_MODELS, the user's data folder, the wheel, the checkout."""
    package = Path(__file__).resolve().parent
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    given = [Path(part) for part in os.environ.get("VQCODEC_MODELS", "").split(os.pathsep) if part]
    return [*given, data / "vqcodec" / "models", package / "models", package.parent / "models"]


def _folders() -> list[Path]:
    return [
        folder
        for root in search_folders()
        if root.is_dir()
        for folder in sorted(root.iterdir())
        if (folder / TENSORS).is_file() and (folder / SUMMARY).is_file()
    ]


@lru_cache(maxsize=8)
def _load(folder: Path, modified_ns: int) -> Model:
    return load_model(folder)


def load(folder: Path) -> Model:
    """Load a model folder, or the same one again from memory; raises ModelError."""
    try:
        modified = (folder / TENSORS).stat().st_mtime_ns
    except OSError as error:
        raise ModelError(f"no model at {folder}") from error
    return _load(folder.resolve(), modified)


def find(name: str | Path | None) -> Model:
    """A model by path or by name; the default model for None. Raises ModelError."""
    if name is None:
        name = DEFAULT_MODEL
    if isinstance(name, Path) or os.sep in name or (Path(name) / TENSORS).is_file():
        return load(Path(name))
    for folder in _folders():
        if folder.name == name:
            return load(folder)
    known = ", ".join(sorted({folder.name for folder in _folders()})) or "none"
    raise ModelError(f"no model named {name} (installed: {known})")


def find_by_id(file_id: bytes) -> Model:
    """The installed model a file was made with; raises ModelError."""
    folders = sorted(_folders(), key=lambda folder: not _claimed_id(folder).startswith(file_id.hex()))
    for folder in folders:  # those that claim to be it come first: others need not be loaded
        model = load(folder)
        if model.file_id == file_id:
            return model
    raise ModelError(f"the file needs model {file_id.hex()}, which is not installed (-m PATH, or $VQCODEC_MODELS)")


def _claimed_id(folder: Path) -> str:
    """The id in a model.json, which nobody has checked."""
    try:
        return str(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def list_models() -> list[ModelEntry]:
    """All installed models, in order of lookup."""
    entries = []
    for folder in _folders():
        model = load(folder)
        size = (folder / TENSORS).stat().st_size
        kind = str(model.summary.get("kind", "lite"))
        entries.append(ModelEntry(folder.name, kind, model.id[: 2 * ID_BYTES], folder, size, model.summary))
    return entries
