"""Tensors of all kinds of models: types, missing ones, wrong dimensions."""

from pathlib import Path

import numpy as np
import pytest

from helpers.damage import damaged, gone
from helpers.paths import REPOSITORY
from vqcodec.errors import ModelError
from vqcodec.weights.folder import Weights, save_model
from vqcodec.weights.kinds import kind_of

NAMES = ("photo", "photo-gan", "photo-denoise", "mnist-token", "mnist-prior")
FOLDERS = [REPOSITORY / "models" / name for name in NAMES]
EACH_KIND = [kind_of(folder).load(folder) for folder in FOLDERS]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("color", "int32"),
        ("tile.00.mean", "int32"),
        ("dc.1.0.2.scale_own", "int32"),
        ("dc.root.0.bias", "int32"),
        ("context.tile.05.hidden_bias", "int32"),
        ("context.tile.05.hidden", "int16"),
        ("context.shift", "int16"),
        ("book.table", "int16"),
        ("book.escape", "int16"),
        ("book.words", "int16"),
        ("pairs.tails", "int16"),
        ("book.dim", "uint8"),
        ("book.alphabet", "uint8"),
        ("merge.maps", "uint8"),
        ("merge.form", "uint8"),
        ("pairs.zeros", "uint8"),
        ("dictionary.000", "uint8"),
        ("dictionary.lengths", "uint8"),
        ("prior.token_id", "uint8"),
        ("book.size", "uint16"),
        ("book.bits", "uint16"),
        ("merge.dictionary", "uint16"),
        ("prior.picture", "uint16"),
        ("token.mean", "float32"),
        ("token.scale", "float32"),
        ("token.words", "float16"),
        ("synthesis.head", "float16"),
        ("refiner.tail_bias", "float16"),
        ("denoiser.expand", "float16"),
        ("encoder.project", "float16"),
        ("decoder.depthwise", "float16"),
        ("prior.qkv", "float16"),
    ],
)
def test_every_tensor_has_a_type(name: str, wanted: str) -> None:
    model = next(model for model in EACH_KIND if name in model.tensors)
    with pytest.raises(ModelError, match=f": {name} is float64, not {wanted}$"):
        damaged(model, name, lambda array: array.astype(np.float64)).check()


@pytest.mark.parametrize(
    "name",
    [
        *("color", "book.table", "book.dim", "book.size", "book.escape", "book.words", "book.bits", "book.alphabet"),
        *("merge.maps", "merge.form", "merge.dictionary", "pairs.zeros", "pairs.tails", "dictionary.000", "dictionary.lengths"),
        *("tile.00.scale", "tile.27.bias", "dc.1.0.2.scale_own", "context.shift", "context.tile.05.out_bias"),
        *("synthesis.tail", "refiner.head", "denoiser.head", "token.mean", "encoder.head", "prior.token_id", "prior.rows"),
    ],
)
def test_a_missing_tensor_is_named(name: str) -> None:
    model = next(model for model in EACH_KIND if name in model.tensors)
    with pytest.raises(ModelError, match=f": tensor '{name}' is missing$"):
        damaged(model, name, gone).check()


@pytest.mark.parametrize(
    "name",
    [
        *("color", "book.table", "book.dim", "book.words", "book.alphabet", "merge.form", "pairs.tails", "dictionary.lengths"),
        *("tile.00.mean", "tile.00.bias", "context.luma.dc", "context.tile.05.hidden_bias", "context.dc.0.0.0.out_bias"),
        *("synthesis.head", "refiner.tail", "denoiser.expand_bias", "token.words", "token.scale", "encoder.head", "decoder.tail"),
        *("prior.picture", "prior.token_id", "prior.tail"),
    ],
)
def test_a_tensor_without_dimensions_is_refused(name: str) -> None:
    model = next(model for model in EACH_KIND if name in model.tensors)
    with pytest.raises(ModelError):
        damaged(model, name, lambda array: array.reshape(-1)[0].reshape(())).check()


@pytest.mark.parametrize("model", EACH_KIND, ids=NAMES)
def test_a_saved_model_is_loaded_as_it_was(model: Weights, tmp_path: Path) -> None:
    save_model(tmp_path / "copy", model)
    copy = kind_of(tmp_path / "copy").load(tmp_path / "copy")
    assert (type(copy), copy.name, copy.id, copy.summary) == (type(model), model.name, model.id, model.summary)
    assert copy.id == model.summary["id"]
