"""Fit of the synthesis network to quantised pictures. The network is in networks.py, its inputs in nets/synthesis.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.arrays import Float64, Int32, UInt8
from vqcodec.nets.synthesis import SEEN, STEP_CENTRE_LEVELS
from vqcodec.neural.crops import (
    FEATURE_ORDER,
    FEATURE_SIGNS,
    OUTPUT_ORDER,
    OUTPUT_SIGNS,
    draw_places,
    stacked,
    usable_crop,
)
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, fit
from vqcodec.neural.networks import ConvNetwork, grown, load_tensors, to_tensors
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, shared_channels


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


def relative_error(restored: Tensor, missing: Tensor) -> Tensor:
    """Mean over the batch of the squared error after restoration over that before it: every picture has the same weight."""
    after = (missing - restored).square().mean(dim=(1, 2, 3))
    before = missing.square().mean(dim=(1, 2, 3))
    return (after / (before + _FLOOR)).mean()


_FLOOR = 1e-3
"""Squared steps, added to limit the weight of flat pictures, which lose nothing."""


def draw_batch(samples: Sequence[Sample], batch: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch of random crops: inputs and errors of the plain decode, float32."""
    inputs, targets = [], []
    for place in draw_places([sample.features.shape[1:] for sample in samples], batch, crop, rng):
        sample = samples[place.number]
        inputs.append(place.cut(sample.features, FEATURE_ORDER, FEATURE_SIGNS))
        targets.append(place.cut(sample.missing, OUTPUT_ORDER, OUTPUT_SIGNS))
    return stacked(inputs), stacked(targets)


def held_out_error(network: ConvNetwork, samples: Sequence[Sample], device: str) -> float:
    """Mean of `held_out_errors`."""
    return float(held_out_errors(network, samples, device).mean())


def held_out_errors(network: ConvNetwork, samples: Sequence[Sample], device: str) -> Float64:
    """Loss of PSNR of each whole sample by the network, dB, float64 [samples]; negative values are gains."""
    gains = []
    with torch.no_grad():
        for sample in samples:
            inputs, missing = (torch.from_numpy(a.astype(np.float32))[None].to(device) for a in (sample.features, sample.missing))
            before, after = missing.square().mean(), (missing - network(inputs)).square().mean()
            gains.append(10 * float(torch.log10((after + 1e-9) / (before + 1e-9))))
    return np.array(gains)


def compare(network: ConvNetwork, sample: Sample, color: Int32) -> UInt8:
    """A sample's original, plain and refined pictures side by side, uint8 [H, 3 W, 3]; `color` is the model's colour matrix."""
    seen = sample.features[:SEEN].astype(np.float32)
    plain = np.zeros(sample.missing.shape, np.float32)
    plain[shared_channels(COLOR_4X4, COLOR_8X8)[1]] = np.sign(seen) * np.expm1(np.abs(seen))  # inverts synthesis_features
    step_levels = STEP_CENTRE_LEVELS * float(np.exp(sample.features[SEEN, 0, 0].astype(np.float32)))
    with torch.no_grad():
        device = next(network.parameters()).device
        inputs = torch.from_numpy(sample.features.astype(np.float32))[None].to(device)
        restored = network(inputs)[0].cpu().numpy()
    matrix = (dct.inverse_matrix(COLOR_8X8, color) / (1 << dct.SHIFT)).astype(np.float32)
    h, w = sample.missing.shape[1:]
    pictures = [np.empty((8 * h, 8 * w, 3), np.uint8) for _ in range(3)]
    for added, pixels in zip((sample.missing.astype(np.float32), 0, restored), pictures, strict=True):
        dct.inverse_float(((plain + added) * np.float32(step_levels)).reshape(len(plain), -1), w, matrix, pixels)
    return np.concatenate(pictures, axis=1)


def fit_synthesis(
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: SynthesisSettings,
    options: LoopOptions = ON_CPU,
    *,
    start: dict[str, NDArray[Any]] | None = None,
    show: Callable[[ConvNetwork], None] = lambda network: None,
) -> dict[str, NDArray[Any]]:
    """Train from scratch or from the tensors `start`, which grow to the settings' size; returns the tensors `synthesis.*`.

    The weights are a moving average; `show` gets it whenever the held-out samples are scored.
    """
    torch.manual_seed(settings.seed)
    network = ConvNetwork(settings.width, settings.blocks)
    if start is not None:
        network = grown(load_tensors(start), settings.width, settings.blocks)
    crop = usable_crop([sample.features.shape[1:] for sample in train], settings.crop)
    usable = [sample for sample in train if min(sample.features.shape[1:]) >= crop]

    def loss_of(network: ConvNetwork, batch: Batch) -> Tensor:
        inputs, missing = batch
        return relative_error(network(inputs.contiguous(memory_format=torch.channels_last)).float(), missing)

    def look(network: ConvNetwork) -> float:
        show(network)
        return held_out_error(network, held_out, options.device)

    def draw(rng: np.random.Generator) -> Batch:
        return draw_batch(usable, settings.batch, crop, rng)

    return to_tensors(fit(network, draw, loss_of, look, settings, options))
