"""Models that are damaged are refused, whatever the place, and do no harm to others; retrained ones are loaded anew."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.paths import REPOSITORY
from vqcodec.cli.main import main
from vqcodec.entropy.codebooks import ALPHABET, ALPHABET_RAW_BITS
from vqcodec.entropy.linear import Predictor
from vqcodec.errors import ModelError
from vqcodec.transform.color import COLOR_LIMIT
from vqcodec.weights import registry
from vqcodec.weights.denoiser import Denoiser
from vqcodec.weights.folder import save_model
from vqcodec.weights.kinds import load_file_model
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token_prior import TokenPrior

MODELS = REPOSITORY / "models"
LITE, PHOTO = registry.find("photo-lite"), registry.find("photo")
EACH_KIND: tuple[Any, ...] = (
    PHOTO,
    Refiner.load(MODELS / "photo-gan"),
    Denoiser.load(MODELS / "photo-denoise"),
    load_file_model(MODELS / "mnist-token"),
    TokenPrior.load(MODELS / "mnist-prior"),
)
Change = Callable[[np.ndarray], np.ndarray | None]
DIMS, MAPS, LENGTHS = (LITE.tensors[name] for name in ("book.dim", "merge.maps", "dictionary.lengths"))
PAIR = DIMS.tolist().index(2)
"""A book of two dimensions; the first one is a scalar book."""
LARGE = int(np.flatnonzero(ALPHABET_RAW_BITS[LITE.tensors["book.alphabet"][: len(ALPHABET)]])[0])


def damaged(model: Any, name: str, change: Change) -> Any:
    """A model one of whose tensors is changed, or gone."""
    found = change(model.tensors[name].copy())
    others = {key: array for key, array in model.tensors.items() if key != name}
    return replace(model, name="damaged", tensors=others if found is None else {**others, name: found})


def put(place: Any, value: int) -> Change:
    """A value, in the place of another or of several."""

    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


def add(place: Any, value: int) -> Change:
    return lambda array: put(place, array[place] + value)(array)


def code(*lengths: int) -> Change:
    """In one dictionary, code lengths of its first bytes; of all others 8."""

    def change(array: np.ndarray) -> np.ndarray:
        array[3] = 8
        array[3, : len(lengths)] = lengths
        return array

    return change


def cut(array: np.ndarray) -> np.ndarray:
    return array[1:]


def narrow(array: np.ndarray) -> np.ndarray:
    return array[:, 1:]


def emptied(array: np.ndarray) -> np.ndarray:
    """Sizes or escapes, of books one of which has no words."""
    return put(PAIR, 0 if array.dtype == np.uint16 else -1)(array)


def gone(array: np.ndarray) -> None:
    return None


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("book.dim", cut, "book tensors differ in length"),
        ("book.size", cut, "book tensors differ in length"),
        ("book.escape", cut, "book tensors differ in length"),
        ("book.dim", put(PAIR, 3), "a codebook's dimension is not 1, 2, 4 or 8"),
        ("book.dim", put(-1, 2), "a codebook's dimension is not 1, 2, 4 or 8"),
        ("book.size", put(PAIR, 0), "a codebook's size is wrong"),
        ("book.size", put(PAIR, 257), "a codebook's size is wrong"),
        ("book.escape", put(PAIR, LITE.codebooks[PAIR].size), "a codebook's size is wrong"),
        ("book.escape", put(PAIR, -2), "a codebook's size is wrong"),
        ("book.size", put(0, 142), "a scalar codebook's size is wrong"),
        ("book.escape", put(0, 3), "a scalar codebook's size is wrong"),
        ("book.words", cut, "book.words has the wrong length"),
        ("book.bits", cut, "book.bits has the wrong length"),
        ("book.alphabet", lambda array: put(0, array[1])(array), "an alphabet is not a permutation"),
        ("book.alphabet", put(-1, 143), "an alphabet is not a permutation"),
        ("book.words", add(LARGE, 1), "a scalar codebook's large values are wrong"),
        ("book.words", add(-1, 1), "a scalar codebook's large values are wrong"),
        ("book.table", lambda array: array[:1], "book.table has the wrong shape"),
        ("book.table", put((1, 3, 0), -2), "book.table names a codebook that does not exist"),
        ("book.table", put((1, 3, 0), len(DIMS)), "book.table names a codebook that does not exist"),
        ("book.table", put((0, 0, 5), PAIR), "a codebook's dimension is larger than its tile"),
        ("book.table", put((1, 2, 31), DIMS.tolist().index(8)), "a codebook's dimension is larger than its tile"),
        ("color", narrow, "color is wrong"),
        ("color", put((2, 0), COLOR_LIMIT + 1), "color is wrong"),
        ("color", put(1, -(COLOR_LIMIT // 3 + 1)), "color is wrong"),
        ("color", put((0, 1), -(1 << 31)), "color is wrong"),
        ("color", put(..., 1), "color has no inverse"),
        ("book.words", lambda array: array[:, None], "book tensors are not one-dimensional"),
        ("book.bits", lambda array: array[:, None], "book tensors are not one-dimensional"),
        ("book.alphabet", lambda array: array[None], "book tensors are not one-dimensional"),
        ("merge.maps", narrow, "merge.maps is wrong"),
        ("merge.maps", lambda array: array[:, :, None], "merge.maps is wrong"),
        ("merge.maps", lambda array: array[:0], "merge.maps is wrong"),
        ("merge.maps", lambda array: array.repeat(3, axis=0), "merge.maps is wrong"),
        ("merge.maps", put((2, 0), LITE.tensors["merge.form"].shape[1]), "merge.form is wrong"),
        ("merge.form", cut, "merge.form is wrong"),
        ("merge.form", narrow, "merge.form is wrong"),
        ("merge.dictionary", lambda array: array[:, :, :1], "merge.form is wrong"),
        ("merge.form", put((0, 0), 2 + len(LITE.tensors["pairs.zeros"])), "pairs are wrong"),
        ("pairs.zeros", cut, "pairs are wrong"),
        ("pairs.tails", narrow, "pairs are wrong"),
        ("dictionary.lengths", narrow, "dictionary.lengths is wrong"),
        ("dictionary.lengths", code(7, 12), "dictionary.lengths is wrong"),
        ("dictionary.lengths", code(7), "a dictionary's Huffman code is not complete"),
        ("dictionary.lengths", code(0), "a dictionary's Huffman code is not complete"),
        ("merge.dictionary", put((0, 0, 0), 1 + len(LENGTHS)), "merge.dictionary names a dictionary that does not exist"),
        ("pairs.zeros", add((3, 250), 1), "pairs lack runs"),
        ("pairs.zeros", add((0, 248), 1), "pairs lack runs"),
        ("pairs.tails", put((-1, 255), 0), "pairs lack runs"),
        ("pairs.zeros", put((5, 247), 1), "pairs lack the literal"),
        ("pairs.tails", put((5, 247), 255), "pairs lack the literal"),
        ("pairs.tails", put((0, 0), 257), "pairs have impossible symbols"),
        ("pairs.tails", put((0, 0), -2), "pairs have impossible symbols"),
        ("tile.05.mean", narrow, "weights of tile.05 have shapes"),
        ("tile.05.mean", gone, "weights of tile.05 have shapes"),
        ("tile.00.mean_own", narrow, "weights of tile.00 have shapes"),
        ("tile.27.scale", narrow, "weights of tile.27 have shapes"),
        ("tile.30.scale_own", cut, "weights of tile.30 have shapes"),
        ("tile.30.bias", cut, "weights of tile.30 have shapes"),
        ("dc.1.0.2.mean", narrow, "weights of dc.1.0.2 have shapes"),
        ("dc.1.0.2.mean", gone, "weights of dc.1.0.2 have shapes"),
        ("dc.2.1.0.scale", narrow, "weights of dc.2.1.0 have shapes"),
        ("dc.root.1.bias", narrow, "weights of dc.root.1 have shapes"),
        ("tile.00.mean", put((0, 0), -4096), "mean weights of tile.00 are too large to be exact"),
        ("tile.00.mean_own", put((0, 3), 4096), "mean weights of tile.00 are too large to be exact"),
        ("dc.0.2.1.mean", put((0, 0), 4096), "mean weights of dc.0.2.1 are too large to be exact"),
        ("tile.30.scale", put((0, 0), -(1 << 17)), "scale weights of tile.30 are too large to be exact"),
        ("tile.30.scale_own", put(1, 1 << 17), "scale weights of tile.30 are too large to be exact"),
        ("tile.30.bias", put((1, 1), 1 << 17), "scale weights of tile.30 are too large to be exact"),
        ("dc.2.1.0.scale", put((0, 0), 1 << 17), "scale weights of dc.2.1.0 are too large to be exact"),
        ("dc.root.0.bias", put((0, 0), -(1 << 24)), "scale weights of dc.root.0 are too large to be exact"),
    ],
)
def test_damage_is_told_of(name: str, change: Change, message: str) -> None:
    with pytest.raises(ModelError, match=f"^model: {message}"):
        damaged(LITE, name, change).check()


@pytest.mark.parametrize(
    ("names", "change", "message"),
    [
        (("book.dim", "book.size", "book.escape"), lambda array: array[:0], "book tensors differ in length"),
        (("book.dim", "book.size", "book.escape"), lambda array: np.resize(array, 256), "book tensors differ in length"),
        (("book.size", "book.escape"), emptied, "a codebook's size is wrong"),
        (("merge.form", "merge.dictionary"), cut, "merge.form is wrong"),
        (("pairs.zeros", "pairs.tails"), narrow, "pairs are wrong"),
    ],
)
def test_tensors_that_agree_with_each_other_alone_are_refused(names: tuple[str, ...], change: Change, message: str) -> None:
    model = LITE
    for name in names:
        model = damaged(model, name, change)
    with pytest.raises(ModelError, match=f"^model: {message}"):
        model.check()


def test_colours_and_weights_up_to_their_limits_are_taken() -> None:
    """Of either sign: bounds are of magnitudes."""
    damaged(LITE, "dictionary.lengths", code(7, 0)).check()
    damaged(LITE, "color", lambda array: np.diag([COLOR_LIMIT, -COLOR_LIMIT, 1]).astype(array.dtype)).check()
    damaged(LITE, "dc.0.2.1.mean", lambda array: put((0, 0), -4095)(0 * array)).check()


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


# ------------------------------------------------------------------------------------------------ folders


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that are looked for before all others; the one in it is damaged, and claims to be photo-lite."""
    model = damaged(LITE, "color", put(0, COLOR_LIMIT))
    save_model(tmp_path / "models" / "damaged", replace(model, summary={"name": "damaged", "id": LITE.id}))
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_others_are_listed_and_found_beside_a_damaged_model(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 4
    out, err = capsys.readouterr()
    assert err == f"vqcodec: {installed}/damaged: model: color is wrong\n"
    assert all(name in out for name in ("photo-lite", "photo-gan", "photo-denoise", "mnist-token", "mnist-prior"))
    assert "damaged" not in out
    assert registry.find_by_id(LITE.file_id).name == "photo-lite"
    with pytest.raises(ModelError, match="color is wrong"):
        registry.find("damaged")


def test_a_damaged_model_that_claims_to_be_the_one_is_told_of(installed: Path) -> None:
    """No other has the id: that it is not installed would be half of the truth."""
    summary = {"name": "damaged", "id": "0123456789ab" + 52 * "0"}
    save_model(installed / "damaged", replace(damaged(LITE, "color", put(0, COLOR_LIMIT)), summary=summary))
    with pytest.raises(ModelError, match="color is wrong"):
        registry.find_by_id(bytes.fromhex("0123456789ab"))
    with pytest.raises(ModelError, match="needs model 0123456789ac, which is not installed"):
        registry.find_by_id(bytes.fromhex("0123456789ac"))


def test_a_retrained_model_is_loaded_anew(tmp_path: Path) -> None:
    """By the same process and under the same path; one that did not change is not."""
    found = []
    for second in (1, 2):
        save_model(tmp_path, replace(damaged(LITE, "color", add((0, 0), second)), summary={}))
        os.utime(tmp_path / "model.safetensors", (second, second))
        found += [registry.find(tmp_path), registry.find(tmp_path)]
    assert [model.color[0, 0] - LITE.color[0, 0] for model in found] == [1, 1, 2, 2]
    assert found[0] is found[1]
    assert found[2] is found[3]


def test_means_of_the_two_passes_are_bounded_one_by_one() -> None:
    """The even pass has no neighbours of its own: its weights may be large where those of the odd pass are."""
    even, odd, own = ([[4000.0, 0.0]], [[0.0, 90.0]], [[4000.0, 0.0, 0.0, 0.0]])
    scale = {"scale": np.zeros((2, 1), np.float32), "scale_own": np.zeros(2, np.float32), "bias": np.zeros((2, 3), np.int64)}
    Predictor(np.array(even + odd, np.float32), np.array(own, np.float32), **scale).check_bounds("tile.00")
    with pytest.raises(ModelError, match=r"mean weights of tile\.00 are too large to be exact"):
        Predictor(np.array(odd + even, np.float32), np.array(own, np.float32), **scale).check_bounds("tile.00")
