"""Graphic models: what the pictures of a folder have in common, found and used."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.graphic_models import PROFILE, desktop, icons
from vqcodec.errors import InputError
from vqcodec.train import graphic
from vqcodec.train.data import TrainingImage
from vqcodec.train.graphic import fit, train_graphic
from vqcodec.train.watch import Stop, Watch
from vqcodec.weights import registry

ICONS = icons(np.random.default_rng(7))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are trained for seconds only."""
    monkeypatch.setattr(graphic, "_NETWORK_STEPS", 10)


def desktops(first: int, count: int) -> list[TrainingImage]:
    """Pictures of the same icons."""
    made = [desktop(np.random.default_rng(first + number), ICONS) for number in range(count)]
    return [TrainingImage(f"{number}", pixels, PROFILE) for number, pixels in enumerate(made)]


def unlike(count: int) -> list[TrainingImage]:
    """Pictures of which each has icons of its own."""
    rngs = [np.random.default_rng(100 + number) for number in range(count)]
    return [TrainingImage(f"{number}", desktop(rng, icons(rng))) for number, rng in enumerate(rngs)]


def saved(folder: Path, images: list[TrainingImage]) -> Path:
    folder.mkdir()
    for image in images:
        Image.fromarray(image.pixels).save(folder / f"{image.name}.png", icc_profile=image.icc or None)
    return folder


def test_a_new_picture_of_the_folder_gets_smaller() -> None:
    model = fit(desktops(0, 8), "icons", Watch())
    assert model.profiles == PROFILE
    for image in desktops(50, 3):
        plain = vqcodec.encode(image.pixels, lossless=True, threads=1)
        data = vqcodec.encode(image.pixels, lossless=True, model=model, threads=1)
        assert len(data) < 0.7 * len(plain)
        assert np.array_equal(vqcodec.decode(data, model=model), image.pixels)


def test_what_recurs_is_kept_about_once() -> None:
    few, many = (fit(desktops(0, count), "icons", Watch()) for count in (6, 16))
    assert sum(map(len, many.sheets)) < 2.2 * sum(map(len, few.sheets))


def test_equal_pictures_give_equal_models() -> None:
    assert fit(desktops(0, 4), "a", Watch()).id == fit(desktops(0, 4), "b", Watch()).id


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = saved(tmp_path / "screens", desktops(0, 12))
    trained = train_graphic(folder, tmp_path / "model")
    found, results = registry.find_graphic(tmp_path / "model"), trained.summary["held_out_results"]
    assert (trained.written, found.summary["kind"], found.summary["id"]) == (True, "graphic", found.id)
    assert results["pictures"] == 1
    assert results["with_model"] < 0.7 * results["without"]
    assert trained.summary["model_bytes"] == sum(array.nbytes for array in found.tensors.values())
    found = trained.comparison
    assert found is not None
    assert [line.name for line in found.lines] == ["without a model", "model", "WebP", "PNG"]
    assert found.lines[1].lossless_bytes < found.lines[0].lossless_bytes
    assert found.saved_bytes == found.lines[0].lossless_bytes - found.lines[1].lossless_bytes
    assert found.pays_after == math.ceil(found.model_bytes / found.saved_bytes)
    assert trained.summary["comparison"] == found.facts()
    assert json.loads((tmp_path / "model" / "model.json").read_text())["command"].startswith(
        "vqcodec train screens -o model --kind"
    )


def test_nothing_is_written_for_pictures_that_have_nothing_in_common(tmp_path: Path) -> None:
    folder = saved(tmp_path / "unlike", unlike(5))
    trained = train_graphic(folder, tmp_path / "model")
    assert trained.refusal == "1 held-out pictures have nothing in common with the others"
    assert not (tmp_path / "model").exists()
    kept = train_graphic(folder, tmp_path / "model", keep=True)
    assert kept.written
    model = registry.find_graphic(tmp_path / "model")
    pixels = desktops(0, 1)[0].pixels
    assert vqcodec.encode(pixels, lossless=True, model=model, threads=1) == vqcodec.encode(pixels, lossless=True, threads=1)


def test_two_pictures_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 pictures are too few"):
        train_graphic(saved(tmp_path / "two", unlike(2)), tmp_path / "model")


@pytest.mark.parametrize("side", [1, 7, 8])
def test_tiny_pictures(side: int) -> None:
    images = [TrainingImage(str(n), np.full((side, side, 3), n, np.uint8)) for n in range(3)]
    assert fit(images, "tiny", Watch()).sheets == []


def test_a_stop_during_the_check_keeps_the_model(tmp_path: Path) -> None:
    stop = Stop()

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "checking on held-out pictures":
            stop.at = 0.0  # long ago

    trained = train_graphic(saved(tmp_path / "screens", desktops(0, 12)), tmp_path / "model", progress=progress, stop=stop)
    assert (trained.written, trained.stopped) == (True, True)
    assert (
        trained.summary["notes"][-1] == "the time was over before a held-out picture was checked: what the model saves is unknown"
    )
    assert registry.find_graphic(tmp_path / "model").sheets


def test_without_torch_there_are_sheets_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vqcodec.neural.loop", None)
    trained = train_graphic(saved(tmp_path / "screens", desktops(0, 12)), tmp_path / "model")
    assert trained.summary["notes"] == ["without contexts: it needs torch: pip install 'vqcodec[neural]'"]
    assert (trained.summary["contexts"], trained.written) == (0, True)


def scan(seed: int) -> np.ndarray:
    """A page uint8 [160, 200] of blurred black strokes."""
    rng = np.random.default_rng(seed)
    page = np.full((160, 200), 255.0)
    for y, x in rng.integers(0, (150, 190), (150, 2)):
        page[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = 0
    blurred = (page + np.roll(page, 1, 0) + np.roll(page, 1, 1) + np.roll(page, (1, 1), (0, 1))) / 4
    return np.clip(blurred + rng.normal(0, 12, page.shape), 0, 255).astype(np.uint8)


def test_scans_get_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(graphic, "_NETWORK_STEPS", 150)
    pages = [TrainingImage(str(seed), scan(seed)) for seed in range(10)]
    trained = train_graphic(saved(tmp_path / "scans", pages), tmp_path / "model")
    assert (trained.written, trained.summary["sheets"], trained.summary["contexts"]) == (True, 0, 96)
    model = registry.find_graphic(tmp_path / "model")
    new = scan(99)
    for options in ({}, {"lossless": True}):
        plain, data = (vqcodec.encode(new, model=one, threads=1, **options) for one in (None, model))
        assert len(data) <= len(plain)
        assert np.array_equal(vqcodec.decode(data, model=model), vqcodec.decode(plain))
    assert trained.comparison is not None
    assert [line.name for line in trained.comparison.lines] == ["without a model", "model", "AVIF", "WebP", "PNG"]
    assert trained.comparison.lines[1].percent < 0


def test_little_time_leaves_contexts_out(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    trained = train_graphic(saved(tmp_path / "screens", desktops(0, 12)), tmp_path / "model", minutes=0.1)
    assert trained.written
