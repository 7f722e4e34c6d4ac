"""Training of denoisers: agreement with numpy, crops, scores, the command."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import noisy_of, smooth_picture
from helpers.small_models import DENOISER
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import denoising
from vqcodec.errors import InputError
from vqcodec.nets import convolution
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_8X8
from vqcodec.weights.denoiser import Denoiser

Pixels = np.ndarray


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Settings of a network that trains in a moment."""
    pytest.importorskip("torch")
    from vqcodec.neural import denoiser
    from vqcodec.train import denoiser as training

    made = partial(denoiser.DenoiserSettings, batch=4, crop=4, width=24, blocks=1)
    monkeypatch.setattr(training, "DenoiserSettings", made)
    monkeypatch.setattr(denoiser, "_HELD_OUT_CROPS", 4)
    return made


def test_torch_and_numpy_find_the_same_noise(small: Callable[..., Any]) -> None:
    import torch

    from vqcodec.neural.denoiser import batch_of, error_left, lapped_basis
    from vqcodec.neural.networks import load_tensors

    clean = smooth_picture(104, 88).astype(np.float32).transpose(2, 0, 1)[None]
    batch = batch_of(clean, np.array([20], np.float32), np.random.default_rng(0))
    noisy, noise = (part[0].numpy().transpose(1, 2, 0) for part in batch[:2])
    network = load_tensors(DENOISER.tensors, "denoiser")
    with torch.no_grad():
        left = float(error_left(network, batch, lapped_basis())[0])
    found = denoising.estimate_noise(noisy[4:-4, 4:-4].astype(np.uint8), DENOISER, 20, (0, 0), (0, 12))
    inside = np.s_[8 * 4 : -8 * 4, 8 * 4 : -8 * 4]  # near the edges one sees the surroundings, the other mirrored pixels
    energies = np.square(found - noise[4:-4, 4:-4])[inside].mean() / 20**2
    assert left == pytest.approx(energies, rel=0.1)


@pytest.mark.parametrize("components", [1, 3])
def test_torch_and_numpy_denoise_alike(small: Callable[..., Any], components: int) -> None:
    """The torch network replaces the one in numpy."""
    import torch

    from vqcodec.neural.networks import load_tensors

    network = load_tensors(DENOISER.tensors, "denoiser")

    def run_network(_: Any, x: np.ndarray, kept: convolution.Rows) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(x)[None])[0, :, slice(*kept)].numpy()

    pixels = smooth_picture(50, 70, components)
    ours = api.denoise(pixels, model=DENOISER, sigma=20).astype(int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "run_network", run_network)
        assert np.abs(api.denoise(pixels, model=DENOISER, sigma=20) - ours).max() <= 1


def test_torch_and_numpy_agree_on_lapped_coefficients(small: Callable[..., Any]) -> None:
    import torch

    from vqcodec.neural.denoiser import lapped_basis, to_lapped

    pixels = smooth_picture(48, 64)
    theirs = to_lapped(torch.from_numpy(pixels.transpose(2, 0, 1)[None] - np.float32(128)), lapped_basis())[0].numpy()
    ours = denoising._to_lapped(pixels[4:-4, 4:-4], COLOR_8X8, OPPONENT)
    np.testing.assert_allclose(theirs[:, 1:-1, 1:-1], ours, atol=0.1)


def test_a_grey_crop_has_grey_noise_and_only_luma_counts(small: Callable[..., Any]) -> None:
    from vqcodec.neural.denoiser import batch_of

    clean = np.stack([smooth_picture(40, 40).transpose(2, 0, 1), np.repeat(smooth_picture(40, 40, 1)[None], 3, axis=0)])
    noisy, noise, level, counts = batch_of(clean.astype(np.float32), np.full(2, 10, np.float32), np.random.default_rng(0))
    assert (noisy[1] == noisy[1, :1]).all()
    assert (noise[0] != noise[0, :1]).any()
    np.testing.assert_allclose(level, [10, 10 * 3**0.5], rtol=1e-6)
    assert counts.sum(dim=(1, 2, 3)).tolist() == [192, 64]
    assert float(noise.std()) == pytest.approx(10, rel=0.05)


def test_noisy_crops_are_rounded_and_clipped_and_some_are_grey(small: Callable[..., Any]) -> None:
    from vqcodec.neural import denoiser

    rng = np.random.default_rng(0)
    noisy = denoiser.add_noise(np.tile(np.array([0, 128, 255], np.float32), (1, 3, 4, 20)), np.full(1, 30, np.float32), rng)
    np.testing.assert_array_equal(noisy, np.rint(noisy).clip(0, 255))
    crops = denoiser.draw_crops([smooth_picture(40, 56)], np.ones(1), 400, 24, rng)
    assert 0.08 < denoiser.is_grey(crops).mean() < 0.18
    assert len(np.unique(crops[:, 0, 0, 0])) > 50


def test_the_score_is_that_of_held_out_pictures(small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import denoiser

    figures: list[float] = []

    def fit(network: Any, draw: Any, loss: Any, held_out: Any, settings: Any, *_: Any) -> Any:
        network.tail.reset_parameters()
        figures.append(held_out(network))
        return network

    monkeypatch.setattr(denoiser, "fit", fit)
    train, kept = np.full((48, 48, 3), 128, np.uint8), smooth_picture(48, 48)
    for pictures in ([kept], [kept], [train], []):
        denoiser.fit_denoiser([train], pictures, small(steps=1))
    assert figures[0] == figures[1] != figures[2]
    assert figures[2] == figures[3]  # without held-out pictures the training pictures are scored


@pytest.mark.slow
def test_pictures_that_are_too_small(small: Callable[..., Any], still_life: Pixels) -> None:
    from vqcodec.neural import denoiser

    with pytest.raises(InputError, match="16 pixels a side are the least"):
        denoiser.fit_denoiser([still_life[:15, :16]], [], small(steps=1))
    found = denoiser.fit_denoiser(
        [still_life[:64, :64]], [still_life[:15, :16]], small(steps=1)
    )  # a small held-out picture is left out
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(small: Callable[..., Any], still_life: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import denoiser, loop

    monkeypatch.setattr(loop, "EVERY", 10)
    monkeypatch.setattr(loop, "SCORED", 1)
    pictures, seen = [still_life[:256, :256], still_life[:256, 256:512]], []
    found = denoiser.fit_denoiser(
        pictures[:1], pictures[1:], small(steps=40, width=96, rate=1e-2), loop.LoopOptions(report=seen.append)
    )
    assert [facts["step"] for facts in seen] == [10, 20, 30, 40]
    assert seen[-1]["loss"] < seen[0]["loss"] - 0.25
    assert seen[-1]["held_out"] < -2
    assert all(np.isfinite(array).all() for array in found.values())
    model = replace(DENOISER, tensors={**found, "color": OPPONENT})
    noisy = noisy_of(pictures[1], 25)
    before, after = (np.square(p.astype(float) - pictures[1]).mean() for p in (noisy, api.denoise(noisy, model=model, sigma=25)))
    assert 10 * np.log10(before / after) > 2


@pytest.mark.slow
def test_the_command_trains_a_model_and_continues(
    small: Callable[..., Any], still_life: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray(still_life[64 * number : 64 * number + 64, :80]).save(pictures / f"{number}.png")
    first, second = tmp_path / "first", tmp_path / "second"
    log = tmp_path / "log.jsonl"
    options = ["--kind", "denoiser", "--steps", "50", "--log", str(log)]
    assert main(["train", str(pictures), "-o", str(first), *options]) == 0, capsys.readouterr().err
    denoiser, summary = Denoiser.load(first), json.loads((first / "model.json").read_text())
    assert summary["id"] == denoiser.id
    assert summary["kind"] == "denoiser"
    assert summary["held_out_gain_db_at_25"] > 0
    assert "--kind denoiser --seed 0 --steps 50" in summary["command"]
    assert {"part", "loss", "step", "seconds"} < set(json.loads(log.read_text().splitlines()[1]))  # after the plan
    assert not list(tmp_path.glob("*.checkpoint"))
    arguments = ["train", str(pictures), "-o", str(second), "--kind", "denoiser", "--steps", "2", "--init", str(first)]
    assert main(arguments) == 0, capsys.readouterr().err
    again = json.loads((second / "model.json").read_text())
    assert again["init_id"] == denoiser.id
    assert again["settings"]["rate"] == 0.5 * summary["settings"]["rate"]
    head = Denoiser.load(second).tensors["denoiser.head"]
    assert np.abs(head.astype(float) - denoiser.tensors["denoiser.head"]).max() < 0.02  # training started from it
