"""Damaged exact models are refused, wherever the damage is."""

import numpy as np
import pytest

from helpers.damage import Change, add, damaged, gone, put
from helpers.networks import random_network
from vqcodec.entropy.codebooks import ALPHABET, ALPHABET_RAW_BITS
from vqcodec.errors import ModelError
from vqcodec.nets.synthesis import FEATURES, OUTPUTS
from vqcodec.transform.color import COLOR_LIMIT
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel

LITE = registry.find("photo-lite")
DIMS, MAPS, LENGTHS = (LITE.tensors[name] for name in ("book.dim", "merge.maps", "dictionary.lengths"))
PAIR = DIMS.tolist().index(2)
"""Number of a two-dimensional codebook; codebook 0 is scalar."""
LARGE = int(np.flatnonzero(ALPHABET_RAW_BITS[LITE.tensors["book.alphabet"][: len(ALPHABET)]])[0])


def code(*lengths: int) -> Change:
    """Code lengths of the first bytes of dictionary 3; all others get 8."""

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
    """Sizes or escapes with one codebook that has no codewords."""
    return put(PAIR, 0 if array.dtype == np.uint16 else -1)(array)


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
def test_damage_is_reported(name: str, change: Change, message: str) -> None:
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
def test_tensors_that_only_agree_with_each_other_are_refused(names: tuple[str, ...], change: Change, message: str) -> None:
    model = LITE
    for name in names:
        model = damaged(model, name, change)
    with pytest.raises(ModelError, match=f"^model: {message}"):
        model.check()


def test_values_up_to_their_limits_are_accepted() -> None:
    """Limits are of magnitudes: either sign is accepted."""
    damaged(LITE, "dictionary.lengths", code(7, 0)).check()
    damaged(LITE, "color", lambda array: np.diag([COLOR_LIMIT, -COLOR_LIMIT, 1]).astype(array.dtype)).check()
    damaged(LITE, "dc.0.2.1.mean", lambda array: put((0, 0), -4095)(0 * array)).check()


def with_network(tensors: dict[str, np.ndarray]) -> None:
    ExactModel("test", {**LITE.tensors, **tensors}).check()


@pytest.mark.parametrize("name", ["head", "expand_bias", "tail"])
def test_bad_weights_of_the_synthesis_are_refused(name: str) -> None:
    tensors = random_network(4, 1, 0.1)
    for bad in (tensors[f"synthesis.{name}"][:-1], np.full_like(tensors[f"synthesis.{name}"], np.inf)):
        with pytest.raises(ModelError, match=r"synthesis\.\w+ is wrong"):
            with_network({**tensors, f"synthesis.{name}": bad})
    del tensors[f"synthesis.{name}"]
    if name != "head":  # without a head there is no network
        with pytest.raises(ModelError, match="is missing"):
            with_network(tensors)


def test_files_with_masking_have_a_synthesis_of_their_own_where_the_model_has_one() -> None:
    eyes = random_network(5, 2, 0.1, kind="synthesis_ssim", ends=(FEATURES, OUTPUTS))
    for tensors, kinds in (
        ({}, ("synthesis", "synthesis")),
        (random_network(4, 1, 0.1), ("synthesis", "synthesis")),
        (random_network(4, 1, 0.1) | eyes, ("synthesis", "synthesis_ssim")),
    ):
        model = ExactModel("test", {**LITE.tensors, **tensors})
        model.check()
        assert (model.synthesis_kind(0), model.synthesis_kind(4)) == kinds
    with pytest.raises(ModelError, match=r"synthesis_ssim\.tail is wrong"):
        with_network({**eyes, "synthesis_ssim.tail": eyes["synthesis_ssim.tail"][1:]})
