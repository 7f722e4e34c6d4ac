"""Small token models and token priors, and pictures of digits to train them on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from helpers.networks import random_network
from vqcodec.nets import transformer
from vqcodec.transform.color import OPPONENT
from vqcodec.weights.folder import save_model
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior


def random_token_model(side: int = 8, components: int = 3, codewords: int = 300, dim: int = 4) -> TokenModel:
    """An untrained token model. It decodes to noise around grey."""
    channels = side * side * components
    tensors: dict[str, Any] = {**random_network(6, 2, 0.15, kind="encoder", ends=(channels, dim))}
    tensors |= random_network(6, 2, 0.15, seed=1, kind="decoder", ends=(dim, channels))
    words = np.random.default_rng(2).normal(0, 0.1, (codewords, dim)).astype(np.float16)
    scale = np.full(channels, 40, np.float32)
    tensors |= {"color": OPPONENT, "token.words": words, "token.mean": np.zeros_like(scale), "token.scale": scale}
    model = TokenModel("test", tensors, {"name": "test", "kind": "token"})
    model.check()
    return model


COLOR, GREY = random_token_model(), random_token_model(16, 1, 256)
PRIOR_MODEL = random_token_model(codewords=40)
"""The token model of `random_prior`."""
CLASSES = ["cat", "dog"]


def random_prior(model: TokenModel, picture: tuple[int, int, int], grid: tuple[int, int] = (3, 4)) -> TokenPrior:
    """An untrained token prior for pictures of a size (height, width, components) and a grid of cells, with two classes."""
    rng = np.random.default_rng(0)
    shapes = transformer.shapes(32, 2, len(model.codebook), grid, len(CLASSES))
    tensors: dict[str, Any] = {f"prior.{name}": rng.normal(0, 0.3, shape).astype(np.float16) for name, shape in shapes.items()}
    tensors |= {"prior.picture": np.array(picture, np.uint16), "prior.token_id": np.frombuffer(model.file_id, np.uint8)}
    found = TokenPrior("prior", tensors, {"name": "prior", "kind": "token-prior", "id": "", "labels": CLASSES})
    found.check()
    found.check_model(model)
    return found


def save_prior(folder: Path) -> None:
    """Write a prior for pictures of 20x30 pixels as `prior`, and its token model as `tokens`."""
    model = PRIOR_MODEL
    save_model(folder / "tokens", replace(model, summary={"name": "tokens", "kind": "token", "id": model.id}))
    save_model(folder / "prior", random_prior(model, (20, 30, 3)))


DIGITS = np.zeros((24, 28, 28, 1), np.uint8)
"""Bars of four kinds at several positions, few enough for a codebook to hold."""
for _number, _digit in enumerate(DIGITS):
    _digit[4:24, 6 + _number % 5 * 3 : 10 + _number % 5 * 3] = 255 if _number % 2 else 0
    _digit[6 + _number % 4 * 4 : 10 + _number % 4 * 4, 5:23] = 255


def idx_bytes(array: np.ndarray) -> bytes:
    shape = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()
