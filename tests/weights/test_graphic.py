"""Graphic models are checked when they are loaded."""

from pathlib import Path

import numpy as np
import pytest

from helpers.graphic_models import contexts_model, desktop, graphic_model, icons, saved_model
from vqcodec import api
from vqcodec.codec.pattern_book import PatternBook
from vqcodec.errors import ModelError
from vqcodec.weights import registry
from vqcodec.weights.graphic import GraphicModel, tensors_of

PICTURE = desktop(np.random.default_rng(0), icons(np.random.default_rng(1)), 40, 40, 2)


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = graphic_model([PICTURE, PICTURE[:20]])
    found = registry.find_graphic(saved_model(tmp_path, model))
    assert (found.id, found.sheets, found.profiles) == (model.id, model.sheets, model.profiles)


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        (b"not a file", "a sheet is damaged: not a .vqz file"),
        (api.encode(PICTURE[:, :, :3], lossless=True), "a sheet is not a file without layers, of red"),
        (api.encode(PICTURE.astype(np.uint16) * 257, lossless=True), "a sheet is not a file without layers, of red"),
    ],
)
def test_damaged_sheets_are_refused(sheet: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        GraphicModel("x", tensors_of([sheet], [])).check()


def test_wrong_tensors_are_refused() -> None:
    tensors = graphic_model([PICTURE]).tensors
    for changed in (
        tensors | {"sheet.bytes": tensors["sheet.bytes"] + np.uint32(1)},
        tensors | {"sheet.bytes": tensors["sheet.bytes"].astype(np.int64)},
        tensors | {"profiles": np.zeros((2, 8), np.uint8)},
        {name: array for name, array in tensors.items() if name != "profiles"},
    ):
        with pytest.raises(ModelError):
            GraphicModel("x", changed).check()


def test_a_saved_network_comes_back(tmp_path: Path) -> None:
    model = contexts_model()
    found = registry.find_graphic(saved_model(tmp_path, model))
    assert (found.id, found.sheets) == (model.id, [])
    assert found.network is not None
    assert found.network.count == 12


def test_wrong_networks_are_refused() -> None:
    tensors = contexts_model().tensors
    for changed in (
        tensors | {"pixels.out": tensors["pixels.out"].astype(np.float32)},
        tensors | {"pixels.first": np.full((6, 36), 32767, np.int16)},
        {name: array for name, array in tensors.items() if name != "pixels.second"},
    ):
        with pytest.raises(ModelError):
            GraphicModel("x", changed).check()


def test_a_damaged_sheet_is_found_when_it_is_used() -> None:
    model = graphic_model([PICTURE])
    data = api.encode(PICTURE, lossless=True, model=model, threads=1)
    broken = model.sheets[0][:-1] + bytes((model.sheets[0][-1] ^ 1,))
    book = PatternBook(GraphicModel("x", tensors_of([broken], [])))
    with pytest.raises(ModelError, match="sheet 0 is damaged"):
        book.sheet(0)
    assert np.array_equal(api.decode(data, model=model), PICTURE)
