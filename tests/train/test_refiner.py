"""`vqcodec train --kind refiner`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import smooth_picture
from vqcodec.cli.main import main
from vqcodec.weights import registry

Pixels = np.ndarray


@pytest.fixture(scope="module")
def picture(still_life: Pixels) -> Pixels:
    """A part of a sample, 133 x 96 pixels."""
    return still_life[60:156, 40:173]


@pytest.mark.slow
def test_the_command_trains_one(picture: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(picture[:, 10 * number : 10 * number + 96]).save(folder / f"{number}.png")
    output, log = tmp_path / "sharp", tmp_path / "log.jsonl"
    given = ["--kind", "refiner", "--init", "photo-lite", "--steps", "2", "--log", str(log), "--lambda-a", "0.1"]
    assert main(["train", str(folder), "-o", str(output), *given]) == 0, capsys.readouterr().err
    summary = json.loads((output / "model.json").read_text())
    assert summary["kind"] == "refiner"
    assert "--lambda-a 0.1" in summary["command"]
    assert summary["macs_per_pixel"] <= 60_000
    assert (output / "model.safetensors").stat().st_size < 10_000_000
    assert summary["id"] == registry.find_refiner(output).id
    assert not list(tmp_path.glob("*.checkpoint"))
    given = ["--kind", "refiner", "--init", "photo-lite", "--refiner", str(output), "--steps", "1"]
    assert main(["train", str(folder), "-o", str(tmp_path / "on"), *given]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "on" / "model.json").read_text())["refiner_id"] == summary["id"]
    assert main(["train", str(folder), "-o", str(tmp_path / "b"), "--kind", "neural", "--sheets", str(tmp_path)]) == 2
    assert main(["train", str(folder), "-o", str(tmp_path / "b"), "--kind", "refiner", "--perceptual", str(tmp_path)]) == 3


def test_refiners_learn_on_decodes_of_the_lite_model_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train import refiner
    from vqcodec.train.training_run import TrainingRun

    Image.fromarray(smooth_picture(24, 24)).save(tmp_path / "a.png")

    def samples(images: Any, models: Any, *_: Any) -> None:
        raise LookupError(*(model.name for model in models))

    monkeypatch.setattr(refiner, "make_refiner_samples", samples)
    for init, names in (("photo", ("photo", "photo-lite")), ("photo-lite", ("photo-lite",))):
        with pytest.raises(LookupError) as error:
            refiner.train_refiner(TrainingRun(tmp_path, tmp_path / "new", steps=1), init=init)
        assert error.value.args == names
