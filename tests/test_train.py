"""`train` on tiny folders: what it makes, that it makes it again, and that nothing is lost when it fails."""

import json
import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import REPOSITORY
from vqcodec import api, registry
from vqcodec.bench.metrics import measure, psnr_db
from vqcodec.cli import main
from vqcodec.errors import InputError, LimitError, OutputError
from vqcodec.interrupts import termination_raises
from vqcodec.processes import processes
from vqcodec.registry import load_model
from vqcodec.train import lite, streams
from vqcodec.train.data import TrainingImage, load_corpus
from vqcodec.train.sessions import LiteSettings
from vqcodec.weights import TENSORS, save_model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight crops of the samples, one of them grey, in a folder with a licence and a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    for number in range(8):
        name = ("still_life", "landscape")[number % 2]
        with Image.open(REPOSITORY / "samples" / f"{name}.png") as image:
            corner = (40 * number, 30 * number, 40 * number + 112, 30 * number + 88)
            crop = image.convert("L" if number == 3 else "RGB").crop(corner)
        crop.save(folder / ("sub" if number > 5 else ".") / f"{number}.png")
    (folder / "LICENSE.txt").write_text("\nPublic domain\n\nNo rights reserved.\n")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    return folder


@pytest.fixture(scope="module", autouse=True)
def little_work() -> Iterator[None]:
    """Few small files and merge maps: the rest takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lite, "_SMALL_FILES", 12)
        patch.setattr(lite, "_FEW_FILES", 14)
        patch.setattr(lite, "LiteSettings", lambda seed, sweeps=1, **others: LiteSettings(seed, sweeps, **others))
        patch.setattr(streams, "MAP_SIZES", (12, 4))
        yield


@pytest.fixture(scope="module")
def from_scratch(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("models") / "scratch"
    lite.train_lite(pictures, model, init=None, minutes=1)
    return model


def summary(model: Path) -> dict:
    return json.loads((model / "model.json").read_text())


def test_a_model_from_scratch_codes_pictures_of_its_kind(pictures: Path, from_scratch: Path) -> None:
    pixels = np.asarray(Image.open(pictures / "1.png"))
    found = [api.encode(pixels, quality=q, model=from_scratch) for q in (30, 60, 90)]
    quality = [psnr_db(measure(pixels, api.decode(data, model=from_scratch), psnr_only=True).mse_rgb) for data in found]
    assert quality == sorted(quality)
    assert quality[-1] > 38
    assert list(map(len, found)) == sorted(map(len, found))
    assert len(found[0]) < pixels.size / 20


def test_the_report_says_what_it_was_made_of(from_scratch: Path) -> None:
    facts = summary(from_scratch)
    assert facts["id"] == load_model(from_scratch).id
    corpus = facts["corpus"]
    assert (corpus["images"], corpus["trained_on"], corpus["held_out"], corpus["skipped"]) == (8, 7, 1, 1)
    assert corpus["skipped_files"][0].startswith("broken.png: ")
    assert corpus["licences"] == {"LICENSE.txt": "Public domain"}
    assert [point["step"] for point in facts["held_out_results"]] == [12, 28, 64]
    for book in facts["codebooks"]:
        assert 0 <= book["used"] <= 256
        assert 0 <= book["entropy_bits"] <= 8
    assert sum(book["used"] > 1 for book in facts["codebooks"]) > 20


def test_same_pictures_and_seed_same_model(pictures: Path, from_scratch: Path, tmp_path: Path) -> None:
    archive = tmp_path / "pictures.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(pictures.rglob("*"), reverse=True):
            if path.is_file():
                tar.add(path, path.relative_to(pictures))
    again = lite.train_lite(archive, tmp_path / "again", init=None, minutes=1)
    assert again["id"] == summary(from_scratch)["id"]


def test_a_refined_model_is_never_worse(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "STRENGTHS", (300.0,))
    facts = lite.train_lite(pictures, tmp_path / "own", init="photo-lite", minutes=1)
    candidates = facts["candidates"]
    assert "photo-lite unchanged" in candidates
    assert len(candidates) >= 2
    assert candidates[facts["method"]] == min(candidates.values())


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        lite.train_lite(tmp_path, tmp_path / "model", init=None)


def test_what_is_left_out_is_told(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lite, "STRENGTHS", ())
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    (folder / "a.tar").write_bytes(b"no archive")
    (tmp_path / "photo-lite").mkdir()  # named as the default one is, which this is not
    for name in ("model.json", TENSORS):
        (tmp_path / "photo-lite" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(folder), "-o", "own"]) == 0
    told = capsys.readouterr().err
    assert "vqcodec: note: 2 files were left out, first a.tar: a tar archive that cannot be read\n" in told
    assert summary(tmp_path / "own")["command"].startswith("vqcodec train pictures -o own --init photo-lite ")
    assert main(["train", str(folder / "a.tar"), "-o", "another"]) == 3
    assert "a.tar: no images to train on (1 left out, first a.tar: a tar" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_written_is_an_error_of_the_output(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import Schedule, save_checkpoint

    with pytest.raises(OutputError, match="no/such"):
        save_checkpoint(tmp_path / "no" / "such", Schedule(steps=1), 1, 1.0, {})
    name = "a" * 250  # a model could have it, its checkpoints could not
    assert main(["train", str(pictures), "-o", str(tmp_path / name), "--kind", "denoiser", "--steps", "1"]) == 5
    assert "cannot write" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_process_that_dies_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LimitError, match="died, perhaps of too little memory"), processes(1) as pool:
        pool.submit(os.abort).result()


def terminated(folder: Path) -> None:
    with termination_raises():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            (folder / "cleaned up").touch()


def test_a_process_that_is_terminated_at_work_cleans_up_and_ends(tmp_path: Path) -> None:
    """It would wait for more work, for ever where its parent was killed."""
    with pytest.raises(LimitError, match="died"), processes(1) as pool:
        pool.submit(terminated, tmp_path).result()
    assert (tmp_path / "cleaned up").exists()


def test_what_a_file_is_in_the_way_of_is_never_replaced(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="and is not replaced"):
            lite.train_lite(pictures, tmp_path / "file", init=None, overwrite=overwrite)


def test_an_output_that_is_there_is_refused_before_the_work(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):  # a folder that holds no model is not replaced even then
        with pytest.raises(OutputError):
            lite.train_lite(pictures / "nowhere", tmp_path, init=None, overwrite=overwrite)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_model(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    old = tmp_path / "model"
    shutil.copytree(REPOSITORY / "models" / "photo-lite", old)

    def fail(folder: Path, model: object) -> None:
        (folder / TENSORS).write_bytes(b"half")
        raise error

    monkeypatch.setattr(lite, "save_model", fail)
    monkeypatch.setattr(lite, "STRENGTHS", ())  # nothing to train: the writing is tried
    with pytest.raises((OutputError, KeyboardInterrupt)):
        lite.train_lite(pictures, old, init="photo-lite", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert load_model(old).id == load_model(REPOSITORY / "models" / "photo-lite").id


def test_a_log_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.log import TrainingLog

    (tmp_path / "file").touch()
    for lines, board, sheets in (
        (tmp_path / "none" / "log", None, None),
        (tmp_path, None, None),
        (None, tmp_path / "file", None),
        (None, None, tmp_path / "file"),
    ):
        with pytest.raises(OutputError, match="cannot write"):
            TrainingLog(lines, board, sheets)


def test_a_finished_model_replaces_the_old_one(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "model"
    old.mkdir()
    (old / TENSORS).write_bytes(b"old")
    (old / "model.json").write_bytes(b"old")
    (old / "notes.txt").write_bytes(b"mine")
    monkeypatch.setattr(lite, "STRENGTHS", ())
    with pytest.raises(OutputError, match=r"notes\.txt is there, too, and would be lost"):
        lite.train_lite(pictures, old, init="photo-lite", overwrite=True)
    (old / "notes.txt").unlink()
    lite.train_lite(pictures, old, init="photo-lite", overwrite=True)
    assert sorted(path.name for path in old.iterdir()) == ["model.json", TENSORS]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_flat_picture_does_not_outweigh_all_others() -> None:
    """Its PSNR is infinite."""
    flat = TrainingImage("flat.png", np.full((16, 16, 1), 255, np.uint8))
    assert all(np.isfinite(list(point.values())).all() for point in lite.held_out_points(registry.find("photo-lite"), [flat]))


def test_names_of_any_bytes_and_archives_that_are_cut_off(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    files = sorted(pictures.rglob("*.png"))[:3]
    try:
        shutil.copy(files[0], os.path.join(os.fsencode(folder), b"\xe8.png"))
        Path(os.fsdecode(os.path.join(os.fsencode(folder), b"\xe9.png"))).write_bytes(b"none")
    except OSError:
        pytest.skip("names are Unicode here")
    with tarfile.open(folder / "cut.tar", "w:gz") as archive:
        for path in files[1:]:
            archive.add(path, path.name)
    whole = (folder / "cut.tar").read_bytes()
    corpus = load_corpus(folder, lambda *_: None)
    assert len(corpus.train + corpus.held_out) == 3
    (folder / "cut.tar").write_bytes(whole[: len(whole) // 2])
    corpus = load_corpus(folder, lambda *_: None)
    assert len(corpus.train + corpus.held_out) == 1
    assert [name for name, _ in corpus.skipped] == ["cut.tar", os.fsdecode(b"\xe9.png")]
    model = registry.find("photo-lite")
    save_model(tmp_path / "model", replace(model, summary={"corpus": corpus.facts()}))
    assert json.loads((tmp_path / "model" / "model.json").read_text("utf-8"))["corpus"]["skipped"] == 2
