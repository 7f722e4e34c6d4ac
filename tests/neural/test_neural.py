"""Neural models: the synthesis network in numpy and in torch, its training, and decoding with it."""

import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.golden import CROPS, latents_digest
from helpers.layers import WithoutGraphics
from helpers.networks import random_network
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import program_environment
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import choices, groups, reconstruction
from vqcodec.codec.pipeline import Encoder
from vqcodec.codec.reconstruction import Reconstruction
from vqcodec.errors import InputError, MissingExtraError, ModelError, OutputError
from vqcodec.format import container
from vqcodec.format.header import Header
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import FEATURES, OUTPUTS, SEEN
from vqcodec.options import TUNES, EncodeOptions
from vqcodec.train.watch import OutOfTimeError, Watch
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_8X8
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import save_model

LITE = registry.find("photo-lite")


def with_synthesis(tensors: Mapping[str, Any]) -> ExactModel:
    model = ExactModel("test", {**LITE.tensors, **tensors})
    model.check()
    return model


@pytest.fixture(scope="module")
def picture(samples: Path) -> np.ndarray:
    with Image.open(samples / "still_life.png") as image:
        return np.asarray(image.convert("RGB"))[60:260, 40:285]


# ------------------------------------------------------------------------------------------------ inference


def test_a_network_of_zeros_decodes_as_the_plain_decoder_does(picture: np.ndarray) -> None:
    model = with_synthesis(random_network(8, 1, 0.0))
    for pixels in (picture, picture[:, :, 0], smooth_picture(1, 1)):
        data = api.encode(pixels, quality=50, model=model)
        plain, refined = (api.decode(data, model=model, refine=refine) for refine in ("none", "best"))
        assert refined.shape == plain.shape == pixels.shape
        assert np.abs(plain.astype(int) - refined).max() <= 1


def test_a_neural_model_writes_its_base_models_indices_and_decodes_them_exactly(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds for a network of zeros, and for efforts without aiming, at the same lambda."""
    monkeypatch.setattr(choices, "_LAMBDA_BEFORE_SYNTHESIS", choices.LAMBDA)
    model, silent = (with_synthesis(random_network(8, 1, spread)) for spread in (0.05, 0.0))
    given = ((LITE, 5), (silent, 5), (model, 4))
    lite, zeros, neural = (api.encode(picture, quality=40, model=m, effort=effort) for m, effort in given)
    assert model.file_id != LITE.file_id
    sections = [[section.data for section in container.read_file(data)[1]] for data in (lite, zeros, neural)]
    assert sections[0] == sections[1] == sections[2]
    np.testing.assert_array_equal(api.decode(lite), api.decode(neural, model=model, refine="none"))
    refined = [api.decode(neural, model=model, threads=threads).astype(int) for threads in (1, 3)]
    assert np.abs(refined[0] - refined[1]).max() <= 1
    assert np.abs(refined[0] - api.decode(lite)).max() > 3  # decoding uses the network by default


def test_golden_files_decode_to_the_same_indices_and_within_one_of_the_same_pixels() -> None:
    paths = sorted((REPOSITORY / "tests" / "golden" / "neural").glob("*.vqz"))
    assert len(paths) == len(CROPS)
    for path in paths:
        data = path.read_bytes()
        assert latents_digest(data, registry.find("photo")) == path.with_suffix(".latents").read_text().strip()
        plain = api.decode(data, refine="none")
        assert hashlib.sha256(plain.tobytes()).hexdigest() == path.with_suffix(".sha256").read_text().strip()
        with Image.open(path.with_suffix(".png")) as image:
            assert np.abs(api.decode(data).astype(int) - np.asarray(image)).max() <= 1


def test_fine_steps_are_decoded_plainly(picture: np.ndarray) -> None:
    model = with_synthesis(random_network(8, 1, 0.5))
    data = api.encode(picture[:64, :64], quality=100, model=model)
    plain, refined = (api.decode(data, model=model, refine=refine) for refine in ("none", "best"))
    np.testing.assert_array_equal(plain, refined)


def test_impossible_values_of_refine_are_refused(picture: np.ndarray) -> None:
    data = api.encode(picture[:16, :16], model=LITE)
    with pytest.raises(ModelError, match="has no synthesis"):
        api.decode(data, refine="best")
    with pytest.raises(InputError, match="refine is one of none, best, gan"):
        api.decode(data, refine="sharp")


def test_torch_decodes_the_same_pixels_within_one(picture: np.ndarray) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import inference

    model = with_synthesis(random_network(16, 2, 0.1))
    for pixels in (picture, picture[:, :, 0]):
        data = api.encode(pixels, quality=40, model=model)
        wanted = api.decode(data, model=model).astype(int)
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            file = container.File(io.BytesIO(data))
            image = reconstruction.best(file.header, model, run=inference.run_network_on(device, model))

            def finish(group: groups.OpenGroup, header: Header = file.header, image: Reconstruction = image) -> None:
                image.add(group.place, groups.finish_group(header, group, model))

            groups.open_each(file.header, WithoutGraphics(file), model, image.groups, finish, threads=2)
            found = image.pixels(2)
            assert np.abs(found.reshape(wanted.shape) - wanted).max() <= 1
        assert np.abs(wanted - api.decode(data, model=model, refine="none")).max() > 3


def test_a_gpu_that_is_not_there(
    picture: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = with_synthesis(random_network(8, 1, 0.05))
    save_model(tmp_path / "m", model)
    source, target = tmp_path / "a.vqz", tmp_path / "a.png"
    source.write_bytes(api.encode(picture[:40, :40], model=model))
    arguments = ["decode", str(source), str(target), "-m", str(tmp_path / "m"), "--device"]
    assert main([*arguments, "cuda"]) == InputError.exit_code
    assert "no CUDA device was found" in capsys.readouterr().err
    assert main([*arguments, "tpu"]) == 2
    assert not target.exists()
    assert main([*arguments, "auto"]) == 0  # falls back to numpy
    with Image.open(target) as image:
        np.testing.assert_array_equal(np.asarray(image), api.decode(source.read_bytes(), model=model))


# ------------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, picture: np.ndarray) -> Path:
    """Four tiny pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        top, left = 48 * (number // 2), 96 * (number % 2)
        Image.fromarray(picture[top : top + 144, left : left + 144]).save(root / f"{number}.png")
    return root


def test_numpy_and_torch_agree() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks

    tensors = random_network(16, 2, 0.1)
    network = networks.load_tensors(tensors)
    for name, array in networks.to_tensors(network).items():
        np.testing.assert_array_equal(array, tensors[name])
    x = np.random.default_rng(3).standard_normal((FEATURES, 9, 7)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)[None])[0].numpy()
    network = convolution.ConvNetwork.from_tensors(tensors, "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    found = convolution.run_network(network, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_high_effort_pays(samples: Path) -> None:
    """Measured as bytes times squared error, which weighs 1 % of either equally; true near 0.3 bits per pixel."""
    with Image.open(samples / "still_life.png") as image:
        pixels = np.asarray(image.convert("RGB"))[60:316, 100:484]
    costs = []
    for effort in (4, 9):
        data = api.encode(pixels, quality=50, effort=effort, model="photo")
        costs.append(len(data) * np.square(api.decode(data).astype(float) - pixels).mean())
    assert costs[1] < 0.99 * costs[0]


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
def test_weights_are_kept_from_before_a_folder_is_memorised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss drives a weight up without end, held-out samples want 0.05; training stops after that point and continues."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    monkeypatch.setattr(loop, "EVERY", 1)
    monkeypatch.setattr(loop, "SCORED", 1)
    seen: list[float] = []

    def train(report: Any = None) -> float:
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)
        found = loop.fit(
            network,
            lambda rng: (torch.ones(1, 1),),
            lambda network, batch: -network(*batch).mean(),
            lambda network: abs(network.weight.item() - 0.05),
            loop.Schedule(steps=60, rate=0.01, average=0.5),
            loop.LoopOptions(checkpoint=tmp_path / "checkpoint", report=report),
        )
        return found.weight.item()

    def stop(facts: dict[str, float]) -> None:
        seen.append(facts["held_out"])
        if facts["step"] == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    assert seen[-1] > 0.1
    assert train() == pytest.approx(0.05, abs=min(seen) + 1e-6)
    best, newest = loop.Best(torch.nn.Linear(1, 1)), torch.nn.Linear(1, 1)
    best.look(torch.nn.Linear(1, 1), float("nan"))
    best.look(newest, float("nan"))  # without held-out samples the newest is kept
    assert torch.equal(best.network.weight, newest.weight)
    good = torch.nn.Linear(1, 1)
    best.look(good, 0.5)
    best.look(torch.nn.Linear(1, 1), float("nan"))  # a diverged network does not replace a good one
    assert best.figure == 0.5
    assert torch.equal(best.network.weight, good.weight)


def test_learning_rates_rise_then_fall_to_nothing() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import Schedule

    schedule = Schedule(steps=100, warmup=0.1)
    shares = [schedule.share_of_rate(schedule.share_done(step, 0)) for step in range(101)]
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert (shares[0], shares[100]) == (0, 0)
    assert max(shares) > 0.9
    assert shares[50] == pytest.approx(0.5)
    assert Schedule(minutes=2.0).share_done(7, 30) == 0.25


def test_moving_averages_keep_the_given_share() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import average_in

    average, network = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))
    with torch.no_grad():
        average.weight.fill_(1), network.weight.fill_(0)
    for _ in range(3):
        average_in(average, network, 0.9)
    assert average.weight.item() == pytest.approx(0.9**3)
    assert network.weight.item() == 0


def test_a_step_clips_the_gradient_and_scales_the_learning_rate() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    network = torch.nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(0), network.bias.fill_(0)
    found = loop.fit(
        network,
        lambda rng: (torch.ones(1, 1),),
        lambda network, batch: 1e6 * network(*batch).mean(),
        lambda network: 0.0,
        loop.Schedule(steps=20, average=0.0),
        rate_factor=lambda parameter: 10.0 if parameter is network.bias else 1.0,
    )
    assert 0.9 < float(torch.cat([network.weight.grad[0], network.bias.grad]).norm()) <= 1.0001
    assert found.bias.item() == pytest.approx(10 * found.weight.item(), rel=0.01)
    assert found.weight.item() < 0


def test_muon_moves_matrices_alike_in_all_directions_and_continues_from_a_checkpoint(tmp_path: Path) -> None:
    """The singular values of a step are nearly equal, however unequal those of the gradient; biases are left to Adam."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    inputs = torch.randn(64, 8, generator=torch.manual_seed(0)) * 2.0 ** -torch.arange(8)
    batch = (inputs, inputs @ torch.randn(8, 4) + 1)

    def trained(steps: int, checkpoint: Path | None = None) -> Any:
        network = torch.nn.Linear(8, 4)
        with torch.no_grad():
            network.weight.zero_(), network.bias.zero_()
        return loop.fit(
            network,
            lambda rng: batch,
            lambda network, batch: (network(batch[0]) - batch[1]).square().mean(),
            lambda network: 0.0,
            loop.Schedule(steps=steps, average=0.0, rate=1e-3, matrix_rate=0.02, warmup=1e-9),
            loop.LoopOptions(checkpoint=checkpoint),
            matrices=lambda network: [network.weight],
        )

    moved = trained(2)  # the first step has next to no rate
    values = torch.linalg.svdvals(moved.weight.detach())
    assert 0.5 * 0.02 * 0.5 < float(values.min()) < float(values.max()) < 1.5 * 0.02 * 0.5
    assert float(moved.bias.detach().abs().max()) == pytest.approx(5e-4, rel=0.01)
    whole = trained(2 * loop.EVERY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Schedule, "share_done", lambda self, number, seconds: number / (2 * loop.EVERY) + (number == loop.EVERY))
        trained(loop.EVERY, tmp_path / "checkpoint")  # stopped half-way
    continued = trained(2 * loop.EVERY, tmp_path / "checkpoint")
    torch.testing.assert_close(continued.weight.detach(), whole.weight.detach())


def test_batches_are_others_for_every_seed_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    def first_draw(seed: int, rank: int) -> float:
        drawn: list[float] = []

        def draw(rng: np.random.Generator) -> tuple[Any, ...]:
            drawn.append(rng.random())
            return (torch.ones(1, 1),)

        monkeypatch.setattr(loop, "join_processes", lambda device: rank)
        settings = loop.Schedule(steps=1, seed=seed)
        loop.fit(torch.nn.Linear(1, 1), draw, lambda network, batch: network(*batch).mean(), lambda network: 0.0, settings)
        return drawn[0]

    assert first_draw(0, 0) == first_draw(0, 0)
    assert len({first_draw(seed, rank) for seed in (0, 1) for rank in (0, 1)}) == 4


def test_crops_are_as_large_as_nine_pictures_of_ten_allow_and_come_by_area() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import crops

    assert crops.usable_crop([(12, 20)] * 19 + [(2, 30)], 16) == 12
    assert crops.usable_crop([(12, 20)] * 15 + [(2, 30)] * 5, 16) == 2
    assert crops.usable_crop([(12, 20)], 8) == 8
    places = list(crops.draw_places([(4, 4), (12, 12)], 1000, 4, np.random.default_rng(0)))
    assert np.mean([place.number for place in places]) == pytest.approx(0.9, abs=0.03)
    assert {place.top for place in places if place.number == 1} == set(range(9))


def test_a_checkpoint_of_another_training_is_refused_and_kept(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    checkpoint = tmp_path / "checkpoint"
    settings = loop.Schedule(steps=100, origin="photo 12 pictures")
    parts = {"network": torch.nn.Linear(2, 2)}
    loop.save_checkpoint(checkpoint, settings, 50, 7.0, parts)
    assert loop.load_checkpoint(checkpoint, settings, parts) == (50, 7.0)
    longer = replace(settings, steps=None, minutes=3.0)
    assert loop.load_checkpoint(checkpoint, longer, parts) == (50, 7.0)  # the length may change
    assert loop.load_checkpoint(checkpoint, replace(settings, batch=5), parts, ("batch",)) == (50, 7.0)
    kept = checkpoint.read_bytes()
    for other, what in (({"origin": "photo 13 pictures"}, "another origin"), ({"batch": 5, "seed": 1}, "another seed, batch")):
        with pytest.raises(InputError, match=what):
            loop.load_checkpoint(checkpoint, replace(settings, **other), parts)  # type: ignore[arg-type]  # by name
    with pytest.raises(InputError, match="cannot continue from it"):
        loop.load_checkpoint(checkpoint, settings, {"network": torch.nn.Linear(2, 3)})
    assert checkpoint.read_bytes() == kept
    for broken in (b"", b"junk", kept[:-100]):
        checkpoint.write_bytes(broken)
        with pytest.raises(InputError, match="cannot continue from it"):
            loop.load_checkpoint(checkpoint, settings, parts)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    checkpoint, settings = tmp_path / "checkpoint", loop.Schedule(steps=100)
    parts = {"network": torch.nn.Linear(200, 200)}
    loop.save_checkpoint(checkpoint, settings, 50, 7.0, parts)
    kept = checkpoint.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) // 2, limit[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            loop.save_checkpoint(checkpoint, settings, 100, 14.0, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert checkpoint.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_continued_training_draws_other_batches_within_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    monkeypatch.setattr(loop, "EVERY", 1)
    checkpoint = tmp_path / "checkpoint"
    drawn: list[float] = []

    def train(settings: loop.Schedule) -> None:
        def draw(rng: np.random.Generator) -> tuple[Any, ...]:
            assert len(drawn) < 6
            drawn.append(rng.random())
            return (torch.ones(1, 1),)

        options = loop.LoopOptions(checkpoint=checkpoint)
        loop.fit(torch.nn.Linear(1, 1), draw, lambda net, batch: net(*batch).mean(), lambda _: 0.0, settings, options)

    train(loop.Schedule(steps=3))
    train(loop.Schedule(steps=6))
    assert len(set(drawn)) == 6
    saved = torch.load(checkpoint, weights_only=True)
    torch.save(saved | {"spent": 90.0}, checkpoint)
    train(loop.Schedule(minutes=1.0))  # the time is over
    assert len(drawn) == 6


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
    teacher = with_synthesis(synthesis.fit_synthesis(samples, samples, settings))
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
        assert student.older_ids == [teacher.id, "a" * 64]
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
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [50, 100, 150]
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
    save_model(tmp_path / "old", with_synthesis(random_network(240, 1, 0.0)))
    tried: list[synthesis.SynthesisSettings] = []

    def fit(train: Any, held_out: Any, settings: synthesis.SynthesisSettings, *_: Any, **__: Any) -> dict[str, np.ndarray]:
        tried.append(settings)
        return random_network(8, 1, 0.3)

    def samples(images: Any, model: ExactModel, *_: Any) -> list[Any]:
        return [make_sample(TrainingImage("crop", np.ascontiguousarray(images[0].pixels[:48, :48])), 30.0, model, "psnr")]

    monkeypatch.setattr(synthesis, "fit_synthesis", fit)
    monkeypatch.setattr(stages, "make_samples", samples)
    for init, kept in (("photo-lite", LITE), (tmp_path / "old", ExactModel.load(tmp_path / "old"))):
        facts = neural.train_neural(TrainingRun(folder, tmp_path / f"new-{kept.name}", steps=1), init=init, parts=("synthesis",))
        assert facts["held_out_gain_db"] < facts["held_out_gain_db_before"]
        assert facts["id"] == kept.id
    anew, on = tried
    assert on.rate == anew.rate / 4
    assert (anew.width, on.width, on.blocks) == (144, 240, 4)


def test_a_synthesis_for_eyes_is_kept_beside_the_first_if_pictures_gain(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import let_few_pictures_be_enough
    from vqcodec.neural import synthesis
    from vqcodec.train import neural
    from vqcodec.train.training_run import TrainingRun

    let_few_pictures_be_enough(monkeypatch.setattr)
    start = with_synthesis(random_network(16, 1, 0.02))
    save_model(tmp_path / "start", start)
    tried: list[synthesis.SynthesisSettings] = []

    def fit(train: Any, held_out: Any, settings: synthesis.SynthesisSettings, *_: Any, **given: Any) -> dict[str, np.ndarray]:
        tried.append(settings)
        assert given["goal"] is synthesis.FOR_EYES
        return random_network(16, 1, float(len(tried) - 1), kind="synthesis_ssim", ends=(FEATURES, OUTPUTS))

    monkeypatch.setattr(synthesis, "fit_synthesis", fit)
    for name, kept in (("better", True), ("worse", False)):
        run = TrainingRun(folder, tmp_path / name, steps=1)
        facts = neural.train_neural(run, init=tmp_path / "start", parts=("synthesis-ssim",))
        made = ExactModel.load(tmp_path / name)
        gained = facts["held_out_gain_percent"] > facts["held_out_gain_percent_before"]
        assert (gained, "synthesis_ssim" in made.syntheses, made.id != start.id) == (kept, kept, kept)
        assert made.older_ids == ([start.id] if kept else [])
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


@pytest.mark.parametrize(
    ("device", "code", "message"), [("cuda", 3, "no CUDA device was found"), ("tpu", 2, "'tpu' is not one of")]
)
def test_devices_that_are_not_there(
    device: str,
    code: int,
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = ["train", str(folder), "-o", str(tmp_path / "mine"), "--kind", "neural", "--steps", "1", "--device", device]
    assert main(arguments) == code
    assert message in capsys.readouterr().err


def test_without_torch_decoding_works_and_training_says_what_to_install(
    picture: np.ndarray, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torch" or name.startswith("vqcodec.neural")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "vqcodec.train.training_run", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    model = with_synthesis(random_network(8, 1, 0.05))
    data = api.encode(picture[:40, :40], model=model)
    for device in ("cpu", "auto"):
        assert api.decode(data, model=model, refine="best", device=device).shape == (40, 40, 3)
    with pytest.raises(MissingExtraError, match="pip install"):
        api.decode(data, model=model, refine="best", device="cuda")
    assert main(["train", str(folder), "-o", str(tmp_path / "mine"), "--kind", "neural", "--steps", "1"]) == 2
    assert "pip install 'vqcodec[neural]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "5"], "--steps: only for --kind neural, refiner"),
        (["--kind", "neural", "--init", "none"], "starts from a model"),
        (["--kind", "neural", "--steps", "5", "--minutes", "1"], "exclude each other"),
        (["--kind", "transformer"], "'transformer' is not one of"),
        (["--distil", "144x4"], "--distil: only for --kind neural"),
        (
            ["--kind", "neural", "--distil", "144"],
            "--distil '144': give channels, blocks and channels inside a block, such as 144x4 or 224x6x160",
        ),
        (["--kind", "neural", "--distil", "0x4"], "--distil '0x4': give channels, blocks"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(folder), "-o", str(tmp_path / "mine"), *options]) == 2
    assert message in capsys.readouterr().err
