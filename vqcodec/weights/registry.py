"""Finding models: by path, by name, or by the id in a file; each is loaded once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from vqcodec.errors import ModelError, printable
from vqcodec.format.container import ID_BYTES
from vqcodec.weights.denoiser import Denoiser, has_denoiser, load_denoiser
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import SUMMARY, TENSORS, Weights, read_weights
from vqcodec.weights.refiner import Refiner, load_refiner
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior, load_prior

DEFAULT_MODEL: Final = "photo"
LITE_MODEL: Final = "photo-lite"
"""What training of lite models starts from."""
DEFAULT_REFINER: Final = "photo-gan"
DEFAULT_DENOISER: Final = "photo-denoise"
REFINER: Final = "refiner"
DENOISER: Final = "denoiser"
TOKEN: Final = "token"
TOKEN_PRIOR: Final = "token-prior"
"""The kinds in their model.json."""
CODEC: Final = "model"
"""Any kind that files are made with, in messages and where a kind is asked for."""
_FOR_NO_FILES: Final = (REFINER, TOKEN_PRIOR, DENOISER)
"""Kinds that no file is made with, each with names of its own; all others are one sort."""
_USES: Final = {
    CODEC: "a model that files are made with, for encode -m",
    REFINER: "a refiner, for decode --refine gan --refiner",
    DENOISER: "a denoiser, for denoise -m",
    TOKEN_PRIOR: "a token prior, for generate -m and repair -m",
}
"""The noun for a model of each kind, and the option that takes it."""

Loaded = TypeVar("Loaded", bound=Weights)


@dataclass(frozen=True)
class ModelEntry:
    """An installed model of any kind; `bytes` of its tensors on disk, `summary` is model.json. `error` says why it cannot be used,
    where it cannot; `id` and `summary` are empty then."""

    name: str
    kind: str
    id: str
    path: Path
    bytes: int
    summary: dict[str, Any]
    error: str = ""


def search_folders() -> list[Path]:
    """Where models are looked for, first match wins: $VQCODEC_MODELS, the user's data folder, the wheel, the checkout."""
    package = Path(__file__).resolve().parents[1]
    given = [Path(part) for part in os.environ.get("VQCODEC_MODELS", "").split(os.pathsep) if part]
    return [*given, *_data_folders(), package / "models", package.parent / "models"]


def _data_folders() -> list[Path]:
    """The user's; none where there is no home, as in bare containers."""
    if data := os.environ.get("XDG_DATA_HOME"):
        return [Path(data) / "vqcodec" / "models"]
    with suppress(RuntimeError):
        return [Path.home() / ".local" / "share" / "vqcodec" / "models"]
    return []


def _folders() -> list[Path]:
    return [folder for root in search_folders() if os.path.isdir(root) for folder in _within(root)]


def _within(root: Path) -> list[Path]:
    """Model folders in a folder, in order of name; none where it cannot be read."""
    try:
        return [folder for folder in sorted(root.iterdir()) if all(os.path.isfile(folder / name) for name in (TENSORS, SUMMARY))]
    except OSError:
        return []


def load_model(folder: Path) -> ExactModel:
    """Load and check a model folder, not a token model's; raises ModelError."""
    return no_token_model(load_any_model(folder))


def no_token_model(model: ExactModel | TokenModel) -> ExactModel:
    """The model itself; raises ModelError for a token model."""
    if isinstance(model, TokenModel):
        raise ModelError(f"{model.name} is a token model, and this wants one of another kind")
    return model


def load_any_model(folder: Path) -> ExactModel | TokenModel:
    """Load and check the folder of a model that files are made with; raises ModelError."""
    name, tensors, summary = read_weights(folder)
    model: ExactModel | TokenModel = (TokenModel if "token.words" in tensors else ExactModel)(name, tensors, summary)
    model.check()
    return model


@lru_cache(maxsize=8)
def _load(loader: Callable[[Path], Any], folder: Path, modified_ns: int) -> Any:
    return loader(folder)


def _load_once(loader: Callable[[Path], Loaded], folder: Path) -> Loaded:
    """Load a folder, or what it held once more from memory; raises ModelError."""
    try:
        modified = (folder / TENSORS).stat().st_mtime_ns
    except OSError as error:
        raise ModelError(f"no model at {folder}") from error
    found: Loaded = _load(loader, folder.resolve(), modified)
    if (found.summary.get("id") or found.id) != found.id:
        raise ModelError(f"model at {folder} is damaged: its tensors are not those that its {SUMMARY} is of")
    return found


def find(name: str | Path | None) -> ExactModel:
    """A model by path or by name, not a token model; the default model for None. Raises ModelError."""
    return no_token_model(find_any(name))


def find_any(name: str | Path | None) -> ExactModel | TokenModel:
    """A model that files are made with, by path or by name; the default model for None. Raises ModelError."""
    return _load_once(load_any_model, installed(DEFAULT_MODEL) if name is None else _folder_of(name))


def find_token(name: str | Path) -> TokenModel:
    """A token model by path or by name. Raises ModelError."""
    model = find_any(name)
    if not isinstance(model, TokenModel):
        raise ModelError(f"{model.name} is no token model, and this wants one")
    return model


def find_refiner(name: str | Path | None) -> Refiner:
    """A refiner by path or by name; the default one for None. Raises ModelError."""
    return _load_once(load_refiner, installed(DEFAULT_REFINER, REFINER) if name is None else _folder_of(name, REFINER))


def find_prior(name: str | Path) -> tuple[TokenPrior, TokenModel]:
    """A token prior by path or by name, and its token model, which lies beside it or is installed. Raises ModelError."""
    folder = _folder_of(name, TOKEN_PRIOR)
    prior = _load_once(load_prior, folder)
    wanted = f"token prior {prior.name} was made for token model {prior.token_id.hex()}, which is neither installed nor beside it"
    model = _with_id(prior.token_id, [*_within(folder.resolve().parent), *_folders()], wanted)
    if not isinstance(model, TokenModel):
        raise ModelError(f"{model.name}, which token prior {prior.name} was made for, is no token model")
    prior.check_model(model)
    return prior, model


def find_denoiser(name: str | Path | None) -> Denoiser:
    """A denoiser, or another model that has one, by path or by name; the default one for None. Raises ModelError."""
    return _load_once(load_denoiser, installed(DEFAULT_DENOISER, DENOISER) if name is None else _folder_of(name, DENOISER))


def _folder_of(name: str | Path, kind: str = CODEC) -> Path:
    """The folder of a model of a kind (CODEC or one of _FOR_NO_FILES), by path or name. Raises ModelError, also if it is of another
    kind."""
    if isinstance(name, Path) or os.sep in name or os.path.isfile(Path(name) / TENSORS):
        if os.path.isfile(Path(name) / SUMMARY) and not _serves_as(kind, Path(name)):
            raise ModelError(f"no {_spoken(kind)} at {printable(name)}: it is {_use_of(Path(name))}")
        return Path(name)
    return installed(name, kind)


def installed(name: str, kind: str = CODEC) -> Path:
    """The folder of an installed model of a kind: what lies in the current folder is none, and never a default. Raises ModelError,
    also if it is of another kind."""
    folders = _folders()
    serving = [folder for folder in folders if _serves_as(kind, folder)]
    for folder in serving:
        if folder.name == name:
            return folder
    known = ", ".join(sorted({printable(folder.name) for folder in serving})) or "none"
    others = [f": {name} is {_use_of(folder)}" for folder in folders if folder.name == name]
    raise ModelError(f"no {_spoken(kind)} named {printable(name)} (installed: {known}){''.join(others[:1])}")


def _spoken(kind: str) -> str:
    return kind.replace("-", " ")


def _use_of(folder: Path) -> str:
    """The kind that a model claims to be, and the option that takes it."""
    claimed = _claimed(folder, "kind")
    return _USES[claimed if claimed in _FOR_NO_FILES else CODEC]


def _serves_as(kind: str, folder: Path) -> bool:
    """Whether a folder has a denoiser, or claims to be of another kind, or to be a model that files are made with."""
    if kind == DENOISER:
        return has_denoiser(folder)
    claimed = _claimed(folder, "kind")
    return claimed == kind if kind in _FOR_NO_FILES else claimed not in _FOR_NO_FILES


def find_by_id(file_id: bytes) -> ExactModel | TokenModel:
    """The installed model a file was made with; raises ModelError."""
    missing = f"the file needs model {file_id.hex()}, which is not installed (-m PATH, or $VQCODEC_MODELS)"
    return _with_id(file_id, _folders(), missing)


def name_by_id(file_id: bytes) -> str:
    """The name of the installed model a file was made with. A model that claims the id is taken at its word, and not loaded: that
    takes longer than all else that is told of a file. Raises ModelError."""
    claimants = _claimants(file_id, _folders())
    if claimants and _claimed(claimants[0], "id"):
        return _claimed(claimants[0], "name") or claimants[0].name
    return find_by_id(file_id).name


def _with_id(file_id: bytes, folders: list[Path], missing: str) -> ExactModel | TokenModel:
    """The first model that files are made with, of all in `folders`, that has this id. Raises ModelError: that of a damaged model
    which claims the id, or one with the message `missing`."""
    claimants = _claimants(file_id, folders)
    damaged: ModelError | None = None
    for folder in claimants:
        try:
            model = _load_once(load_any_model, folder)
        except ModelError as error:
            if damaged is None and _claimed(folder, "id"):
                damaged = error
            continue
        if model.file_id == file_id:
            return model
    raise damaged or ModelError(missing)


def _claimants(file_id: bytes, folders: list[Path]) -> list[Path]:
    """Codec models in the order of search: those that claim an id, then those that claim none: a model that claims another one is
    either that or damaged, and is not loaded."""
    claims = {folder: _claimed(folder, "id") for folder in folders if _serves_as(CODEC, folder)}
    return [
        *(folder for folder, claimed in claims.items() if claimed.startswith(file_id.hex())),
        *(folder for folder, claimed in claims.items() if not claimed),
    ]


def _claimed(folder: Path, name: str) -> str:
    """The `id`, `name` or `kind` that a model.json claims, unchecked."""
    try:
        return str(_summary(folder, (folder / SUMMARY).stat().st_mtime_ns)[name])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@lru_cache(maxsize=64)
def _summary(folder: Path, modified_ns: int) -> Any:
    return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))


def list_models() -> list[ModelEntry]:
    """All installed models of all kinds, in order of lookup."""
    loaders: dict[str, Callable[[Path], Weights]] = {REFINER: load_refiner, TOKEN_PRIOR: load_prior, DENOISER: load_denoiser}
    entries = []
    for folder in _folders():
        kind, size = _claimed(folder, "kind") or "lite", (folder / TENSORS).stat().st_size
        try:
            model = _load_once(loaders.get(kind, load_any_model), folder)
        except ModelError as error:
            entries.append(ModelEntry(folder.name, kind, "", folder, size, {}, str(error)))
        else:
            entries.append(ModelEntry(folder.name, kind, model.id[: 2 * ID_BYTES], folder, size, model.summary))
    return entries
