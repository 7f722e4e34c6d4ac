"""The quantiser of token models, and their training."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.pictures import smooth_picture
from helpers.token_models import COLOR, DIGITS
from vqcodec.codec import tokens
from vqcodec.transform.color import OPPONENT

PICTURE = smooth_picture(40, 50)


@pytest.fixture
def small() -> Any:
    """Settings of a model that trains in a second."""
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.token import TokenSettings

    return partial(TokenSettings, batch=8, width=16, blocks=1, codewords=8, dim=4)


def test_gradients_of_the_quantiser(small: Any) -> None:
    """The gradient passes straight through the codewords; beta weighs the encoder's term, and the codewords' term has none."""
    import torch

    from vqcodec.neural.token import commitment, straight_through

    z, codewords, pull = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    z.requires_grad_(True), codewords.requires_grad_(True)
    out = straight_through(z, codewords)
    torch.testing.assert_close(out, codewords)
    (out * pull).sum().backward()
    torch.testing.assert_close(z.grad, pull)
    assert codewords.grad is None
    z.grad = None
    loss = commitment(z, codewords, 0.25)
    loss.backward()
    torch.testing.assert_close(loss, 1.25 * (z - codewords).square().mean())
    torch.testing.assert_close(z.grad, 0.25 * 2 * (z - codewords).detach() / z.numel())
    torch.testing.assert_close(codewords.grad, 2 * (codewords - z).detach() / z.numel())


@pytest.mark.parametrize("cosine", [False, True])
def test_codewords_are_moving_averages(small: Any, cosine: bool) -> None:
    """Against the plain formulas, codeword by codeword."""
    import torch

    from vqcodec.neural.token import Quantiser

    quantiser = Quantiser(small(steps=1, cosine=cosine, dead=0.0))
    rng = np.random.default_rng(0)
    quantiser.start(quantiser.placed(torch.from_numpy(rng.standard_normal((200, 4)).astype(np.float32))), rng)
    shares, sums = (array.numpy().astype(float).copy() for array in (quantiser.shares, quantiser.sums))
    for _ in range(3):
        z = quantiser.placed(torch.from_numpy(rng.standard_normal((50, 4)).astype(np.float32)))
        with torch.autocast("cpu", torch.bfloat16):  # as where it is fast; distances stay exact
            index = quantiser.nearest(z)
        codewords = quantiser.words.numpy()
        np.testing.assert_array_equal(index, np.square(z.numpy()[:, None] - codewords).sum(axis=2).argmin(axis=1))
        quantiser.update(z, index, 0.9, rng)
        for k in range(8):
            own = z.numpy()[index.numpy() == k]
            shares[k] = 0.9 * shares[k] + 0.1 * len(own) / 50
            sums[k] = 0.9 * sums[k] + 0.1 * own.sum(axis=0) / 50
            word = sums[k] / shares[k]
            np.testing.assert_allclose(quantiser.words[k], word / np.linalg.norm(word) if cosine else word, rtol=1e-4, atol=1e-5)


def test_k_means_finds_clusters_and_dead_codewords_come_back(small: Any) -> None:
    import torch

    from vqcodec.neural.token import Quantiser

    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((8, 4))
    z = torch.from_numpy((centres[np.arange(400) % 8] + 0.1 * rng.standard_normal((400, 4))).astype(np.float32))
    quantiser = Quantiser(small(steps=1))
    quantiser.start(z, rng)
    quantiser.words[3:] = 1e3  # nothing is near them
    quantiser.shares[3:] = 1e-6
    assert len(quantiser.nearest(z).unique()) <= 3
    for _ in range(60):
        quantiser.update(z, quantiser.nearest(z), 0.9, rng)
    assert len(quantiser.nearest(z).unique()) == 8
    assert quantiser.words.abs().max() < 50


def test_perplexity_is_the_number_of_equally_likely_codewords(small: Any) -> None:
    import torch

    from vqcodec.neural.token import perplexity

    assert perplexity(torch.tensor([5.0, 5, 0, 5, 5])) == pytest.approx(4)
    assert perplexity(torch.tensor([0.0, 3])) == pytest.approx(1)


def test_training_sees_what_encoding_does(small: Any) -> None:
    """Torch and numpy give equal indices, up to ties, and equal vectors for equal pixels and weights."""
    import torch

    from vqcodec.neural import token
    from vqcodec.neural.networks import load_tensors

    network = token.TokenNetwork(small(steps=1, codewords=300), 192)
    network.encoder = load_tensors(COLOR.tensors, "encoder")
    network.quantiser.words.copy_(torch.from_numpy(COLOR.codebook.astype(np.float32)))
    pixels = torch.from_numpy(PICTURE[:, :48].transpose(2, 0, 1).astype(np.float32))[None]
    x = token.Cells(token.Scaling(COLOR.mean, COLOR.scale))(pixels)
    np.testing.assert_allclose(x[0], tokens.forward(PICTURE[:, :48], 8, OPPONENT) / 40, atol=1e-4)
    with torch.no_grad():
        index = network.quantiser.nearest(network.vectors(x).flatten(0, 2)).reshape(5, 6)
    assert (index.numpy() == tokens.encode(PICTURE[:, :48], COLOR)).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("cosine", [False, True])
def test_a_few_steps_lower_the_loss(small: Any, cosine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import token
    from vqcodec.neural.loop import LoopOptions
    from vqcodec.train.token import statistics, whole_cells

    monkeypatch.setattr(token, "EVERY", 10)
    pictures = [whole_cells(pixels, 8, 1) for pixels in DIGITS]
    scaling = statistics(pictures, 8)
    seen: list[dict[str, float]] = []
    options = LoopOptions(report=seen.append)
    found = token.fit_tokens(pictures, scaling, small(steps=60, cosine=cosine), options, score=lambda found: {})
    assert [facts["step"] for facts in seen] == [10, 20, 30, 40, 50, 60]
    assert seen[-1]["reconstruction"] < 0.75 * seen[0]["reconstruction"]
    assert seen[-1]["loss"] == pytest.approx(seen[-1]["reconstruction"] + seen[-1]["commitment"], rel=1e-4)
    assert all(1 <= facts["perplexity"] <= facts["used"] + 1e-3 <= 8.01 for facts in seen)
    assert all(np.isfinite(array).all() for array in found.values())
    if cosine:
        np.testing.assert_allclose(np.linalg.norm(found["token.words"].astype(float), axis=1), 1, atol=1e-2)


def test_training_continues_from_a_checkpoint(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import token
    from vqcodec.neural.loop import LoopOptions
    from vqcodec.train.token import statistics, whole_cells

    monkeypatch.setattr(token, "EVERY", 2)
    pictures = [whole_cells(pixels, 8, 1) for pixels in DIGITS]
    scaling = statistics(pictures, 8)
    train = partial(token.fit_tokens, pictures, scaling, small(steps=6), score=lambda found: {})

    def stop(facts: dict[str, float]) -> None:
        if facts["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(options=LoopOptions(checkpoint=tmp_path / "checkpoint", report=stop))
    seen: list[dict[str, float]] = []
    found = train(options=LoopOptions(checkpoint=tmp_path / "checkpoint", report=seen.append))
    assert [facts["step"] for facts in seen] == [6]
    assert found.keys() == train().keys()
