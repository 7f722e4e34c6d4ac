"""`train` on tiny folders: what it makes, that it makes it again, and that nothing is lost when it fails."""

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
from vqcodec.bench.metrics import psnr_db, psnr_rgb_db
from vqcodec.cli.main import main
from vqcodec.codec import walk
from vqcodec.codec.rate_control import RATE, Encoder
from vqcodec.codec.symbols import EncoderWriter
from vqcodec.entropy.codebooks import alphabet_symbols
from vqcodec.entropy.context import LinearOnly
from vqcodec.entropy.dc_pyramid import SCALE_ROWS
from vqcodec.entropy.features import MEAN_MAX
from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES_PER_OCTAVE, FLOAT32_EXACT, MEAN_SHIFT, SCALE_SHIFT
from vqcodec.errors import InputError, LimitError, OutputError
from vqcodec.format.stream_forms import Direct
from vqcodec.runtime.interrupts import termination_raises
from vqcodec.runtime.processes import processes
from vqcodec.train import assembly, codebooks, data, held_out, lite, predictors, selection, sessions, streams
from vqcodec.train.data import TrainingImage, load_corpus
from vqcodec.train.held_out import Figures, Point
from vqcodec.train.settings import ExactSettings
from vqcodec.train.watch import Watch
from vqcodec.transform.layouts import LATENT_UNIT, Tile
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import TENSORS, save_model

FEW = ExactSettings(sweeps=1, small_files=12, few_files=14)
"""One sweep and few small files, so that a training takes seconds."""
LITE = REPOSITORY / "models" / "photo-lite"


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
    """Few merge maps, and few pictures are enough."""
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
def test_the_report_says_what_it_was_made_of(from_scratch: Path) -> None:
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
    assert again["id"] == summary(from_scratch)["id"]


@pytest.mark.slow
def test_a_refined_model_is_never_worse(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "STRENGTHS", (300.0,))
    monkeypatch.setattr(selection, "_SMALLEST_PIECE", 24)
    facts = lite.train_lite(pictures, tmp_path / "own", init="photo-lite", settings=FEW)
    candidates = facts["candidates"]
    assert len(candidates) == 2
    assert candidates[facts["method"]] <= candidates["photo-lite unchanged"]
    assert (facts["method"] == "photo-lite unchanged") == bool(facts["notes"])


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
        list(pool.map(os._exit, [1]))


def terminated(folder: Path) -> None:
    with termination_raises():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            (folder / "cleaned up").touch()


def test_a_process_that_is_terminated_at_work_cleans_up_and_ends(tmp_path: Path) -> None:
    """It would wait for more work, for ever where its parent was killed."""
    with pytest.raises(LimitError, match="died"), processes(1) as pool:
        list(pool.map(terminated, [tmp_path]))
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
    monkeypatch.setattr(lite, "STRENGTHS", ())  # nothing to train: the writing is tried
    with pytest.raises((OutputError, KeyboardInterrupt)):
        lite.train_lite(pictures, old, init="photo-lite", overwrite=True)
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
        lite.train_lite(pictures, old, init="photo-lite", overwrite=True)
    (old / "notes.txt").unlink()
    lite.train_lite(pictures, old, init="photo-lite", overwrite=True)
    assert sorted(path.name for path in old.iterdir()) == ["model.json", TENSORS]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_flat_picture_does_not_outweigh_all_others() -> None:
    """Its PSNR is infinite."""
    flat = TrainingImage("flat.png", np.full((16, 16, 1), 255, np.uint8))
    figures = held_out.measure(registry.find("photo-lite"), [flat], Watch())
    assert all(np.isfinite(list(point.values())).all() for point in figures.points())


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


def test_what_is_no_file_and_folders_that_are_not_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    (folder / "closed").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
    (folder / "b.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (folder / "c.png").symlink_to("nowhere")
    (folder / "notes.txt").write_text("no picture")
    scandir = os.scandir

    def refusing(place: str) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)  # as the system does, but for root, whom tests may run as
    corpus = load_corpus(folder, lambda *_: None)
    assert [image.name for image in corpus.train] == ["a.png"]
    told = dict(corpus.skipped)
    assert told.keys() == {"b.jxl", "c.png", "closed", "notes.txt"}
    assert told["c.png"] == "a broken link"
    assert told["closed"] == "cannot read the folder: Permission denied"
    assert "JPEG XL" in told["b.jxl"]


# ------------------------------------------------------------------------------------------------ pictures


def flat_pictures(count: int, folder: Path) -> Path:
    """Pictures of one grey level each, 10, 11, 12 and so on."""
    folder.mkdir(parents=True)
    for level in range(10, 10 + count):
        Image.new("RGB", (32, 32), (level,) * 3).save(folder / f"{level}.png")
    return folder


@pytest.mark.parametrize("kind", ["lite", "context", "synthesis", "refiner", "denoiser", "token", "token-prior"])
def test_what_is_held_out_is_not_trained_on(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        from vqcodec.train import denoiser, networks, neural, refiner, token, token_prior
        from vqcodec.train.training_run import TrainingRun

        run = TrainingRun(folder, output, steps=1)
        if kind in neural.PARTS:
            monkeypatch.setattr(networks, "make_samples", note_samples)
            monkeypatch.setattr(networks, "make_context_samples", note_samples)
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


def test_a_picture_is_held_out_whatever_the_order() -> None:
    images = [data.TrainingImage(f"{letter}/{number}", np.zeros((1, 1, 1), np.uint8)) for letter in "abc" for number in range(10)]
    names = [{image.name for image in data._split(given).held_out} for given in (images, images[::-1], images[7:] + images[:7])]
    assert names[0] == names[1] == names[2]
    assert len({name[0] for name in names[0]}) > 1  # not the first ones


def test_of_large_pictures_the_middle_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_SIDE", 16)
    pixels = np.arange(24 * 20, dtype=np.uint16).astype(np.uint8).reshape(24, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (image,) = data.load_corpus(tmp_path, lambda *_: None).train
    np.testing.assert_array_equal(image.pixels[:, :, 0], pixels[4:20, 2:18])


def test_small_cuts_are_parts_of_pictures_and_some_grey() -> None:
    y, x = np.mgrid[:70, :250].astype(np.uint8)
    image = data.TrainingImage("wide", np.stack([y, x, np.full_like(x, 9)], axis=2))
    cuts = [cut.pixels for cut in selection.cut_small([image], 40, np.random.default_rng(0))]
    assert [cut.shape[2] for cut in cuts] == [3, 3, 3, 1] * 10
    for cut in cuts[::4]:
        height, width = cut.shape[:2]
        assert 48 <= height <= 70
        assert 48 <= width <= 250
        top, left = cut[0, 0, :2].astype(int)
        np.testing.assert_array_equal(cut, image.pixels[top : top + height, left : left + width])


def test_a_selection_has_about_so_many_pixels() -> None:
    images = [data.TrainingImage(str(number), np.zeros((10, 10, 3), np.uint8)) for number in range(40)]
    chosen = selection.pick(images, 1000, np.random.default_rng(0))
    assert len({image.name for image in chosen}) == len(chosen) == 10
    assert [image.name for image in chosen] != [image.name for image in images[:10]]
    assert len(selection.pick(images, 10**6, np.random.default_rng(0))) == 40


def test_steps_are_evenly_spread_over_octaves() -> None:
    """However few there are: a hundredth of all in each hundredth of the logarithms."""
    low, high = np.log(selection.STEP_LEVELS)
    found = selection.draw_step_levels(100, np.random.default_rng(0))
    places = np.floor(100 * (np.log(found) - low) / (high - low)).astype(int)
    assert sorted(places) == list(range(100))
    assert list(places) != sorted(places)


# ------------------------------------------------------------------------------------------------ fits


def test_means_are_fitted_from_samples_and_a_start() -> None:
    rng = np.random.default_rng(0)
    features, true = rng.normal(0, 64, (4000, 3)).astype(np.float32), np.array([0.5, -0.25, 1.0])
    samples = predictors.Samples(features, (features @ true + rng.laplace(0, 16, 4000)).astype(np.float32))
    one = 1 << MEAN_SHIFT
    np.testing.assert_allclose(predictors.fit_mean(samples, None, 0) / one, true, atol=0.03)
    start = np.array([one // 4, one // 4, one // 2], np.int32)
    np.testing.assert_allclose(predictors.fit_mean(samples, start, 0) / one, true, atol=0.03)
    np.testing.assert_allclose(predictors.fit_mean(samples, start, 1e9), start, atol=one * 1e-3)
    between = predictors.fit_mean(samples, start, 4000) / one
    assert (np.abs(between - true) < np.abs(start / one - true)).all()
    assert (np.abs(between - true) > 0.05).all()
    none = predictors.Samples(features[:0], np.zeros(0, np.float32))
    np.testing.assert_array_equal(predictors.fit_mean(none, start, 300), start)


def test_weights_of_means_are_never_too_large_to_be_exact() -> None:
    features = np.random.default_rng(0).normal(0, 64, (500, 2)).astype(np.float32)
    found = predictors.fit_mean(predictors.Samples(features, 5 * features[:, 0]), None, 0)
    assert found[0] > 3 << MEAN_SHIFT  # 5 would be right
    assert np.abs(found).sum() * MEAN_MAX + (1 << MEAN_SHIFT) < FLOAT32_EXACT


def test_scales_are_those_of_the_magnitudes_or_of_the_start() -> None:
    rng = np.random.default_rng(0)
    loud = np.arange(6000) % 2
    steps = np.tile(np.array([[1, 0, 0]], np.float32), (6000, 1))
    samples = predictors.Samples(
        100 * loud[:, None].astype(np.float32), np.abs(rng.laplace(0, 0.5 + 3.5 * loud)).astype(np.float32)
    )
    octave = CLASSES_PER_OCTAVE * (1 << SCALE_SHIFT)  # of scores
    found = predictors.fit_scale(samples, steps, None, 0)
    assert 100 * found[0] / octave == pytest.approx(3, abs=0.15)  # from 0.5 to 4
    assert found[1] / octave - CLASS_OF_ONE / CLASSES_PER_OCTAVE == pytest.approx(-1, abs=0.15)
    start = np.array([octave // 200, found[1], 0, 0], np.int32)
    assert 100 * predictors.fit_scale(samples, steps, start, 0)[0] / octave == pytest.approx(3, abs=0.15)
    np.testing.assert_allclose(predictors.fit_scale(samples, steps, start, 1e9), start, rtol=0.01, atol=1)


def test_books_of_like_statistics_share_a_stream_first() -> None:
    """However many symbols they have."""
    flat, steep = np.ones(256), 0.5 ** np.arange(256)
    counts = np.stack([1000 * flat, 1000 * steep, 10 * flat, 10 * steep, 5000 * steep])
    halves, one = streams.merge_maps(counts, (2, 1))
    assert halves.tolist() == [0, 1, 0, 1, 1]
    assert not one.any()


def test_streams_have_the_form_that_takes_fewest_bytes() -> None:
    rng = np.random.default_rng(0)
    sparse = [np.where(rng.random(3000) < 0.03, 1, 0).astype(np.uint8) for _ in range(4)]
    dense = [rng.integers(0, 100, 3000).astype(np.uint8) for _ in range(4)]
    for given, is_direct in ((sparse, False), (dense, True)):
        form, _ = streams._train_stream([symbols[: np.flatnonzero(symbols)[-1] + 1] for symbols in given], 100)
        assert isinstance(form, Direct) == is_direct


# ------------------------------------------------------------------------------------------------ lite models


def test_held_out_costs_are_of_bits_a_pixel_and_squared_errors() -> None:
    """The cost rises by the same for 1 % more of either."""
    with Image.open(REPOSITORY / "samples" / "landscape.png") as image:
        pixels = np.asarray(image.convert("RGB").crop((100, 100, 164, 148)))
    model = ExactModel.load(LITE)
    points = held_out._measure_one(model, data.TrainingImage("crop", pixels))
    costs = []
    for step, (bpp, psnr, _) in zip(held_out.HELD_OUT_STEP_LEVELS, points, strict=True):
        coded = Encoder(pixels, model, 1).file(round(64 * step))
        mse = np.square(api.decode(coded, model=model).astype(float) - pixels).mean()
        assert bpp == pytest.approx(8 * len(coded) / (64 * 48))
        assert psnr == pytest.approx(psnr_db(mse), abs=1e-3)
        costs.append(np.log(bpp * mse))
    np.testing.assert_allclose(np.diff([cost for *_, cost in points]), np.diff(costs), atol=1e-3)


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
        lite.train_lite(pictures, tmp_path / "own", init=init, seed=7)
    assert seeds == [7]


# ------------------------------------------------------------------------------------------------ trainings of networks


def test_what_an_earlier_training_left_is_gone_on_from_or_removed_when_asked(tmp_path: Path) -> None:
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
    """Adds up, for each tile, the sizes of residuals in steps that are expected, and those that come."""

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
    """In what the model was trained on, at a fine step, where next to nothing is lost."""
    model, listener = ExactModel.load(from_scratch), Listener()
    pixels = np.asarray(Image.open(pictures / "1.png").convert("RGB"))
    session = sessions.open_session(data.TrainingImage("1", pixels), 3.0, model.color)
    writer = EncoderWriter(model, session.targets, RATE)
    walk.walk(session.grid, model, session.step_64, session.fine_dcs, 1, writer, listener)
    assert 0.7 < listener.found[1] / listener.expected[1] < 1.4  # of these most is predicted


@pytest.mark.slow
def test_sizes_of_dcs_are_predicted_from_those_of_coarser_ones(from_scratch: Path) -> None:
    tensors = ExactModel.load(from_scratch).tensors
    rows = [4, 4 + SCALE_ROWS[0] // 2]  # their logarithms, in both tables
    assert all(tensors[name][0, rows].any() for name in ("dc.0.0.0.scale", "dc.0.0.1.scale", "dc.0.1.2.scale"))


def test_a_dictionary_pays_for_the_bytes_that_it_has_alone() -> None:
    """A byte that comes once in each file is rare, but without it no file could use the code."""
    counts = np.zeros((20, 256), np.int64)
    counts[:, :64] = 32
    counts[:, 200] = 1
    found = streams._best_code(counts, 256)
    assert found is not None
    assert found.lengths[200] > 0


# ------------------------------------------------------------------------------------------------ codebooks


def around(centres: np.ndarray, count: int, spread: float = 0.05) -> np.ndarray:
    """Vectors float32 [n, d] about some centres in turn."""
    rng = np.random.default_rng(0)
    return (np.resize(centres, (count, centres.shape[1])) + spread * rng.standard_normal((count, centres.shape[1]))).astype(
        np.float32
    )


def test_codewords_lie_where_vectors_do_and_outliers_are_left_to_the_escape() -> None:
    centres = np.array([[0.3, 0.3], [4, 0], [0, -5], [-4, 4]])
    x = np.concatenate([around(centres, 2000), np.full((7, 2), 900, np.float32)])
    start = np.append(np.round(centres), [[0, 0]], axis=0).T.astype(np.float32)
    base = codebooks.TrainedCodebook(start, np.ones(5), True)
    book = codebooks.fit_vector_codebook(x, 0.13, np.random.default_rng(0), base)
    assert book.escape
    assert not book.codewords[:, 0].any()  # zero is always one
    for centre in centres[1:]:
        assert np.linalg.norm(book.codewords[:, :-1] - centre[:, None], axis=0).min() < 0.1
    assert np.abs(book.codewords).max() < 10
    assert book.counts[-1] == 7
    assert book.counts[:-1].sum() == 2000


def test_codewords_that_nobody_needs_begin_anew() -> None:
    far = np.concatenate([np.zeros((2, 1)), 500 + np.arange(80).reshape(2, 40), np.zeros((2, 1))], axis=1).astype(np.float32)
    base = codebooks.TrainedCodebook(far, np.ones(42), True)
    centres = np.array([(y, x) for y in range(-2, 3) for x in range(-2, 3)])
    book = codebooks.fit_vector_codebook(around(centres, 2000), 0.13, np.random.default_rng(0), base, 0.0)
    assert sum(np.linalg.norm(book.codewords - centre[:, None], axis=0).min() < 0.2 for centre in centres) > 15


def test_a_base_models_codewords_count_as_so_many_vectors() -> None:
    words = np.array([[0, 4, 0], [0, 0, 0]], np.float32)  # the last is the escape
    base, x = codebooks.TrainedCodebook(words, np.array([1.0, 3, 0]), True), around(np.array([[5, 0]]), 100)
    places = []
    for strength in (0, 400, 40000):
        book = codebooks.fit_vector_codebook(x, 0.13, np.random.default_rng(0), base, strength)
        assert book.counts[:-1].sum() == pytest.approx(100 + strength)
        places.append(book.codewords[0, 1])
    assert places == pytest.approx([5, (100 * 5 + 300 * 4) / 400, 4], abs=0.05)


def test_small_integers_are_reconstructed_where_their_values_lie() -> None:
    x = np.concatenate([np.full(3000, 1.3), np.full(3000, -1.9), np.zeros(3000)]).astype(np.float32)
    book = codebooks.fit_scalar_codebook(x, 1.0, 0.13, None, 0.0)
    one, less_two = alphabet_symbols(np.array([1, -2]))
    assert book.codewords[0, one] == pytest.approx(1.3, abs=0.02)
    assert book.codewords[0, less_two] == pytest.approx(-1.9, abs=0.02)
    assert book.counts[[0, one, less_two]] == pytest.approx(3000, rel=0.01)
    assert (book.counts > 0).all()


def test_codewords_are_ranked_by_how_often_they_come() -> None:
    trained = codebooks.TrainedCodebook(np.array([[0, 1, 2, 0]], np.float32).repeat(2, axis=0), np.array([10.0, 80, 1, 40]), True)
    found = codebooks.ranked(trained)
    book, order = found.codebook, found.order
    assert order.tolist() == [1, 3, 0, 2]
    assert book.codewords[0].tolist() == [LATENT_UNIT, 0, 0, 2 * LATENT_UNIT]
    assert book.escape == 1
    np.testing.assert_allclose(book.bits, -np.log2(np.array([80, 40, 10, 1]) / 131), atol=0.1)


def test_books_are_counted_anew_by_rank_and_pulled_to_what_they_were() -> None:
    before = [codebooks.TrainedCodebook(np.zeros((1, 3), np.float32), np.array([1.0, 0, 3]), False)]
    files = [[(0, np.array([0, 0, 1], np.uint8))], [(0, np.array([0], np.uint8))]]
    (found,) = assembly.recount(before, [np.array([2, 0, 1])], files, 8.0)
    assert found.counts.tolist() == [1 + 2, 0, 3 + 6]


def test_books_of_a_base_model_are_as_likely_as_they_were() -> None:
    model = ExactModel.load(LITE)
    for book, trained in zip(model.codebooks, assembly.codebooks_of(model), strict=True):
        np.testing.assert_allclose(np.sort(trained.counts)[::-1], np.sort(np.exp2(-book.bits.astype(float)))[::-1])
        assert trained.escape == (book.dim > 1)
        assert not trained.codewords[:, 0].any() or book.dim == 1
        likeliest = trained.codewords[:, trained.counts.argmax()] * LATENT_UNIT
        assert (likeliest == book.codewords[:, book.bits.argmin()]).all() or (book.bits == book.bits.min()).sum() > 1


@pytest.mark.parametrize("factor", [1, 30, 3000])
def test_weights_are_never_more_than_sums_can_hold(factor: int) -> None:
    """Rounding counts, too, where they are scaled down."""
    rng = np.random.default_rng(factor)
    features = rng.integers(-40, 40, (400, 60)).astype(np.float32)
    samples = predictors.Samples(features, (factor * features.sum(axis=1)).astype(np.float32))
    weights = predictors.fit_mean(samples, None, 0.0)
    assert np.abs(weights).sum() * MEAN_MAX + (1 << MEAN_SHIFT) < FLOAT32_EXACT
