"""Neural models: the synthesis network in numpy and in torch, decoding with it, and the options of training."""

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.golden import CROPS, latents_digest
from helpers.layers import WithoutGraphics
from helpers.networks import neural_model, random_network
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import choices, groups, reconstruction
from vqcodec.codec.reconstruction import Reconstruction
from vqcodec.errors import InputError, MissingExtraError, ModelError
from vqcodec.format import container
from vqcodec.format.header import Header
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import FEATURES, OUTPUTS
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model

LITE = registry.find("photo-lite")


def test_a_network_of_zeros_decodes_as_the_plain_decoder_does(picture: np.ndarray) -> None:
    model = neural_model(random_network(8, 1, 0.0))
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
    model, silent = (neural_model(random_network(8, 1, spread)) for spread in (0.05, 0.0))
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
    model = neural_model(random_network(8, 1, 0.5))
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

    model = neural_model(random_network(16, 2, 0.1))
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
    model = neural_model(random_network(8, 1, 0.05))
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
    model = neural_model(random_network(8, 1, 0.05))
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
        (["--kind", "lite", "--steps", "5"], "--steps: only for --kind neural, refiner"),
        (["--kind", "neural", "--init", "none"], "starts from a model"),
        (["--kind", "neural", "--steps", "5", "--minutes", "1"], "exclude each other"),
        (["--kind", "transformer"], "'transformer' is not one of"),
        (["--kind", "lite", "--distil", "144x4"], "--distil: only for --kind neural"),
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
