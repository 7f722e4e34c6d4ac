"""The transformer against its formula, in double precision and cell by cell."""

import numpy as np

from vqcodec.nets import transformer
from vqcodec.nets.transformer import EPSILON, HEAD, Transformer

CODEWORDS, GRID, CLASSES, WIDTH = 7, (3, 4), 2, 2 * HEAD


def test_logits_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    shapes = transformer.shapes(WIDTH, 2, CODEWORDS, GRID, CLASSES)
    tensors = {f"prior.{name}": rng.normal(0, 0.2, shape).astype(np.float16) for name, shape in shapes.items()}
    network = Transformer.from_tensors(tensors)
    assert (network.codewords, network.grid, network.classes, network.mask_token) == (CODEWORDS, GRID, CLASSES, CODEWORDS)
    tokens, label = rng.integers(0, CODEWORDS + 1, (2, 3)), 1
    cells = np.array([[5, 0, 2]])
    found = transformer.logits(network, tokens[None], np.array([label]), cells)
    w = {name: getattr(network, name).astype(np.float64) for name in shapes}
    x = np.array([w["words"][tokens[i, j]] + w["rows"][i] + w["columns"][j] + w["labels"][label] for i, j in np.ndindex(2, 3)])
    for n in range(2):
        x = x + attention(norm(x, w["first_norm"][n], w["first_norm_bias"][n]) @ w["qkv"][n].T + w["qkv_bias"][n]) @ w["mix"][n].T
        x = x + w["mix_bias"][n]
        wide = norm(x, w["second_norm"][n], w["second_norm_bias"][n]) @ w["expand"][n].T + w["expand_bias"][n]
        wide = wide / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
        x = x + wide @ w["project"][n].T + w["project_bias"][n]
    wanted = norm(x, w["last_norm"], w["last_norm_bias"]) @ w["tail"].T + w["tail_bias"]
    np.testing.assert_allclose(found[0], wanted[cells[0]], rtol=1e-4, atol=1e-5)


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return weight * (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + EPSILON) + bias


def attention(qkv: np.ndarray) -> np.ndarray:
    """Values of all heads beside each other, [n, W]."""
    q, k, v = (part.reshape(len(qkv), -1, HEAD) for part in np.split(qkv, 3, axis=1))
    out = np.zeros_like(v)
    for head in range(v.shape[1]):
        for cell in range(len(v)):
            shares = np.exp(k[:, head] @ q[cell, head] / np.sqrt(HEAD))
            out[cell, head] = shares @ v[:, head] / shares.sum()
    return out.reshape(len(qkv), -1)
