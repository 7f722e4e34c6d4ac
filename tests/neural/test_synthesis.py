"""Training of synthesis networks: samples, fits, students, and the model and log that come of it."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.networks import neural_model, random_context, random_network
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import program_environment
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import reconstruction
from vqcodec.codec.pipeline import Encoder
from vqcodec.errors import MissingExtraError
from vqcodec.nets.synthesis import FEATURES, OUTPUTS, SEEN
from vqcodec.options import TUNES, EncodeOptions
from vqcodec.train.watch import OutOfTimeError, Watch
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_8X8
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import save_model

LITE = registry.find("photo-lite")


def test_mirrored_and_transposed_samples_are_those_of_the_picture(picture: np.ndarray) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import crops

    def coefficients(pixels: np.ndarray) -> np.ndarray:
        flat = dct.forward(pixels, COLOR_8X8, LITE.color)
        return flat.reshape(-1, pixels.shape[0] // 8, pixels.shape[1] // 8)

    def inputs(given: np.ndarray) -> np.ndarray:
        return np.concatenate([given[:SEEN], np.ones((1, *given.shape[1:]))]).astype(np.float32)

    pixels = picture[:64, :80]
    given, mirrored = coefficients(pixels), coefficients(pixels[:, ::-1])
    turned = coefficients(pixels.transpose(1, 0, 2))
    np.testing.assert_allclose(crops.mirror_columns(given, crops.OUTPUT_SIGNS), mirrored, atol=0.01)
    np.testing.assert_allclose(crops.transpose(given, crops.OUTPUT_ORDER), turned, atol=0.01)
    np.testing.assert_allclose(crops.mirror_columns(inputs(given), crops.FEATURE_SIGNS), inputs(mirrored), atol=0.02)
    np.testing.assert_allclose(crops.transpose(inputs(given), crops.FEATURE_ORDER), inputs(turned), atol=0.02)


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_and_a_checkpoint_continues(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks, synthesis
    from vqcodec.neural.loop import LoopOptions
    from vqcodec.train.data import load_corpus
    from vqcodec.train.samples import make_samples

    images = load_corpus(folder, Watch())
    samples = make_samples(images.train + images.held_out, LITE, "psnr", 0, "samples", Watch())
    settings = synthesis.SynthesisSettings(width=16, blocks=1, batch=4, crop=12, steps=120)
    untrained = networks.ConvNetwork(16, 1)
    assert synthesis.held_out_error(untrained, samples, "cpu") == 0  # corrections start at zero
    found = synthesis.fit_synthesis(samples, samples, settings)
    again = synthesis.fit_synthesis(samples, samples, settings)
    for name, array in found.items():
        np.testing.assert_array_equal(array, again[name])
    assert synthesis.held_out_error(networks.load_tensors(found), samples, "cpu") < -0.05  # dB

    checkpoint = tmp_path / "checkpoint"
    longer = replace(settings, steps=600)
    lines: list[dict[str, float]] = []

    def stop(facts: dict[str, float]) -> None:
        lines.append(facts)
        if facts["step"] == 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesis.fit_synthesis(samples, samples, longer, LoopOptions(checkpoint=checkpoint, report=stop))
    rest: list[dict[str, float]] = []
    synthesis.fit_synthesis(samples, samples, longer, LoopOptions(checkpoint=checkpoint, report=rest.append))
    assert [facts["step"] for facts in rest] == [550, 600]
    assert rest[-1]["loss"] < lines[0]["loss"]


@pytest.mark.slow
def test_a_smaller_synthesis_learns_from_a_larger_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It restores most of what its teacher does, and files of the old model decode with the new one."""
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import make_small
    from vqcodec.neural import synthesis
    from vqcodec.train.data import load_corpus
    from vqcodec.train.samples import make_samples

    make_small(monkeypatch.setattr)
    images = load_corpus(folder, Watch())
    samples = make_samples(images.train + images.held_out, LITE, "psnr", 0, "samples", Watch())
    settings = synthesis.SynthesisSettings(width=16, blocks=2, batch=4, crop=12, steps=200)
    teacher = neural_model(synthesis.fit_synthesis(samples, samples, settings))
    save_model(tmp_path / "teacher", replace(teacher, summary={"older_ids": ["a" * 64]}))
    arguments = [
        "train",
        str(folder),
        "-o",
        str(tmp_path / "student"),
        "--kind",
        "neural",
        "--init",
        str(tmp_path / "teacher"),
        "-f",
    ]
    for given, inside, width, blocks in (("8x1", 16, 8, 1), ("16x2x5", 5, 16, 2)):
        assert main([*arguments, "--parts", "synthesis,synthesis-ssim", "--distil", given, "--steps", "150"]) == 0
        student = ExactModel.load(tmp_path / "student")
        assert {(kind, made.expand.shape) for kind, made in student.syntheses.items()} == {
            ("synthesis", (blocks, inside, width)),
            ("synthesis_ssim", (blocks, inside, width)),
        }
        facts = student.summary
        assert facts["held_out_gain_db"] > 0.5 * facts["held_out_gain_db_before"] > 0.02
        assert f"--distil {width}x{blocks}x{inside}" in facts["command"]


def test_a_thinned_network_keeps_the_channels_that_matter() -> None:
    """It leaves out those without effect, and makes up for a faint one that is a multiple of one that is left."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks

    torch.manual_seed(0)
    whole = networks.ConvNetwork(6, 2, ends=(5, 3), inside=8)
    with torch.no_grad():
        for block in whole.body:
            torch.nn.init.normal_(block.project.weight)
            block.project.weight[:, [1, 4, 6]] = 0
            block.expand.weight[5], block.expand.bias[5] = block.expand.weight[2] / 2, block.expand.bias[2] / 2
            block.project.weight[:, 5] *= 0.2
        torch.nn.init.normal_(whole.tail.weight)
    x = torch.randn(4, 5, 12, 12)
    thin = networks.thinned(whole, 4, x)
    with torch.no_grad():
        wanted, found = whole(x), thin(x)
        for block in whole.body:
            block.project.weight[:, 5] = 0
        without = whole(x)
    lost, otherwise = (float((other - wanted).square().mean() / wanted.square().mean()) for other in (found, without))
    assert lost < 1e-5 < 1e-4 < otherwise
    assert networks.grown(thin, 6, 3).size == (6, 3, 4)
    assert networks.grown(thin, 10, 2).size == (10, 2, 20)
    again = networks.load_tensors(networks.to_tensors(thin))
    assert again.size == thin.size


def test_a_model_without_a_synthesis_teaches_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import let_few_pictures_be_enough

    let_few_pictures_be_enough(monkeypatch.setattr)
    arguments = ["train", str(folder), "-o", str(tmp_path / "mine"), "--kind", "neural", "--init", "photo-lite", "--distil", "8x1"]
    assert main([*arguments, "--parts", "synthesis", "--steps", "1"]) == 4
    assert "--distil: photo-lite has no synthesis network that a new one could learn from" in capsys.readouterr().err


def test_a_teacher_gives_most_of_an_aim() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    import torch

    from vqcodec.neural import networks, synthesis

    teacher = networks.ConvNetwork(4, 1)
    with torch.no_grad():
        teacher.tail.bias.fill_(0.5)
    rng = np.random.default_rng(0)
    missing = rng.normal(size=(OUTPUTS, 3, 2)).astype(np.float16)
    (aim,) = synthesis.taught([synthesis.Sample(rng.normal(size=(FEATURES, 3, 2)).astype(np.float16), missing)], teacher)
    np.testing.assert_allclose(aim.missing, 0.8 * 0.5 + 0.2 * missing, atol=2e-3)


@pytest.mark.slow
def test_a_synthesis_for_eyes_continues_that_for_squared_error_and_gains_likeness(folder: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks, synthesis
    from vqcodec.neural.synthesis import FOR_EYES
    from vqcodec.train.data import load_corpus
    from vqcodec.train.samples import make_samples

    images = load_corpus(folder, Watch())
    samples = make_samples(images.train + images.held_out, LITE, FOR_EYES.tune, 0, "samples", Watch())
    start = networks.load_tensors(
        synthesis.fit_synthesis(samples, samples, synthesis.SynthesisSettings(width=16, blocks=1, steps=60))
    )
    settings = synthesis.SynthesisSettings(width=16, blocks=1, batch=4, crop=12, steps=120, rate=1e-3)
    before = synthesis.held_out_error(start, samples, "cpu", FOR_EYES)
    found = synthesis.fit_synthesis(samples, samples, settings, goal=FOR_EYES, start=start)
    assert all(name.startswith("synthesis_ssim.") for name in found)
    after = synthesis.held_out_error(networks.load_tensors(found, FOR_EYES.kind), samples, "cpu", FOR_EYES)
    assert after < min(before, 0) - 0.5  # percent


def test_a_model_replaces_that_of_its_name_if_files_are_parsed_alike() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.neural import replaced_ids

    base = replace(neural_model(random_network(8, 1, 0.1)), summary={"older_ids": ["a" * 64]})
    other = replace(base, tensors=base.tensors | random_network(6, 1, 0.1))
    assert replaced_ids(base, other) == [base.id, "a" * 64]
    assert replaced_ids(base, replace(other, name="mine")) == []
    assert replaced_ids(base, base) == []
    changed = {"color": base.tensors["color"] + 1}
    assert replaced_ids(base, replace(other, tensors=other.tensors | changed)) == []
    assert replaced_ids(base, replace(other, tensors=other.tensors | random_context())) == []


def test_a_second_synthesis_moves_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train import stages

    first, second = random_network(6, 1, 0.1), random_network(6, 1, 0.1, seed=1)
    for_eyes = {name.replace("synthesis", "synthesis_ssim"): array + np.float16(0.25) for name, array in first.items()}
    others = {"color": LITE.color}
    assert stages.moved_along(others | first, second).keys() == (others | first).keys()
    found = stages.moved_along(others | first | for_eyes, second)
    for name, array in second.items():
        np.testing.assert_allclose(found[name.replace("synthesis", "synthesis_ssim")], array + 0.25, atol=1e-3)
    grown = random_network(8, 1, 0.1)
    assert stages.moved_along(others | first | for_eyes, grown).keys() == (others | first).keys()


@pytest.mark.parametrize("gain", [0.5, -0.5])
def test_a_synthesis_for_eyes_moves_along_only_if_held_out_pictures_gain(gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train import stages

    tensors = random_network(6, 1, 0.1)
    tensors |= {name.replace("synthesis", "synthesis_ssim"): array for name, array in tensors.items()}
    network = random_network(6, 1, 0.1, seed=1)
    moved = stages.moved_along(tensors, network)
    run = SimpleNamespace(results={})
    training: Any = SimpleNamespace(run=run, seed=0, held_out=list)

    def no_time(*_: object) -> None:
        raise OutOfTimeError("over")

    def errors(network: Any, samples: object, device: str, goal: object) -> np.ndarray:
        is_moved = np.array_equal(network.head.weight.detach().numpy(), moved["synthesis_ssim.head"])
        return np.linspace(10, 11, 20) - (gain if is_moved else 0)

    monkeypatch.setattr(stages, "ExactModel", lambda name, tensors: None)
    monkeypatch.setattr(stages.synthesis, "held_out_errors", errors)
    monkeypatch.setattr(stages, "make_samples", lambda *_: [])
    found = stages.best_for_eyes(training, tensors, network, Watch())
    assert (found is tensors) == (gain < 0)
    assert run.results == {"held_out_gain_percent_before": -10.5, "held_out_gain_percent_moved": -10.5 + gain}
    monkeypatch.setattr(stages, "make_samples", no_time)
    assert stages.best_for_eyes(training, tensors, network, Watch()) is tensors
    alone = {name: array for name, array in tensors.items() if "ssim" not in name}
    assert stages.best_for_eyes(training, alone, network, Watch()) == alone


def test_a_grown_synthesis_keeps_its_outputs_and_trains_all_weights() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks

    torch.manual_seed(3)
    start = networks.ConvNetwork(12, 2)
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.normal_(std=0.3)
    x = torch.randn(2, FEATURES, 5, 6)
    network = networks.grown(start, 20, 4)
    assert (len(network.head.weight), len(network.body)) == (20, 4)
    torch.testing.assert_close(network(x), start(x))
    network(x).square().sum().backward()
    assert all(bool(block.project.weight.grad.abs().max() > 0) for block in network.body)
    assert bool((network.tail.weight.grad[:, 12:].abs().amax(dim=0) > 0).all())
    same = networks.grown(network, 8, 1)  # never smaller
    assert (len(same.head.weight), len(same.body)) == (20, 4)


@pytest.mark.slow
def test_train_command_makes_a_model_that_decodes_better(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import make_small

    make_small(monkeypatch.setattr)
    target, log = tmp_path / "made" / "mine", tmp_path / "log.jsonl"  # in a folder that does not exist
    arguments = ["train", str(folder), "-o", str(target), "--kind", "neural", "--init", "photo-lite"]
    arguments += ["--parts", "synthesis", "--steps", "150", "--log", str(log), "--tensorboard", str(tmp_path / "board")]
    assert main(arguments) == 0
    assert len(list((tmp_path / "board").glob("events.*"))) == 1
    assert "held_out_gain_db" in capsys.readouterr().out
    model = ExactModel.load(target)
    assert model.summary["kind"] == "neural"
    assert model.synthesis is not None
    plan, *steps, result = map(json.loads, log.read_text().splitlines())
    assert (plan["part"], plan["kind"], plan["base"], plan["held_out"]) == ("plan", "neural", "photo-lite", 1)
    assert [line["step"] for line in steps] == [50, 100, 150]
    assert (result["part"], result["written"]) == ("result", True)
    assert not list(target.parent.glob("*.checkpoint"))
    pixels = np.asarray(Image.open(folder / "0.png"))
    data = api.encode(pixels, quality=30, model=model)
    plain, best = (np.square(api.decode(data, model=model, refine=r).astype(float) - pixels).mean() for r in ("none", "best"))
    assert best < plain


def test_training_samples_cover_octaves_of_steps_and_some_are_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds for samples of every kind of network; refiners also get both models and tunings."""
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train import samples
    from vqcodec.train.data import TrainingImage

    low, high = limits = samples.NETWORK_STEP_LEVELS
    steps = samples.draw_network_step_levels(64, limits, np.random.default_rng(0))
    assert all(step * 64 == round(step * 64) for step in steps)
    assert sum(step < (low * high) ** 0.5 for step in steps) == 32
    images = [TrainingImage(str(number), np.full((8, 8, 3), number, np.uint8)) for number in range(32)]
    monkeypatch.setattr(samples, "some_in_processes", lambda call, *given, **_: list(zip(*given, strict=True)))
    made = samples.make_samples(images, LITE, "psnr", 0, "samples", Watch())
    refined = samples.make_refiner_samples(images, ["one", "other"], 0, "samples", Watch())  # type: ignore[list-item]
    for jobs in (made, refined):
        assert [image.pixels.shape[2] for image, *_ in jobs] == [3, 3, 3, 3, 3, 3, 3, 1] * 4
        assert len({step for _, step, *_ in jobs}) == 32
    assert {(image.pixels.shape[2], model) for image, _, model, _ in refined} == {(c, m) for c in (1, 3) for m in ("one", "other")}
    assert {tune for *_, tune in refined} == set(TUNES)


def test_a_synthesis_that_is_no_better_is_not_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that continues learns at a quarter of the rate and keeps its size."""
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import let_few_pictures_be_enough
    from vqcodec.neural import synthesis
    from vqcodec.train import neural, stages
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import make_sample
    from vqcodec.train.training_run import TrainingRun

    let_few_pictures_be_enough(monkeypatch.setattr)
    save_model(tmp_path / "old", neural_model(random_network(240, 1, 0.0)))
    tried: list[synthesis.SynthesisSettings] = []

    def fit(train: Any, held_out: Any, settings: synthesis.SynthesisSettings, *_: Any, **__: Any) -> dict[str, np.ndarray]:
        tried.append(settings)
        return random_network(8, 1, 0.3)

    def samples(images: Any, model: ExactModel, *_: Any) -> list[Any]:
        return [make_sample(TrainingImage("crop", np.ascontiguousarray(images[0].pixels[:48, :48])), 30.0, model, "psnr")]

    monkeypatch.setattr(synthesis, "fit_synthesis", fit)
    monkeypatch.setattr(stages, "make_samples", samples)
    for init, kept in (("photo-lite", LITE), (tmp_path / "old", ExactModel.load(tmp_path / "old"))):
        facts = neural.train_neural(
            TrainingRun(folder, tmp_path / f"new-{kept.name}", steps=1), init=init, parts=("synthesis",)
        ).summary
        assert facts["held_out_gain_db"] < facts["held_out_gain_db_before"]
        assert facts["id"] == kept.id
    anew, on = tried
    assert on.rate == anew.rate / 4
    assert (anew.width, on.width, on.blocks) == (224, 240, 6)


def test_a_synthesis_for_eyes_is_kept_beside_the_first_if_pictures_gain(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import let_few_pictures_be_enough
    from vqcodec.neural import synthesis
    from vqcodec.train import neural
    from vqcodec.train.training_run import TrainingRun

    let_few_pictures_be_enough(monkeypatch.setattr)
    start = neural_model(random_network(16, 1, 0.02))
    save_model(tmp_path / "start", start)
    tried: list[synthesis.SynthesisSettings] = []

    def fit(train: Any, held_out: Any, settings: synthesis.SynthesisSettings, *_: Any, **given: Any) -> dict[str, np.ndarray]:
        tried.append(settings)
        assert given["goal"] is synthesis.FOR_EYES
        return random_network(16, 1, float(len(tried) - 1), kind="synthesis_ssim", ends=(FEATURES, OUTPUTS))

    monkeypatch.setattr(synthesis, "fit_synthesis", fit)
    for name, kept in (("better", True), ("worse", False)):
        run = TrainingRun(folder, tmp_path / name, steps=1, keep=True)
        facts = neural.train_neural(run, init=tmp_path / "start", parts=("synthesis-ssim",)).summary
        made = ExactModel.load(tmp_path / name)
        gained = facts["held_out_gain_percent"] > facts["held_out_gain_percent_before"]
        assert (gained, "synthesis_ssim" in made.syntheses, made.id != start.id) == (kept, kept, kept)
    assert {(settings.batch, settings.crop) for settings in tried} == {(6, 24)}


def test_a_network_has_the_time_that_is_left_when_its_fit_begins() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import Schedule
    from vqcodec.train.training_run import TrainingRun

    watch = Watch(deadline=time.monotonic() + 600)
    assert TrainingRun.timed(Schedule(minutes=20.0), watch).minutes == pytest.approx(9, abs=0.1)
    assert TrainingRun.timed(Schedule(minutes=20.0), watch, 0.5).minutes == pytest.approx(5, abs=0.1)
    assert TrainingRun.timed(Schedule(steps=3), Watch()) == Schedule(steps=3)
    with pytest.raises(OutOfTimeError, match="before the first step"):
        TrainingRun.timed(Schedule(minutes=20.0), Watch(deadline=time.monotonic() - 1))


def test_an_output_whose_folder_cannot_be_made_is_refused_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "mine"
    assert main(["train", str(folder), "-o", str(target), "--kind", "neural", "--init", "photo-lite", "--steps", "1"]) == 5
    assert capsys.readouterr().err == f"vqcodec: cannot write {target}: File exists\n"


def test_the_log_has_figures_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from vqcodec.train.log import TrainingLog

    diary = TrainingLog(tmp_path / "log.jsonl", tmp_path / "board")
    diary.facts("tiles", {"step": 50, "loss": 0.5, "held_out": -0.07})
    diary.codebooks([{"set": "ac", "dim": 8, "class": 3, "used": 200, "entropy_bits": 2.0}])
    diary.picture("crop", 50, smooth_picture(8, 24))
    diary.close()
    first, second = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert first == {"part": "tiles", "step": 50, "loss": 0.5, "held_out": -0.07}
    assert (second["used"], second["perplexity"]) == (200, 4.0)
    found = EventAccumulator(str(tmp_path / "board")).Reload()
    assert found.Scalars("tiles/loss")[0].value == 0.5
    assert found.Scalars("codebooks/perplexity")[0].value == 4.0
    assert (found.Images("crop")[0].height, found.Images("crop")[0].width) == (8, 24)


def test_tensorboard_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.log import TrainingLog

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(MissingExtraError, match="vqcodec\\[train\\]"):
        TrainingLog(None, tmp_path / "board")


def test_pictures_of_the_log_are_those_of_the_codec(picture: np.ndarray) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks, synthesis
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import make_sample

    pixels = np.ascontiguousarray(picture[:64, :96])
    sample = make_sample(TrainingImage("crop", pixels), 20.0, LITE, "psnr")
    network = networks.load_tensors(random_network(8, 1, 0.1))
    found = synthesis.compare(network, sample, LITE.color)
    assert found.shape == (64, 3 * 96, 3)
    original, plain, refined = (found[:, 96 * i : 96 * (i + 1)].astype(int) for i in range(3))
    assert np.abs(original - pixels).max() <= 3  # coefficients are stored as float16
    encoder = Encoder(pixels, LITE, EncodeOptions(tune="psnr", threads=1))
    header = encoder.header(20 * 64)
    image = reconstruction.Plain(header, LITE)
    image.add(header.groups[0], encoder.group(0, header).latents)
    decoded = image.pixels()
    assert np.abs(plain - decoded).max() <= 3
    assert np.abs(refined - plain).max() > 3


@pytest.mark.slow
def test_two_processes_train_one_network(folder: Path, tmp_path: Path) -> None:
    """With torchrun and gloo: separate batches, averaged gradients, one model, written by the first process."""
    pytest.importorskip("torch", reason="torch is not installed")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "helpers.small_training", "train", str(folder), "-o", "mine", "--kind", "neural", "--init", "photo-lite"]
    command += ["--parts", "synthesis", "--steps", "150"]
    environment = program_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "tests"), environment["PYTHONPATH"]])
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    summary = ExactModel.load(tmp_path / "mine").summary
    assert summary["synthesis_steps"] == 150
    assert summary["held_out_gain_db"] > 0
    assert not list(tmp_path.glob("*.checkpoint"))
