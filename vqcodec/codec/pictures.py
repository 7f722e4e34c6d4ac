"""Denoising, generation and repair of whole pictures, with or without an alpha plane, behind the API and the commands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Pixels, UInt8
from vqcodec.codec import channels, denoising, generation, inpainting
from vqcodec.errors import InputError
from vqcodec.runtime.blas import with_one_thread
from vqcodec.runtime.workers import usable_cores
from vqcodec.weights.denoiser import Denoiser
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

# ------------------------------------------------------------------------------------------------ noise


@with_one_thread
def estimate_sigma(samples: Pixels) -> float:
    """Standard deviation of white noise in grey levels, at most 100, in samples uint8 [H, W] or [H, W, 1 to 4].

    Raises InputError for uint16.
    """
    return denoising.estimate_sigma(_colours(samples))


@with_one_thread
def denoise(samples: Pixels, denoiser: Denoiser, sigma: float, threads: int | None = None) -> UInt8:
    """Samples uint8 [H, W] or [H, W, 1 to 4] without white noise of standard deviation `sigma` in grey levels; alpha stays.

    Below denoising.MIN_SIGMA nothing changes. Raises InputError for uint16.
    """
    noisy = _colours(samples)
    out = np.atleast_3d(samples).astype(np.uint8)
    if sigma >= denoising.MIN_SIGMA:
        colours = 3 if out.shape[2] > 2 else 1
        out[:, :, :colours] = denoising.denoise(noisy, denoiser, sigma, threads or usable_cores())
    return out.reshape(samples.shape)


def _colours(samples: Pixels) -> UInt8:
    """Samples without alpha, uint8 [H, W, 1 or 3]: 1 if R, G and B are alike. Raises InputError for uint16."""
    picture, _ = channels.split(samples)
    if picture.dtype != np.uint8:
        raise InputError('noise is taken out of 8 bits a sample, not of uint16: (pixels >> 8).astype("uint8") makes 8 bits of 16')
    found = picture.astype(np.uint8, copy=False)
    return found[:, :, :1] if (found == found[:, :, :1]).all() else found


# ------------------------------------------------------------------------------------------------ token priors


class Generated(NamedTuple):
    """Pictures uint8 [count, H, W] or [count, H, W, 3], and the class of each; "" if the prior has no classes."""

    pictures: UInt8
    labels: list[str]


@with_one_thread
def generate(
    prior: TokenPrior, model: TokenModel, count: int, *, label: str | None, temperature: float, guidance: float, seed: int
) -> Generated:
    """Draw pictures of the class `label`, or for None of all classes in order, equally often. Raises InputError."""
    in_turn = np.arange(count) * max(1, len(prior.labels)) // count
    numbers = in_turn if label is None else np.full(count, _class_number(prior, label))
    found = generation.generate(prior, model, numbers, temperature=temperature, guidance=guidance, seed=seed)
    pictures = found[..., 0] if found.shape[3] == 1 else found
    return Generated(pictures, [prior.labels[n] if prior.labels else "" for n in numbers])


@with_one_thread
def repair(
    samples: Pixels,
    mask: Bool,
    prior: TokenPrior,
    model: TokenModel,
    *,
    label: str | None,
    temperature: float,
    seed: int,
    threads: int | None = None,
) -> UInt8:
    """Samples uint8 [H, W] or [H, W, 1 to 4] with the colours under the mask [H, W] drawn (inpainting.inpaint); alpha stays.

    `label` is the class of the picture, if it is known. Raises InputError.
    """
    number = _class_number(prior, label)
    picture, opacity = channels.split(samples)
    if picture.dtype != np.uint8:
        raise InputError('token models have 8 bits a sample, not uint16: (pixels >> 8).astype("uint8") makes 8 bits of 16')
    if mask.shape != picture.shape[:2]:
        raise InputError(f"the mask has {list(mask.shape)} pixels, and the picture {list(picture.shape[:2])} (height, width)")
    repaired = inpainting.inpaint(
        picture.astype(np.uint8, copy=False),
        mask,
        prior,
        model,
        label=number,
        temperature=temperature,
        seed=seed,
        threads=threads or usable_cores(),
    )
    if opacity is not None:
        repaired = np.dstack([repaired, opacity])
    return repaired.reshape(samples.shape)


def _class_number(prior: TokenPrior, label: str | None) -> int:
    """The number of a class by its name; for None the number of classes, which stands for no class. Raises InputError."""
    if label is not None and label not in prior.labels:
        known = ", ".join(prior.labels) or "none"
        raise InputError(f"token prior {prior.name} has no class {label} (it has: {known})")
    return prior.network.classes if label is None else prior.labels.index(label)
