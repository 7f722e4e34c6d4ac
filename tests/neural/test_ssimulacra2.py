"""SSIMULACRA2 as a training loss: near the package's score, with gradients that lead to better pictures."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")

from vqcodec.neural import ssimulacra2  # noqa: E402  # needs torch


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def tensor(picture: Image.Image) -> "torch.Tensor":
    return torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def picture(samples: Path) -> Image.Image:
    with Image.open(samples / "still_life.png") as image:
        return image.convert("RGB").crop((0, 0, 320, 256))  # below 256 pixels a side, the package mixes up its weights


@pytest.mark.parametrize("quality", [40, 70, 90])
def test_scores_are_near_those_of_the_package(picture: Image.Image, quality: int) -> None:
    package = pytest.importorskip("ssimulacra2", reason="ssimulacra2 is not installed")
    decoded = as_jpeg(picture, quality)
    files = BytesIO(), BytesIO()
    for image, file in zip((picture, decoded), files, strict=True):
        image.save(file, "PPM")
    assert float(ssimulacra2.score(tensor(picture), tensor(decoded))) == pytest.approx(package.compute_ssimulacra2(*files), abs=0.1)


def test_equal_pictures_have_no_difference_and_worse_ones_have_more(picture: Image.Image) -> None:
    found = [
        float(ssimulacra2.difference(tensor(picture), tensor(each)))
        for each in (picture, as_jpeg(picture, 90), as_jpeg(picture, 30))
    ]
    assert found[0] < 0.01
    assert found[0] < found[1] < found[2]
    assert float(ssimulacra2.score(tensor(picture), tensor(picture))) > 99


def test_a_picture_moves_towards_the_original_along_the_gradient(picture: Image.Image) -> None:
    original = tensor(picture.crop((0, 0, 64, 72)))
    shown = tensor(as_jpeg(picture, 20).crop((0, 0, 64, 72))).requires_grad_()
    before = ssimulacra2.difference(original, shown)
    before.backward()
    assert bool(torch.isfinite(shown.grad).all())
    with torch.no_grad():
        after = ssimulacra2.difference(original, shown - 2 * shown.grad.sign())
        assert float(after) < float(before)


def test_autocast_does_not_round_the_statistics(picture: Image.Image) -> None:
    pair = tensor(picture), tensor(as_jpeg(picture, 70))
    with torch.autocast("cpu", torch.bfloat16):
        inside = float(ssimulacra2.difference(*pair))
    assert inside == float(ssimulacra2.difference(*pair))


def test_flat_pictures_have_finite_gradients() -> None:
    original = torch.full((2, 3, 16, 16), 128.0)
    shown = original.clone().requires_grad_()
    ssimulacra2.difference(original, shown).sum().backward()
    assert bool(torch.isfinite(shown.grad).all())
