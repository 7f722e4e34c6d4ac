"""The synthesis network in torch, and its fit to what the quantiser delivers. The formulas are in convolution.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Float32, Float64, Int32, Intp, UInt8
from vqcodec.nets.synthesis import INPUTS, OUTPUTS, SEEN, STEP_CENTRE_LEVELS
from vqcodec.neural.loop import Batch, Report, Schedule, fit
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, Layout, shared_channels


@dataclass(frozen=True)
class SynthesisSettings(Schedule):
    """Everything that decides the outcome, with the samples."""

    width: int = 224
    blocks: int = 6


@dataclass(frozen=True)
class Sample:
    """A coded picture: network inputs float16 [97, h, w], and what its plain decode lacks, float16 [192, h, w], in steps."""

    features: NDArray[np.float16]
    missing: NDArray[np.float16]


_EXPANSION = 2
"""Channels between expand and project, for each outside."""


class Block(nn.Module):
    """Mixes places, then channels, around a residual connection; the last layer starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.expand = nn.Conv2d(width, _EXPANSION * width, 1)
        self.project = nn.Conv2d(_EXPANSION * width, width, 1)
        nn.init.zeros_(self.project.weight)
        with torch.no_grad():  # nearly the identity: what a cell knows of itself is not lost among its neighbours
            self.depthwise.weight *= 0.5
            self.depthwise.weight[:, :, 1, 1] += 0.7

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.project(functional.relu(self.expand(self.depthwise(x))))
        return result


class SynthesisNetwork(nn.Module):
    """Inputs [B, C, h, w] to corrections [B, 192, h, w] in steps; zero before training. A refiner is one, too: `kind`.

    Other kinds are given their numbers of inputs and outputs as `ends`.
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
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.head(x)
        for block in self.body:
            hidden = block(hidden)
        result: Tensor = self.tail(hidden)
        return result


def to_tensors(network: SynthesisNetwork) -> dict[str, NDArray[Any]]:
    """A model's tensors `synthesis.*` or of another kind, float16, as in convolution.ConvNetwork; the inverse of `load_tensors`."""
    found = {}
    for name, layers in _layers(network).items():
        weights = np.stack([_numpy(layer.weight).reshape(len(layer.weight), -1) for layer in layers])
        biases = np.stack([_numpy(layer.bias) for layer in layers])
        found[name], found[f"{name}_bias"] = (weights[0], biases[0]) if name in _SINGLE else (weights, biases)
    return {f"{network.kind}.{name}": np.ascontiguousarray(array, np.float16) for name, array in found.items()}


def load_tensors(tensors: Mapping[str, NDArray[Any]], kind: str = "synthesis") -> SynthesisNetwork:
    """The inverse of `to_tensors`."""
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
    """A network with more channels and blocks that says what `start` says: nobody listens to the new ones yet (Chen et al. 2016,
    Net2Net). Those of `start` stay as they are where it has more."""
    old, ends = len(start.head.weight), (start.head.in_channels, start.tail.out_channels)
    network = SynthesisNetwork(max(width, old), max(blocks, len(start.body)), start.kind, ends)
    with torch.no_grad():
        for new_block, block in zip(network.body, start.body, strict=False):  # others add nothing, as blocks do at first
            new_block.expand.weight[: _EXPANSION * old, old:] = 0
            for name in ("depthwise", "expand", "project"):
                _copy_corner(getattr(new_block, name), getattr(block, name))
        _copy_corner(network.head, start.head)
        _copy_corner(network.tail, start.tail)
    return network


def _copy_corner(layer: nn.Module, start: nn.Module) -> None:
    """The weights and biases of a smaller layer to the first outputs and inputs of a layer."""
    for new, old in zip(layer.parameters(), start.parameters(), strict=True):
        new[tuple(map(slice, old.shape))] = old


_SINGLE = ("head", "tail")
"""Layers that there is one of, not one in each block."""


def _layers(network: SynthesisNetwork) -> dict[str, list[nn.Conv2d]]:
    body = network.body
    found = {"head": [network.head], "tail": [network.tail]}
    return found | {name: [getattr(block, name) for block in body] for name in ("depthwise", "expand", "project")}


def _numpy(tensor: Tensor | None) -> Float32:
    assert tensor is not None
    return tensor.detach().cpu().numpy()


def relative_error(correction: Tensor, missing: Tensor) -> Tensor:
    """Squared error after the correction over that before it, a mean over the batch: every quality and picture counts alike."""
    after = (missing - correction).square().mean(dim=(1, 2, 3))
    before = missing.square().mean(dim=(1, 2, 3))
    return (after / (before + _FLOOR)).mean()


_FLOOR = 1e-3
"""Squared steps: keeps flat pictures, of which nothing is missing, from weighing much."""


def mirror_columns(x: NDArray[Any], signs: NDArray[Any]) -> NDArray[Any]:
    """Coefficients or features [C, h, w] of the picture mirrored left to right: odd horizontal frequencies change sign."""
    return x[:, :, ::-1] * signs[:, None, None]


def transpose(x: NDArray[Any], order: Intp) -> NDArray[Any]:
    """The same of the transposed picture: frequencies change places."""
    return x[order].transpose(0, 2, 1)


def mirror_signs(layout: Layout) -> NDArray[np.float16]:
    """Of every channel, for `mirror_columns`."""
    return np.array([1 - 2 * (u % 2) for _, _, u in layout.positions], np.float16)


def transposed_order(layout: Layout) -> Intp:
    """Of the channels, for `transpose`."""
    place = {position: channel for channel, position in enumerate(layout.positions)}
    return np.array([place[component, u, v] for component, v, u in layout.positions], np.intp)


FEATURE_SIGNS = np.append(mirror_signs(COLOR_4X4), np.float16(1))
FEATURE_ORDER = np.append(transposed_order(COLOR_4X4), SEEN)
OUTPUT_SIGNS, OUTPUT_ORDER = mirror_signs(COLOR_8X8), transposed_order(COLOR_8X8)


@dataclass(frozen=True)
class Place:
    """A crop of a sample: its cells, and whether it is transposed, then mirrored."""

    number: int
    top: int
    left: int
    crop: int
    transposed: bool
    mirrored: bool

    def cut(self, x: NDArray[Any], order: Intp, signs: NDArray[Any], scale: int = 1) -> NDArray[Any]:
        """The crop of x [C, scale * h, scale * w]; `order` and `signs` are what `transpose` and `mirror_columns` want."""
        top, left, side = scale * self.top, scale * self.left, scale * self.crop
        x = x[:, top : top + side, left : left + side]
        if self.transposed:
            x = transpose(x, order)
        return mirror_columns(x, signs) if self.mirrored else x


def draw_places(sides: Sequence[tuple[int, ...]], batch: int, crop: int, rng: np.random.Generator) -> Iterator[Place]:
    """Crops of samples of these numbers of cells down and across, by their number of cells, mirrored and transposed at random."""
    weights = np.array([h * w for h, w in sides], np.float64)
    for number in rng.choice(len(sides), batch, p=weights / weights.sum()):
        top, left = (int(rng.integers(side - crop + 1)) for side in sides[number])
        yield Place(int(number), top, left, crop, bool(rng.random() < 0.5), bool(rng.random() < 0.5))


def draw_batch(samples: Sequence[Sample], batch: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Crops of samples: inputs and what is missing, float32."""
    inputs, targets = [], []
    for place in draw_places([sample.features.shape[1:] for sample in samples], batch, crop, rng):
        sample = samples[place.number]
        inputs.append(place.cut(sample.features, FEATURE_ORDER, FEATURE_SIGNS))
        targets.append(place.cut(sample.missing, OUTPUT_ORDER, OUTPUT_SIGNS))
    return stacked(inputs), stacked(targets)


def stacked(arrays: Sequence[NDArray[Any]]) -> Tensor:
    """A batch, float32."""
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def usable_crop(sides: Sequence[tuple[int, ...]], crop: int) -> int:
    """The side of crops, in cells: small pictures, such as thumbnails, are cropped less."""
    shortest = sorted(map(min, sides))
    return min(crop, shortest[len(shortest) // 10])


def held_out_error(network: SynthesisNetwork, samples: Sequence[Sample], device: str) -> float:
    """Mean log of the relative error of whole samples, in dB: what PSNR gains, with the sign turned."""
    return float(held_out_errors(network, samples, device).mean())


def held_out_errors(network: SynthesisNetwork, samples: Sequence[Sample], device: str) -> Float64:
    """Logs of the relative errors of whole samples, in dB, float64 [samples]."""
    gains = []
    with torch.no_grad():
        for sample in samples:
            inputs, missing = (torch.from_numpy(a.astype(np.float32))[None].to(device) for a in (sample.features, sample.missing))
            before, after = missing.square().mean(), (missing - network(inputs)).square().mean()
            gains.append(10 * float(torch.log10((after + 1e-9) / (before + 1e-9))))
    return np.array(gains)


def compare(network: SynthesisNetwork, sample: Sample, color: Int32) -> UInt8:
    """A sample's original, plain and refined pictures beside each other, uint8 [H, 3 W, 3]; `color` is the model's matrix."""
    seen = sample.features[:SEEN].astype(np.float32)
    plain = np.zeros(sample.missing.shape, np.float32)
    plain[shared_channels(COLOR_4X4, COLOR_8X8)[1]] = np.sign(seen) * np.expm1(np.abs(seen))  # the inverse of networks.features
    step = STEP_CENTRE_LEVELS * float(np.exp(sample.features[SEEN, 0, 0].astype(np.float32)))
    with torch.no_grad():
        device = next(network.parameters()).device
        inputs = torch.from_numpy(sample.features.astype(np.float32))[None].to(device)
        correction = network(inputs)[0].cpu().numpy()
    matrix = (dct.inverse_matrix(COLOR_8X8, color) / (1 << dct.SHIFT)).astype(np.float32)
    h, w = sample.missing.shape[1:]
    pictures = [np.empty((8 * h, 8 * w, 3), np.uint8) for _ in range(3)]
    for added, pixels in zip((sample.missing.astype(np.float32), 0, correction), pictures, strict=True):
        dct.inverse_float(((plain + added) * np.float32(step)).reshape(len(plain), -1), w, matrix, pixels)
    return np.concatenate(pictures, axis=1)


def fit_synthesis(
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: SynthesisSettings,
    *,
    start: dict[str, NDArray[Any]] | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
    show: Callable[[SynthesisNetwork], None] = lambda network: None,
) -> dict[str, NDArray[Any]]:
    """Train on `train`, anew or from the tensors `start`, which become as large as the settings say; returns the tensors
    `synthesis.*` of the averaged weights, which `show` sees as often as the held-out samples do."""
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
        return held_out_error(network, held_out, device)

    found = fit(
        network,
        lambda rng: draw_batch(usable, settings.batch, crop, rng),
        loss_of,
        look,
        settings,
        device=device,
        checkpoint=checkpoint,
        report=report,
    )
    return to_tensors(found)
