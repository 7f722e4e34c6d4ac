"""The denoiser in torch, and its fit to noisy pictures. The formulas are in denoising.py.

The loss of a crop is log(e + e0), where e is the share of the noise's energy that is left: a decibel has the same weight at every
sigma and in every picture, and e0 limits the weight of flat ones, where almost nothing is left. The basis functions are
orthonormal, so the squared error is summed over coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vqcodec.arrays import Bool, Float32, Float64, UInt8
from vqcodec.codec.denoising import LINEAR_DIVISOR, SIGMA_CENTRE
from vqcodec.errors import InputError
from vqcodec.nets.synthesis import OUTPUTS
from vqcodec.neural.crops import area_shares, usable_crop
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, fit
from vqcodec.neural.networks import ConvNetwork, load_tensors, to_tensors
from vqcodec.transform import lapped
from vqcodec.transform.color import OPPONENT, inverse_color_matrix
from vqcodec.transform.layouts import COLOR_8X8

SIGMAS: Final = (2.0, 80.0)
"""Range of the noise's standard deviation in training, grey levels, log-uniform."""
SCORED_SIGMAS: Final = (15.0, 25.0, 50.0)
"""Standard deviations of the noise of held-out pictures, grey levels."""
_GREY: Final = 8
"""Every eighth crop, on average, is in grey."""
_MARGIN: Final = 4
"""Pixels by which basis functions extend beyond their cell."""
_HELD_OUT_CROPS: Final = 24
_FLOOR: Final = 0.02
"""e0 of the loss."""


@dataclass(frozen=True)
class DenoiserSettings(Schedule):
    """Everything that decides the outcome, besides the pictures."""

    batch: int = 6
    crop: int = 10
    rate: float = 2e-3
    width: int = 256
    blocks: int = 6


def draw_crops(pictures: Sequence[UInt8], likely: Float64, batch: int, side: int, rng: np.random.Generator) -> Float32:
    """Square crops float32 [batch, 3, side, side] of pictures uint8 [H, W, 1 or 3], drawn with the probabilities `likely`.

    Crops are turned and mirrored at random; one in eight is grey.
    """
    crops = []
    for number in rng.choice(len(pictures), batch, p=likely):
        picture = pictures[number]
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        crop = np.rot90(picture[top : top + side, left : left + side], int(rng.integers(4)))
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        crop = crop.mean(axis=2, keepdims=True).round() if rng.integers(_GREY) == 0 else crop
        crops.append(np.broadcast_to(crop, (side, side, 3)).transpose(2, 0, 1).astype(np.float32))
    return np.stack(crops)


def add_noise(clean: Float32, sigma: Float32, rng: np.random.Generator) -> Float32:
    """Pictures [B, 3, H, W] with noise of standard deviation `sigma` [B], rounded and clipped; grey pictures stay grey."""
    noise = rng.standard_normal(clean.shape, np.float32)
    grey = is_grey(clean)
    noise[grey] = noise[grey, :1]
    return np.clip(np.rint(clean + sigma[:, None, None, None] * noise), 0, 255)


def is_grey(pictures: Float32) -> Bool:
    """Whether all components are equal, bool [B], for pictures [B, 3, H, W]."""
    found: Bool = (pictures == pictures[:, :1]).all(axis=(1, 2, 3))
    return found


def batch_of(clean: Float32, sigma: Float32, rng: np.random.Generator) -> Batch:
    """A batch from clean pictures [B, 3, H, W] and sigmas [B]: noisy pictures, their noise, its level [B] as in denoising.py, and
    the
    weights [B, 192, 1, 1] of the coefficients, 0 for the chroma of grey pictures."""
    noisy = add_noise(clean, sigma, rng)
    grey = is_grey(clean)
    level = np.where(grey, 3**0.5 * sigma, sigma).astype(np.float32)
    chroma = np.array([component > 0 for component, _, _ in COLOR_8X8.positions])
    counts = np.where(grey[:, None] & chroma, 0, 1).astype(np.float32)[:, :, None, None]
    return tuple(torch.from_numpy(array) for array in (noisy, noisy - clean, level, counts))


def lapped_basis() -> Tensor:
    """The basis functions of all channels as a convolution [192, 3, 16, 16] of stride 8 from pixels."""
    basis, colors = lapped.basis(), inverse_color_matrix(OPPONENT)
    found = [np.einsum("r,y,x->ryx", colors[c], basis[:, v], basis[:, u]) for c, v, u in COLOR_8X8.positions]
    return torch.from_numpy(np.stack(found).astype(np.float32))


def to_lapped(pixels: Tensor, basis: Tensor) -> Tensor:
    """Pixels [B, 3, 8 h + 8, 8 w + 8] to lapped coefficients [B, 192, h, w] of the cells that begin 4 pixels inside."""
    with torch.autocast(pixels.device.type, enabled=False):  # a bfloat16 has fewer bits than a pixel
        return functional.conv2d(pixels, basis, stride=8)


def error_left(network: ConvNetwork, batch: Batch, basis: Tensor) -> Tensor:
    """Shares [B] of the noise's energy before clipping that are left after denoising."""
    noisy, noise, level, counts = batch
    level = level[:, None, None, None]
    x = to_lapped(noisy - 128, basis) / level
    inputs = [x / LINEAR_DIVISOR, torch.sign(x) * torch.log1p(x.abs())]
    inputs.append(torch.log(level / SIGMA_CENTRE).expand(-1, 1, *x.shape[2:]))
    found = network(torch.cat(inputs, dim=1).contiguous(memory_format=torch.channels_last)).float()
    errors = counts * (found - to_lapped(noise, basis) / level)
    cells = x.shape[2] * x.shape[3]
    return 3 * errors.square().sum(dim=(1, 2, 3)) / (cells * counts.sum(dim=(1, 2, 3)))


def fit_denoiser(
    train: Sequence[UInt8],
    held_out: Sequence[UInt8],
    settings: DenoiserSettings,
    options: LoopOptions = ON_CPU,
    *,
    start: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, NDArray[Any]]:
    """Train on pictures uint8 [H, W, 1 or 3], from the tensors `start` or from scratch; returns the tensors `denoiser.*`.

    The weights are a moving average. The log's `held_out` is the loss of PSNR on crops of `held_out`, dB, a mean over
    SCORED_SIGMAS; negative values are gains.
    """
    device = options.device
    torch.manual_seed(settings.seed)
    crop = usable_crop([((p.shape[0] - 2 * _MARGIN) // 8, (p.shape[1] - 2 * _MARGIN) // 8) for p in train], settings.crop)
    if crop < 1:
        raise InputError(f"the pictures are too small to train a denoiser on: {8 + 2 * _MARGIN} pixels a side are the least")
    side = 8 * crop + 2 * _MARGIN
    basis = lapped_basis().to(device)

    def draw_of(pictures: Sequence[UInt8], batch: int, rng: np.random.Generator) -> Float32:
        usable = [picture for picture in pictures if min(picture.shape[:2]) >= side]
        return draw_crops(usable, area_shares(usable), batch, side, rng)

    def draw(rng: np.random.Generator) -> Batch:
        sigma = np.exp(rng.uniform(math.log(SIGMAS[0]), math.log(SIGMAS[1]), settings.batch)).astype(np.float32)
        return batch_of(draw_of(train, settings.batch, rng), sigma, rng)

    def loss_of(network: ConvNetwork, batch: Batch) -> Tensor:
        return torch.log(error_left(network, batch, basis) + _FLOOR).mean()

    rng = np.random.default_rng(0)  # independent of the seed, so that trainings can be compared
    large = [picture for picture in held_out if min(picture.shape[:2]) >= side]
    scored = draw_of(large or train, _HELD_OUT_CROPS, rng)
    noisy = [batch_of(scored, np.full(len(scored), sigma, np.float32), rng) for sigma in SCORED_SIGMAS]

    def error(network: ConvNetwork) -> float:
        with torch.no_grad():
            left = [error_left(network, tuple(part.to(device) for part in batch), basis) for batch in noisy]
        return float(10 * torch.log10(torch.cat(left)).mean())

    network = ConvNetwork(settings.width, settings.blocks, "denoiser") if start is None else load_tensors(start, "denoiser")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    found = fit(network, draw, loss_of, error, settings, options)
    assert found.tail.out_features == OUTPUTS
    return to_tensors(found)
