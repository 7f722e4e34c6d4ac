"""Gradient steps through the synthesis network, and its vector-Jacobian product."""

import numpy as np
import pytest

from helpers.networks import random_network
from vqcodec.codec import aiming
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import FEATURES, OUTPUTS
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY, Layout, shared_channels


def test_the_vector_jacobian_product_is_that_of_finite_differences() -> None:
    network = convolution.ConvNetwork.from_tensors(random_network(6, 2, 0.3), "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    rng = np.random.default_rng(0)
    x, direction = rng.standard_normal((2, FEATURES, 4, 5)).astype(np.float32)
    errors = rng.standard_normal((OUTPUTS, 4, 5)).astype(np.float32)
    outputs, vjp = aiming.run_with_vjp(network, x)
    np.testing.assert_allclose(outputs, convolution.run_network(network, x), rtol=1e-5, atol=1e-5)
    delta = np.float32(1e-3) * direction
    ahead, behind = (convolution.run_network(network, x + sign * delta) for sign in (1, -1))
    slope = (errors * (ahead - behind)).sum(dtype=np.float64) / 2e-3
    assert (vjp(errors) * direction).sum(dtype=np.float64) == pytest.approx(slope, rel=0.01)


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_targets_are_a_gradient_step(layout: Layout) -> None:
    """The gradient is that of torch."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import networks

    tensors = random_network(8, 2, 0.2)
    h, w = 31, 5
    full = COLOR_8X8 if layout.components == 3 else layout
    rng = np.random.default_rng(5)
    latents = rng.integers(-60, 60, (layout.channels, h * w)).astype(np.int16)
    wanted = rng.standard_normal((full.channels, h * w)).astype(np.float32)
    network = convolution.ConvNetwork.from_tensors(tensors, "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    found = aiming.gradient_targets(network, latents, wanted, 20.0, (h, w), layout)

    values = torch.from_numpy(latents.astype(np.float32) / 16).requires_grad_()
    seen = torch.zeros(FEATURES, h * w)
    own, inputs = shared_channels(layout, COLOR_4X4)
    seen[inputs] = torch.where(values[own] == 0, values[own], torch.sign(values[own]) * torch.log1p(values[own].abs()))
    seen[-1] = float(np.log(20 / 32))
    out = networks.load_tensors(tensors)(seen.reshape(1, -1, h, w))[0].reshape(OUTPUTS, -1)
    made = out[shared_channels(full, COLOR_8X8)[1]]
    made = torch.cat([made[: len(values)] + values, made[len(values) :]])
    (0.5 * (made - torch.from_numpy(wanted)).square().sum()).backward()
    np.testing.assert_allclose(found, (values - values.grad).detach().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_targets_do_not_depend_on_strips(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative sees as many cells again as the network."""
    network = convolution.ConvNetwork.from_tensors(random_network(6, 2, 0.3), "synthesis", inputs=FEATURES, outputs=OUTPUTS)
    h, w = 31, 5
    rng = np.random.default_rng(5)
    latents = rng.integers(-60, 60, (layout.channels, h * w)).astype(np.int16)
    channels = (COLOR_8X8 if layout.components == 3 else layout).channels
    given = network, latents, rng.standard_normal((channels, h * w)).astype(np.float32), 20.0, (h, w), layout
    whole = aiming.gradient_targets(*given)
    monkeypatch.setattr(aiming, "_STRIP_CELLS", 1)
    assert len(convolution.strips(network.halo, (h, w), 1)) > 5
    np.testing.assert_allclose(aiming.gradient_targets(*given), whole, rtol=1e-4, atol=1e-3)
