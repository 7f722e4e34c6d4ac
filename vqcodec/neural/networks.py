"""Convolutional networks in torch: the structure of synthesis networks, refiners, denoisers, and encoders and decoders of tokens.

The formulas are in nets/convolution.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Float32
from vqcodec.nets.synthesis import INPUTS, OUTPUTS

_EXPANSION: Final = 2
"""Factor from the width to the channels inside a block, between `expand` and `project`, unless they are given."""
_DAMPING: Final = 1e-3
"""Ridge of the least squares in `thinned`, relative to the mean variance."""


class Size(NamedTuple):
    """Channels and blocks of a network, and channels inside a block."""

    width: int
    blocks: int
    inside: int


class Pointwise(nn.Linear):
    """A 1x1 convolution [B, inputs, h, w] to [B, outputs, h, w]; its weight is a matrix, as Muon requires."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight[:, :, None, None], self.bias)


class Block(nn.Module):
    """A residual block that mixes positions, then channels; its last layer starts at zero."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.expand = Pointwise(width, inside)
        self.project = Pointwise(inside, width)
        nn.init.zeros_(self.project.weight)
        with torch.no_grad():  # nearly the identity, so that a cell's own features are not lost among its neighbours'
            self.depthwise.weight *= 0.5
            self.depthwise.weight[:, :, 1, 1] += 0.7

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.project(self.rectified(x))
        return result

    def rectified(self, x: Tensor) -> Tensor:
        """The channels inside the block [B, inside, h, w]."""
        return functional.relu(self.expand(self.depthwise(x)))


class ConvNetwork(nn.Module):
    """A network from inputs [B, C, h, w] to coefficients [B, 192, h, w] in steps that are added; zero before training.

    Networks of other kinds have the same structure; `kind` is their name in tensors, and `ends` are their numbers of inputs and
    outputs. `inside` is the number of channels inside a block, by default twice the width.
    """

    def __init__(
        self, width: int, blocks: int, kind: str = "synthesis", ends: tuple[int, int] | None = None, inside: int | None = None
    ) -> None:
        super().__init__()
        self.kind = kind
        inputs, outputs = ends or (INPUTS[kind], OUTPUTS)
        self.head = Pointwise(inputs, width)
        self.blocks = nn.ModuleList([Block(width, inside or _EXPANSION * width) for _ in range(blocks)])
        self.tail = Pointwise(width, outputs)
        nn.init.zeros_(self.tail.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | Pointwise) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def body(self) -> list[Block]:
        """The blocks, typed."""
        return [block for block in self.blocks if isinstance(block, Block)]

    @property
    def size(self) -> Size:
        """The network's size."""
        return Size(self.head.out_features, len(self.body), self.body[0].expand.out_features if self.body else 0)

    @property
    def inner(self) -> list[Tensor]:
        """The matrices inside the blocks."""
        return [layer.weight for block in self.body for layer in (block.expand, block.project)]

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
    expand = tensors[f"{kind}.expand"]
    network = ConvNetwork(len(head), len(expand), kind, (head.shape[1], len(tail)), expand.shape[1])
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
    old, ends = start.size, (start.head.in_features, start.tail.out_features)
    inside = old.inside if width <= old.width else max(old.inside, _EXPANSION * width)
    network = ConvNetwork(max(width, old.width), max(blocks, old.blocks), start.kind, ends, inside)
    with torch.no_grad():
        for new_block, block in zip(network.body, start.body, strict=False):  # new blocks add nothing at first
            new_block.expand.weight[: old.inside, old.width :] = 0
            for name in ("depthwise", "expand", "project"):
                _copy_corner(getattr(new_block, name), getattr(block, name))
        _copy_corner(network.head, start.head)
        _copy_corner(network.tail, start.tail)
    return network


def thinned(start: ConvNetwork, inside: int, inputs: Tensor) -> ConvNetwork:
    """`start` with only the `inside` channels of each block that add most variance to its output for `inputs` [B, C, h, w].

    The block's last layer is fitted again by least squares, so that those left make up for the others.
    """
    old = start.size
    network = ConvNetwork(old.width, old.blocks, start.kind, (start.head.in_features, start.tail.out_features), inside)
    with torch.no_grad():
        network.head.load_state_dict(start.head.state_dict())
        network.tail.load_state_dict(start.tail.state_dict())
        hidden = start.head(inputs)
        for new, block in zip(network.body, start.body, strict=True):
            rows = block.rectified(hidden).transpose(0, 1).flatten(1)  # [old inside, cells]
            mean = rows.mean(dim=1)
            spread = rows - mean[:, None]
            added = block.project.weight  # [width, old inside]
            kept = (spread.square().mean(dim=1) * added.square().sum(dim=0)).topk(inside).indices.sort().values
            products = spread[kept] @ spread[kept].T
            products += _DAMPING * products.diagonal().mean() * torch.eye(inside, device=products.device)
            fitted = torch.linalg.solve(products, spread[kept] @ (added @ spread).T).T  # [width, inside]
            new.depthwise.load_state_dict(block.depthwise.state_dict())
            new.expand.weight.copy_(block.expand.weight[kept])
            new.expand.bias.copy_(block.expand.bias[kept])
            new.project.weight.copy_(fitted)
            new.project.bias.copy_(block.project.bias + added @ mean - fitted @ mean[kept])
            hidden = block(hidden)
    return network


def _copy_corner(layer: nn.Module, start: nn.Module) -> None:
    """Copy a smaller layer into the first outputs and inputs of a layer."""
    for new, old in zip(layer.parameters(), start.parameters(), strict=True):
        new[tuple(map(slice, old.shape))] = old


_SINGLE: Final = ("head", "tail")
"""Layers outside the blocks."""


def _layers(network: ConvNetwork) -> dict[str, list[nn.Conv2d | Pointwise]]:
    body = network.body
    found: dict[str, list[nn.Conv2d | Pointwise]] = {"head": [network.head], "tail": [network.tail]}
    return found | {name: [getattr(block, name) for block in body] for name in ("depthwise", "expand", "project")}


def _numpy(tensor: Tensor | None) -> Float32:
    assert tensor is not None
    return tensor.detach().cpu().numpy()
