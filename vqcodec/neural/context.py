"""The convolutional prior in torch, and its fit to coded pictures. The formulas, in integers, are in vqcodec/context.py.

Its loss is what the encoder pays for what it wants to code, given contexts that are the decoder's (hard-quantised latents; Minnen
and Singh 2020). Bits are those of the latents before quantisation under a density convolved with one step, whose scale the score
gives; as the encoder minimises rate and distortion together, a latent costs its bits and the error of rounding, or the bits of a
zero and its square, whichever is less. Mixtures of two logistic densities, one for each class, are learnt along, as the codebooks
will be fitted to their classes afterwards; and the same for the linear predictions, so that the loss is relative to theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.bands import COLOR_4X4, Tile
from vqcodec.context import (
    CROSS,
    DC_AROUND,
    MARGIN,
    MEAN_OUT_SHIFT,
    UNIT_MAX,
    UNIT_SHIFT,
    dc_inputs_of,
    dc_pass_names,
    outputs_of,
    taps_of,
)
from vqcodec.errors import InputError
from vqcodec.neural.loop import Batch, Report, Schedule, fit
from vqcodec.prior import CLASS_OF_ONE, CLASSES, CLASSES_PER_OCTAVE, FLOAT32_EXACT, SCALE_SHIFT
from vqcodec.rate import RATE
from vqcodec.symbols import DC_SHARE

_ONE: Final = 32
"""An integer of this size is 1 to the network."""
_LATENTS: Final = 16
"""To a step."""
_SEEN: Final = COLOR_4X4.channels
_INT16: Final = 32767
_LEAST_BITS: Final = 20.0
"""Of a crop: keeps flat ones, where nothing is to be gained, from weighing much."""


@dataclass(frozen=True)
class ContextSettings(Schedule):
    """Everything that decides the outcome, with the samples."""

    rate: float = 2e-3
    luma: int = 96
    chroma: int = 32
    hidden: int = 32
    dc_hidden: tuple[int, int] = (128, 64)
    dc_rows: int = 1024
    """Cells of each pass in a batch."""


@dataclass(frozen=True)
class ContextSample:
    """A coded picture on its grid [h, w], channels those of COLOR_4X4, zeros where there is no chroma.

    `values` int8 [192, h + 4, w + 4] features of latents, then sizes of those of residuals; `differences` int8 [144, h, w] of DCs;
    `step` float32 [3]; linear predictions: `means` int16 [96, h, w], `scores` float16 [28, h, w] in classes; `targets` float16
    [96, h, w] in steps.
    """

    values: NDArray[np.int8]
    differences: NDArray[np.int8]
    step: NDArray[np.float32]
    means: NDArray[np.int16]
    scores: NDArray[np.float16]
    targets: NDArray[np.float16]
    colour: bool


@dataclass(frozen=True)
class PassSample:
    """Cells of one kind of DC pass: `inputs` int8 [n, rows]; `scores` in classes and `targets` less the linear prediction, in
    steps, float16 [n]."""

    inputs: NDArray[np.int8]
    scores: NDArray[np.float16]
    targets: NDArray[np.float16]


class _Unit(torch.autograd.Function):
    """unit() of context.py, where 32 is 1; straight through the rounding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.floor(x.float().clamp(0, UNIT_MAX / _ONE) * _ONE) / _ONE

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, 0.0, UNIT_MAX / _ONE)


def _unit(x: Tensor) -> Tensor:
    result: Tensor = _Unit.apply(x)  # type: ignore[no-untyped-call]  # torch has no type for it
    return result


def _weights(outputs: int, inputs: int, gain: float) -> nn.Parameter:
    return nn.Parameter(torch.randn(outputs, inputs) * gain / inputs**0.5)


class Density(nn.Module):
    """Costs of residuals given scores, in bits, by a mixture of two logistic densities for each class, convolved with one step."""

    def __init__(self, rate: float) -> None:
        """`rate` is the encoder's lambda in squared steps per bit."""
        super().__init__()
        self.rate = rate
        log_scale = (torch.arange(CLASSES + 2) - CLASS_OF_ONE + 0.5) * float(np.log(2) / CLASSES_PER_OCTAVE)
        self.table = nn.Parameter(torch.stack([log_scale - 0.3, log_scale + 0.7, torch.full_like(log_scale, 0.5)], dim=1))

    def forward(self, x: Tensor, score: Tensor) -> Tensor:
        score = score.float().clamp(0, CLASSES)
        below = score.detach().floor().long()
        share = (score - below)[..., None]
        first, second, balance = (self.table[below] * (1 - share) + self.table[below + 1] * share).unbind(-1)
        size = x.float().abs()
        p: Tensor = torch.full_like(size, _LEAST_PROBABILITY)
        p_zero: Tensor = torch.full_like(size, _LEAST_PROBABILITY)
        for log_scale, weight in ((first, torch.sigmoid(balance)), (second, torch.sigmoid(-balance))):
            sharpness = torch.exp(-log_scale) / _LOGISTIC_OF_LAPLACE
            p = p + weight * (torch.sigmoid((0.5 - size) * sharpness) - torch.sigmoid((-0.5 - size) * sharpness))
            p_zero = p_zero + weight * torch.tanh(0.25 * sharpness)
        return torch.minimum(-torch.log2(p) + _ROUNDING / self.rate, -torch.log2(p_zero) + size.square() / self.rate)


_ROUNDING: Final = 1 / 12
"""Mean squared error of rounding, in squared steps."""
_LEAST_PROBABILITY: Final = 2e-6
_LOGISTIC_OF_LAPLACE: Final = 0.72
"""Scale of the logistic density with the mean magnitude 1."""


class Half(nn.Module):
    """The two layers behind the states, for one half of a tile."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.hidden_bias = _weights(hidden, inputs, 1.0), nn.Parameter(torch.zeros(hidden))
        self.out, self.out_bias = nn.Parameter(torch.zeros(outputs, hidden)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        hidden = _unit(functional.linear(x, self.hidden, self.hidden_bias))
        return functional.linear(hidden, self.out, self.out_bias)


class TileContext(nn.Module):
    """The part of the network that serves the tiles; zero before training."""

    def __init__(self, luma: int, chroma: int, hidden: int) -> None:
        super().__init__()
        widths = (luma, chroma)
        planes = 2 * len(DC_AROUND)
        self.dc = nn.ParameterList([_weights(luma, planes, 0.7), _weights(chroma, 2 * planes, 0.7)])
        self.step = nn.ParameterList([_weights(w, 3, 0.3) for w in widths])
        self.state, self.own, self.halves = nn.ParameterList(), nn.ParameterList(), nn.ModuleList()
        for tile in COLOR_4X4.tiles:
            bank = min(tile.component, 1)
            self.state.append(_weights(widths[bank], 2 * tile.size * len(taps_of(tile)), 0.5))
            self.own.append(_weights(widths[bank], 8 * tile.size, 0.3))
            inputs = sum(widths[: bank + 1]) + 1 + tile.size
            self.halves.extend([Half(inputs, hidden, outputs_of(tile)) for _ in range(2)])
        self.density, self.linear_density = Density(RATE), Density(RATE)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bits of every crop with the network and with the linear predictions alone, [B] each. The batch is `draw_crops`'s."""
        *_, means, scores, targets, colour = batch
        total, linear = torch.zeros_like(colour), torch.zeros_like(colour)
        for tile, part, out in self.corrections(batch):
            missing = targets[:, part, tile.channels] - means[:, part, tile.channels] / _LATENTS
            score = scores[:, part, tile.number, None]
            added = out[:, :, 1:] if out.shape[2] > 1 else torch.zeros_like(missing)
            counts = colour if tile.component else torch.ones_like(colour)
            total = total + counts * self.density(missing - added, (score + out[:, :, :1]).expand_as(missing)).sum(dim=(1, 2))
            linear = linear + counts * self.linear_density(missing, score.expand_as(missing)).sum(dim=(1, 2))
        return total, linear

    def corrections(self, batch: Batch) -> Iterator[tuple[Tile, slice, Tensor]]:
        """For each half of each tile its cells, and what is added to scores (classes) and means (steps): [B, n, 1 or 1 + T]."""
        values, differences, step, means, scores, *_ = batch
        cells = scores.shape[1]
        side = int(cells**0.5)
        even = cells // 2
        order = torch.from_numpy(_even_first(side)).to(values.device)
        around = len(DC_AROUND)
        luma_dc = torch.cat([differences[..., :around], differences[..., 3 * around : 4 * around]], 2)
        chroma_dc = torch.cat([differences[..., around : 3 * around], differences[..., 4 * around :]], 2)
        states = [
            functional.linear(rows, weights).float() + functional.linear(step, own).float()[:, None]
            for rows, weights, own in zip((luma_dc, chroma_dc), self.dc, self.step, strict=True)
        ]
        mean_features = torch.sign(means) * torch.log2(1 + means.abs() / 4) * (8 / _ONE)
        for tile in COLOR_4X4.tiles:
            bank, channels = min(tile.component, 1), tile.channels
            seen = torch.cat([values[:, channels], values[:, _SEEN + channels.start : _SEEN + channels.stop]], 1)
            own = functional.linear(_columns(seen, CROSS, side, order[even:]), self.own[tile.number]).float()
            for half, part in enumerate((slice(0, even), slice(even, cells))):
                here = [state[:, part] for state in states[: bank + 1]]
                if half:
                    here[bank] = here[bank] + own
                score = scores[:, part, tile.number, None] * (4 / _ONE)
                x = torch.cat([*map(_unit, here), score, mean_features[:, part, channels]], 2)
                yield tile, part, self.halves[2 * tile.number + half](x).float()
            columns = _columns(seen, taps_of(tile), side, order)
            states[bank] = states[bank] + functional.linear(columns, self.state[tile.number]).float()


def _even_first(side: int) -> NDArray[np.intp]:
    """Cells of a square crop, the even ones first."""
    odd = (np.add.outer(np.arange(side), np.arange(side)) & 1).reshape(-1)
    return np.argsort(odd, kind="stable")


def _columns(seen: Tensor, taps: Sequence[tuple[int, int]], side: int, order: Tensor) -> Tensor:
    """What is around each of some cells: [B, cells, taps channels] of values [B, channels, side + 4, side + 4]."""
    around = [seen[:, :, MARGIN + y : MARGIN + y + side, MARGIN + x : MARGIN + x + side] for y, x in taps]
    return torch.stack(around, dim=1).reshape(len(seen), -1, side * side).transpose(1, 2)[:, order]


class DcContext(nn.Module):
    """The part that serves the DC passes: two hidden layers each; zero before training."""

    def __init__(self, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.passes = nn.ModuleDict({_key(name): _DcPass(dc_inputs_of(name), hidden) for name in dc_pass_names()})
        self.density, self.linear_density = Density(RATE * DC_SHARE), Density(RATE * DC_SHARE)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bits of each pass with the network and with the linear predictions alone. The batch is `draw_rows`'s."""
        total, linear = [], []
        for number, network in enumerate(self.passes.values()):
            inputs, score, target = batch[3 * number : 3 * number + 3]
            out = network(inputs).float()
            total.append(self.density(target - out[:, 1], score + out[:, 0]).sum())
            linear.append(self.linear_density(target, score).sum())
        return torch.stack(total), torch.stack(linear)


class _DcPass(nn.Module):
    def __init__(self, inputs: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.first, self.first_bias = _weights(hidden[0], inputs, 1.0), nn.Parameter(torch.zeros(hidden[0]))
        self.second, self.second_bias = _weights(hidden[1], hidden[0], 1.4), nn.Parameter(torch.zeros(hidden[1]))
        self.out, self.out_bias = nn.Parameter(torch.zeros(2, hidden[1])), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = _unit(functional.linear(x, self.first, self.first_bias))
        hidden = _unit(functional.linear(hidden, self.second, self.second_bias))
        return functional.linear(hidden, self.out, self.out_bias)


def _key(name: str) -> str:
    return name.replace(".", "_")  # a module's name has no dots


def draw_crops(samples: Sequence[ContextSample], batch: int, crop: int, rng: np.random.Generator) -> Batch:
    """Crops of samples by their number of cells, at even places: float32, integers of 32 as 1, cells with the even ones first."""
    weights = np.array([sample.scores[0].size for sample in samples], np.float64)
    order = _even_first(crop)
    parts: list[tuple[Any, ...]] = []

    def cells(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(len(array), -1).T[order]

    for number in rng.choice(len(samples), batch, p=weights / weights.sum()):
        sample = samples[number]
        top, left = (2 * int(rng.integers((side - crop) // 2 + 1)) for side in sample.scores.shape[1:])
        wide = np.s_[:, top : top + crop + 2 * MARGIN, left : left + crop + 2 * MARGIN]
        window = np.s_[:, top : top + crop, left : left + crop]
        rows = [cells(array[window]) for array in (sample.differences, sample.means, sample.scores, sample.targets)]
        parts.append((sample.values[wide], rows[0], sample.step, *rows[1:], np.float32(sample.colour)))
    stacked = [np.stack(arrays).astype(np.float32) for arrays in zip(*parts, strict=True)]
    values, differences, step, *rest = map(torch.from_numpy, stacked)
    return values / _ONE, differences / _ONE, step / _ONE, *rest


def draw_rows(samples: Mapping[str, PassSample], count: int, rng: np.random.Generator) -> Batch:
    """Cells of every pass: inputs (32 as 1), scores, targets, float32, pass after pass."""
    found: list[Tensor] = []
    for name in dc_pass_names():
        sample = samples[name]
        rows = rng.integers(len(sample.scores), size=count) if len(sample.scores) else np.zeros(0, np.intp)
        arrays = (sample.inputs[rows], sample.scores[rows], sample.targets[rows])
        inputs, scores, targets = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
        found += [inputs / _ONE, scores, targets]
    return tuple(found)


def _relative(network: nn.Module, batch: Batch) -> Tensor:
    """Bits with the network over bits with the linear predictions, and the latter over themselves, for their density's sake."""
    total, linear = network(batch)
    base = linear.detach() + _LEAST_BITS
    result: Tensor = (total / base).mean() + (linear / base).mean()
    return result


def _saved(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Bits with the network over those with the linear predictions, less one; 0 of no batches."""
    if not batches:
        return 0.0
    with torch.no_grad():
        sums = [[float(bits.sum()) for bits in network(batch)] for batch in batches]
    total, linear = np.sum(sums, axis=0)
    return float(total / linear - 1)


def saved(
    tiles: TileContext,
    dcs: DcContext,
    samples: Sequence[ContextSample],
    passes: Mapping[str, PassSample],
    settings: ContextSettings,
) -> dict[str, float]:
    """Shares of the held-out bits that the network saves, for model.json."""
    rng = np.random.default_rng(1)
    crop = _side_of_crops(samples, settings)
    usable = _large_enough(samples, crop)
    crops = [draw_crops(usable, settings.batch, crop, rng) for _ in range(_HELD_OUT_BATCHES if usable else 0)]
    rows = [draw_rows(passes, settings.dc_rows, rng) for _ in range(_HELD_OUT_BATCHES)]
    return {"held_out_saved_ac": round(-_saved(tiles, crops), 4), "held_out_saved_dc": round(-_saved(dcs, rows), 4)}


def _side_of_crops(samples: Sequence[ContextSample], settings: ContextSettings) -> int:
    """An even number of cells that nine tenths of the samples have."""
    sides = sorted(min(sample.scores.shape[1:]) for sample in samples)
    return max(2, min(settings.crop, sides[len(sides) // 10]) // 2 * 2)


def _large_enough(samples: Sequence[ContextSample], crop: int) -> list[ContextSample]:
    return [sample for sample in samples if min(sample.scores.shape[1:]) >= crop]


def _is_density(network: nn.Module) -> set[int]:
    return {id(parameter) for name, parameter in network.named_parameters() if "density" in name}


_DENSITY_RATE: Final = 15.0
"""A density's table learns so many times as fast as weights: it must follow them."""
_HELD_OUT_BATCHES: Final = 8


def fit_tiles(
    train: Sequence[ContextSample],
    held_out: Sequence[ContextSample],
    settings: ContextSettings,
    *,
    start: TileContext | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> TileContext:
    """The tiles' part of the network, anew or from `start`."""
    torch.manual_seed(settings.seed)
    crop = _side_of_crops(train, settings)
    usable, kept = _large_enough(train, crop), _large_enough(held_out, crop)
    if not usable:
        raise InputError("the pictures are too small to train a context network on")
    rng = np.random.default_rng(1)
    batches = [draw_crops(kept or usable, settings.batch, crop, rng) for _ in range(_HELD_OUT_BATCHES)]
    network = start or TileContext(settings.luma, settings.chroma, settings.hidden)
    return _fit(network, lambda rng: draw_crops(usable, settings.batch, crop, rng), batches, settings, device, checkpoint, report)


def fit_dcs(
    train: Mapping[str, PassSample],
    held_out: Mapping[str, PassSample],
    settings: ContextSettings,
    *,
    start: DcContext | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> DcContext:
    """The DC passes' part of the network, anew or from `start`."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(1)
    batches = [draw_rows(held_out, 4 * settings.dc_rows, rng) for _ in range(_HELD_OUT_BATCHES)]
    network = start or DcContext(settings.dc_hidden)
    return _fit(network, lambda rng: draw_rows(train, settings.dc_rows, rng), batches, settings, device, checkpoint, report)


def _fit(
    network: Any, draw: Any, batches: list[Batch], settings: Schedule, device: str, checkpoint: Path | None, report: Report | None
) -> Any:
    densities = _is_density(network)
    on_device = [tuple(tensor.to(device) for tensor in batch) for batch in batches]
    return fit(
        network,
        draw,
        _relative,
        lambda found: _saved(found, on_device),
        settings,
        fast=lambda parameter: _DENSITY_RATE if id(parameter) in densities else 1.0,
        device=device,
        checkpoint=checkpoint,
        report=report,
    )


def to_tensors(tiles: TileContext, dcs: DcContext) -> dict[str, NDArray[Any]]:
    """A model's tensors `context.*`, as context.ContextNetwork has them: int16 weights, int32 biases."""
    found: dict[str, NDArray[Any]] = {}
    shift = _state_shift(tiles)
    found["context.shift"] = np.array([shift], np.int16)
    for name, (parameters, scale) in _named_parameters(tiles, dcs, shift).items():
        arrays = [np.rint(parameter.detach().numpy() * scale) for parameter in parameters]
        array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
        whole = array.astype(np.int32) if name.endswith("_bias") else np.clip(array, -_INT16, _INT16).astype(np.int16)
        found[f"context.{name}"] = whole
    return found


def load_tensors(tensors: Mapping[str, NDArray[Any]]) -> tuple[TileContext, DcContext]:
    """The inverse of `to_tensors`; densities start anew."""
    luma, chroma = (len(tensors[f"context.{bank}.dc"]) for bank in ("luma", "chroma"))
    first, second = (len(tensors[f"context.{dc_pass_names()[0]}.{part}"]) for part in ("first", "second"))
    tiles = TileContext(luma, chroma, tensors["context.tile.00.hidden"].shape[1])
    dcs = DcContext((first, second))
    with torch.no_grad():
        for name, (parameters, scale) in _named_parameters(tiles, dcs, int(tensors["context.shift"][0])).items():
            array = torch.from_numpy(tensors[f"context.{name}"].astype(np.float32) / np.float32(scale))
            for parameter, values in zip(parameters, array if len(parameters) > 1 else [array], strict=True):
                parameter.copy_(values)
    return tiles, dcs


def _state_shift(tiles: TileContext) -> int:
    """The finest unit of the states with which their sums are exact: ten bits or fewer."""
    worst = 0.0
    for bank in (0, 1):
        states = [tiles.state[tile.number] for tile in COLOR_4X4.tiles if min(tile.component, 1) == bank]
        own = [tiles.own[tile.number] for tile in COLOR_4X4.tiles if min(tile.component, 1) == bank]
        sums = sum(weights.detach().abs().sum(dim=1) for weights in (tiles.dc[bank], tiles.step[bank], *states))
        once = torch.stack([weights.detach().abs().sum(dim=1) for weights in own]).amax(dim=0)
        worst = max(worst, float((sums + once).max()))
    exact = FLOAT32_EXACT * 0.99 / (UNIT_MAX * max(worst, 1e-3))  # some room for rounding
    return max(1, min(UNIT_SHIFT, int(np.log2(exact))))


def _named_parameters(tiles: TileContext, dcs: DcContext, shift: int) -> dict[str, tuple[list[nn.Parameter], float]]:
    """By the tensor's name, less `context.`: the parameters (of both halves, where there are two) and what 1 is in integers."""
    state, inner, last = float(1 << shift), float(1 << UNIT_SHIFT), float(1 << SCALE_SHIFT) / _ONE
    found: dict[str, tuple[list[nn.Parameter], float]] = {}

    def layers(name: str, part: str, owners: Sequence[Any], scale: float) -> None:
        found[f"{name}.{part}"] = [getattr(owner, part) for owner in owners], scale
        found[f"{name}.{part}_bias"] = [getattr(owner, f"{part}_bias") for owner in owners], scale * _ONE

    for bank, name in enumerate(("luma", "chroma")):
        found[f"{name}.dc"] = [tiles.dc[bank]], state
        found[f"{name}.step"] = [tiles.step[bank]], state
    for tile in COLOR_4X4.tiles:
        name = f"tile.{tile.number:02d}"
        halves = [tiles.halves[2 * tile.number + half] for half in (0, 1)]
        found[f"{name}.state"] = [tiles.state[tile.number]], state
        found[f"{name}.own"] = [tiles.own[tile.number]], state
        layers(name, "hidden", halves, inner)
        layers(name, "out", halves, last)
    for name in dc_pass_names():
        for part, scale in (("first", inner), ("second", inner), ("out", last)):
            layers(name, part, [dcs.passes[_key(name)]], scale)
    return found


assert MEAN_OUT_SHIFT + 4 == SCALE_SHIFT  # so that a step and a class are of one scale among the outputs
