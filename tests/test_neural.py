"""Neural models: the network in numpy and in torch, its training, and decoding with it."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import smooth_picture
from vqcodec import api, container, dct, networks, registry
from vqcodec.bands import COLOR_4X4, COLOR_8X8, GREY
from vqcodec.cli import main
from vqcodec.errors import InputError, ModelError
from vqcodec.model import Model, load_model

LITE = registry.find("photo-lite")


def weights(width: int, blocks: int, scale: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of a random synthesis network."""
    rng = np.random.default_rng(seed)
    shapes: Mapping[str, tuple[int, ...]] = {
        "head": (width, networks.FEATURES),
        "head_bias": (width,),
        "first": (blocks, width, 9 * width),
        "first_bias": (blocks, width),
        "second": (blocks, width, 9 * width),
        "second_bias": (blocks, width),
        "tail": (networks.OUTPUTS, width),
        "tail_bias": (networks.OUTPUTS,),
    }
    return {f"synthesis.{name}": (scale * rng.standard_normal(shape)).astype(np.float16) for name, shape in shapes.items()}


def with_synthesis(tensors: Mapping[str, Any]) -> Model:
    model = Model("test", {**LITE.tensors, **tensors})
    model.check()
    return model


@pytest.fixture(scope="module")
def picture(samples: Path) -> np.ndarray:
    with Image.open(samples / "still_life.png") as image:
        return np.asarray(image.convert("RGB"))[60:260, 40:285]


# ------------------------------------------------------------------------------------------------ inference


def test_a_convolution_is_the_one_of_the_textbook() -> None:
    network = networks.Synthesis.from_tensors(weights(5, 2, 0.3))
    x = np.random.default_rng(1).standard_normal((networks.FEATURES, 4, 6)).astype(np.float32)

    def convolve(hidden: np.ndarray, taps: np.ndarray, bias: np.ndarray) -> np.ndarray:
        padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1)))
        out = np.zeros_like(hidden)
        for row, column in np.ndindex(4, 6):
            window = padded[:, row : row + 3, column : column + 3]  # [W, 3, 3]
            out[:, row, column] = taps.reshape(5, 3, 3, 5).transpose(0, 3, 1, 2).reshape(5, -1) @ window.reshape(-1) + bias
        return out

    hidden = np.einsum("wc,cij->wij", network.head, x) + network.head_bias[:, None, None]
    for block in range(2):
        inner = np.maximum(convolve(hidden, network.first[block], network.first_bias[block]), 0)
        hidden = hidden + convolve(inner, network.second[block], network.second_bias[block])
    wanted = np.einsum("wc,cij->wij", network.tail, hidden) + network.tail_bias[:, None, None]
    np.testing.assert_allclose(networks._strip(network, x, 4, 6), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_strips_have_no_seams(layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = networks.Synthesis.from_tensors(weights(6, 2, 0.2))
    h, w = 37, 5
    latents = np.random.default_rng(2).integers(-200, 200, (layout.channels, h * w)).astype(np.int16)
    whole = networks.synthesise(network, latents, 20.0, (h, w), layout, (0, h))
    monkeypatch.setattr(networks, "_STRIP_CELLS", 1)
    strips = networks.strips(network, (h, w))
    assert len(strips) > 3
    parts = [networks.synthesise(network, latents, 20.0, (h, w), layout, rows) for rows in strips]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-4)


def test_a_network_of_zeros_decodes_as_the_plain_decoder_does(picture: np.ndarray) -> None:
    model = with_synthesis(weights(8, 1, 0.0))
    for pixels in (picture, picture[:, :, 0], smooth_picture(1, 1)):
        data = api.encode(pixels, quality=50, model=model)
        plain, refined = (api.decode(data, model=model, refine=refine) for refine in ("none", "best"))
        assert refined.shape == plain.shape == pixels.shape
        assert np.abs(plain.astype(int) - refined).max() <= 1


def test_a_neural_model_writes_its_base_models_indices_and_decodes_them_exactly(picture: np.ndarray) -> None:
    model = with_synthesis(weights(8, 1, 0.05))
    lite, neural = (api.encode(picture, quality=40, model=m) for m in (LITE, model))
    assert model.file_id != LITE.file_id
    assert [section.data for section in container.read_file(lite)[1]] == [s.data for s in container.read_file(neural)[1]]
    np.testing.assert_array_equal(api.decode(lite), api.decode(neural, model=model, refine="none"))
    refined = [api.decode(neural, model=model, threads=threads).astype(int) for threads in (1, 3)]
    assert np.abs(refined[0] - refined[1]).max() <= 1
    assert np.abs(refined[0] - api.decode(lite)).max() > 3  # the default of such a model is its network


def test_fine_steps_are_decoded_plainly(picture: np.ndarray) -> None:
    model = with_synthesis(weights(8, 1, 0.5))
    data = api.encode(picture[:64, :64], quality=100, model=model)
    plain, refined = (api.decode(data, model=model, refine=refine) for refine in ("none", "best"))
    np.testing.assert_array_equal(plain, refined)


def test_what_cannot_be_refined_says_so(picture: np.ndarray) -> None:
    data = api.encode(picture[:16, :16])
    with pytest.raises(ModelError, match="has no synthesis"):
        api.decode(data, refine="best")
    with pytest.raises(InputError, match="refine is one of none, best"):
        api.decode(data, refine="gan")


@pytest.mark.parametrize("name", ["head", "second_bias", "tail"])
def test_bad_weights_are_refused(name: str) -> None:
    tensors = weights(4, 1, 0.1)
    for bad in (tensors[f"synthesis.{name}"][:-1], np.full_like(tensors[f"synthesis.{name}"], np.inf)):
        with pytest.raises(ModelError, match=r"synthesis\.\w+ is wrong"):
            with_synthesis({**tensors, f"synthesis.{name}": bad})
    del tensors[f"synthesis.{name}"]
    if name != "head":  # without a head there is no network
        with pytest.raises(ModelError, match="is missing"):
            with_synthesis(tensors)


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
    from vqcodec.neural import synthesis

    tensors = weights(16, 2, 0.1)
    network = synthesis.load_tensors(tensors)
    for name, array in synthesis.to_tensors(network).items():
        np.testing.assert_array_equal(array, tensors[name])
    x = np.random.default_rng(3).standard_normal((networks.FEATURES, 9, 7)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)[None])[0].numpy()
    found = networks._strip(networks.Synthesis.from_tensors(tensors), x, 9, 7)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_mirrored_and_transposed_coefficients_are_those_of_the_picture(picture: np.ndarray) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import synthesis

    def coefficients(pixels: np.ndarray) -> np.ndarray:
        flat = dct.forward(pixels, COLOR_8X8, LITE.color)
        return flat.reshape(-1, pixels.shape[0] // 8, pixels.shape[1] // 8)

    pixels = picture[:64, :80]
    given = coefficients(pixels)
    with_step = np.concatenate([given, np.ones((1, 8, 10))]).astype(np.float32)
    positions = COLOR_8X8.positions
    np.testing.assert_allclose(synthesis.mirror_columns(with_step, positions)[:-1], coefficients(pixels[:, ::-1]), atol=0.01)
    turned = synthesis.transpose(with_step, positions)
    np.testing.assert_allclose(turned[:-1], coefficients(pixels.transpose(1, 0, 2)), atol=0.01)
    np.testing.assert_array_equal(turned[-1], np.ones((10, 8)))


def test_a_few_steps_lower_the_loss_and_a_checkpoint_goes_on(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import synthesis
    from vqcodec.train.data import load_corpus
    from vqcodec.train.neural import make_samples

    images = load_corpus(folder, lambda *_: None)
    samples = make_samples(images.train + images.held_out, LITE, 0, "samples", lambda *_: None)
    settings = synthesis.SynthesisSettings(width=16, blocks=1, batch=4, crop=12, steps=120)
    untrained = synthesis.SynthesisNetwork(16, 1)
    assert synthesis.held_out_error(untrained, samples, "cpu") == 0  # starts as the plain decode
    found = synthesis.fit_synthesis(samples, samples, settings)
    again = synthesis.fit_synthesis(samples, samples, settings)
    for name, array in found.items():
        np.testing.assert_array_equal(array, again[name])
    assert synthesis.held_out_error(synthesis.load_tensors(found), samples, "cpu") < -0.05  # dB

    checkpoint = tmp_path / "checkpoint"
    longer = replace(settings, steps=600)
    lines: list[dict[str, float]] = []

    def stop(facts: dict[str, float]) -> None:
        lines.append(facts)
        if facts["step"] == 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesis.fit_synthesis(samples, samples, longer, checkpoint=checkpoint, report=stop)
    rest: list[dict[str, float]] = []
    synthesis.fit_synthesis(samples, samples, longer, checkpoint=checkpoint, report=rest.append)
    assert [facts["step"] for facts in rest] == [550, 600]
    assert rest[-1]["loss"] < lines[0]["loss"]


def test_train_command_makes_a_model_that_decodes_better(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    target, log = tmp_path / "mine", tmp_path / "log.jsonl"
    arguments = ["train", str(folder), "-o", str(target), "--kind", "neural", "--steps", "60", "--log", str(log)]
    assert main(arguments) == 0
    assert "held_out_gain_db" in capsys.readouterr().out
    model = load_model(target)
    assert model.summary["kind"] == "neural"
    assert model.synthesis is not None
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [50]
    assert not target.with_name("mine.checkpoint").exists()
    pixels = np.asarray(Image.open(folder / "0.png"))
    data = api.encode(pixels, quality=30, model=model)
    plain, best = (np.square(api.decode(data, model=model, refine=r).astype(float) - pixels).mean() for r in ("none", "best"))
    assert best < plain


@pytest.mark.parametrize(("device", "message"), [("cuda", "there is no CUDA device"), ("tpu", "devices are cpu and cuda")])
def test_devices_that_are_not_there(
    device: str, message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = ["train", str(folder), "-o", str(tmp_path / "mine"), "--kind", "neural", "--steps", "1", "--device", device]
    assert main(arguments) == InputError.exit_code
    assert message in capsys.readouterr().err


def test_without_torch_decoding_works_and_training_says_what_to_install(
    picture: np.ndarray, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torch" or name.startswith("vqcodec.neural")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "vqcodec.train.neural", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    model = with_synthesis(weights(8, 1, 0.05))
    data = api.encode(picture[:40, :40], model=model)
    assert api.decode(data, model=model, refine="best").shape == (40, 40, 3)
    assert main(["train", str(folder), "-o", str(tmp_path / "mine"), "--kind", "neural", "--steps", "1"]) == 2
    assert "pip install 'vqcodec[neural]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "5"], "are for --kind neural"),
        (["--kind", "neural", "--init", "none"], "starts from a model"),
        (["--kind", "neural", "--steps", "5", "--minutes", "1"], "exclude each other"),
        (["--kind", "token"], "cannot be trained by this version"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(folder), "-o", str(tmp_path / "mine"), *options]) == 2
    assert message in capsys.readouterr().err
