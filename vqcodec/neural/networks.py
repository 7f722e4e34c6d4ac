"""Convolutional networks in torch: the structure of synthesis networks, refiners, denoisers, and encoders and decoders of tokens.

The formulas are in nets/convolution.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Float32
from vqcodec.nets.synthesis import INPUTS, OUTPUTS

_EXPANSION: Final = 2
"""Factor from the width to the channels between `expand` and `project`."""


class Block(nn.Module):
    """A residual block that mixes positions, then channels; its last layer starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.expand = nn.Conv2d(width, _EXPANSION * width, 1)
        self.project = nn.Conv2d(_EXPANSION * width, width, 1)
        nn.init.zeros_(self.project.weight)
        with torch.no_grad():  # nearly the identity, so that a cell's own features are not lost among its neighbours'
            self.depthwise.weight *= 0.5
            self.depthwise.weight[:, :, 1, 1] += 0.7

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.project(functional.relu(self.expand(self.depthwise(x))))
        return result


class ConvNetwork(nn.Module):
    """A network from inputs [B, C, h, w] to coefficients [B, 192, h, w] in steps that are added; zero before training.

    Networks of other kinds have the same structure; `kind` is their name in tensors, and `ends` are their numbers of inputs and
    outputs.
    """

    def __init__(self, width: int, blocks: int, kind: str = "synthesis", ends: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.kind = kind
        inputs, outputs = ends or (INPUTS[kind], OUTPUTS)
        self.head = nn.Conv2d(inputs, width, 1)
        self.blocks = nn.ModuleList([Block(width) for _ in range(blocks)])
        self.tail = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.tail.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def body(self) -> list[Block]:
        """The blocks, typed."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.head(x)
        for block in self.body:
            hidden = block(hidden)
        result: Tensor = self.tail(hidden)
        return result


def to_tensors(network: ConvNetwork) -> dict[str, NDArray[Any]]:
    """Tensors `synthesis.*`, or of another kind, float16, for convolution.ConvNetwork."""
    found = {}
    for name, layers in _layers(network).items():
        weights = np.stack([_numpy(layer.weight).reshape(len(layer.weight), -1) for layer in layers])
        biases = np.stack([_numpy(layer.bias) for layer in layers])
        found[name], found[f"{name}_bias"] = (weights[0], biases[0]) if name in _SINGLE else (weights, biases)
    return {f"{network.kind}.{name}": np.ascontiguousarray(array, np.float16) for name, array in found.items()}


def load_tensors(tensors: Mapping[str, NDArray[Any]], kind: str = "synthesis") -> ConvNetwork:
    """The network of the tensors of a kind: the inverse of `to_tensors`."""
    head, tail = tensors[f"{kind}.head"], tensors[f"{kind}.tail"]
    network = ConvNetwork(len(head), len(tensors[f"{kind}.expand"]), kind, (head.shape[1], len(tail)))
    with torch.no_grad():
        for name, layers in _layers(network).items():
            weights, biases = (tensors[f"{kind}.{key}"].astype(np.float32) for key in (name, f"{name}_bias"))
            for number, layer in enumerate(layers):
                weight, bias = (weights, biases) if name in _SINGLE else (weights[number], biases[number])
                assert layer.bias is not None
                layer.weight.copy_(torch.from_numpy(weight).reshape(layer.weight.shape))
                layer.bias.copy_(torch.from_numpy(bias))
    return network


def grown(start: ConvNetwork, width: int, blocks: int) -> ConvNetwork:
    """A wider and deeper network with the same outputs as `start` (Net2Net, Chen et al. 2016): new channels have no effect yet.

    It never has fewer channels or blocks than `start`.
    """
    old, ends = len(start.head.weight), (start.head.in_channels, start.tail.out_channels)
    network = ConvNetwork(max(width, old), max(blocks, len(start.body)), start.kind, ends)
    with torch.no_grad():
        for new_block, block in zip(network.body, start.body, strict=False):  # new blocks add nothing at first
            new_block.expand.weight[: _EXPANSION * old, old:] = 0
            for name in ("depthwise", "expand", "project"):
                _copy_corner(getattr(new_block, name), getattr(block, name))
        _copy_corner(network.head, start.head)
        _copy_corner(network.tail, start.tail)
    return network


def _copy_corner(layer: nn.Module, start: nn.Module) -> None:
    """Copy a smaller layer into the first outputs and inputs of a layer."""
    for new, old in zip(layer.parameters(), start.parameters(), strict=True):
        new[tuple(map(slice, old.shape))] = old


_SINGLE: Final = ("head", "tail")
"""Layers outside the blocks."""


def _layers(network: ConvNetwork) -> dict[str, list[nn.Conv2d]]:
    body = network.body
    found = {"head": [network.head], "tail": [network.tail]}
    return found | {name: [getattr(block, name) for block in body] for name in ("depthwise", "expand", "project")}


def _numpy(tensor: Tensor | None) -> Float32:
    assert tensor is not None
    return tensor.detach().cpu().numpy()
