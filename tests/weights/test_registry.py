"""Lookup of models: damaged ones do not hide others, retrained ones are loaded again."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.damage import add, damaged, put
from helpers.networks import random_network
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.errors import ModelError
from vqcodec.nets.synthesis import FEATURES, OUTPUTS
from vqcodec.transform.color import COLOR_LIMIT
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import save_model
from vqcodec.weights.kinds import DENOISER, EXACT, REFINER

LITE = registry.find("photo-lite")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that is searched first. The one model in it is damaged and claims the id of photo-lite."""
    model = damaged(LITE, "color", put(0, COLOR_LIMIT))
    save_model(tmp_path / "models" / "damaged", replace(model, summary={"name": "damaged", "id": LITE.id}))
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_damaged_model_does_not_hide_others(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 4
    out, err = capsys.readouterr()
    assert err == f"vqcodec: {installed}/damaged: model: color is wrong\n"
    assert all(name in out for name in ("photo-lite", "photo-gan", "photo-denoise", "mnist-token", "mnist-prior"))
    assert "damaged" not in out
    assert registry.find_by_id(LITE.file_id).name == "photo-lite"
    with pytest.raises(ModelError, match="color is wrong"):
        registry.find("damaged")


def test_a_damaged_model_that_claims_the_id_is_reported(installed: Path) -> None:
    """No other model has the id, so "not installed" would be half of the truth."""
    summary = {"name": "damaged", "id": "0123456789ab" + 52 * "0"}
    save_model(installed / "damaged", replace(damaged(LITE, "color", put(0, COLOR_LIMIT)), summary=summary))
    with pytest.raises(ModelError, match="color is wrong"):
        registry.find_by_id(bytes.fromhex("0123456789ab"))
    with pytest.raises(ModelError, match="needs model 0123456789ac, which is not installed"):
        registry.find_by_id(bytes.fromhex("0123456789ac"))


def test_a_retrained_model_is_loaded_again(tmp_path: Path) -> None:
    """A running process finds the new model at the old path. An unchanged model is loaded once."""
    found = []
    for second in (1, 2):
        save_model(tmp_path, replace(damaged(LITE, "color", add((0, 0), second)), summary={}))
        os.utime(tmp_path / "model.safetensors", (second, second))
        found += [registry.find(tmp_path), registry.find(tmp_path)]
    assert [model.color[0, 0] - LITE.color[0, 0] for model in found] == [1, 1, 2, 2]
    assert found[0] is found[1]
    assert found[2] is found[3]


def with_eyes(model: ExactModel) -> ExactModel:
    """The model with a second synthesis for files with masking, and model.json as training writes it."""
    tensors = model.tensors | random_network(6, 1, 0.1) | random_network(6, 1, 0.1, kind="synthesis_ssim", ends=(FEATURES, OUTPUTS))
    made = ExactModel("newer", tensors)
    assert made.held is not None
    return replace(made, summary={"name": "newer", "kind": "neural", "id": made.id, "base_id": made.held.id})


def test_a_model_with_a_second_synthesis_decodes_files_of_the_one_it_was_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files name the older model, and decode as before, with or without -m."""
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path))
    newer = with_eyes(LITE)
    older = newer.held
    assert older is not None
    assert older.held is None
    assert older.id != newer.id
    save_model(tmp_path / "newer", newer)
    assert registry.find_by_id(newer.file_id).tensors.keys() == newer.tensors.keys()
    assert registry.find_by_id(older.file_id).tensors.keys() == older.tensors.keys()
    assert [registry.name_by_id(model.file_id) for model in (older, newer)] == ["newer", "newer"]
    picture = smooth_picture(72, 88)
    for model in (older, newer):
        data = api.encode(picture, quality=30, model=model, tune="ssim")
        wanted = api.decode(data, model=model)
        np.testing.assert_array_equal(api.decode(data), wanted)
        np.testing.assert_array_equal(api.decode(data, model=newer), wanted)
        (tmp_path / "a.vqz").write_bytes(data)
        assert main(["decode", str(tmp_path / "a.vqz"), str(tmp_path / "a.png"), "-m", str(tmp_path / "newer"), "-f"]) == 0
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(image), wanted)
    save_model(tmp_path / "newer", replace(newer, summary=newer.summary | {"base_id": "f" * 64}))
    with pytest.raises(ModelError, match="not installed"):
        registry.find_by_id(older.file_id)


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (registry.find, "mnist-token", "mnist-token is a token model, not a lite or neural model"),
        (registry.find_token, "photo-lite", "photo-lite is a lite or neural model, not a token model"),
        (registry.find, "photo-gan", "no model named photo-gan .*: photo-gan is a refiner, for decode --refine gan --refiner"),
        (registry.find_refiner, "mnist-token", "no refiner named mnist-token .*: mnist-token is a token model, for encode -m"),
        (registry.find_denoiser, "photo", "no denoiser named photo .*: photo is a lite or neural model, for encode -m"),
        (
            registry.find_prior,
            "photo-denoise",
            "no token prior named photo-denoise .*is a denoiser, for denoise -m",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused(find: Callable[[str], object], name: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"^{message}$"):
        find(name)


def test_each_kind_has_its_default() -> None:
    for kind, find in ((EXACT, registry.find), (REFINER, registry.find_refiner), (DENOISER, registry.find_denoiser)):
        assert find(None).name == kind.default
