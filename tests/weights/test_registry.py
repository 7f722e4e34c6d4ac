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
from helpers.vqz_fields import resealed, with_synthesis
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.errors import ModelError
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


def test_a_model_decodes_files_of_those_that_it_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files name the older model; with or without -m, the newer one shows them as its own files."""
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path))
    older = ExactModel("older", LITE.tensors | random_network(6, 1, 0.1))
    made = ExactModel("newer", LITE.tensors | random_network(4, 2, 0.1))
    newer = replace(made, summary={"name": "newer", "kind": "neural", "id": made.id, "older_ids": ["e" * 64, older.id]})
    save_model(tmp_path / "newer", newer)
    assert registry.find_by_id(older.file_id).id == registry.find_by_id(newer.file_id).id == newer.id != older.id
    assert [registry.name_by_id(model.file_id) for model in (older, newer)] == ["newer", "newer"]
    picture = smooth_picture(72, 88)
    data = with_synthesis(api.encode(picture, quality=30, model=older))
    assert older.file_id in data
    np.testing.assert_array_equal(api.decode(data, refine="none"), api.decode(data, model=older, refine="none"))
    wanted = api.decode(resealed(data.replace(older.file_id, newer.file_id, 1)), model=newer)
    assert (wanted != api.decode(data, model=older)).any()  # the two networks restore differently
    (tmp_path / "a.vqz").write_bytes(data)
    for given in ([], ["-m", str(tmp_path / "newer")]):
        assert main(["decode", str(tmp_path / "a.vqz"), str(tmp_path / "a.png"), "-f", *given]) == 0
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(image), wanted)


@pytest.mark.parametrize("claimed", [["f" * 64], "e" * 64, 5, None])
def test_a_model_decodes_no_files_of_others(claimed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path))
    made = ExactModel("newer", LITE.tensors | random_network(4, 2, 0.1))
    save_model(tmp_path / "newer", replace(made, summary={"name": "newer", "id": made.id, "older_ids": claimed}))
    with pytest.raises(ModelError, match="not installed"):
        registry.find_by_id(bytes.fromhex("e" * 32))
    data = api.encode(smooth_picture(16, 16), model=replace(made, tensors=LITE.tensors | random_network(6, 1, 0.1)))
    with pytest.raises(ModelError, match="the file was made with model"):
        api.decode(data, model=tmp_path / "newer")


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


@pytest.fixture
def wheel_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only the models of the wheel are installed. A package of further models can be made in the folder."""
    models = Path(registry.__file__).resolve().parents[2] / "models"
    for name in ("photo", "photo-lite", "photo-denoise"):
        (tmp_path / "wheel").mkdir(exist_ok=True)
        (tmp_path / "wheel" / name).symlink_to(models / name)
    folders = registry.search_folders
    monkeypatch.setattr(registry, "search_folders", lambda: [tmp_path / "wheel", *folders()[:-1]])
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_missing_model_of_the_other_wheel_says_how_to_get_it(wheel_only: Path) -> None:
    with pytest.raises(ModelError, match=r"^model photo-gan is not installed: pip install vqcodec-models-extra "):
        registry.find_refiner(None)
    with pytest.raises(ModelError, match=r"^model mnist-prior is not installed: pip install vqcodec-models-extra "):
        registry.find_prior("mnist-prior")
    with pytest.raises(ModelError, match=r"^the file needs model photo-preview, .*: pip install vqcodec-models-extra "):
        registry.find_by_id(bytes.fromhex(registry.EXTRA_MODELS["photo-preview"]))
    assert registry.find_denoiser(None).name == "photo-denoise"


def test_models_of_the_other_wheel_are_found(wheel_only: Path) -> None:
    package = wheel_only / registry.EXTRA_PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "photo-gan").symlink_to(Path(registry.__file__).resolve().parents[2] / "models" / "photo-gan")
    assert registry.find_refiner(None).name == "photo-gan"
    assert package / "photo-gan" in [entry.path for entry in registry.list_models()]
