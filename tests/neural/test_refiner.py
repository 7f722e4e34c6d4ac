"""Training of refiners: scenes and losses, agreement with the decoder, checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.networks import random_network
from helpers.small_models import REFINER
from vqcodec import api
from vqcodec.codec import sharpening
from vqcodec.codec.pipeline import Encoder
from vqcodec.errors import InputError
from vqcodec.nets.synthesis import INPUTS, NOISE, OUTPUTS, REFINER_OUTPUTS
from vqcodec.options import EncodeOptions
from vqcodec.train.watch import Watch
from vqcodec.transform import lapped
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_8X8
from vqcodec.weights import registry

Pixels = np.ndarray


@pytest.fixture(scope="module")
def picture(still_life: Pixels) -> Pixels:
    """A part of a sample, 133 x 96 pixels."""
    return still_life[60:156, 40:173]


@pytest.fixture(scope="module")
def refiner_samples(picture: Pixels) -> list[Any]:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import make_refiner_samples

    images = [TrainingImage(str(n), np.ascontiguousarray(picture[:, 10 * n : 10 * n + 96])) for n in range(4)]
    return make_refiner_samples(images, [registry.find("photo-lite")], 0, "samples", Watch())


@pytest.mark.slow
def test_added_pixels_agree_with_the_decoder(refiner_samples: list[Any]) -> None:
    import torch

    from vqcodec.neural import refiner
    from vqcodec.transform import dct

    x = np.random.default_rng(0).standard_normal((OUTPUTS, 4, 6)).astype(np.float32)
    coefficients = lapped.from_lapped(x)
    coefficients[:3] = 0
    matrix = dct.inverse_matrix(COLOR_8X8, OPPONENT) / (1 << dct.SHIFT)
    blocks = (coefficients.reshape(len(x), -1).T @ matrix).reshape(4, 6, 8, 8, 3)
    found = refiner.added_pixels(torch.from_numpy(x)[None])[0].numpy() * 255
    np.testing.assert_allclose(found, blocks.transpose(4, 0, 2, 1, 3).reshape(3, 32, 48), atol=1e-3)


def test_training_agrees_with_decoding(picture: Pixels) -> None:
    """A sample's scene, refined with the same weights, equals the decoded picture."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import refiner
    from vqcodec.neural.networks import load_tensors
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import make_refiner_sample

    pixels, model = np.ascontiguousarray(picture[:96, :96]), registry.find("photo")
    sample = make_refiner_sample(TrainingImage("crop", pixels), 40.0, model, "psnr")
    rng = np.random.default_rng(0)
    while True:  # until a crop is neither transposed nor mirrored
        scene = refiner.draw_scene([sample], 1, 12, rng, "cpu")
        if np.array_equal(scene.original[0].permute(1, 2, 0).mul(255).round().numpy(), pixels):
            break
    scene.x[0, -NOISE:] = torch.from_numpy(sharpening.noise((0, 0), 12, 12))  # crops get noise from random positions
    scene.grain[0] = torch.from_numpy(sharpening.grain((0, 0), 12, 12))
    found = scene.refined(load_tensors(REFINER.tensors, "refiner")).detach()[0].permute(1, 2, 0).mul(255).numpy()
    data = Encoder(pixels, model, EncodeOptions(tune="psnr", threads=1)).file(40 * 64)
    decoded = api.decode(data, refine="gan", strength=1, refiner=REFINER)
    assert np.abs(np.clip(found, 0, 255) - decoded).max() < 3  # samples hold coefficients as float16


def test_training_adds_the_same_coefficients_as_decoding() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import refiner

    rng = np.random.default_rng(1)
    outputs, grain = rng.standard_normal((2, REFINER_OUTPUTS, 7, 6)).astype(np.float32), sharpening.grain((3, 5), 7, 6)
    found = refiner.added_coefficients(torch.from_numpy(outputs), torch.from_numpy(np.stack([grain, grain]))).numpy()
    np.testing.assert_allclose(found, np.stack([sharpening.added_coefficients(one, (3, 5)) for one in outputs]), atol=1e-5)


@pytest.mark.slow
def test_losses_start_at_any_pixel_of_a_cell(refiner_samples: list[Any]) -> None:
    from vqcodec.neural import refiner

    rng, corners = np.random.default_rng(0), set()
    for _ in range(60):
        scene = refiner.draw_scene(refiner_samples, 1, 8, rng, "cpu")
        top, left = scene.corner
        corners |= {(0, top), (1, left)}
        seen = scene.original[:, :, top : top + 56, left : left + 56]
        assert scene.judged_pixels(scene.original).equal(seen)
        assert scene.judged(scene.original)[:, :3].equal(2 * seen - 1)
    assert corners == {(axis, pixel) for axis in (0, 1) for pixel in range(8)}


@pytest.mark.slow
def test_grey_pictures_get_no_colour_in_training(refiner_samples: list[Any]) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.networks import load_tensors

    network, rng = load_tensors(REFINER.tensors, "refiner"), np.random.default_rng(0)
    grey = replace(refiner_samples[0], pixels=refiner_samples[0].pixels[:, :, :1])
    for sample, alike in ((grey, True), (refiner_samples[0], False)):
        scene = refiner.draw_scene([sample], 1, 6, rng, "cpu")
        added = (scene.refined(network) - scene.decoded).detach()
        assert float(added.abs().max()) > 0.01
        assert (float((added - added.mean(dim=1, keepdim=True)).abs().max()) < 1e-5) == alike


@pytest.mark.slow
def test_adversarial_steps_change_both_networks_and_stay_finite(refiner_samples: list[Any]) -> None:
    import torch

    from vqcodec.neural import refiner
    from vqcodec.neural.perceptual import GradientStatistics

    settings = refiner.RefinerSettings(steps=3, batch=2, crop=8, width=16, blocks=1, adaptive=True)
    players = refiner.Players.new(settings, GradientStatistics(), "cpu")
    players.set_rates(0.5)
    before = {name: [p.detach().clone() for p in getattr(players, name).parameters()] for name in ("generator", "discriminator")}
    rng = np.random.default_rng(0)
    for _ in range(3):
        scene = refiner.draw_scene(refiner_samples, 2, 8, rng, "cpu")
        pictures = scene.refined(players.generator)
        facts = refiner.discriminator_step(players, scene, pictures)
        facts |= refiner.generator_step(players, scene, pictures, 0.3)
        assert all(torch.isfinite(value) for value in facts.values())
        assert 0 <= facts["accuracy"] <= 1
    for name, old in before.items():
        assert any((new != was).any() for new, was in zip(getattr(players, name).parameters(), old, strict=True))


def test_the_adaptive_weight_balances_the_gradients_of_the_last_layer() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.networks import ConvNetwork
    from vqcodec.neural.refiner import adaptive_weight

    network = ConvNetwork(4, 1, "refiner")
    out = network(torch.randn(1, INPUTS["refiner"], 3, 3))
    one, other = out.square().mean() + out.mean(), 7 * out.mean()
    norms = [torch.autograd.grad(loss, network.tail.weight, retain_graph=True)[0].norm() for loss in (one, other)]
    assert float(adaptive_weight(one, other, network)) == pytest.approx(float(norms[0] / norms[1]), rel=1e-2)


@pytest.mark.slow
def test_the_generators_loss_is_the_weighted_sum_of_its_parts(refiner_samples: list[Any]) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.perceptual import GradientStatistics

    weights_of = {"error": 1.0, "perceptual": 2.0, "texture": 3.0, "color": 50.0}
    options = {f"lambda_{letter}": weight for letter, weight in zip("rptc", weights_of.values(), strict=True)}
    settings = refiner.RefinerSettings(steps=3, width=8, blocks=1, **options)
    players = refiner.Players.new(settings, GradientStatistics(), "cpu", random_network(8, 1, 0.1, kind="refiner"))
    scene = refiner.draw_scene(refiner_samples, 1, 6, np.random.default_rng(0), "cpu")
    facts = {
        name: float(value) for name, value in refiner.generator_step(players, scene, scene.refined(players.generator), 0.3).items()
    }
    wanted = sum(weight * facts[name] for name, weight in weights_of.items()) + 0.3 * facts["adversarial"]
    assert facts["generator_loss"] == pytest.approx(wanted, rel=1e-4)
    assert min(facts[name] for name in weights_of) > 0


def test_scores_are_decibels_gained_and_distances_before_and_after() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    from vqcodec.neural import refiner

    flat = [torch.full((1, 3, 8, 8), level) for level in (0.5, 0.9, 0.6)]
    scene: Any = SimpleNamespace(original=flat[0], decoded=flat[1], refined=lambda generator: flat[2])

    def distance(one: Any, other: Any) -> Any:
        return (one - other).abs().mean(dim=(1, 2, 3))

    found = refiner.score(torch.nn.Identity(), [scene, scene], distance)  # type: ignore[arg-type]  # no network is asked
    assert found["held_out_gain_db"] == pytest.approx(20 * np.log10(4), abs=0.01)
    assert found["held_out_distance_before"] == pytest.approx(0.4)
    assert found["held_out_distance"] == pytest.approx(0.1)


@pytest.mark.slow
def test_the_adversarial_weight_rises_and_held_out_pictures_are_scored(
    refiner_samples: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.perceptual import GradientStatistics

    small = {name: getattr(refiner_samples[1], name)[:, :5, :4] for name in ("seen", "base")}
    held_out = replace(refiner_samples[1], **small, pixels=refiner_samples[1].pixels[:40, :32])
    heard: list[float] = []
    scored: list[Any] = []

    def step(players: Any, scene: Any, pictures: Any, adversarial: float) -> dict[str, Any]:
        heard.append(adversarial)
        return {}

    monkeypatch.setattr(refiner, "generator_step", step)
    monkeypatch.setattr(refiner, "discriminator_step", lambda *_: {})
    monkeypatch.setattr(refiner, "score", lambda network, scenes, distance: scored.extend(scenes) or {})
    settings = refiner.RefinerSettings(steps=10, batch=1, crop=4, width=8, blocks=1, lambda_a=2.0, ramp=0.4)
    refiner.fit_refiner(refiner_samples[:1], [held_out], GradientStatistics(), settings)
    assert heard == pytest.approx([0, 0.5, 1, 1.5, *[2] * 6])
    assert [tuple(scene.base.shape[2:]) for scene in scored] == [(4, 4)]


@pytest.mark.slow
def test_pictures_that_are_too_small(refiner_samples: list[Any]) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.perceptual import GradientStatistics

    def cut(sample: Any, cells: int) -> Any:
        parts = {name: getattr(sample, name)[:, :cells, :cells] for name in ("seen", "base")}
        return replace(sample, **parts, pixels=sample.pixels[: 8 * cells, : 8 * cells])

    settings = refiner.RefinerSettings(steps=1, batch=1, crop=8, width=8, blocks=1)
    with pytest.raises(InputError, match="32 pixels a side are the least"):
        refiner.fit_refiner([cut(refiner_samples[0], 3)], [], GradientStatistics(), settings)
    least, small = cut(refiner_samples[0], 4), cut(refiner_samples[0], 1)
    _, scores = refiner.fit_refiner([least], [small], GradientStatistics(), settings)  # a small held-out picture is left out
    assert np.isfinite(list(scores.values())).all()


@pytest.mark.slow
def test_training_continues_from_a_checkpoint(refiner_samples: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.loop import LoopOptions
    from vqcodec.neural.perceptual import GradientStatistics

    monkeypatch.setattr(refiner, "EVERY", 2)
    monkeypatch.setattr(refiner, "SCORED", 1)
    settings = refiner.RefinerSettings(steps=4, batch=1, crop=8, width=8, blocks=1)
    seen: list[dict[str, float]] = []
    sheets: list[Pixels] = []

    def train(report: Callable[[dict[str, float]], None]) -> dict[str, np.ndarray]:
        options, show = LoopOptions(checkpoint=tmp_path / "checkpoint", report=report), lambda number, pixels: sheets.append(pixels)
        distance = GradientStatistics()
        return refiner.fit_refiner(refiner_samples, refiner_samples[:2], distance, settings, options, show=show).tensors

    def stop(facts: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    tensors = train(seen.append)
    assert [facts["step"] for facts in seen] == [4]
    wanted = {"generator_loss", "discriminator_loss", "accuracy", "perceptual", "held_out_gain_db", "held_out_distance"}
    assert wanted < set(seen[0])
    assert all(np.isfinite(value) for value in seen[0].values())
    assert all(np.isfinite(array).all() for array in tensors.values())
    assert [sheet.shape for sheet in sheets] == [(2 * 96, 3 * 96, 3)] * 2


@pytest.mark.slow
def test_training_continues_from_a_refiner_of_its_size(refiner_samples: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.networks import load_tensors
    from vqcodec.neural.perceptual import GradientStatistics

    settings = refiner.RefinerSettings(steps=2, batch=1, crop=8, width=8, blocks=1, rate=1e-7)
    start, distance = random_network(8, 1, 0.1, kind="refiner"), GradientStatistics()
    found, scores = refiner.fit_refiner(refiner_samples, refiner_samples[:2], distance, settings, start=start)
    for name, array in start.items():
        np.testing.assert_allclose(found[name][: len(array)], array, atol=1e-3)
    assert len(start["refiner.tail"]) == OUTPUTS  # an older refiner, without grain
    np.testing.assert_allclose(found["refiner.tail_bias"][OUTPUTS:], 0.01, atol=1e-3)
    monkeypatch.setattr(refiner, "_GRAIN_AT_FIRST", 0)  # an untrained refiner adds nothing else
    _, untrained = refiner.fit_refiner(refiner_samples, refiner_samples[:2], distance, settings)
    assert abs(untrained["held_out_gain_db"]) < 0.01 < abs(scores["held_out_gain_db"])
    assert load_tensors(found, "refiner").head.weight.shape[0] == 8


@pytest.mark.slow
def test_the_same_seed_makes_the_same_refiner(refiner_samples: list[Any]) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.perceptual import GradientStatistics

    def tail(seed: int) -> Pixels:
        settings = refiner.RefinerSettings(steps=1, seed=seed, batch=1, crop=4, width=8, blocks=1)
        return refiner.fit_refiner(refiner_samples[:1], [], GradientStatistics(), settings).tensors["refiner.head"]

    np.testing.assert_array_equal(tail(3), tail(3))
    assert (tail(3) != tail(4)).any()
