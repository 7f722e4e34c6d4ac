"""The kinds of models, one record each. A new kind of model is a new record here, and a class beside this module."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from vqcodec.weights.builtin import BuiltIn
from vqcodec.weights.denoiser import Denoiser, has_denoiser
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import SUMMARY, Weights, older_ids_in, read_weights
from vqcodec.weights.graphic import MARK, GraphicModel
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

Loaded = TypeVar("Loaded", bound=Weights)
FileModel = ExactModel | TokenModel | GraphicModel
"""A model that files are made with; they name it by its id."""
PixelModel = GraphicModel | BuiltIn
"""A model of files without layers, or the built-in constants of those without a model."""
AnyModel = FileModel | BuiltIn
"""A model of files, or the built-in constants."""


def profiles_of(model: AnyModel) -> bytes:
    """The ICC profiles of a model, which are the dictionary of those in its files; b"" if it has none."""
    return model.profiles if isinstance(model, GraphicModel) else b""


@dataclass(frozen=True, eq=False)
class ModelKind(Generic[Loaded]):
    """A kind of model.

    `name` is the kind in model.json; models with any other name, such as `lite` and `neural`, are exact models. `noun` is the name
    in messages, `option` the command-line option that takes the model. `load` reads and checks a folder. `default` is the name of
    the model that is used if none is given.
    """

    name: str
    noun: str
    option: str
    load: Callable[[Path], Loaded]
    default: str | None = None


def load_file_model(folder: Path) -> FileModel:
    """Read and check the folder of an exact, token or graphic model, whichever its tensors are. Raises ModelError."""
    return file_model_of(read_weights(folder))


def file_model_of(found: Weights) -> FileModel:
    """The exact, token or graphic model, checked, whichever the tensors are. Raises ModelError."""
    kind: type[FileModel] = ExactModel
    if "token.words" in found.tensors or MARK in found.tensors:
        kind = GraphicModel if MARK in found.tensors else TokenModel
    model: FileModel = kind(found.name, found.tensors, found.summary)
    model.check()
    return model


DEFAULT_MODEL: Final = "photo"
EXACT: Final = ModelKind("exact", ExactModel.noun, "encode -m", load_file_model, DEFAULT_MODEL)
TOKEN: Final = ModelKind("token", TokenModel.noun, "encode -m", load_file_model)
GRAPHIC: Final = ModelKind("graphic", GraphicModel.noun, "encode -m", load_file_model)
REFINER: Final = ModelKind("refiner", Refiner.noun, "decode --refine gan --refiner", Refiner.load, "photo-gan")
DENOISER: Final = ModelKind("denoiser", Denoiser.noun, "denoise -m", Denoiser.load, "photo-denoise")
TOKEN_PRIOR: Final = ModelKind("token-prior", TokenPrior.noun, "generate -m and repair -m", TokenPrior.load)

AnyKind = ModelKind[Any]
FILE_KINDS: Final = (EXACT, TOKEN, GRAPHIC)
_BY_NAME: Final[dict[str, AnyKind]] = {kind.name: kind for kind in (TOKEN, GRAPHIC, REFINER, DENOISER, TOKEN_PRIOR)}


def kind_of(folder: Path) -> AnyKind:
    """The kind that a folder's model.json claims."""
    return _BY_NAME.get(claimed(folder, "kind"), EXACT)


def serves_as(folder: Path, kind: AnyKind) -> bool:
    """Whether a folder claims to be of a kind. Models of any kind may hold a denoiser, so there the tensors tell."""
    return has_denoiser(folder) if kind is DENOISER else kind_of(folder) is kind


def claimed(folder: Path, name: str) -> str:
    """The entry `id`, `name` or `kind` of a folder's model.json, unchecked; empty if there is none."""
    try:
        return str(_summary(folder, (folder / SUMMARY).stat().st_mtime_ns)[name])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def claimed_older_ids(folder: Path) -> list[str]:
    """The entry `older_ids` of a folder's model.json, unchecked."""
    try:
        return older_ids_in(_summary(folder, (folder / SUMMARY).stat().st_mtime_ns))
    except (OSError, ValueError):
        return []


@lru_cache(maxsize=64)
def _summary(folder: Path, modified_ns: int) -> Any:
    return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
