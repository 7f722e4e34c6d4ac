"""The context network: exact with any number of threads and in any precision, and silent before training."""

import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.networks import neural_model, random_context
from helpers.pictures import smooth_picture
from helpers.processes import program_environment
from vqcodec import api
from vqcodec.entropy import context, linear
from vqcodec.entropy.layers import UNIT_MAX
from vqcodec.errors import ModelError
from vqcodec.options import EncodeOptions
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import save_model

LITE = registry.find("photo-lite")


@pytest.fixture(scope="module")
def picture(samples: Path) -> np.ndarray:
    with Image.open(samples / "landscape.png") as image:
        return np.asarray(image.convert("RGB"))[200:331, 150:287]


@pytest.fixture(scope="module")
def model() -> ExactModel:
    return neural_model(random_context())


def body(data: bytes, model: ExactModel) -> bytes:
    """A file without its header, which names the model."""
    from vqcodec.format import container

    return b"".join(section.data for section in container.read_file(data)[1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (6, 9)])
def test_cells_near_marked_ones(shape: tuple[int, int]) -> None:
    marked = np.random.default_rng(3).random(shape) < 0.1
    for radius in (1, 2):
        padded = np.pad(marked, radius)
        near = [[padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1].any() for x in range(shape[1])] for y in range(shape[0])]
        np.testing.assert_array_equal(context._dilated(marked, radius), near)


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_states_gain_the_same_whether_all_cells_are_computed_or_some(
    share: float, picture: np.ndarray, model: ExactModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells whose surroundings are all zero may be left out."""
    wanted = [api.encode(picture, quality=quality, model=model) for quality in (5, 40)]
    monkeypatch.setattr(context, "_MOST_COPIED", share)
    assert [api.encode(picture, quality=quality, model=model) for quality in (5, 40)] == wanted


@pytest.mark.parametrize("quality", fast_first([60, 15, 97]))
def test_a_network_of_zeros_writes_the_indices_of_its_base_model(picture: np.ndarray, quality: int) -> None:
    given = random_context()
    silent = neural_model({name: array if name.endswith("shift") else np.zeros_like(array) for name, array in given.items()})
    for pixels in (picture, picture[:, :, 0], smooth_picture(1, 1), smooth_picture(3, 200)):
        found = [api.encode(pixels, quality=quality, model=given) for given in (LITE, silent)]
        assert body(found[0], LITE) == body(found[1], silent)


@pytest.mark.parametrize("quality", fast_first([97, 15, 60]))
def test_files_of_any_shape_come_back(model: ExactModel, picture: np.ndarray, quality: int) -> None:
    for pixels in (picture, picture[:, :, 0], smooth_picture(1, 1), smooth_picture(3, 200), smooth_picture(17, 9)):
        decoded = api.decode(api.encode(pixels, quality=quality, model=model), model=model)
        assert decoded.shape == pixels.shape
        assert np.abs(decoded.astype(int) - pixels).mean() < 40


def test_the_network_is_at_work(model: ExactModel, picture: np.ndarray) -> None:
    assert body(api.encode(picture, model=model), model) != body(api.encode(picture, model=LITE), LITE)


def in_double(thing: Any) -> Any:
    """A copy of a network whose weights are float64."""
    if isinstance(thing, np.ndarray):
        return thing.astype(np.float64)
    if isinstance(thing, int):
        return thing
    if isinstance(thing, tuple):
        return tuple(map(in_double, thing))
    if isinstance(thing, dict):
        return {key: in_double(value) for key, value in thing.items()}
    assert is_dataclass(thing)
    return replace(thing, **{field.name: in_double(getattr(thing, field.name)) for field in fields(thing)})


def test_double_precision_finds_the_same(model: ExactModel, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    data = api.encode(picture, quality=70, model=model)
    wanted = api.decode(data, model=model)
    monkeypatch.setitem(model.__dict__, "context", in_double(model.context))
    np.testing.assert_array_equal(api.decode(data, model=model), wanted)


@pytest.mark.slow
def test_threads_find_the_same(model: ExactModel, picture: np.ndarray, tmp_path: Path) -> None:
    """Threads of BLAS included. Their number is fixed when a process starts."""
    save_model(tmp_path / "model", model)
    (tmp_path / "a.vqz").write_bytes(api.encode(picture, quality=70, model=model))
    found = []
    for threads in ("1", "2", "5"):
        output = tmp_path / f"{threads}.ppm"
        command = [sys.executable, "-m", "vqcodec", "decode", "a.vqz", str(output), "-m", "model", "--threads", threads]
        environment = {**program_environment(), "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        found.append(output.read_bytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torch_finds_the_same(model: ExactModel, picture: np.ndarray, device: str) -> None:
    """The results are equal to the last bit; otherwise a decoder on a GPU would lose its place in the streams."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from vqcodec.neural.inference import model_on

    data = api.encode(picture, quality=70, model=model)
    moved = model_on(device, model)
    np.testing.assert_array_equal(api.decode(data, model=moved), api.decode(data, model=model))
    assert api.encode(picture, quality=70, model=moved) == data
    assert not isinstance(moved.context.tiles[0].state, np.ndarray)  # it was torch that multiplied


def test_groups_are_independent(model: ExactModel, picture: np.ndarray) -> None:
    """A tile group is coded as if it were a file of its own."""
    from vqcodec.codec.pipeline import Encoder

    whole = Encoder(picture[:128, :128], model, EncodeOptions(threads=2, tile=64), layers=1)
    part = Encoder(picture[64:128, 64:128], model, EncodeOptions(threads=1))
    _, groups = whole.code(1200, with_latents=True)
    _, (alone,) = part.code(1200, with_latents=True)
    np.testing.assert_array_equal(groups[3].latents, alone.latents)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("shift", lambda array: array + 1),
        ("luma.dc", lambda array: array[:, 1:]),
        ("tile.03.state", lambda array: array[1:]),
        ("tile.05.hidden", lambda array: array[0]),
        ("tile.05.out", lambda array: np.full_like(array, 32767).repeat(40, axis=2)),
        ("tile.00.state", lambda array: np.full_like(array, 32767)),
        ("tile.27.out_bias", lambda array: array + (1 << 24)),
        ("dc.1.1.2.first", lambda array: array.astype(np.int32)),
        ("dc.2.0.0.second_bias", lambda array: array[1:]),
    ],
)
def test_bad_weights_are_refused(name: str, spoil: Any) -> None:
    tensors = random_context()
    tensors[f"context.{name}"] = spoil(tensors[f"context.{name}"])
    with pytest.raises(ModelError):
        neural_model(tensors)
    del tensors[f"context.{name}"]
    with pytest.raises(ModelError, match="missing"):
        neural_model(tensors)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("tile.00.hidden", linear.FLOAT32_EXACT),
        ("tile.27.hidden", linear.FLOAT32_EXACT),
        ("tile.00.out", linear.FLOAT32_EXACT // 2),
        ("tile.27.out", linear.FLOAT32_EXACT // 2),
        ("dc.0.0.0.first", linear.FLOAT32_EXACT),
        ("dc.2.1.2.second", linear.FLOAT32_EXACT),
        ("dc.0.0.0.out", linear.FLOAT32_EXACT // 2),
        ("dc.2.1.2.out", linear.FLOAT32_EXACT // 2),
    ],
)
def test_sums_may_come_up_to_their_limit(name: str, limit: int) -> None:
    """The limit of outputs is half of FLOAT32_EXACT: a score, which is below the other half, is added to them."""
    assert context.SCORE_MAX < linear.FLOAT32_EXACT // 2
    for most in (limit - 1, limit):
        tensors = random_context()
        weight, bias = (np.zeros_like(tensors[f"context.{name}{part}"]) for part in ("", "_bias"))
        weight[..., -1, 0], bias[..., -1] = -1000, 1000 * UNIT_MAX - most
        tensors |= {f"context.{name}": weight, f"context.{name}_bias": bias}
        if most < limit:
            neural_model(tensors)
        else:
            with pytest.raises(ModelError, match=f"context.{name} is too large to be exact"):
                neural_model(tensors)
