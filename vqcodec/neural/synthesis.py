"""The synthesis network in torch, and its fit to quantised pictures. The formulas are in convolution.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Float32, Float64, Int32, Intp, UInt8
from vqcodec.nets.synthesis import INPUTS, OUTPUTS, SEEN, STEP_CENTRE_LEVELS
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, fit
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, Layout, shared_channels


@dataclass(frozen=True)
class SynthesisSettings(Schedule):
    """Everything that decides the outcome, besides the samples."""

    width: int = 224
    blocks: int = 6


@dataclass(frozen=True)
class Sample:
    """A coded picture: network inputs float16 [97, h, w], and the error of its plain decode float16 [192, h, w], in steps."""

    features: NDArray[np.float16]
    missing: NDArray[np.float16]


_EXPANSION = 2
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


class SynthesisNetwork(nn.Module):
    """A network from inputs [B, C, h, w] to corrections [B, 192, h, w] in steps; zero before training.

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


def to_tensors(network: SynthesisNetwork) -> dict[str, NDArray[Any]]:
    """Tensors `synthesis.*`, or of another kind, float16, for convolution.ConvNetwork."""
    found = {}
    for name, layers in _layers(network).items():
        weights = np.stack([_numpy(layer.weight).reshape(len(layer.weight), -1) for layer in layers])
        biases = np.stack([_numpy(layer.bias) for layer in layers])
        found[name], found[f"{name}_bias"] = (weights[0], biases[0]) if name in _SINGLE else (weights, biases)
    return {f"{network.kind}.{name}": np.ascontiguousarray(array, np.float16) for name, array in found.items()}


def load_tensors(tensors: Mapping[str, NDArray[Any]], kind: str = "synthesis") -> SynthesisNetwork:
    """The network of the tensors of a kind: the inverse of `to_tensors`."""
    head, tail = tensors[f"{kind}.head"], tensors[f"{kind}.tail"]
    network = SynthesisNetwork(len(head), len(tensors[f"{kind}.expand"]), kind, (head.shape[1], len(tail)))
    with torch.no_grad():
        for name, layers in _layers(network).items():
            weights, biases = (tensors[f"{kind}.{key}"].astype(np.float32) for key in (name, f"{name}_bias"))
            for number, layer in enumerate(layers):
                weight, bias = (weights, biases) if name in _SINGLE else (weights[number], biases[number])
                assert layer.bias is not None
                layer.weight.copy_(torch.from_numpy(weight).reshape(layer.weight.shape))
                layer.bias.copy_(torch.from_numpy(bias))
    return network


def grown(start: SynthesisNetwork, width: int, blocks: int) -> SynthesisNetwork:
    """A wider and deeper network with the same outputs as `start` (Net2Net, Chen et al. 2016): new channels have no effect yet.

    It never has fewer channels or blocks than `start`.
    """
    old, ends = len(start.head.weight), (start.head.in_channels, start.tail.out_channels)
    network = SynthesisNetwork(max(width, old), max(blocks, len(start.body)), start.kind, ends)
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


_SINGLE = ("head", "tail")
"""Layers outside the blocks."""


def _layers(network: SynthesisNetwork) -> dict[str, list[nn.Conv2d]]:
    body = network.body
    found = {"head": [network.head], "tail": [network.tail]}
    return found | {name: [getattr(block, name) for block in body] for name in ("depthwise", "expand", "project")}


def _numpy(tensor: Tensor | None) -> Float32:
    assert tensor is not None
    return tensor.detach().cpu().numpy()


def relative_error(correction: Tensor, missing: Tensor) -> Tensor:
    """Mean over the batch of the squared error after the correction over that before it: every picture has the same weight."""
    after = (missing - correction).square().mean(dim=(1, 2, 3))
    before = missing.square().mean(dim=(1, 2, 3))
    return (after / (before + _FLOOR)).mean()


_FLOOR = 1e-3
"""Squared steps, added to limit the weight of flat pictures, which lose nothing."""


def mirror_columns(x: NDArray[Any], signs: NDArray[Any]) -> NDArray[Any]:
    """Coefficients or features [C, h, w] of the picture mirrored left to right: odd horizontal frequencies change sign."""
    return x[:, :, ::-1] * signs[:, None, None]


def transpose(x: NDArray[Any], order: Intp) -> NDArray[Any]:
    """Coefficients or features of the transposed picture: horizontal and vertical frequencies swap."""
    return x[order].transpose(0, 2, 1)


def mirror_signs(layout: Layout) -> NDArray[np.float16]:
    """Sign of every channel for `mirror_columns`."""
    return np.array([1 - 2 * (u % 2) for _, _, u in layout.positions], np.float16)


def transposed_order(layout: Layout) -> Intp:
    """Order of the channels for `transpose`."""
    place = {position: channel for channel, position in enumerate(layout.positions)}
    return np.array([place[component, u, v] for component, v, u in layout.positions], np.intp)


FEATURE_SIGNS = np.append(mirror_signs(COLOR_4X4), np.float16(1))
FEATURE_ORDER = np.append(transposed_order(COLOR_4X4), SEEN)
OUTPUT_SIGNS, OUTPUT_ORDER = mirror_signs(COLOR_8X8), transposed_order(COLOR_8X8)


@dataclass(frozen=True)
class Place:
    """A square crop of sample `number`, in cells, that may be transposed and then mirrored."""

    number: int
    top: int
    left: int
    crop: int
    transposed: bool
    mirrored: bool

    def cut(self, x: NDArray[Any], order: Intp, signs: NDArray[Any], scale: int = 1) -> NDArray[Any]:
        """The crop of x [C, scale * h, scale * w]; `order` and `signs` are arguments of `transpose` and `mirror_columns`."""
        top, left, side = scale * self.top, scale * self.left, scale * self.crop
        x = x[:, top : top + side, left : left + side]
        if self.transposed:
            x = transpose(x, order)
        return mirror_columns(x, signs) if self.mirrored else x


def draw_places(sides: Sequence[tuple[int, ...]], batch: int, crop: int, rng: np.random.Generator) -> Iterator[Place]:
    """Random crops of samples of `sides` cells (h, w), drawn in proportion to their area, mirrored and transposed at random."""
    weights = np.array([h * w for h, w in sides], np.float64)
    for number in rng.choice(len(sides), batch, p=weights / weights.sum()):
        top, left = (int(rng.integers(side - crop + 1)) for side in sides[number])
        yield Place(int(number), top, left, crop, bool(rng.random() < 0.5), bool(rng.random() < 0.5))


def draw_batch(samples: Sequence[Sample], batch: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch of random crops: inputs and errors of the plain decode, float32."""
    inputs, targets = [], []
    for place in draw_places([sample.features.shape[1:] for sample in samples], batch, crop, rng):
        sample = samples[place.number]
        inputs.append(place.cut(sample.features, FEATURE_ORDER, FEATURE_SIGNS))
        targets.append(place.cut(sample.missing, OUTPUT_ORDER, OUTPUT_SIGNS))
    return stacked(inputs), stacked(targets)


def stacked(arrays: Sequence[NDArray[Any]]) -> Tensor:
    """Arrays stacked to a float32 tensor."""
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def usable_crop(sides: Sequence[tuple[int, ...]], crop: int) -> int:
    """Side of crops in cells: `crop`, or what nine pictures of ten allow."""
    shortest = sorted(map(min, sides))
    return min(crop, shortest[len(shortest) // 10])


def held_out_error(network: SynthesisNetwork, samples: Sequence[Sample], device: str) -> float:
    """Mean of `held_out_errors`."""
    return float(held_out_errors(network, samples, device).mean())


def held_out_errors(network: SynthesisNetwork, samples: Sequence[Sample], device: str) -> Float64:
    """Loss of PSNR of each whole sample by the network, dB, float64 [samples]; negative values are gains."""
    gains = []
    with torch.no_grad():
        for sample in samples:
            inputs, missing = (torch.from_numpy(a.astype(np.float32))[None].to(device) for a in (sample.features, sample.missing))
            before, after = missing.square().mean(), (missing - network(inputs)).square().mean()
            gains.append(10 * float(torch.log10((after + 1e-9) / (before + 1e-9))))
    return np.array(gains)


def compare(network: SynthesisNetwork, sample: Sample, color: Int32) -> UInt8:
    """A sample's original, plain and refined pictures side by side, uint8 [H, 3 W, 3]; `color` is the model's colour matrix."""
    seen = sample.features[:SEEN].astype(np.float32)
    plain = np.zeros(sample.missing.shape, np.float32)
    plain[shared_channels(COLOR_4X4, COLOR_8X8)[1]] = np.sign(seen) * np.expm1(np.abs(seen))  # inverts synthesis_features
    step_levels = STEP_CENTRE_LEVELS * float(np.exp(sample.features[SEEN, 0, 0].astype(np.float32)))
    with torch.no_grad():
        device = next(network.parameters()).device
        inputs = torch.from_numpy(sample.features.astype(np.float32))[None].to(device)
        correction = network(inputs)[0].cpu().numpy()
    matrix = (dct.inverse_matrix(COLOR_8X8, color) / (1 << dct.SHIFT)).astype(np.float32)
    h, w = sample.missing.shape[1:]
    pictures = [np.empty((8 * h, 8 * w, 3), np.uint8) for _ in range(3)]
    for added, pixels in zip((sample.missing.astype(np.float32), 0, correction), pictures, strict=True):
        dct.inverse_float(((plain + added) * np.float32(step_levels)).reshape(len(plain), -1), w, matrix, pixels)
    return np.concatenate(pictures, axis=1)


def fit_synthesis(
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: SynthesisSettings,
    options: LoopOptions = ON_CPU,
    *,
    start: dict[str, NDArray[Any]] | None = None,
    show: Callable[[SynthesisNetwork], None] = lambda network: None,
) -> dict[str, NDArray[Any]]:
    """Train from scratch or from the tensors `start`, which grow to the settings' size; returns the tensors `synthesis.*`.

    The weights are a moving average; `show` gets it whenever the held-out samples are scored.
    """
    torch.manual_seed(settings.seed)
    network = SynthesisNetwork(settings.width, settings.blocks)
    if start is not None:
        network = grown(load_tensors(start), settings.width, settings.blocks)
    crop = usable_crop([sample.features.shape[1:] for sample in train], settings.crop)
    usable = [sample for sample in train if min(sample.features.shape[1:]) >= crop]

    def loss_of(network: SynthesisNetwork, batch: Batch) -> Tensor:
        inputs, missing = batch
        return relative_error(network(inputs.contiguous(memory_format=torch.channels_last)).float(), missing)

    def look(network: SynthesisNetwork) -> float:
        show(network)
        return held_out_error(network, held_out, options.device)

    def draw(rng: np.random.Generator) -> Batch:
        return draw_batch(usable, settings.batch, crop, rng)

    return to_tensors(fit(network, draw, loss_of, look, settings, options))
