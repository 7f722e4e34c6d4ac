"""Sharpening: a refiner's correction, decoding with it whole and in parts, devices, the command, training."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.networks import random_network, with_scarce_memory
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import devices, sharpening
from vqcodec.codec.pipeline import Encoder
from vqcodec.errors import InputError, ModelError
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import GRAIN, INPUTS, NOISE, OUTPUTS, REFINER_OUTPUTS, plain_coefficients
from vqcodec.options import EncodeOptions
from vqcodec.train.watch import Watch
from vqcodec.transform import lapped
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model
from vqcodec.weights.refiner import Refiner

Pixels = np.ndarray


def random_refiner(scale: float = 0.15) -> Refiner:
    ends = INPUTS["refiner"], REFINER_OUTPUTS
    refiner = Refiner("test", {**random_network(6, 2, scale, kind="refiner", ends=ends), "color": OPPONENT})
    refiner.check()
    return refiner


REFINER = random_refiner()


@pytest.fixture(scope="module")
def picture(samples: Path) -> Pixels:
    with Image.open(samples / "still_life.png") as image:
        return np.asarray(image.convert("RGB"))[60:156, 40:173]


@pytest.fixture(scope="module")
def coded(picture: Pixels) -> bytes:
    return api.encode(picture, quality=20, effort=1)


# ------------------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("model", ["photo", "photo-lite"])
def test_strength_blends_the_decode_and_the_correction(picture: Pixels, model: str) -> None:
    data = api.encode(picture, quality=20, model=model, effort=1)
    best, none, half, full = (
        api.decode(data), *(api.decode(data, refine="gan", strength=s, refiner=REFINER).astype(int) for s in (0, 0.5, 1))
    )  # fmt: skip
    np.testing.assert_array_equal(best, none)
    assert np.abs(full - best).mean() > 2
    inside = (full > 0) & (full < 255) & (half > 0) & (half < 255)
    assert np.abs((half - best) * 2 - (full - best))[inside].max() <= 4  # a blend, up to rounding


@pytest.mark.parametrize("components", [1, 3])
def test_means_of_blocks_stay(picture: Pixels, components: int) -> None:
    pixels = (64 + picture // 2)[:, :, :components]  # far from black and white
    data, weak = api.encode(pixels, quality=20, effort=1), random_refiner(0.04)
    best, refined = (api.decode(data, **options) for options in ({}, {"refine": "gan", "strength": 1, "refiner": weak}))
    assert np.abs(refined.astype(int) - best).mean() > 2
    assert np.array_equal(refined, refined.clip(1, 254))  # nor there now
    small = [p[:, :128].reshape(12, 8, 16, 8, -1).mean(axis=(1, 3)) for p in (best, refined)]
    assert np.abs(small[0] - small[1]).mean() < 0.2  # rounding alone


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_dcs_are_left_alone_and_strips_have_no_seams(layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    h, w = 41, 5
    latents = np.random.default_rng(2).integers(-200, 200, (layout.channels, h * w)).astype(np.int16)
    restored = partial(plain_coefficients, latents, 20.0, (h, w), layout)
    sharpener = sharpening.Sharpener(REFINER, 1.0)
    given = {"decoded": restored, "latents": latents, "step_levels": 20.0, "grid": (h, w), "layout": layout, "corner": (3, 4)}
    sharpen = partial(sharpener.sharpen, **given)
    whole = sharpen((0, h))
    added = whole - restored((0, h))
    assert not added[: layout.components].any()
    assert np.abs(added[layout.components :]).mean() > 1
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 1)
    strips = convolution.strips(sharpener.halo, (h, w))
    assert len(strips) > 3
    np.testing.assert_allclose(np.concatenate([sharpen(rows) for rows in strips], axis=1), whole, rtol=1e-4, atol=1e-3)


def test_noise_depends_on_the_position_alone_and_is_white() -> None:
    whole = sharpening.noise((0, 0), 200, 150)
    np.testing.assert_array_equal(sharpening.noise((30, 40), 7, 9), whole[:, 30:37, 40:49])
    assert abs(whole.mean()) < 0.01
    assert whole.std() == pytest.approx(1, abs=0.01)
    shifted = [np.roll(whole, shift, axis=axis) for axis in range(3) for shift in (1, 2, 3)]
    assert max(abs((whole * other).mean()) for other in shifted) < 0.01
    assert len(np.unique(whole)) > 0.9 * whole.size


def test_grain_is_luma_noise_with_the_strength_from_the_network() -> None:
    strengths = np.zeros((REFINER_OUTPUTS, 60, 50), np.float32)
    np.testing.assert_array_equal(sharpening.added_coefficients(strengths, (0, 0)), 0)
    strengths[OUTPUTS:] = np.arange(GRAIN, dtype=np.float32)[:, None, None]
    whole = sharpening.added_coefficients(strengths, (0, 0))
    luma = np.array([component == 0 for component, _, _ in COLOR_8X8.positions])
    assert not whole[~luma].any()
    wanted = np.arange(GRAIN) * sharpening.grain_emphasis().reshape(-1)
    np.testing.assert_allclose(whole[luma].std(axis=(1, 2)), wanted, rtol=0.05)
    assert wanted[-1] > 0
    np.testing.assert_array_equal(sharpening.added_coefficients(strengths[:, :7, :9], (30, 40)), whole[:, 30:37, 40:49])
    inputs = sharpening.noise((0, 0), 60, 50)
    assert max(abs((one * other).mean()) for one in inputs for other in sharpening.grain((0, 0), 60, 50)) < 0.1


def test_refiners_without_grain_decode_as_with_grain_of_strength_0(coded: bytes) -> None:
    rows = ("refiner.tail", "refiner.tail_bias")
    without = replace(REFINER, tensors=REFINER.tensors | {name: REFINER.tensors[name][:OUTPUTS] for name in rows})
    without.check()
    silent = {name: REFINER.tensors[name].copy() for name in rows}
    for array in silent.values():
        array[OUTPUTS:] = 0
    pictures = [
        api.decode(coded, refine="gan", strength=1, refiner=refiner)
        for refiner in (without, replace(REFINER, tensors=REFINER.tensors | silent), REFINER)
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[2].astype(int) - pictures[1]).mean() > 1


@pytest.mark.parametrize("tile", fast_first([None, 64]))
def test_a_region_is_a_part_of_the_whole(picture: Pixels, tile: int | None) -> None:
    data = api.encode(picture, quality=20, effort=1, tile=tile)
    options: dict[str, Any] = {"refine": "gan", "strength": 1, "refiner": REFINER}
    whole = api.decode(data, **options).astype(int)
    with api.open_vqz(io.BytesIO(data)) as opened:
        part = opened.read((50, 30, 70, 57), **options)
    assert np.abs(part - whole[30:87, 50:120]).max() <= 1


def far_sighted(kind: str, tail: float, ends: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """Tensors of a network whose output depends as much on the farthest cells it sees as on near ones."""
    tensors = random_network(6, 2, 0.8, kind=kind, ends=ends)
    return {name: array * np.float16(tail if ".tail" in name else 1) for name, array in tensors.items()}


@pytest.mark.parametrize(("synthesis", "refined"), [(True, False), (False, True), (True, True)])
def test_a_region_is_decoded_from_all_the_cells_that_it_depends_on(synthesis: bool, refined: bool) -> None:
    """A network that hardly depended on the farthest cells would not show that they are missing."""
    lite = registry.find("photo-lite")
    model = replace(lite, tensors=lite.tensors | (far_sighted("synthesis", 0.005) if synthesis else {}))
    ends = INPUTS["refiner"], REFINER_OUTPUTS
    refiner = replace(REFINER, tensors=far_sighted("refiner", 0.001, ends) | {"color": lite.color})
    data = api.encode(smooth_picture(152, 160), quality=20, effort=1, model=model)
    options: dict[str, Any] = {"refine": "gan", "strength": 1, "refiner": refiner} if refined else {"refine": "best"}
    whole = api.decode(data, model=model, **options).astype(int)
    assert np.abs(whole - api.decode(data, model=model, refine="none")).mean() > 20
    with api.open_vqz(io.BytesIO(data), model=model) as opened:
        part = opened.read((72, 64, 16, 16), **options)  # 2x2 cells, with more cells around them than any network sees
    assert np.abs(part - whole[64:80, 72:88]).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_and_alpha(channels: int) -> None:
    pixels = np.concatenate([smooth_picture(40, 56, 3, seed) for seed in (0, 1)], axis=2)[:, :, :channels]
    data = api.encode(pixels, quality=10, effort=1)
    refined, best = api.decode(data, refine="gan", refiner=REFINER), api.decode(data)
    assert refined.shape == best.shape
    assert (refined != best).any()
    if channels in (2, 4):
        np.testing.assert_array_equal(refined[:, :, -1], best[:, :, -1])


def test_the_default_strength_falls_with_the_step(picture: Pixels) -> None:
    steps = np.geomspace(5, 180, 40)
    found = [sharpening.default_strength(step) for step in steps]
    assert found == sorted(found)
    assert (min(found), max(found)) == (0, sharpening.DEFAULT_STRENGTH)
    strengths = [sharpening.default_strength(step) for step in (13, (13 * 60) ** 0.5, 60)]
    assert strengths == pytest.approx([0, 0.35, 0.7])
    fine = api.encode(picture, quality=80, effort=1)
    np.testing.assert_array_equal(api.decode(fine, refine="gan", refiner=REFINER), api.decode(fine))


def test_options_that_contradict_each_other_are_refused(coded: bytes) -> None:
    for options, error in (
        ({"refine": "gan", "strength": 1.5}, "strength is a number from 0 to 1"),
        ({"strength": 0.5}, "for refine gan"),
        ({"refiner": "photo-gan"}, "for refine gan"),
    ):
        with pytest.raises(InputError, match=error):
            api.decode(coded, **options)
    with pytest.raises(ModelError, match=r"no refiner named photo \(.*\): photo is a lite or neural model, for encode -m$"):
        api.decode(coded, refine="gan", refiner="photo")
    other = replace(REFINER, tensors={**REFINER.tensors, "color": OPPONENT + 1})
    with pytest.raises(ModelError, match="other colours"):
        api.decode(coded, refine="gan", refiner=other)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("refiner.tail", None, "'refiner.tail' is missing"),
        ("refiner.head", np.zeros((6, 97), np.float16), "refiner.head is wrong"),
        ("refiner.tail_bias", np.full(192, np.nan, np.float16), "refiner.tail_bias is wrong"),
        ("color", np.zeros((2, 3), np.int32), "color is wrong"),
    ],
)
def test_damaged_refiners_are_refused(name: str, value: np.ndarray | None, error: str) -> None:
    tensors = {key: array for key, array in (REFINER.tensors | {name: value}).items() if array is not None}
    with pytest.raises(ModelError, match=error):
        Refiner("bad", tensors).check()


# ------------------------------------------------------------------------------------------------ memory and devices


def test_a_gpu_without_memory_gives_a_note(coded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_network_on(device: str, model: Any, kind: str) -> convolution.RunNetwork:
        network = model.network if kind == "refiner" else model.synthesis
        return with_scarce_memory(9, partial(convolution.run_network, network))

    gpu = SimpleNamespace(run_network_on=run_network_on, model_on=lambda device, model: model)
    monkeypatch.setattr(devices, "_inference", lambda device: gpu)
    options: dict[str, Any] = {"refine": "gan", "strength": 1, "refiner": REFINER}
    with api.open_vqz(io.BytesIO(coded)) as opened:
        found = opened.read(device="cuda", **options)
    said = "too little memory on the GPU: a network ran"
    assert opened.notes == [f"{said} on the CPU", f"{said} in smaller strips"]  # the synthesis, of few rows; the refiner
    monkeypatch.undo()
    assert np.abs(found.astype(int) - api.decode(coded, **options)).max() <= 1


def test_torch_agrees_with_numpy_and_raises_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import inference

    run = inference.run_network_on("cpu", REFINER, "refiner")
    x = np.random.default_rng(3).standard_normal((INPUTS["refiner"], 9, 7)).astype(np.float32)
    np.testing.assert_allclose(run(x), convolution.run_network(REFINER.network, x), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(run(x, (2, 5)), run(x)[:, 2:5])

    def out_of_memory(*given: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.nn.Conv2d, "forward", out_of_memory)
    with pytest.raises(MemoryError):
        run(x)


def test_without_cuda_the_error_is_one_line(
    coded: bytes, tmp_path: Path, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    file = tmp_path / "a.vqz"
    file.write_bytes(coded)
    given = ["--refine", "gan", "--refiner", "sharp", "--device", "cuda"]
    assert main(["decode", str(file), str(tmp_path / "a.png"), *given]) == 3
    assert capsys.readouterr().err == f"vqcodec: {file}: there is no CUDA device here (--device cpu)\n"
    assert not (tmp_path / "a.png").exists()


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with a refiner named `sharp`."""
    folder = tmp_path / "models"
    save_model(folder / "sharp", replace(REFINER, name="sharp", summary={"name": "sharp", "kind": "refiner"}))
    monkeypatch.setenv("VQCODEC_MODELS", str(folder))
    return folder


def test_the_command_sharpens_and_does_not_change_the_file(
    coded: bytes, tmp_path: Path, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.vqz").write_bytes(coded)
    given = ["--refine", "gan", "--refiner", "sharp", "--strength", "1"]
    assert main(["decode", str(folder), str(tmp_path / "out"), *given]) == 0
    assert main(["decode", str(folder / "a.vqz"), str(tmp_path / "best.png")]) == 0
    refined, best = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("out/a.png", "best.png"))
    assert np.abs(refined - best).mean() > 2
    assert (folder / "a.vqz").read_bytes() == coded
    for given, code in (
        (["--refine", "gan", "--refiner", "nobody"], 4),
        (["--strength", "1"], 2),
        (["--refine", "gan", "--scale", "2"], 2),
        (["--refine", "gan", "--strength", "2"], 2),
    ):
        assert main(["decode", str(folder / "a.vqz"), str(tmp_path / "b.png"), *given]) == code
        assert not (tmp_path / "b.png").exists()


def test_refiners_are_listed_but_not_found_as_models(coded: bytes, installed: Path) -> None:
    entries = {entry.name: entry for entry in registry.list_models()}
    assert entries["sharp"].kind == "refiner"
    assert entries["sharp"].id == REFINER.id[:12]
    assert registry.find_by_id(registry.find("photo").file_id).name == "photo"
    with pytest.raises(ModelError, match=r"no model named sharp \(.*\): sharp is a refiner, for decode --refine gan --refiner$"):
        registry.find("sharp")
    with pytest.raises(ModelError, match=r"no model at .*sharp: it is a refiner"):
        registry.find(installed / "sharp")
    np.testing.assert_array_equal(Refiner.load(installed / "sharp").network.head, REFINER.network.head)


# ------------------------------------------------------------------------------------------------ training


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
    data = Encoder(pixels, model, EncodeOptions(threads=1)).file(40 * 64)
    decoded = api.decode(data, refine="gan", strength=1, refiner=REFINER)
    assert np.abs(np.clip(found, 0, 255) - decoded).max() < 3  # samples hold coefficients as float16


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
def test_training_goes_on_from_a_checkpoint(refiner_samples: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_training_goes_on_from_a_refiner_of_its_size(refiner_samples: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_lpips_is_0_for_equal_pictures_and_grows_with_noise(shared_data: Path, picture: Pixels) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.bench.metrics import open_lpips

    lpips = open_lpips(shared_data / "perceptual")
    noise = np.random.default_rng(0).normal(0, 1, picture.shape)
    noisy = [np.clip(picture + level * noise, 0, 255).astype(np.uint8) for level in (5, 15, 40)]
    found = [lpips(picture, other) for other in (picture, *noisy)]
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] > 0.2
    grey = picture[:, :, 0]
    assert lpips(grey, grey) == 0


def test_gradient_statistics_detect_blur_and_noise(picture: Pixels) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.perceptual import GradientStatistics

    original = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None] / 255
    blurred = torch.nn.functional.avg_pool2d(original, 3, 1, 1)
    noisy = original + 0.1 * torch.from_numpy(np.random.default_rng(0).standard_normal(original.shape).astype(np.float32))
    distance = GradientStatistics()
    assert float(distance(original, original)) == 0
    assert min(float(distance(other, original)) for other in (blurred, noisy)) > 0.1


def test_emphasis_rises_with_the_frequency() -> None:
    weights_of = dict(zip(COLOR_8X8.positions, sharpening.emphasis().reshape(-1).tolist(), strict=True))
    for (component, v, u), weight in weights_of.items():
        high = 0.6 if component else 4.4
        assert weight == pytest.approx(high / 3.5 * min(max(max(v, u) - 1.5, 0), 3.5))
    luma = [position for position in COLOR_8X8.positions if position[0] == 0]
    grain_of = zip(luma, sharpening.grain_emphasis().reshape(-1), strict=True)
    for (_, v, u), weight in grain_of:
        assert weight == pytest.approx(2 * max(max(v, u) - 3, 0))


def test_repeats_are_subtracted_from_high_frequencies() -> None:
    rng = np.random.default_rng(0)
    screen = np.broadcast_to(rng.standard_normal((192, 1, 1)).astype(np.float32), (192, 9, 12))
    high = np.array([max(v, u) >= 3 for _, v, u in COLOR_8X8.positions])
    left = screen.copy()
    sharpening.subtract_repeats(left)
    assert np.abs(left[high]).max() < 1e-5
    np.testing.assert_array_equal(left[~high], screen[~high])
    single = np.zeros((192, 9, 12), np.float32)
    single[:, 4, 5] = 1
    sharpening.subtract_repeats(single)
    np.testing.assert_allclose(single[high, 4, 5], 24 / 25, rtol=1e-5)
    assert np.count_nonzero(single[high].any(axis=0)) == 25


def test_training_adds_the_same_coefficients_as_decoding() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import refiner

    rng = np.random.default_rng(1)
    outputs, grain = rng.standard_normal((2, REFINER_OUTPUTS, 7, 6)).astype(np.float32), sharpening.grain((3, 5), 7, 6)
    found = refiner.added_coefficients(torch.from_numpy(outputs), torch.from_numpy(np.stack([grain, grain]))).numpy()
    np.testing.assert_allclose(found, np.stack([sharpening.added_coefficients(one, (3, 5)) for one in outputs]), atol=1e-5)


@pytest.mark.slow
def test_judges_look_from_any_pixel_of_a_cell(refiner_samples: list[Any]) -> None:
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


def test_scores_are_of_decibels_gained_and_of_distances_before_and_after() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from types import SimpleNamespace

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
def test_judges_are_listened_to_more_and_more_and_held_out_pictures_are_scored(
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
def test_the_same_seed_makes_the_same_refiner(refiner_samples: list[Any]) -> None:
    from vqcodec.neural import refiner
    from vqcodec.neural.perceptual import GradientStatistics

    def tail(seed: int) -> Pixels:
        settings = refiner.RefinerSettings(steps=1, seed=seed, batch=1, crop=4, width=8, blocks=1)
        return refiner.fit_refiner(refiner_samples[:1], [], GradientStatistics(), settings).tensors["refiner.head"]

    np.testing.assert_array_equal(tail(3), tail(3))
    assert (tail(3) != tail(4)).any()


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


def test_lpips_looks_at_the_layers_of_its_network(shared_data: Path) -> None:
    """Seven of SqueezeNet 1.1, each of unit length over its channels."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.perceptual import Lpips

    with torch.no_grad():
        found = Lpips(shared_data / "perceptual")._taps(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    sides, channels = (31, 15, 7, 3, 3, 3, 3), (64, 128, 256, 384, 384, 512, 512)
    assert [tuple(tap.shape) for tap in found] == [(1, c, side, side) for c, side in zip(channels, sides, strict=True)]
    for tap in found:
        torch.testing.assert_close(tap.square().sum(dim=1), torch.ones(1, *tap.shape[2:]))
