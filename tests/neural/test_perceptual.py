"""Perceptual distances: gradient statistics and LPIPS."""

from pathlib import Path

import numpy as np
import pytest

Pixels = np.ndarray


@pytest.fixture(scope="module")
def picture(still_life: Pixels) -> Pixels:
    """A part of a sample, 133 x 96 pixels."""
    return still_life[60:156, 40:173]


def test_gradient_statistics_detect_blur_and_noise(picture: Pixels) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.perceptual import GradientStatistics

    original = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None] / 255
    blurred = torch.nn.functional.avg_pool2d(original, 3, 1, 1)
    noisy = original + 0.1 * torch.from_numpy(np.random.default_rng(0).standard_normal(original.shape).astype(np.float32))
    distance = GradientStatistics()
    assert float(distance(original, original)) == 0
    assert min(float(distance(other, original)) for other in (blurred, noisy)) > 0.1


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
