"""Fit of a context network. Its loss is relative to the linear predictions that it corrects, which have a density of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vqcodec.errors import InputError
from vqcodec.neural.context import DcContext, TileContext, widened
from vqcodec.neural.context_samples import ContextSample, PassSample, draw_crops, draw_rows
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, fit

N = TypeVar("N", bound=nn.Module)
_DENSITY_RATE: Final = 15.0
"""Factor on the learning rate of a density's table, which must follow the weights."""
_HELD_OUT_BATCHES: Final = 8
_LEAST_BITS: Final = 20.0
"""Bits added to those of a crop, so that flat crops, which cannot gain, have little weight."""


@dataclass(frozen=True)
class ContextSettings(Schedule):
    """Everything that decides the outcome, besides the samples."""

    rate: float = 2e-3
    luma: int = 128
    chroma: int = 32
    hidden: int = 48
    dc_hidden: tuple[int, int] = (128, 64)
    dc_rows: int = 1024
    """Cells of each DC pass in a batch."""


def _relative(network: nn.Module, batch: Batch) -> Tensor:
    """Bits with the network over bits with the linear predictions, plus a term that trains the latter's density."""
    total, linear = network(batch)
    base = linear.detach() + _LEAST_BITS
    result: Tensor = (total / base).mean() + (linear / base).mean()
    return result


def _bits(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Bits with the network, summed over all batches."""
    with torch.no_grad():
        return sum(float(network(batch)[0].sum()) for batch in batches)


def _saved(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Relative change of the bits by the network; 0 without batches."""
    if not batches:
        return 0.0
    with torch.no_grad():
        sums = [[float(bits.sum()) for bits in network(batch)] for batch in batches]
    total, linear = np.sum(sums, axis=0)
    return float(total / linear - 1) if linear else 0.0


def saved(
    tiles: TileContext,
    dcs: DcContext,
    samples: Sequence[ContextSample],
    passes: Mapping[str, PassSample],
    settings: ContextSettings,
) -> dict[str, float]:
    """Shares of the held-out bits that the network saves on AC and DC coefficients, for model.json."""
    rng = np.random.default_rng(1)
    crop = _side_of_crops(samples, settings)
    usable = _large_enough(samples, crop)
    crops = [draw_crops(usable, settings.batch, crop, rng) for _ in range(_HELD_OUT_BATCHES if usable else 0)]
    rows = [draw_rows(passes, settings.dc_rows, rng) for _ in range(_HELD_OUT_BATCHES)]
    return {"held_out_saved_ac": round(-_saved(tiles, crops), 4), "held_out_saved_dc": round(-_saved(dcs, rows), 4)}


def _side_of_crops(samples: Sequence[ContextSample], settings: ContextSettings) -> int:
    """Side of a crop: an even number of cells that nine tenths of the samples have."""
    sides = sorted(min(sample.scores.shape[1:]) for sample in samples)
    return max(2, min(settings.crop, sides[len(sides) // 10]) // 2 * 2)


def _large_enough(samples: Sequence[ContextSample], crop: int) -> list[ContextSample]:
    return [sample for sample in samples if min(sample.scores.shape[1:]) >= crop]


def fit_tiles(
    train: Sequence[ContextSample],
    held_out: Sequence[ContextSample],
    settings: ContextSettings,
    options: LoopOptions = ON_CPU,
    *,
    start: TileContext | None = None,
) -> TileContext:
    """The network's part for tiles, new or continued from `start`, which grows to the width in the settings."""
    torch.manual_seed(settings.seed)
    crop = _side_of_crops(train, settings)
    usable, kept = _large_enough(train, crop), _large_enough(held_out, crop)
    if not usable:
        raise InputError("the pictures are too small to train a context network on")
    rng = np.random.default_rng(1)
    batches = [draw_crops(kept or usable, settings.batch, crop, rng) for _ in range(_HELD_OUT_BATCHES)]
    if start is None:
        network = TileContext(settings.luma, settings.chroma, settings.hidden)
    else:
        network = widened(start, settings.luma, settings.hidden)
    return _fit(network, lambda rng: draw_crops(usable, settings.batch, crop, rng), batches, settings, options)


def fit_dcs(
    train: Mapping[str, PassSample],
    held_out: Mapping[str, PassSample],
    settings: ContextSettings,
    options: LoopOptions = ON_CPU,
    *,
    start: DcContext | None = None,
) -> DcContext:
    """The network's part for DC passes, new or continued from `start`."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(1)
    batches = [draw_rows(held_out, 4 * settings.dc_rows, rng) for _ in range(_HELD_OUT_BATCHES)]
    network = start or DcContext(settings.dc_hidden)
    return _fit(network, lambda rng: draw_rows(train, settings.dc_rows, rng), batches, settings, options)


def _fit(
    network: N,
    draw: Callable[[np.random.Generator], Batch],
    batches: list[Batch],
    settings: Schedule,
    options: LoopOptions,
) -> N:
    """Train a part of the network; `batches` are held out."""
    densities = {id(parameter) for name, parameter in network.named_parameters() if "density" in name}
    on_device = [tuple(tensor.to(options.device) for tensor in batch) for batch in batches]

    def held_out(found: nn.Module) -> float:
        return _bits(found, on_device)

    def rate_factor(parameter: nn.Parameter) -> float:
        return _DENSITY_RATE if id(parameter) in densities else 1.0

    return fit(network, draw, _relative, held_out, settings, options, rate_factor=rate_factor)
