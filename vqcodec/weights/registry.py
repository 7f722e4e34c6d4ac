"""Lookup of models by path, by name, or by the id in a file. Each is loaded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from vqcodec.errors import ModelError, printable
from vqcodec.format.container import ID_BYTES
from vqcodec.weights.builtin import BUILT_IN, BuiltIn
from vqcodec.weights.denoiser import Denoiser
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import SUMMARY, TENSORS, Weights
from vqcodec.weights.graphic import GraphicModel
from vqcodec.weights.kinds import (
    DENOISER,
    EXACT,
    FILE_KINDS,
    GRAPHIC,
    REFINER,
    TOKEN,
    TOKEN_PRIOR,
    AnyKind,
    AnyModel,
    FileModel,
    Loaded,
    ModelKind,
    claimed,
    claimed_older_ids,
    kind_of,
    load_file_model,
    serves_as,
)
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

LITE_MODEL: Final = "photo-lite"
"""The model that training of lite models starts from."""
EXTRA_PACKAGE: Final = "vqcodec_models_extra"
"""The package of the models in EXTRA_MODELS, one folder each."""
EXTRA_MODELS: Final = {
    "mnist-prior": "9e008d1999e1",
    "mnist-token": "19b64b6d2f7d",
    "mnist-vqvae": "fc748997978d",
    "photo-gan": "80bc7e8a2b31",
    "photo-preview": "267671592624",
}
"""Ids by name of the models that are not in vqcodec's wheel, to say where they are if they are missing."""
_GET_EXTRA: Final = "pip install vqcodec-models-extra (from a clone: pip install ./packaging/models-extra)"


# ------------------------------------------------------------------------------------------------ by path or name


def find(name: str | Path | None) -> ExactModel:
    """The exact model of a path or name; the default model for None. Raises ModelError."""
    return _of_class(find_any(name), ExactModel)


def find_token(name: str | Path) -> TokenModel:
    """The token model of a path or name. Raises ModelError."""
    return _of_class(find_any(name), TokenModel)


def find_any(name: str | Path | None) -> FileModel:
    """The exact model or token model of a path or name; the default model for None. Raises ModelError."""
    return _find(EXACT, name, others=[TOKEN])


def find_graphic(name: str | Path) -> GraphicModel:
    """The graphic model of a path or name. Raises ModelError."""
    return _of_class(_find(GRAPHIC, name), GraphicModel)


def find_for_encoding(name: str | Path | None, *, lossless: bool) -> AnyModel:
    """The model of a path or name to make files with; for None the default one, or none for `lossless` files. Raises ModelError."""
    if not lossless:
        return find_for_decoding(name)
    return BUILT_IN if name is None else find_graphic(name)


def find_for_decoding(name: str | Path | None) -> FileModel:
    """The model of a path or name, of any kind that files are made with; the default model for None. Raises ModelError."""
    return _find(EXACT, name, others=[TOKEN, GRAPHIC])


def find_refiner(name: str | Path | None) -> Refiner:
    """The refiner of a path or name; the default one for None. Raises ModelError."""
    return _find(REFINER, name)


def find_denoiser(name: str | Path | None) -> Denoiser:
    """The denoiser of a path or name, which may be held by a model of another kind; the default one for None. Raises ModelError."""
    return _find(DENOISER, name)


def find_prior(name: str | Path) -> tuple[TokenPrior, TokenModel]:
    """The token prior of a path or name, and its token model, which lies beside it or is installed. Raises ModelError."""
    folder = _folder_of(name, (TOKEN_PRIOR,))
    prior = _load_once(TOKEN_PRIOR.load, folder)
    missing = f"token prior {prior.name} needs token model {prior.token_id.hex()}, which is neither installed nor beside it"
    found = _with_id(prior.token_id, [*_model_folders(folder.resolve().parent), *_installed_folders()], missing)
    model = _of_class(found, TokenModel)
    prior.check_model(model)
    return prior, model


def installed(name: str, kinds: Sequence[AnyKind] = FILE_KINDS) -> Path:
    """The folder of an installed model of some kinds. Folders in the working directory do not count. Raises ModelError."""
    folders = _installed_folders()
    if name in EXTRA_MODELS and not any(folder.name == name for folder in folders):
        raise ModelError(f"model {name} is not installed: {_GET_EXTRA}")
    serving = [folder for folder in folders if _serves_as_any(folder, kinds)]
    for folder in serving:
        if folder.name == name:
            return folder
    known = ", ".join(sorted({printable(folder.name) for folder in serving})) or "none"
    others = [f": {name} is {_use_of(folder)}" for folder in folders if folder.name == name]
    raise ModelError(f"no {_spoken(kinds)} named {printable(name)} (installed: {known}){''.join(others[:1])}")


def _find(kind: ModelKind[Loaded], name: str | Path | None, others: Sequence[AnyKind] = ()) -> Loaded:
    """The model of a path or name, of `kind` or one of `others`; the default one of `kind` for None. Raises ModelError."""
    kinds = (kind, *others)
    if name is None:
        assert kind.default is not None
        return _load_once(kind.load, installed(kind.default, kinds))
    return _load_once(kind.load, _folder_of(name, kinds))


def _folder_of(name: str | Path, kinds: Sequence[AnyKind]) -> Path:
    """The folder of a path or name of a model of some kinds. Raises ModelError, also if it is of another kind."""
    if isinstance(name, Path) or os.sep in name or os.path.isfile(Path(name) / TENSORS):
        if os.path.isfile(Path(name) / SUMMARY) and not _serves_as_any(Path(name), kinds):
            raise ModelError(f"no {_spoken(kinds)} at {printable(name)}: it is {_use_of(Path(name))}")
        return Path(name)
    return installed(name, kinds)


def _of_class(model: FileModel, wanted: type[Loaded]) -> Loaded:
    """The model itself. Raises ModelError if it is of another class."""
    if not isinstance(model, wanted):
        raise ModelError(f"{model.name} is {model.noun}, not {wanted.noun}")
    return model


def _serves_as_any(folder: Path, kinds: Sequence[AnyKind]) -> bool:
    return any(serves_as(folder, kind) for kind in kinds)


def _spoken(kinds: Sequence[AnyKind]) -> str:
    """The noun of a kind without its article; "model" for several kinds."""
    return kinds[0].noun.split(" ", 1)[1] if len(kinds) == 1 else "model"


def _use_of(folder: Path) -> str:
    """The kind that a model claims to be, and the option that takes it."""
    kind = kind_of(folder)
    return f"{kind.noun}, for {kind.option}"


# ------------------------------------------------------------------------------------------------ by id


def find_by_id(file_id: bytes) -> FileModel | BuiltIn:
    """The installed model that a file was made with; BUILT_IN for a file without a model. Raises ModelError."""
    return BUILT_IN if not file_id else _find_by_id(file_id)


def _find_by_id(file_id: bytes) -> FileModel:
    missing = f"the file needs model {file_id.hex()}, which is not installed (-m PATH, or $VQCODEC_MODELS)"
    for name, extra_id in EXTRA_MODELS.items():
        if file_id.hex() == extra_id:
            missing = f"the file needs model {name}, which is not installed: {_GET_EXTRA}"
    return _with_id(file_id, _installed_folders(), missing)


def name_by_id(file_id: bytes) -> str:
    """The name of the installed model that a file was made with, "none" for a file without a model. Raises ModelError.

    A model.json that claims the id is believed: loading the model to check it takes longer than all else that `info` does.
    """
    if not file_id:
        return BUILT_IN.name
    claimants = _claimants(file_id, _installed_folders())
    if claimants and claimed(claimants[0], "id"):
        return claimed(claimants[0], "name") or claimants[0].name
    return _find_by_id(file_id).name


def _with_id(file_id: bytes, folders: list[Path], missing: str) -> FileModel:
    """The first model in `folders` that has this id, of the kinds that files are made with.

    Raises ModelError: that of a damaged model which claims the id, else one with the message `missing`.
    """
    claimants = _claimants(file_id, folders)
    damaged: ModelError | None = None
    for folder in claimants:
        try:
            model = _load_once(load_file_model, folder)
        except ModelError as error:
            if damaged is None and claimed(folder, "id"):
                damaged = error
            continue
        if model.decodes(file_id):
            return model
    raise damaged or ModelError(missing)


def _claimants(file_id: bytes, folders: list[Path]) -> list[Path]:
    """Folders of models that claim the id, in order of lookup; then those that replace a model with it; then those
    that claim no id.

    A model that claims another id either has that one or is damaged, so it is not loaded.
    """
    serving_files = [folder for folder in folders if _serves_as_any(folder, FILE_KINDS)]
    return [
        *(folder for folder in serving_files if claimed(folder, "id").startswith(file_id.hex())),
        *(folder for folder in serving_files if any(older.startswith(file_id.hex()) for older in claimed_older_ids(folder))),
        *(folder for folder in serving_files if not claimed(folder, "id")),
    ]


# ------------------------------------------------------------------------------------------------ all models


@dataclass(frozen=True)
class ModelEntry:
    """An installed model of any kind. `bytes` is the size of its tensors on disk, `summary` the contents of model.json.

    If the model cannot be used, `error` says why, and `id` and `summary` are empty.
    """

    name: str
    kind: str
    id: str
    path: Path
    bytes: int
    summary: dict[str, Any]
    error: str = ""


def list_models() -> list[ModelEntry]:
    """All installed models of all kinds, in order of lookup."""
    entries = []
    for folder in _installed_folders():
        kind, size = claimed(folder, "kind") or "lite", (folder / TENSORS).stat().st_size
        try:
            model: Weights = _load_once(kind_of(folder).load, folder)
        except ModelError as error:
            entries.append(ModelEntry(folder.name, kind, "", folder, size, {}, str(error)))
        else:
            entries.append(ModelEntry(folder.name, kind, model.id[: 2 * ID_BYTES], folder, size, model.summary))
    return entries


def search_folders() -> list[Path]:
    """Folders that hold model folders, in order of lookup: $VQCODEC_MODELS, the user's data folder, the wheel, that of
    vqcodec-models-extra, the checkout."""
    package = Path(__file__).resolve().parents[1]
    given = [Path(part) for part in os.environ.get("VQCODEC_MODELS", "").split(os.pathsep) if part]
    return [*given, *_data_folders(), package / "models", *_extra_folders(), package.parent / "models"]


def _extra_folders() -> list[Path]:
    """The folder of EXTRA_PACKAGE, which is not imported; none if it is not installed."""
    found = PathFinder.find_spec(EXTRA_PACKAGE)
    return [] if found is None or found.origin is None else [Path(found.origin).parent]


def _data_folders() -> list[Path]:
    """The user's data folder; none without a home folder, as in bare containers."""
    if data := os.environ.get("XDG_DATA_HOME"):
        return [Path(data) / "vqcodec" / "models"]
    with suppress(RuntimeError):
        return [Path.home() / ".local" / "share" / "vqcodec" / "models"]
    return []


def _installed_folders() -> list[Path]:
    return [folder for root in search_folders() if os.path.isdir(root) for folder in _model_folders(root)]


def _model_folders(root: Path) -> list[Path]:
    """Model folders in a folder, in order of name; none if it cannot be read."""
    try:
        return [folder for folder in sorted(root.iterdir()) if all(os.path.isfile(folder / name) for name in (TENSORS, SUMMARY))]
    except OSError:
        return []


# ------------------------------------------------------------------------------------------------ loading


def _load_once(load: Callable[[Path], Loaded], folder: Path) -> Loaded:
    """Load a folder, or return what it held at the last call if its tensors are unchanged. Raises ModelError."""
    try:
        modified = (folder / TENSORS).stat().st_mtime_ns
    except OSError as error:
        raise ModelError(f"no model at {folder}") from error
    found: Loaded = _load(load, folder.resolve(), modified)
    if (found.summary.get("id") or found.id) != found.id:
        raise ModelError(f"model at {folder} is damaged: its tensors are not those of the id in its {SUMMARY}")
    return found


@lru_cache(maxsize=8)
def _load(load: Callable[[Path], Any], folder: Path, modified_ns: int) -> Any:
    return load(folder)
