"""The fit of the network that tells contexts of pixels."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vqcodec.entropy.pixel_contexts import PixelContexts  # noqa: E402  # torch is needed first
from vqcodec.neural import pixel_contexts  # noqa: E402
from vqcodec.neural.units import unit  # noqa: E402


def network(gain: float) -> pixel_contexts._Predictor:
    """A random network of 40 outputs whose hidden weights are `gain` times the usual ones."""
    torch.manual_seed(0)
    made = pixel_contexts._Predictor(40)
    with torch.no_grad():
        for layer in (made.first, made.second):
            layer.weight.mul_(gain)
            layer.bias.mul_(gain)
    return made


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_integers_tell_the_contexts_of_the_network(gain: float) -> None:
    """Also of one whose sums would not be exact at the usual scale: those of some units are made smaller."""
    made = network(gain)
    tensors = pixel_contexts._tensors(made)
    around = np.random.default_rng(0).integers(0, 128, (2000, 36)).astype(np.uint8)
    found = PixelContexts.from_tensors(tensors).of(list(around.T))  # raises unless it is exact
    with torch.no_grad():
        expected = made.outputs(torch.from_numpy(around)).argmax(1).numpy()
    assert (found == expected).mean() > (0.97 if gain == 1 else 0.8)


def test_large_weights_would_not_be_exact_at_the_usual_scale() -> None:
    made = network(30.0).requires_grad_(False)
    reach = 127 * made.second.weight.abs().sum(1) + 32 * made.second.bias.abs()
    assert float(reach.max()) * 1024 > 2**24
    assert unit(made.first(torch.zeros(1, 36))).shape == (1, pixel_contexts.WIDTH)


def test_drawing_reports_each_picture() -> None:
    seen: list[tuple[int, int]] = []
    pictures = [np.full((9, 12, 1), 7 * number, np.uint8) for number in range(3)]
    samples = pixel_contexts.samples_of(pictures, np.random.default_rng(0), lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3)]
    assert samples.around.shape == (3 * 3 * 9 * 12, 36)
