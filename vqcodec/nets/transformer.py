"""Numpy inference of a token prior: the probability of each codeword in each cell, given the tokens of other cells and a class.

A bidirectional transformer sees the whole grid of tokens, some of them masked (MaskGIT, Chang et al. 2022). It has width W, W / 32
heads, K codewords, and normalisation before each part (Vaswani et al. 2017; Xiong et al. 2020):

    x = words[token] + rows[row] + columns[column] + labels[label]                                    float32 [B, n, W]
    in each layer:   x += mix @ attention(qkv @ norm(x));   x += project @ gelu(expand @ norm(x))
    logits = tail @ norm(x)                                                                           float32 [B, n, K]

    norm(x) = weight * (x - mean) / sqrt(variance + 1e-5) + bias, over the W values of a cell (Ba et al. 2016)
    attention of a head: softmax(q k^T / sqrt(32)) v, over all cells;   gelu by its tanh formula (Hendrycks and Gimpel 2016)

Token K is the mask token, and the last label stands for "no class". All layers but the embeddings have biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int64, Intp

HEAD: Final = 32
"""Width of a head."""
EXPANSION: Final = 4
"""Ratio of the width between expand and project to W."""
EPSILON: Final = 1e-5


class GridSize(NamedTuple):
    """Rows and columns of a grid of tokens."""

    rows: int
    columns: int


def shapes(width: int, layers: int, codewords: int, grid: tuple[int, int], classes: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights, by name, for grids up to `grid` (rows, columns)."""
    wide = EXPANSION * width
    return {
        "words": (codewords + 1, width),
        "rows": (grid[0], width),
        "columns": (grid[1], width),
        "labels": (classes + 1, width),
        "first_norm": (layers, width),
        "first_norm_bias": (layers, width),
        "qkv": (layers, 3 * width, width),
        "qkv_bias": (layers, 3 * width),
        "mix": (layers, width, width),
        "mix_bias": (layers, width),
        "second_norm": (layers, width),
        "second_norm_bias": (layers, width),
        "expand": (layers, wide, width),
        "expand_bias": (layers, wide),
        "project": (layers, width, wide),
        "project_bias": (layers, width),
        "last_norm": (width,),
        "last_norm_bias": (width,),
        "tail": (codewords, width),
        "tail_bias": (codewords,),
    }


@dataclass(frozen=True, eq=False)
class Transformer:
    """Weights of a transformer, with the `shapes` above."""

    words: Float32
    rows: Float32
    columns: Float32
    labels: Float32
    first_norm: Float32
    first_norm_bias: Float32
    qkv: Float32
    qkv_bias: Float32
    mix: Float32
    mix_bias: Float32
    second_norm: Float32
    second_norm_bias: Float32
    expand: Float32
    expand_bias: Float32
    project: Float32
    project_bias: Float32
    last_norm: Float32
    last_norm_bias: Float32
    tail: Float32
    tail_bias: Float32

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Transformer:
        """The transformer in a model's float16 tensors `prior.*`. Raises KeyError, ValueError."""
        found = cls(*(tensors[f"prior.{field.name}"].astype(np.float32) for field in fields(cls)))
        for name in ("words", "rows", "columns", "labels", "tail", "mix"):
            if not getattr(found, name).ndim or not len(getattr(found, name)):
                raise ValueError(f"prior.{name} is wrong")
        width = found.tail.shape[-1]
        if not width or width % HEAD:
            raise ValueError("prior.tail is wrong")
        wanted = shapes(width, len(found.mix), found.codewords, found.grid, found.classes)
        for name, shape in wanted.items():
            array = getattr(found, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"prior.{name} is wrong")
        return found

    @property
    def codewords(self) -> int:
        return len(self.tail)

    @property
    def mask_token(self) -> int:
        """The token that stands for an unknown codeword."""
        return self.codewords

    @property
    def grid(self) -> GridSize:
        """Size of the largest grid."""
        return GridSize(len(self.rows), len(self.columns))

    @property
    def classes(self) -> int:
        return len(self.labels) - 1


def logits(network: Transformer, tokens: Int64, labels: Int64, cells: Intp) -> Float32:
    """Logits float32 [B, m, K] of `cells` [B, m] (row-major indices), given tokens int64 [B, h, w], 0..K, and labels int64 [B]."""
    batch, h, w = tokens.shape
    x = network.words[tokens] + network.rows[:h, None] + network.columns[:w] + network.labels[labels][:, None, None]
    x = x.reshape(batch, h * w, -1)
    for n in range(len(network.mix)):
        seen = _norm(x, network.first_norm[n], network.first_norm_bias[n])
        x += _attention(seen @ network.qkv[n].T + network.qkv_bias[n]) @ network.mix[n].T + network.mix_bias[n]
        seen = _norm(x, network.second_norm[n], network.second_norm_bias[n])
        x += _gelu(seen @ network.expand[n].T + network.expand_bias[n]) @ network.project[n].T + network.project_bias[n]
    x = np.take_along_axis(x, cells[:, :, None], axis=1)
    found: Float32 = _norm(x, network.last_norm, network.last_norm_bias) @ network.tail.T + network.tail_bias
    return found


def _norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    """Layer normalisation over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    found: Float32 = weight * (centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(EPSILON))) + bias
    return found


def _attention(qkv: Float32) -> Float32:
    """Multi-head attention [B, n, W], for the queries, keys and values of all heads [B, n, 3 W]."""
    batch, n, _ = qkv.shape
    q, k, v = qkv.reshape(batch, n, 3, -1, HEAD).transpose(2, 0, 3, 1, 4)
    found: Float32 = softmax(q @ k.swapaxes(-1, -2) * np.float32(HEAD**-0.5)) @ v
    return found.swapaxes(1, 2).reshape(batch, n, -1)


def softmax(x: Float32) -> Float32:
    """Softmax over the last axis."""
    found: Float32 = np.exp(x - x.max(axis=-1, keepdims=True))
    found /= found.sum(axis=-1, keepdims=True)
    return found


def _gelu(x: Float32) -> Float32:
    inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    found: Float32 = np.float32(0.5) * x * (1 + np.tanh(inner))
    return found
