"""Small token models, and pictures of digits to train them on."""

from typing import Any

import numpy as np

from helpers.networks import random_network
from vqcodec.transform.color import OPPONENT
from vqcodec.weights.token import TokenModel


def random_token_model(side: int = 8, components: int = 3, codewords: int = 300, dim: int = 4) -> TokenModel:
    """A token model that nobody trained; its pictures are noise about grey."""
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
DIGITS = np.zeros((24, 28, 28, 1), np.uint8)
"""Bars of four kinds at several places: a codebook can know them."""
for _number, _digit in enumerate(DIGITS):
    _digit[4:24, 6 + _number % 5 * 3 : 10 + _number % 5 * 3] = 255 if _number % 2 else 0
    _digit[6 + _number % 4 * 4 : 10 + _number % 4 * 4, 5:23] = 255


def idx_bytes(array: np.ndarray) -> bytes:
    shape = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()
