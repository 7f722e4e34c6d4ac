"""The fit of a context network, relative to the linear predictions that it corrects: these have a density of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from vqcodec.errors import InputError
from vqcodec.neural.context import DcContext, TileContext, widened
from vqcodec.neural.context_samples import ContextSample, PassSample, draw_crops, draw_rows
from vqcodec.neural.loop import Batch, Report, Schedule, fit

_LEAST_BITS: Final = 20.0
"""Of a crop: keeps flat ones, where nothing is to be gained, from weighing much."""


@dataclass(frozen=True)
class ContextSettings(Schedule):
    """Everything that decides the outcome, with the samples."""

    rate: float = 2e-3
    luma: int = 128
    chroma: int = 32
    hidden: int = 48
    dc_hidden: tuple[int, int] = (128, 64)
    dc_rows: int = 1024
    """Cells of each pass in a batch."""


def _relative(network: nn.Module, batch: Batch) -> Tensor:
    """Bits with the network over bits with the linear predictions, and the latter over themselves, for their density's sake."""
    total, linear = network(batch)
    base = linear.detach() + _LEAST_BITS
    result: Tensor = (total / base).mean() + (linear / base).mean()
    return result


def _bits(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Bits with the network, of all crops; 0 of no batches."""
    with torch.no_grad():
        return sum(float(network(batch)[0].sum()) for batch in batches)


def _saved(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Bits with the network over those with the linear predictions, less one; 0 where there are none."""
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
    """The tiles' part of the network, anew or from `start`, which becomes as wide as the settings say."""
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
        lambda found: _bits(found, on_device),
        settings,
        fast=lambda parameter: _DENSITY_RATE if id(parameter) in densities else 1.0,
        device=device,
        checkpoint=checkpoint,
        report=report,
    )
