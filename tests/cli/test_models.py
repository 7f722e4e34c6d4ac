"""The command models, and models that are damaged, of another kind or in the wrong place."""

import json
import os
import shutil
from pathlib import Path

import pytest

from helpers.commands import run
from helpers.paths import REPOSITORY


def test_a_damaged_model_is_listed_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    for name in ("model.safetensors", "model.json"):
        (tmp_path / "broken" / name).write_bytes(b"rubbish")
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path))
    code, out, err = run(capsys, "models")
    assert code == 4
    assert "photo-lite" in out
    assert err.startswith(f"vqcodec: {tmp_path / 'broken'}: ")
    assert err.count("\n") == 1
    code, out, _ = run(capsys, "models", "--json")
    assert [entry["name"] for entry in json.loads(out)["models"] if entry["error"]] == ["broken"]


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "models")
    assert code == 0
    assert "photo-lite" in out
    code, out, _ = run(capsys, "models", "--json")
    assert code == 0
    assert "photo-lite" in [model["name"] for model in json.loads(out)["models"]]


def test_the_default_model_is_never_a_file_in_the_current_folder(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPOSITORY / "models" / "photo-lite", "photo")
    assert run(capsys, "encode", photo, "a.vqz")[0] == 0
    assert json.loads(run(capsys, "info", "a.vqz", "--json")[1])["model"] == "photo"
    assert run(capsys, "encode", photo, "b.vqz", "-m", "photo")[0] == 0  # by name it is found
    assert json.loads(run(capsys, "info", "b.vqz", "--json")[1])["model"] == "photo-lite"


def test_damaged_models_do_no_harm_to_others(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut, flipped = (tmp_path / name for name in ("c-whole", "a-cut", "b-flipped"))
    for folder in (whole, cut, flipped):
        shutil.copytree(REPOSITORY / "models" / "photo-lite", folder / "mine")
    tensors = (whole / "mine" / "model.safetensors").read_bytes()
    at = len(tensors) // 2
    (cut / "mine" / "model.safetensors").write_bytes(tensors[:-9])
    (flipped / "mine" / "model.safetensors").write_bytes(tensors[:at] + bytes((tensors[at] ^ 1,)) + tensors[at + 1 :])
    monkeypatch.setenv("VQCODEC_MODELS", os.pathsep.join(map(str, (cut, flipped, whole))))
    assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-m", whole / "mine")[0] == 0
    assert run(capsys, "decode", tmp_path / "a.vqz", tmp_path / "a.png")[0] == 0
    code, _, err = run(capsys, "encode", photo, tmp_path / "b.vqz", "-m", flipped / "mine")
    assert code == 4
    assert "is damaged: its tensors are not those" in err


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (["encode", "photo.png", "new.vqz", "-m", "photo-gan"], "photo-gan is a refiner, for decode --refine gan --refiner"),
        (["encode", "photo.png", "new.vqz", "-m", "photo-denoise"], "photo-denoise is a denoiser, for denoise -m"),
        (["encode", "photo.png", "new.vqz", "-m", "mnist-prior"], "mnist-prior is a token prior, for generate -m and repair -m"),
        (["encode", "photo.png", "new.vqz", "-m", "MODELS/photo-gan"], "it is a refiner, for decode --refine gan --refiner"),
        (["decode", "photo.vqz", "new.png", "-m", "mnist-prior"], "mnist-prior is a token prior, for generate -m and repair -m"),
        (["info", "photo.vqz", "-m", "photo-gan"], "photo.vqz: no model named photo-gan (installed: "),
        (
            ["decode", "photo.vqz", "new.png", "--refine", "gan", "--refiner", "photo"],
            "photo is a lite or neural model, for encode -m",
        ),
        (["denoise", "photo.png", "new.png", "-m", "photo"], "photo is a lite or neural model"),
        (["denoise", "photo.png", "new.png", "-m", "MODELS/photo"], "it is a lite or neural model, for encode -m"),
        (["generate", "-m", "photo", "-o", "new.png"], "photo is a lite or neural model, for encode -m"),
        (["generate", "-m", "photo-gan", "-o", "new.png"], "photo-gan is a refiner, for decode --refine gan --refiner"),
        (
            ["repair", "photo.png", "new.png", "-m", "mnist-token", "--mask", "photo.png"],
            "mnist-token is a token model, for encode -m",
        ),
    ],
    ids=" ".join,
)
def test_the_error_for_a_model_of_another_kind_names_its_kind(
    vqz: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reported: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *(word.replace("MODELS", str(REPOSITORY / "models")) for word in arguments))
    assert (code, out) == (4, "")
    assert reported in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("new.*"))
