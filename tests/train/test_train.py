"""`train` on tiny folders: the models it makes, repeatability, and failures that lose nothing."""

import json
import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from vqcodec import api
from vqcodec.bench.metrics import psnr_rgb_db
from vqcodec.cli.main import main
from vqcodec.codec import walk
from vqcodec.codec.choices import LAMBDA
from vqcodec.codec.symbols import EncoderWriter
from vqcodec.entropy.context import LinearOnly
from vqcodec.entropy.dc_pyramid import SCALE_ROWS
from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES_PER_OCTAVE, SCALE_SHIFT
from vqcodec.errors import InputError, LimitError, OutputError
from vqcodec.runtime.interrupts import termination_raises
from vqcodec.runtime.processes import processes
from vqcodec.train import assembly, data, lite, selection, sessions, streams
from vqcodec.train.data import load_corpus
from vqcodec.train.held_out import Figures, Point
from vqcodec.train.settings import ExactSettings
from vqcodec.transform.layouts import LATENT_UNIT, Tile
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import TENSORS, save_model

FEW = ExactSettings(sweeps=1, small_files=12, few_files=14)
"""One sweep and few small files, so that a training takes seconds."""
LITE = REPOSITORY / "models" / "photo-lite"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight crops of the samples, one of them grey, in a folder with a licence and a file that is not a picture."""
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
    """Train few merge maps, and accept few pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "MAP_SIZES", (12, 4))
        patch.setattr(data, "LEAST_HELD_OUT", 0)
        patch.setattr(data, "LEAST_TRAINED_ON", 0)
        patch.setattr(lite, "LEAST_HELD_OUT", 0)
        yield


@pytest.fixture(scope="module")
def from_scratch(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("models") / "scratch"
    lite.train_lite(pictures, model, init=None, settings=FEW)
    return model


def summary(model: Path) -> dict:
    return json.loads((model / "model.json").read_text())


@pytest.mark.slow
def test_a_model_from_scratch_codes_pictures_of_its_kind(pictures: Path, from_scratch: Path) -> None:
    pixels = np.asarray(Image.open(pictures / "1.png"))
    found = [api.encode(pixels, quality=q, model=from_scratch) for q in (30, 60, 90)]
    quality = [psnr_rgb_db(pixels, api.decode(data, model=from_scratch)) for data in found]
    assert quality == sorted(quality)
    assert quality[-1] > 38
    assert list(map(len, found)) == sorted(map(len, found))
    assert len(found[0]) < pixels.size / 20


@pytest.mark.slow
def test_the_report_describes_its_corpus(from_scratch: Path) -> None:
    facts = summary(from_scratch)
    assert facts["id"] == ExactModel.load(from_scratch).id
    corpus = facts["corpus"]
    assert (corpus["images"], corpus["trained_on"], corpus["held_out"], corpus["skipped"]) == (8, 7, 1, 1)
    assert corpus["skipped_files"][0].startswith("broken.png: ")
    assert corpus["licences"] == {"LICENSE.txt": "Public domain"}
    assert [point["step"] for point in facts["held_out_results"]] == [12, 28, 64]
    for book in facts["codebooks"]:
        assert 0 <= book["used"] <= 256
        assert 0 <= book["entropy_bits"] <= 8
    assert sum(book["used"] > 1 for book in facts["codebooks"]) > 20


@pytest.mark.slow
def test_same_pictures_and_seed_same_model(pictures: Path, from_scratch: Path, tmp_path: Path) -> None:
    archive = tmp_path / "pictures.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(pictures.rglob("*"), reverse=True):
            if path.is_file():
                tar.add(path, path.relative_to(pictures))
    again = lite.train_lite(archive, tmp_path / "again", init=None, settings=FEW)
    assert again.summary["id"] == summary(from_scratch)["id"]


@pytest.mark.slow
def test_a_refined_model_is_never_worse(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "STRENGTHS", (300.0,))
    monkeypatch.setattr(selection, "_SMALLEST_PIECE", 24)
    facts = lite.train_lite(pictures, tmp_path / "own", init="photo-lite", settings=FEW, keep=True).summary
    candidates = facts["candidates"]
    assert len(candidates) == 2
    assert candidates[facts["method"]] <= candidates["photo-lite unchanged"]
    assert (facts["method"] == "photo-lite unchanged") == bool(facts["notes"])


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        lite.train_lite(tmp_path, tmp_path / "model", init=None)


def test_files_that_are_left_out_are_reported(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lite, "STRENGTHS", ())
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    (folder / "a.tar").write_bytes(b"no archive")
    (tmp_path / "photo-lite").mkdir()  # has the default model's name, but must not be taken for it
    for name in ("model.json", TENSORS):
        (tmp_path / "photo-lite" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(folder), "-o", "own", "--kind", "lite", "--keep"]) == 0
    reported = capsys.readouterr().err
    assert "held out to check the result; 2 files left out, first a.tar: a tar archive that cannot be read\n" in reported
    assert summary(tmp_path / "own")["command"].startswith("vqcodec train pictures -o own --kind lite --init photo-lite ")
    assert main(["train", str(folder / "a.tar"), "-o", "another", "--kind", "lite"]) == 3
    assert "a.tar: no images to train on (1 left out, first a.tar: a tar" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_written_is_an_error_of_the_output(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import Schedule, save_checkpoint

    with pytest.raises(OutputError, match="no/such"):
        save_checkpoint(tmp_path / "no" / "such", Schedule(steps=1), 1, 1.0, {})
    name = "a" * 250  # short enough for a model, too long with the checkpoint's suffix
    assert main(["train", str(pictures), "-o", str(tmp_path / name), "--kind", "denoiser", "--steps", "1"]) == 5
    assert "cannot write" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_process_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LimitError, match="died, perhaps of too little memory"), processes(1) as pool:
        list(pool.map(os._exit, [1]))


def terminated(folder: Path) -> None:
    with termination_raises():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            (folder / "cleaned up").touch()


def test_a_process_that_is_terminated_at_work_cleans_up_and_ends(tmp_path: Path) -> None:
    """Otherwise it would wait for more work, forever if its parent was killed."""
    with pytest.raises(LimitError, match="died"), processes(1) as pool:
        list(pool.map(terminated, [tmp_path]))
    assert (tmp_path / "cleaned up").exists()


def test_a_file_is_never_replaced_by_a_model_folder(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="and is not replaced"):
            lite.train_lite(pictures, tmp_path / "file", init=None, overwrite=overwrite)


def test_an_output_that_is_there_is_refused_before_the_work(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):  # a folder without a model is never replaced
        with pytest.raises(OutputError):
            lite.train_lite(pictures / "nowhere", tmp_path, init=None, overwrite=overwrite)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("error", fast_first([OSError(28, "No space left on device"), KeyboardInterrupt()]))
def test_a_failure_leaves_the_old_model(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    old = tmp_path / "model"
    shutil.copytree(REPOSITORY / "models" / "photo-lite", old)

    def fail(folder: Path, model: object) -> None:
        (folder / TENSORS).write_bytes(b"half")
        raise error

    monkeypatch.setattr(lite, "save_model", fail)
    monkeypatch.setattr(lite, "STRENGTHS", ())  # nothing is trained, so the test reaches the writing
    with pytest.raises((OutputError, KeyboardInterrupt)):
        lite.train_lite(pictures, old, init="photo-lite", overwrite=True, keep=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert ExactModel.load(old).id == ExactModel.load(REPOSITORY / "models" / "photo-lite").id


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
    with pytest.raises(OutputError, match=r"notes\.txt in it would be lost"):
        lite.train_lite(pictures, old, init="photo-lite", overwrite=True, keep=True)
    (old / "notes.txt").unlink()
    lite.train_lite(pictures, old, init="photo-lite", overwrite=True, keep=True)
    assert sorted(path.name for path in old.iterdir()) == ["model.json", TENSORS]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


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


@pytest.mark.slow
def test_a_limit_may_be_longer_than_the_system_waits() -> None:
    with processes(1) as pool:
        assert list(pool.map(abs, [-1], timeout_s=6e7)) == [1]


# ------------------------------------------------------------------------------------------------ pictures


def flat_pictures(count: int, folder: Path) -> Path:
    """Pictures of one grey level each: 10, 11, 12, ..."""
    folder.mkdir(parents=True)
    for level in range(10, 10 + count):
        Image.new("RGB", (32, 32), (level,) * 3).save(folder / f"{level}.png")
    return folder


@pytest.mark.parametrize("kind", ["lite", "context", "synthesis", "refiner", "denoiser", "token", "token-prior"])
def test_held_out_pictures_are_not_trained_on(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = flat_pictures(20, tmp_path / "pictures"), tmp_path / "model"
    found: dict[str, set[int]] = {}

    def note(role: str, pictures: Any, made: Any = None) -> Any:
        found[role] = {int(np.ravel(getattr(picture, "pixels", picture))[0]) for picture in pictures}
        if len(found) == 2:
            raise KeyboardInterrupt
        return made

    def note_samples(images: Any, model: Any, seed: int, what: str, *_: Any) -> Any:
        return note(what, images, ([], {}))

    def train() -> None:
        if kind == "lite":
            fitted = assembly.Fitted(ExactModel.load(LITE), [])
            monkeypatch.setattr(lite, "fit_linear_model", lambda images, *_: note("train", images, fitted))
            monkeypatch.setattr(lite, "measure", lambda model, images, *_: note("held out", images))
            return lite.train_lite(folder, output, init=None)
        pytest.importorskip("torch", reason="torch is not installed")
        from vqcodec.train import denoiser, neural, refiner, stages, token, token_prior
        from vqcodec.train.training_run import TrainingRun

        run = TrainingRun(folder, output, steps=1, keep=True)
        if kind in neural.PARTS:
            monkeypatch.setattr(stages, "make_samples", note_samples)
            monkeypatch.setattr(stages, "make_context_samples", note_samples)
            return neural.train_neural(run, init=LITE, parts=(kind,))
        if kind == "refiner":
            monkeypatch.setattr(refiner, "make_refiner_samples", note_samples)
            return refiner.train_refiner(run, init=LITE)
        if kind == "denoiser":
            monkeypatch.setattr(denoiser, "fit_denoiser", lambda train, kept, *_, **__: note("train", train) or note("kept", kept))
            return denoiser.train_denoiser(run)
        if kind == "token":
            monkeypatch.setattr(token, "fit_tokens", lambda train, *_, score, **__: note("train", train) or score({}))
            monkeypatch.setattr(token, "score_files", lambda model, images, lpips: note("held out", images))
            return token.train_token(run)
        monkeypatch.setattr(token_prior, "grids_of", lambda images, labels, model, stage, tell: note(stage, images))
        return token_prior.train_prior(run, init=REPOSITORY / "models" / "photo-preview")

    with pytest.raises(KeyboardInterrupt):
        train()
    trained_on, held_out = found.values()
    assert len(held_out) == 2
    assert not trained_on & held_out
    assert trained_on | held_out == set(range(10, 30))


# ------------------------------------------------------------------------------------------------ lite models


@pytest.mark.parametrize("init", [None, "photo-lite"])
def test_the_seed_is_the_one_that_is_given(
    init: str | None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def fit(images: Any, settings: ExactSettings, *_: Any) -> None:
        seeds.append(settings.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(lite, "fit_linear_model", fit)
    monkeypatch.setattr(lite, "FEWEST_PIECES", 1)
    monkeypatch.setattr(lite, "measure", lambda *_: Figures.of([[Point(0, 0, 0)] * 3]))
    with pytest.raises(KeyboardInterrupt):
        lite.train_lite(pictures, tmp_path / "own", init=init, seed=7, keep=True)
    assert seeds == [7]


# ------------------------------------------------------------------------------------------------ trainings of networks


def test_an_earlier_checkpoint_is_continued_or_removed_on_request(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.training_run import TrainingRun

    folder = flat_pictures(2, tmp_path / "pictures")
    run = TrainingRun(folder, tmp_path / "model", steps=1)
    run.checkpoint("part").write_bytes(b"what was learnt")
    with pytest.raises(OutputError, match="--resume continues from it, -f starts anew"):
        run.begin(("part",))
    replace(run, resume=True).begin(("part",))
    replace(run, resume=True, overwrite=True).begin(("part",))
    assert run.checkpoint("part").read_bytes() == b"what was learnt"
    replace(run, overwrite=True).begin(("part",))
    assert not run.checkpoint("part").exists()


def test_the_origin_of_a_training_is_its_pictures_and_its_models(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.training_run import TrainingRun

    images = [data.TrainingImage(str(number), np.zeros((8, 8, 1), np.uint8)) for number in range(3)]
    one, other = (data.Corpus(images[:count], images[2:], [], {}) for count in (1, 2))
    model = ExactModel.load(LITE)
    assert len({TrainingRun.origin(corpus, *models) for corpus in (one, other) for models in ((), (model,))}) == 4
    assert TrainingRun.origin(one, None) == TrainingRun.origin(one)


def test_a_log_is_added_to(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.log import TrainingLog

    for step in (50, 100):
        TrainingLog(tmp_path / "log", None).facts("part", {"step": step})
    assert [json.loads(line)["step"] for line in (tmp_path / "log").read_text().splitlines()] == [50, 100]


# ------------------------------------------------------------------------------------------------ predictions


class Listener(LinearOnly):
    """Sums the expected and the actual magnitudes of residuals, in steps, for each tile."""

    def __init__(self) -> None:
        self.expected: dict[int, float] = {}
        self.found: dict[int, float] = {}

    def half(self, tile: Tile, half: int, means: Any, score: Any) -> tuple[Any, Any]:
        classes = np.asarray(score, float) / (1 << SCALE_SHIFT)
        scale = 2 ** ((classes - CLASS_OF_ONE) / CLASSES_PER_OCTAVE)
        self.expected[tile.number] = self.expected.get(tile.number, 0) + tile.size * scale.sum()
        return super().half(tile, half, means, score)

    def half_done(self, tile: Tile, half: int, residuals: Any) -> None:
        self.found[tile.number] = self.found.get(tile.number, 0) + np.abs(residuals).sum() / LATENT_UNIT


@pytest.mark.slow
def test_sizes_of_residuals_are_as_they_are_expected(pictures: Path, from_scratch: Path) -> None:
    """On a picture that the model was trained on, at a fine step, where almost nothing is lost."""
    model, listener = ExactModel.load(from_scratch), Listener()
    pixels = np.asarray(Image.open(pictures / "1.png").convert("RGB"))
    session = sessions.open_session(data.TrainingImage("1", pixels), 3.0, model.color)
    writer = EncoderWriter(model, session.targets, LAMBDA)
    walk.walk(session.grid, model, session, writer, listener)
    assert 0.7 < listener.found[1] / listener.expected[1] < 1.4  # the tile with the best predictions


@pytest.mark.slow
def test_sizes_of_dcs_are_predicted_from_those_of_coarser_ones(from_scratch: Path) -> None:
    tensors = ExactModel.load(from_scratch).tensors
    rows = [4, 4 + SCALE_ROWS[0] // 2]  # the rows of logarithms, in both tables
    assert all(tensors[name][0, rows].any() for name in ("dc.0.0.0.scale", "dc.0.0.1.scale", "dc.0.1.2.scale"))
