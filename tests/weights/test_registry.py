"""Lookup of models: damaged ones do not hide others, retrained ones are loaded again."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.damage import add, damaged, put
from vqcodec.cli.main import main
from vqcodec.errors import ModelError
from vqcodec.transform.color import COLOR_LIMIT
from vqcodec.weights import registry
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
