"""Inference by torch on a GPU or, for comparison, the CPU: networks of `convolution.run_network`, and the context network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vqcodec.arrays import Float32
from vqcodec.entropy.context import ContextNetwork, DcLayers
from vqcodec.entropy.layers import Layer
from vqcodec.nets.convolution import Rows, RunNetwork
from vqcodec.neural.loop import check_device
from vqcodec.neural.networks import load_tensors
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Weights


def run_network_on(device: str, model: Weights, kind: str = "synthesis") -> RunNetwork:
    """A function that runs the network `kind` of a model or a refiner on `device`, "cpu" or "cuda".

    Raises InputError if there is no such device. The function raises MemoryError if the device has too little memory.
    """
    check_device(device)
    network = load_tensors(model.tensors, kind).to(device).eval()

    def run(x: Float32, kept: Rows | None = None) -> Float32:
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                whole = network(torch.from_numpy(x)[None].to(device))[0]
                found: Float32 = whole[:, slice(*kept) if kept else slice(None)].cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise MemoryError(f"{device} has too little memory") from error
        return found

    return run


@dataclass(frozen=True, eq=False)
class ModelOn(ExactModel):
    """A model whose context network runs on `device`, with the same results: its sums are exact in any order."""

    device: str = "cpu"

    @cached_property
    def context(self) -> ContextNetwork | None:
        here = super().context
        return None if here is None else _moved(here, self.device)


def model_on(device: str, model: ExactModel) -> ModelOn:
    """The model with its context network on `device`. Raises InputError if there is no such device."""
    check_device(device)
    return ModelOn(model.name, model.tensors, model.summary, device)


class _Matrix:
    """Weights float32 on a device; factors and products are numpy arrays."""

    __array_ufunc__ = None  # numpy leaves products with it to this class

    def __init__(self, there: Tensor) -> None:
        self.there = there

    @property
    def T(self) -> _Matrix:  # noqa: N802  # numpy's name
        return _Matrix(self.there.T)

    # never TF32 (off by default): it would round the integers to 11 bits

    def __matmul__(self, x: Float32) -> Float32:
        with torch.inference_mode():
            found: Float32 = (self.there @ torch.from_numpy(x).to(self.there.device)).cpu().numpy()
        return found

    def __rmatmul__(self, x: Float32) -> Float32:
        with torch.inference_mode():
            found: Float32 = (torch.from_numpy(x).to(self.there.device) @ self.there).cpu().numpy()
        return found


def _moved(network: ContextNetwork, device: str) -> ContextNetwork:
    """The network, checked already, with its matrices on a device."""

    def there(weights: Float32) -> Any:
        return _Matrix(torch.from_numpy(weights).to(device))

    def moved(*layers: Layer) -> Any:
        return tuple(replace(layer, weights=there(layer.weights)) for layer in layers)

    tiles = [
        replace(tile, state=there(tile.state), own=there(tile.own), hidden=moved(*tile.hidden), out=moved(*tile.out))
        for tile in network.tiles
    ]
    passes = {name: DcLayers(*moved(layers.first, layers.second, layers.out)) for name, layers in network.passes.items()}
    dc_weights, step_weights = ((there(luma), there(chroma)) for luma, chroma in (network.dc_weights, network.step_weights))
    return replace(network, dc_weights=dc_weights, step_weights=step_weights, tiles=tuple(tiles), passes=passes)


def has_gpu() -> bool:
    """Whether torch finds a CUDA device."""
    return torch.cuda.is_available()
